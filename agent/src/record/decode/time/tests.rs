use super::*;

#[test]
fn the_unit_is_told_by_size() {
    let by_size = |text| decimal_ns(text, TimeUnit::BySize);
    let expected = Some(1_790_000_000_123_000_000);
    assert_eq!(by_size("1790000000.123"), expected);
    assert_eq!(by_size("1790000000123"), expected);
    assert_eq!(by_size("1.790000000123e12"), expected);
    assert_eq!(by_size("1790000000123000"), expected);
    assert_eq!(by_size("1790000000123000000"), expected);
    assert_eq!(by_size("0"), Some(0));
}

#[test]
fn decimals_keep_every_nanosecond() {
    let seconds = |text| decimal_ns(text, TimeUnit::Seconds);
    assert_eq!(seconds("1700000000"), Some(1_700_000_000_000_000_000));
    assert_eq!(
        seconds("1700000000.123456789"),
        Some(1_700_000_000_123_456_789)
    );
    assert_eq!(seconds("1.7e+09"), Some(1_700_000_000_000_000_000));
    assert_eq!(seconds("17E8"), Some(1_700_000_000_000_000_000));
    assert_eq!(seconds("-0.5"), Some(-500_000_000));
    assert_eq!(seconds("0.0000000019"), Some(1));
    assert_eq!(seconds("5e-12"), Some(0));
    assert_eq!(seconds("0e2000000000"), Some(0));
    assert_eq!(
        decimal_ns("1700000000123.5", TimeUnit::Millis),
        Some(1_700_000_000_123_500_000)
    );
    assert_eq!(decimal_ns("5", TimeUnit::Micros), Some(5_000));
    assert_eq!(decimal_ns("5.9", TimeUnit::Nanos), Some(5));
}

#[test]
fn what_is_no_time_or_does_not_fit_is_none() {
    for text in [
        "",
        "-",
        ".",
        "1e",
        "NaN",
        "1_0",
        "1e2000000000",
        "1e11",
        "0x10",
        "+-1",
    ] {
        assert_eq!(decimal_ns(text, TimeUnit::Seconds), None, "{text}");
    }
}

#[test]
fn texts_are_rfc_3339_with_an_offset() {
    assert_eq!(rfc3339_ns("1970-01-01T00:00:01.5Z"), Some(1_500_000_000));
    assert_eq!(rfc3339_ns("1970-01-01T02:00:00+02:00"), Some(0));
    assert_eq!(rfc3339_ns("1970-01-01T00:00:00"), None);
    assert_eq!(rfc3339_ns("2500-01-01T00:00:00Z"), None);
    assert_eq!(rfc3339_ns("yesterday"), None);
}
