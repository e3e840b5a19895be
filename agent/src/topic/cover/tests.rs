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
        ("a/{field}", "a/b", true),
        ("a/#{field}", "a/b/c", true),
    ] {
        assert_eq!(covers(earlier, later), expected, "{earlier} {later}");
    }
}

#[test]
fn filters_overlap_where_a_topic_matches_both() {
    for (one, other, expected) in [
        ("a/+", "+/b", true),
        ("a/#", "+/b/c", true),
        ("a/#", "a", true),
        ("a/+", "b/+", false),
        ("a/+/c", "a/b", false),
        ("a/b", "a/{field}", true),
        ("#", "$SYS/x", false),
    ] {
        assert_eq!(overlap(one, other), expected, "{one} {other}");
        assert_eq!(overlap(other, one), expected, "{other} {one}");
    }
}

#[test]
fn no_filter_is_left_that_another_covers() {
    let left = |filters: &[&str]| {
        let filters: Vec<String> = filters.iter().map(|&f| f.to_owned()).collect();
        without_covered(&filters)
    };
    assert_eq!(left(&["a/b", "a/+", "c/d"]), ["a/+", "c/d"]);
    assert_eq!(left(&["a/+", "a/+", "a/b/#"]), ["a/+", "a/b/#"]);
    assert_eq!(left(&["#", "a/b", "$SYS/#"]), ["#", "$SYS/#"]);
    assert_eq!(left(&["a/+/c", "a/b/+"]), ["a/+/c", "a/b/+"]);
}
