use super::*;

#[test]
fn names_come_from_the_literals() {
    for (filter, expected) in [
        ("plant/+machine/#", "plant"),
        ("plant/+line/+machine/vibration", "plant_vibration"),
        ("#", "all"),
        ("+a/+b", "all"),
        ("1/two words", "s_1_two_words"),
        ("höhe", "h_he"),
        ("N/+site/#{field}", "N"),
        ("a/{field}/b", "a_b"),
    ] {
        assert_eq!(name_for(filter), expected, "{filter}");
    }
    let captured: Vec<_> = captures("plant/+line/+/{field}/+machine/#rest").collect();
    assert_eq!(captured, ["line", "machine", "rest"]);
    assert_eq!(captures("N/+site/#{field}").collect::<Vec<_>>(), ["site"]);
}
