use super::*;

#[test]
fn distance_counts_slips() {
    for (a, b, expected) in [
        ("", "", 0),
        ("abc", "abc", 0),
        ("abc", "ABC", 0),
        ("abc", "acb", 1),
        ("abc", "abcd", 1),
        ("abc", "bc", 1),
        ("abc", "xyz", 3),
        ("", "abc", 3),
    ] {
        assert_eq!(distance(a, b), expected, "{a} {b}");
        assert_eq!(distance(b, a), expected, "{b} {a}");
    }
}

#[test]
fn nearest_is_near_or_nothing() {
    let known = ["mqtt", "upstream", "buffer"];
    assert_eq!(nearest("mqqt", known), Some("mqtt"));
    assert_eq!(nearest("upstraem", known), Some("upstream"));
    assert_eq!(nearest("database", known), None);
    assert_eq!(nearest("", known), None);
    assert_eq!(nearest("4", ["5"]), None);
}
