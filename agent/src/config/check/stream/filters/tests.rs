use super::*;

#[test]
fn cover_is_for_every_topic() {
    for (earlier, later, expected) in [
        ("a/b", "a/b", true),
        ("a/+x", "a/b", true),
        ("a/+x", "a/+y", true),
        ("a/b", "a/+y", false),
        ("a/#", "a/b/c", true),
        ("a/#", "a", true),
        ("a/#", "a/+x/#", true),
        ("a/#rest", "a/b", true),
        ("#", "anything/+x", true),
        ("#", "$SYS/broker", false),
        ("+x/broker", "$SYS/broker", false),
        ("$SYS/#", "$SYS/broker", true),
        ("a/+x", "a/#", false),
        ("a/+x", "a", false),
        ("a", "a/b", false),
        ("a/b", "b/a", false),
        ("a/+x/c", "a/b/d", false),
    ] {
        assert_eq!(covers(earlier, later), expected, "{earlier} {later}");
    }
}

#[test]
fn names_come_from_the_literals() {
    for (filter, expected) in [
        ("plant/+machine/#", "plant"),
        ("plant/+line/+machine/vibration", "plant_vibration"),
        ("#", "all"),
        ("+a/+b", "all"),
        ("1/two words", "s_1_two_words"),
        ("höhe", "h_he"),
    ] {
        assert_eq!(name_for(filter), expected, "{filter}");
    }
    let captured: Vec<_> = captures("plant/+line/+/+machine/#rest").collect();
    assert_eq!(captured, ["line", "machine", "rest"]);
}
