#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

/// 2026-05-04T09:46:40Z.
const NS: i64 = 1_777_888_000_000_000_000;

#[test]
fn texts_with_an_offset_need_no_zone() {
    for text in [
        "2026-05-04T09:46:40Z",
        "2026-05-04t09:46:40z",
        "2026-05-04 09:46:40Z",
        "2026-05-04 09:46:40 Z",
        "2026-05-04  09:46:40 UTC",
        "2026-05-04 09:46:40 GMT",
        "2026-05-04 09:46:40 utc",
        "2026-05-04T11:46:40+02:00",
        "2026-05-04T11:46:40+0200",
        "2026-05-04T11:46:40+02",
        "2026-05-04 11:46:40 +0200",
        "2026-05-04T06:16:40-03:30",
        "2026-05-04T09:46:40-00:00",
        "20260504T094640Z",
        "20260504T114640+0200",
        "20260504 094640 UTC",
        "2026-05-04T094640Z",
        "2026-05-04T11:46:40+02:00[Europe/Berlin]",
        "2026-05-04T09:46:40Z[UTC]",
        "Mon, 04 May 2026 09:46:40 GMT",
        "Mon, 4 May 2026 11:46:40 +0200",
        "04 May 2026 09:46:40 +0000",
        "/Date(1777888000000)/",
        "/Date(1777888000000+0200)/",
        "/Date(1777888000000-0700)/",
    ] {
        assert_eq!(ns(text, None), Ok(NS), "{text}");
        // A zone changes nothing.
        let zone = Zone::parse("-05:00").unwrap();
        assert_eq!(ns(text, Some(&zone)), Ok(NS), "{text}");
    }
    let minute = NS - 40_000_000_000;
    assert_eq!(ns("2026-05-04T09:46Z", None), Ok(minute));
    assert_eq!(ns("20260504T0946Z", None), Ok(minute));
    assert_eq!(ns("/Date(-1)/", None), Ok(-1_000_000));
    assert_eq!(ns("/Date(-1-0100)/", None), Ok(-1_000_000));
}

#[test]
fn fractions_have_any_number_of_digits() {
    for (fraction, fraction_ns) in [
        (".5", 500_000_000),
        (",5", 500_000_000),
        (".123", 123_000_000),
        (".123456789", 123_456_789),
        (".1234567899999", 123_456_789),
        (",00000000000000000001", 0),
        (".000000000", 0),
    ] {
        let text = format!("2026-05-04T09:46:40{fraction}Z");
        assert_eq!(ns(&text, None), Ok(NS + fraction_ns), "{text}");
        let text = format!("20260504T094640{fraction}+00");
        assert_eq!(ns(&text, None), Ok(NS + fraction_ns), "{text}");
    }
    // Cut off towards the past, as everywhere.
    assert_eq!(ns("1969-12-31T23:59:59.9999999999Z", None), Ok(-1));
}

#[test]
fn a_leap_second_is_the_second_before_it() {
    let expected = ns("2016-12-31T23:59:59.5Z", None);
    assert!(expected.is_ok());
    assert_eq!(ns("2016-12-31T23:59:60.5Z", None), expected);
}

#[test]
fn texts_without_an_offset_need_a_zone() {
    let day = NS - (9 * 3600 + 46 * 60 + 40) * 1_000_000_000;
    for (text, expected) in [
        ("2026-05-04T09:46:40", NS),
        ("2026-05-04 09:46:40", NS),
        ("2026-05-04 09:46:40.5", NS + 500_000_000),
        ("2026-05-04 09:46:40,5", NS + 500_000_000),
        ("2026-05-04 09:46", NS - 40_000_000_000),
        ("20260504T094640", NS),
        ("2026-05-04", day),
    ] {
        assert_eq!(ns(text, None), Err(TimeError::NeedsZone), "{text}");
        assert_eq!(ns(text, Some(&Zone::UTC)), Ok(expected), "{text}");
        let zone = Zone::parse("+02:00").unwrap();
        let expected = expected - 7_200_000_000_000;
        assert_eq!(ns(text, Some(&zone)), Ok(expected), "{text}");
    }
}

#[test]
fn other_texts_are_no_times() {
    for text in [
        "",
        "yesterday",
        "2026",
        "20260504",
        "2026-0504",
        "202605-04",
        "2026-05-04T",
        "2026-05-04T09",
        "2026-05-04T09Z",
        "2026-05-04T9:46:40Z",
        "2026-05-04T09:46:Z",
        "2026-05-04T09:46:40.Z",
        "2026-05-04T09:46.5Z",
        "2026-05-04T09:4640Z",
        "2026-05-04T24:00:00Z",
        "2026-05-04T09:60:40Z",
        "2026-05-04T09:46:61Z",
        "2026-02-29T09:46:40Z",
        "2026-13-04T09:46:40Z",
        "2026-00-04T09:46:40Z",
        "2026-05-04Z",
        "2026-05-04T09:46:40CEST",
        "2026-05-04T09:46:40+",
        "2026-05-04T09:46:40+2",
        "2026-05-04T09:46:40+02:",
        "2026-05-04T09:46:40+02:0",
        "2026-05-04T09:46:40+24:00",
        "2026-05-04T09:46:40+02:60",
        "2026-05-04T09:46:40+02:00:00",
        "2026-05-04T09:46:40Z Z",
        "2026-05-04T09:46:40[Europe/Berlin]",
        "２０２６-05-04T09:46:40Z",
        "Tue, 04 May 2026 09:46:40 GMT",
        "Mon, 04 May 2026",
        "/Date()/",
        "/Date(-)/",
        "/Date(1.5)/",
        "/Date(+0200)/",
        "/Date(17+02000)/",
        "/Date(17++0200)/",
        "/Date(17)",
        "Date(17)",
    ] {
        assert_eq!(
            ns(text, Some(&Zone::UTC)),
            Err(TimeError::NotATime),
            "{text}"
        );
    }
}

#[test]
fn what_64_bits_do_not_hold_is_out_of_range() {
    let first = "1677-09-21T00:12:43.145224192Z";
    let last = "2262-04-11T23:47:16.854775807Z";
    assert_eq!(ns(first, None), Ok(i64::MIN));
    assert_eq!(ns(last, None), Ok(i64::MAX));
    for text in [
        "1677-09-21T00:12:43.145224191Z",
        "2262-04-11T23:47:16.854775808Z",
        "0000-01-01T00:00:00Z",
        "9999-12-31T23:59:59-23:59",
        "0000-01-01",
        "9999-12-31",
        "Fri, 01 Jan 2500 00:00:00 GMT",
        "/Date(17778880000000)/",
    ] {
        let zone = Zone::parse("-23:59").unwrap();
        assert_eq!(ns(text, Some(&zone)), Err(TimeError::OutOfRange), "{text}");
    }
}

fn of_jiff(text: &str) -> Option<i64> {
    let timestamp: Timestamp = text.parse().ok()?;
    i64::try_from(timestamp.as_nanosecond()).ok()
}

proptest! {
    #[test]
    fn rfc_3339_is_read_as_jiff_reads_it(
        instant_ns in any::<i64>(),
        offset_min in -1439..1440_i32,
        digits in 0..10_u8,
        has_blank in any::<bool>(),
    ) {
        let instant = Timestamp::from_nanosecond(instant_ns.into()).unwrap();
        let utc = format!("{instant:.*}", usize::from(digits));
        prop_assert_eq!(ns(&utc, None).ok(), of_jiff(&utc), "{}", utc);
        prop_assert!(ns(&utc, None).is_ok() || instant_ns < i64::MIN + 1_000_000_000);

        let offset = Offset::from_seconds(offset_min * 60).unwrap();
        let shown = offset.to_datetime(instant);
        let between = if has_blank { ' ' } else { 'T' };
        let sign = if offset_min < 0 { '-' } else { '+' };
        let (hours, minutes) = (offset_min.abs() / 60, offset_min.abs() % 60);
        let (date, time) = (shown.date(), shown.time());
        let text = format!("{date}{between}{time}{sign}{hours:02}:{minutes:02}");
        prop_assert_eq!(ns(&text, None), Ok(instant_ns), "{}", text);
        prop_assert_eq!(of_jiff(&text), Some(instant_ns), "{}", text);
    }

    #[test]
    fn a_time_that_jiff_reads_too_is_the_same(text in "[0-2][0-9]{3}-[01][0-9]-[0-3][0-9][T ]\
        [0-2][0-9]:?[0-6][0-9](:?[0-6][0-9]([.,][0-9]{1,9})?)?(Z|[+-][0-2][0-9](:?[0-6][0-9])?)") {
        if let (Some(ours), Some(theirs)) = (ns(&text, None).ok(), of_jiff(&text)) {
            prop_assert_eq!(ours, theirs, "{}", text);
        }
    }

    #[test]
    fn http_dates_are_read_as_written(second in 0..4_102_444_800_i64) {
        let instant = Timestamp::from_second(second).unwrap();
        let text = instant.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        prop_assert_eq!(ns(&text, None), Ok(second * 1_000_000_000), "{}", text);
    }
}
