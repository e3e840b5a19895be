use super::*;

#[test]
fn patterns_name_streams() {
    for (pattern, name, is_match) in [
        ("a/*", "a/b/c", true),
        ("a/*", "a", false),
        ("*", "", true),
        ("*/m?", "x/l1/m2", true),
        ("*/m?", "x/l1/m22", false),
        ("*b*c", "abcbc", true),
        ("a", "ab", false),
        ("", "a", false),
        (r"a\*", "a*", true),
        (r"a\*", "ab", false),
        (r"a\\*", r"a\b", true),
        (r"a\", r"a\", true),
    ] {
        assert_eq!(matches(pattern, name), is_match, "{pattern} {name}");
    }
}

#[test]
fn patterns_that_nothing_below_a_name_can_match_are_told_apart() {
    for (pattern, may) in [
        ("vibration/*", true),
        ("vibration/*/m1", true),
        ("*", true),
        ("*/m1", true),
        ("v*", true),
        ("vibration/l1/m?", true),
        ("?ibration/x", true),
        ("vibraton/*", false),
        ("vibration", false),
        ("vibration/", false),
        ("temperature/*", false),
        ("", false),
    ] {
        assert_eq!(may_match_below(pattern, "vibration/"), may, "{pattern}");
    }
}

#[test]
fn a_stream_named_exactly_is_that_stream_alone() {
    let names = ["a*", "ab", "a?", r"a\*", r"a\b", r"a\", "a", "", "ä*?"];
    for name in names {
        let found = names.iter().filter(|other| matches(&exactly(name), other));
        assert_eq!(found.collect::<Vec<_>>(), [&name]);
    }
}
