#![allow(clippy::unwrap_used)]

use jiff::Timestamp;

use super::*;

fn shown(zone: &Zone, text: &str) -> String {
    let ns = text::ns(text, Some(zone)).unwrap();
    let timestamp = Timestamp::from_nanosecond(ns.into());
    timestamp.unwrap().to_string()
}

#[test]
fn zones_have_names_offsets_and_rules() {
    for (zone, expected) in [
        ("UTC", "2026-05-04T11:46:40Z"),
        ("utc", "2026-05-04T11:46:40Z"),
        ("Z", "2026-05-04T11:46:40Z"),
        ("+02:00", "2026-05-04T09:46:40Z"),
        ("+0200", "2026-05-04T09:46:40Z"),
        ("-03", "2026-05-04T14:46:40Z"),
        ("Europe/Berlin", "2026-05-04T09:46:40Z"),
        ("europe/berlin", "2026-05-04T09:46:40Z"),
        ("Asia/Kolkata", "2026-05-04T06:16:40Z"),
        ("CET-1CEST,M3.5.0,M10.5.0/3", "2026-05-04T09:46:40Z"),
    ] {
        let found = Zone::parse(zone).unwrap();
        assert_eq!(shown(&found, "2026-05-04T11:46:40"), expected, "{zone}");
        assert_eq!(found, Zone::parse(zone).unwrap());
    }
    assert_eq!(Zone::parse("UTC").unwrap(), Zone::UTC);
    assert_ne!(Zone::parse("+02:00").unwrap(), Zone::UTC);
}

#[test]
fn the_own_zone_is_that_of_the_system() {
    let own = Zone::parse("local").unwrap();
    assert_eq!(own, Zone(TimeZone::try_system().unwrap()));
}

#[test]
fn an_unknown_zone_is_told_with_what_may_be_written() {
    for zone in [
        "",
        "Local",
        "CEST",
        "Europe/Berln",
        "Berlin1",
        "../../../etc/passwd",
        "/etc/localtime",
        "+24:00",
        "+02:00 ",
        "2",
        ",",
        "CET-1CEST,M3.5.0",
        "Europe/Berlin\u{0}\n",
    ] {
        let error = Zone::parse(zone).unwrap_err();
        assert!(error.contains("\"+02:00\""), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn an_hour_that_comes_twice_is_its_first_pass() {
    for zone in ["Europe/Berlin", "CET-1CEST,M3.5.0,M10.5.0/3"] {
        let zone = Zone::parse(zone).unwrap();
        for (text, expected) in [
            ("2026-10-25T01:59:59", "2026-10-24T23:59:59Z"),
            ("2026-10-25T02:30:00", "2026-10-25T00:30:00Z"),
            ("2026-10-25T03:00:00", "2026-10-25T02:00:00Z"),
        ] {
            assert_eq!(shown(&zone, text), expected, "{text}");
        }
    }
}

#[test]
fn a_skipped_time_is_moved_ahead_by_the_gap() {
    for zone in ["Europe/Berlin", "CET-1CEST,M3.5.0,M10.5.0/3"] {
        let zone = Zone::parse(zone).unwrap();
        for (text, expected) in [
            ("2026-03-29T01:59:59", "2026-03-29T00:59:59Z"),
            // 03:30 in summer time.
            ("2026-03-29T02:30:00", "2026-03-29T01:30:00Z"),
            ("2026-03-29T03:00:00", "2026-03-29T01:00:00Z"),
        ] {
            assert_eq!(shown(&zone, text), expected, "{text}");
        }
    }
}

#[test]
fn times_that_come_twice_or_never_are_told() {
    let zone = Zone::parse("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
    let rule = super::super::TimeRule {
        unit: super::super::TimeUnit::BySize,
        zone: Some(zone),
        format: None,
    };
    for (text, is_doubtful) in [
        ("2026-10-25T01:59:59", false),
        ("2026-10-25T02:30:00", true),
        ("2026-10-25T02:30:00+01:00", false),
        ("2026-10-25T03:00:00", false),
        ("2026-03-29T02:30:00", true),
        ("2026-03-29T03:30:00", false),
        ("2026-07-01T02:30:00", false),
        ("1792891800", false),
    ] {
        let ns = rule.written_ns(text).unwrap();
        assert_eq!(rule.is_doubtful(text, ns), is_doubtful, "{text}");
    }
}
