#![allow(clippy::unwrap_used)]

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

/// 2026-05-04T09:46:40.123Z.
const NS: i64 = 1_777_888_000_123_000_000;

fn rule(unit: TimeUnit, zone: &str, format: &str) -> TimeRule {
    TimeRule {
        unit,
        zone: (!zone.is_empty()).then(|| Zone::parse(zone).unwrap()),
        format: (!format.is_empty()).then(|| TimeFormat::parse(format).unwrap()),
    }
}

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
fn what_is_no_decimal_is_told_from_what_does_not_fit() {
    for text in ["", "-", ".", "1e", "NaN", "1_0", "0x10", "+-1", "+1", " 1"] {
        let error = decimal(text, TimeUnit::Seconds);
        assert_eq!(error, Err(TimeError::NotATime), "{text}");
        assert_eq!(decimal_ns(text, TimeUnit::Seconds), None, "{text}");
    }
    for text in ["1e2000000000", "1e11", "-1e11", "99999999999999999999"] {
        let error = decimal(text, TimeUnit::Seconds);
        assert_eq!(error, Err(TimeError::OutOfRange), "{text}");
        assert_eq!(decimal_ns(text, TimeUnit::Seconds), None, "{text}");
    }
}

#[test]
fn numbers_are_numbers_however_they_come() {
    let by_size = rule(TimeUnit::BySize, "", "");
    for cell in [
        "1777888000123",
        "1777888000.123",
        " 1777888000123 ",
        "1777888000123",
        "1777888000.123",
        "1777888000123",
        " 1777888000.123\n",
        "1.777888000123e9",
    ] {
        assert_eq!(by_size.written_ns(cell), Ok(NS), "{cell:?}");
    }
    let seconds = rule(TimeUnit::Seconds, "", "");
    assert_eq!(seconds.written_ns("-0.5"), Ok(-500_000_000));
    for (cell, error) in [
        (
            "170141183460469231731687303715884105727",
            TimeError::OutOfRange,
        ),
        ("1e300", TimeError::OutOfRange),
        ("NaN", TimeError::NotATime),
        ("inf", TimeError::NotATime),
        ("", TimeError::NotATime),
        ("yesterday", TimeError::NotATime),
        ("2026-05-04T11:46:40", TimeError::NeedsZone),
        ("2500-01-01T00:00:00Z", TimeError::OutOfRange),
    ] {
        assert_eq!(seconds.written_ns(cell), Err(error), "{cell:?}");
    }
}

#[test]
fn texts_are_read_in_every_form() {
    let berlin = rule(TimeUnit::BySize, "Europe/Berlin", "");
    for written in [
        "2026-05-04T09:46:40.123Z",
        "2026-05-04T11:46:40.123",
        " 2026-05-04 11:46:40,123 ",
        "/Date(1777888000123)/",
    ] {
        assert_eq!(berlin.written_ns(written), Ok(NS), "{written}");
        assert_eq!(berlin.written_ns(written), Ok(NS), "{written}");
    }
}

#[test]
fn a_format_reads_texts_and_leaves_numbers_alone() {
    let german = rule(TimeUnit::Millis, "Europe/Berlin", "%d.%m.%Y %H:%M:%S%.f");
    assert_eq!(german.written_ns("04.05.2026 11:46:40.123"), Ok(NS));
    assert_eq!(german.written_ns(" 4.5.2026 11:46:40.123 "), Ok(NS));
    assert_eq!(german.written_ns("1777888000123"), Ok(NS));
    assert_eq!(german.written_ns("1777888000123"), Ok(NS));
    let other = german.written_ns("2026-05-04T09:46:40Z");
    assert_eq!(other, Err(TimeError::NotInFormat));
}

#[test]
fn a_format_of_digits_reads_numbers_too() {
    let digits = rule(TimeUnit::BySize, "UTC", "%Y%m%d%H%M%S");
    let expected = Ok(NS - 123_000_000);
    for cell in ["20260504094640", "20260504094640"] {
        assert_eq!(digits.written_ns(cell), expected, "{cell:?}");
    }
    let counted = digits.written_ns("1777888000123");
    assert_eq!(counted, Err(TimeError::NotInFormat));
}

#[test]
fn an_error_says_what_to_write() {
    let plain = rule(TimeUnit::BySize, "", "");
    let error = plain.written_ns("2026-05-04T11:46:40").unwrap_err();
    assert!(error.to_string().contains("time_zone = \"local\""));
    let error = plain.written_ns("04.05.2026").unwrap_err();
    assert!(error.to_string().contains("time_format"));
}

#[test]
fn long_texts_take_no_longer_than_they_are() {
    let rules = [
        rule(TimeUnit::BySize, "UTC", ""),
        rule(TimeUnit::BySize, "UTC", "%d.%m.%Y %H:%M:%S"),
    ];
    for start in [
        "2026-05-04T09:46:40.",
        "",
        "-",
        "Mon, 04 May 2026 ",
        "4.5.2026",
        "/Date(",
    ] {
        for filler in ["0", "9", " ", "(", "\\(", "[", "-", "e1", "T"] {
            let long = format!("{start}{}", filler.repeat(200_000));
            for rule in &rules {
                let _ = rule.written_ns(&long);
                let _ = rule.written_ns(&format!("{long}]"));
            }
        }
    }
}

/// Times as their sources write them, for mutation.
const WRITTEN: [&str; 12] = [
    "1777888000.123",
    "-1.7e+09",
    "2026-05-04T09:46:40.123Z",
    "2026-05-04 11:46:40,123 +0200",
    "2026-05-04T11:46:40+02:00[Europe/Berlin]",
    "2026-05-04T11:46:40",
    "2026-05-04",
    "20260504T094640Z",
    "Mon, 04 May 2026 09:46:40 GMT",
    "/Date(1777888000123+0200)/",
    "04.05.2026 11:46:40",
    "05/04/2026 11:46:40 AM",
];

static RULES: LazyLock<Vec<TimeRule>> = LazyLock::new(|| {
    let units = [TimeUnit::BySize, TimeUnit::Seconds, TimeUnit::Nanos];
    let formats = [
        "",
        "%d.%m.%Y %H:%M:%S",
        "%m/%d/%Y %I:%M:%S %p",
        "%s",
        "%FT%T%.f%:z",
    ];
    let zones = ["", "Europe/Berlin", "-23:59"];
    let mut rules = Vec::new();
    for unit in units {
        for format in formats {
            rules.extend(zones.map(|zone| rule(unit, zone, format)));
        }
    }
    rules
});

proptest! {
    #[test]
    fn no_text_panics(written in any::<String>(), printable in "[ -~]{0,40}") {
        for rule in RULES.iter() {
            for written in [&written, &printable] {
                let _ = rule.written_ns(written);
                let _ = rule.written_ns(written);
            }
        }
    }

    #[test]
    fn no_damage_panics(
        written in prop::sample::select(&WRITTEN[..]),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3), 1..4),
    ) {
        let mut bytes = written.as_bytes().to_vec();
        for (at, byte, kind) in damage {
            let at = at.index(bytes.len().max(1));
            match kind {
                0 => bytes.insert(at.min(bytes.len()), byte),
                1 if at < bytes.len() => bytes[at] = byte,
                _ if at < bytes.len() => drop(bytes.remove(at)),
                _ => {}
            }
        }
        let damaged = String::from_utf8_lossy(&bytes);
        for rule in RULES.iter() {
            let _ = rule.written_ns(&damaged);
        }
    }

    #[test]
    fn no_number_panics(integer in any::<i128>(), float in any::<f64>()) {
        for rule in RULES.iter() {
            let _ = rule.written_ns(&integer.to_string());
            let _ = rule.written_ns(&float.to_string());
        }
    }

    #[test]
    fn nanoseconds_survive_as_any_number(ns in -i64::MAX..) {
        let rule = rule(TimeUnit::Nanos, "", "");
        prop_assert_eq!(rule.written_ns(&ns.to_string()), Ok(ns));
        prop_assert_eq!(rule.written_ns(&ns.to_string()), Ok(ns));
    }

    #[test]
    fn what_begins_as_a_dashed_date_is_no_number(written in "[0-9eE.+-]{8,12}") {
        if text::is_dashed_date(&written) {
            prop_assert_eq!(decimal(&written, TimeUnit::BySize), Err(TimeError::NotATime));
        }
    }
}

proptest! {
    #[test]
    fn a_whole_number_is_what_it_is_with_a_fraction_of_nothing(
        text in prop_oneof!["[0-9]{1,20}", "0{0,9}[0-9]{1,12}"],
        unit in prop_oneof![
            Just(TimeUnit::BySize), Just(TimeUnit::Seconds), Just(TimeUnit::Millis), Just(TimeUnit::Nanos)
        ],
    ) {
        prop_assert_eq!(decimal(&text, unit), decimal(&format!("{text}.0"), unit));
    }
}
