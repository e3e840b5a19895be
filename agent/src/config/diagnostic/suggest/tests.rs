use super::*;

#[test]
fn nearest_is_near_or_nothing() {
    let known = ["mqtt", "upstream", "buffer"];
    assert_eq!(nearest("mqqt", known), Some("mqtt"));
    assert_eq!(nearest("upstraem", known), Some("upstream"));
    assert_eq!(nearest("UPSTREAM", known), Some("upstream"));
    assert_eq!(nearest("database", known), None);
    assert_eq!(nearest("", known), None);
    assert_eq!(nearest("4", ["5"]), None);
}
