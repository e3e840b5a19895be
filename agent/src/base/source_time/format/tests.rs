#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

/// 2026-05-04T11:46:40Z.
const NS: i64 = 1_777_895_200_000_000_000;
const HOUR_NS: i64 = 3_600_000_000_000;

#[test]
fn texts_are_read_as_the_format_says() {
    let day = NS - (11 * 3600 + 46 * 60 + 40) * 1_000_000_000;
    for (format, text, expected) in [
        ("%d.%m.%Y %H:%M:%S", "04.05.2026 11:46:40", NS),
        ("%d.%m.%Y %H:%M:%S", "4.5.2026 11:46:40", NS),
        ("%d.%m.%y %H:%M:%S", "04.05.26 11:46:40", NS),
        ("%m/%d/%Y %I:%M:%S %p", "05/04/2026 11:46:40 AM", NS),
        (
            "%m/%d/%Y %I:%M:%S %p",
            "5/4/2026 11:46:40 pm",
            NS + 12 * HOUR_NS,
        ),
        (
            "%m/%d/%Y %I:%M:%S %p",
            "5/4/2026 12:46:40 am",
            NS - 11 * HOUR_NS,
        ),
        (
            "%Y-%m-%d %H:%M:%S,%f",
            "2026-05-04 11:46:40,5",
            NS + 500_000_000,
        ),
        (
            "%Y-%m-%dT%H:%M:%S%.f",
            "2026-05-04T11:46:40.000000001",
            NS + 1,
        ),
        ("%Y-%m-%dT%H:%M:%S%.f", "2026-05-04T11:46:40", NS),
        ("%a %b %e %H:%M:%S %Y", "Mon May  4 11:46:40 2026", NS),
        ("%Y-%j %T", "2026-124 11:46:40", NS),
        ("%Y%m%d%H%M%S", "20260504114640", NS),
        ("%d.%m.%Y", "04.05.2026", day),
        ("%d.%m.%Y %H:%M", "04.05.2026 11:46", NS - 40_000_000_000),
        ("Zeit: %F %T.", "Zeit: 2026-05-04 11:46:40.", NS),
    ] {
        let format = TimeFormat::parse(format).unwrap();
        assert!(format.needs_zone(), "{text}");
        assert_eq!(format.ns(text, Some(&Zone::UTC)), Ok(expected), "{text}");
        assert_eq!(format.ns(text, None), Err(TimeError::NeedsZone), "{text}");
        let zone = Zone::parse("+02:00").unwrap();
        let expected = Ok(expected - 2 * HOUR_NS);
        assert_eq!(format.ns(text, Some(&zone)), expected, "{text}");
    }
}

#[test]
fn the_offset_of_a_text_counts_before_the_zone() {
    let zone = Zone::parse("-05:00").unwrap();
    for (format, text) in [
        ("%F %T %z", "2026-05-04 13:46:40 +0200"),
        ("%F %T%:z", "2026-05-04 13:46:40+02:00"),
        ("%s", "1777895200"),
        ("@%s", "@1777895200"),
    ] {
        let format = TimeFormat::parse(format).unwrap();
        assert!(!format.needs_zone(), "{text}");
        assert_eq!(format.ns(text, None), Ok(NS), "{text}");
        assert_eq!(format.ns(text, Some(&zone)), Ok(NS), "{text}");
    }
}

#[test]
fn other_texts_are_not_in_the_format() {
    let format = TimeFormat::parse("%d.%m.%Y %H:%M:%S").unwrap();
    for text in [
        "",
        "04.05.2026",
        "31.02.2026 11:46:40",
        "04.05.2026 11:46:40Z",
        "4/5/2026 11:46:40",
    ] {
        let error = format.ns(text, Some(&Zone::UTC));
        assert_eq!(error, Err(TimeError::NotInFormat), "{text}");
    }
    let far = format.ns("04.05.2500 11:46:40", Some(&Zone::UTC));
    assert_eq!(far, Err(TimeError::OutOfRange));
}

#[test]
fn a_format_of_digits_is_told_from_one_of_others() {
    for (format, expected) in [
        ("%Y%m%d%H%M%S", true),
        ("%Y%m%d%H%M%S%.f", true),
        ("%Y%m%d", true),
        ("%s", true),
        ("%d.%m.%Y", false),
        ("%Y-%m-%d", false),
        ("%Y%m%dT%H%M%S", false),
    ] {
        let parsed = TimeFormat::parse(format).unwrap();
        assert_eq!(parsed.makes_numbers(), expected, "{format}");
    }
}

#[test]
fn a_format_that_names_no_moment_is_refused() {
    for (format, complaint) in [
        ("", "year"),
        ("yyyy-MM-dd", "year"),
        ("%H:%M:%S", "year"),
        ("%d.%m. %H:%M", "year"),
        ("%Y", "day"),
        ("%Y-%m-%d %M:%S", "hour"),
        ("%Y-%m-%d %I:%M", "%p"),
        ("%Y-%m-%d %T %Z", "abbreviation"),
        ("%Y-%m-%d %T %Q", "%Q"),
        ("%c", "locale"),
        ("%Y-%m-%d %", "%"),
        ("%Y-%m-%d %!", "!"),
        ("%s%.f", "%s"),
        ("%m/%d/%y %C", "2000-12-24"),
    ] {
        let parsed = TimeFormat::parse(format);
        let error = parsed.expect_err(format);
        assert!(error.contains(complaint), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

proptest! {
    #[test]
    fn no_format_panics(
        format in "(%[-_0^#]?[0-9]{0,3}[.:]{0,3}[a-zA-Z%]|[ -~]|\\PC){0,8}",
        text in "[ -~]{0,30}",
    ) {
        if let Ok(format) = TimeFormat::parse(&format) {
            let _ = format.ns(&text, Some(&Zone::UTC));
            let _ = format.ns(&text, None);
        }
    }
}
