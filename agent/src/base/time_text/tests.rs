use super::*;

#[test]
fn times_are_read_in_three_ways() {
    for (text, end, ns) in [
        ("-5", false, Some(-5)),
        ("1780000000000000000", true, Some(1_780_000_000_000_000_000)),
        ("1970-01-01T00:00:01Z", true, Some(1_000_000_000)),
        ("1970-01-01T01:00:00+01:00", false, Some(0)),
        ("1970-01-02", false, Some(DAY_NS)),
        ("1970-01-01", true, Some(DAY_NS - 1)),
        ("1970-01-01T01:00:00", false, None),
        ("yesterday", false, None),
        ("1970-13-01", false, None),
    ] {
        assert_eq!(parse(text, end), ns, "{text}");
    }
}
