#![allow(clippy::unwrap_used, clippy::single_range_in_vec_init)]

use super::*;

fn events(flagged: &[usize], spans: &[Range<usize>]) -> Events {
    let flags: Vec<bool> = (0..30).map(|row| flagged.contains(&row)).collect();
    Events::of(&flags, 5, 3, spans, 1.0)
}

#[test]
fn flags_close_together_are_one_alarm() {
    assert_eq!(events(&[6, 7, 10, 13], &[]).false_alarms, 1);
    assert_eq!(events(&[6, 10], &[]).false_alarms, 2);
    assert_eq!(events(&[0, 4], &[]).false_alarms, 0);
}

#[test]
fn an_alarm_belongs_to_the_span_it_begins_in() {
    let counts = |flagged: &[usize]| {
        let events = events(flagged, &[10..15, 20..22]);
        (events.spans, events.hit, events.false_alarms)
    };
    assert_eq!(counts(&[12, 15, 16]), (2, 1, 0));
    assert_eq!(counts(&[9, 12]), (2, 1, 1));
    assert_eq!(counts(&[14, 21]), (2, 2, 0));
    assert_eq!(counts(&[]), (2, 0, 0));
}

#[test]
fn spans_are_found_by_the_end_of_the_path() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("spans.json");
    let text = r#"{"a/x.csv": [["1970-01-01 00:00:02", "1970-01-01T00:00:03Z"]],
                       "b/x.csv": [], "c/y.csv": [["1971-01-01", "1972-01-01"]], "d/z.csv": [["?", ""]]}"#;
    std::fs::write(&path, text).unwrap();
    let of = |file: &str| {
        let table = Table {
            path: file.into(),
            ts: (0..10).map(|row| row * 1_000_000_000).collect(),
            has_time: true,
            ..Table::default()
        };
        spans(&path, &table)
    };
    assert_eq!(of("/data/a/x.csv").unwrap(), [2..4]);
    assert!(of("/data/b/x.csv").unwrap().is_empty());
    assert!(of("y.csv").unwrap().is_empty());
    for (file, part) in [("x.csv", "no entry"), ("z.csv", "no time")] {
        let error = of(file).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}
