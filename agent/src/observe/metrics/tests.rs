use super::*;

#[test]
fn a_whole_exposition() {
    let dropped = |reason: &str, count| {
        let labels = vec![("reason", reason.to_owned()), ("device", "d".to_owned())];
        Metric {
            name: "dropped_total",
            help: "Dropped.",
            kind: MetricKind::Counter,
            samples: vec![(labels, count)],
        }
    };
    let text = render(&[
        dropped("a \"quote\", a \\ and\na line", 1.0),
        Metric::gauge("lag_seconds", "A \\ and\n\"lag\".", 0.25),
        dropped("full", 1e15),
        Metric::counter("sent_total", "Sent.", 12_345_678_901),
    ]);
    let expected = r#"# HELP dropped_total Dropped.
# TYPE dropped_total counter
dropped_total{reason="a \"quote\", a \\ and\na line",device="d"} 1
dropped_total{reason="full",device="d"} 1000000000000000
# HELP lag_seconds A \\ and\n"lag".
# TYPE lag_seconds gauge
lag_seconds 0.25
# HELP sent_total Sent.
# TYPE sent_total counter
sent_total 12345678901
"#;
    assert_eq!(text, expected);
    assert_eq!(render(&[]), "");
}

#[test]
fn values_that_are_no_numbers() {
    for (value, expected) in [
        (f64::NAN, "x NaN\n"),
        (f64::INFINITY, "x +Inf\n"),
        (f64::NEG_INFINITY, "x -Inf\n"),
        (-0.5, "x -0.5\n"),
    ] {
        let text = render(&[Metric::gauge("x", "An x.", value)]);
        assert!(text.ends_with(expected), "{text}");
    }
}
