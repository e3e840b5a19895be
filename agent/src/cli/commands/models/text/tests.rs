use dunlin_models::{
    data::Lineage,
    judging::gate::{GateSettings, decide},
    registry::{Evaluations, ModelKey},
};

use super::*;

fn version() -> Version {
    let of = |error_sum| Evaluation {
        windows: 100,
        error_sum,
        ..Evaluation::default()
    };
    let (candidate, baseline) = (of(25.0), of(100.0));
    Version {
        key: ModelKey::new("ridge", "press/m1\u{1b}[2J"),
        number: 3,
        status: "available".into(),
        is_current: true,
        kind: "ridge_nlinear".into(),
        parent: Some(2),
        created_ns: 1_780_000_000_000_000_000,
        seed: 7,
        lineage: Lineage {
            query: "press/m1 last 1000".into(),
            first_ts: 1_000_000_000,
            last_ts: 2_000_000_000,
            rows: 1_000,
            rows_hash: 1,
        },
        decision: Some(decide(
            &GateSettings::default(),
            &candidate,
            None,
            &baseline,
        )),
        evaluations: Evaluations {
            candidate: Some(candidate),
            incumbent: None,
            baseline: Some(baseline),
        },
        artifact_bytes: 2_048,
        sha256: "ab".into(),
    }
}

#[test]
fn a_list_fits_a_terminal_and_nothing_steers_it() {
    let other = Version {
        number: 12,
        status: "retired".into(),
        is_current: false,
        evaluations: Evaluations::default(),
        ..version()
    };
    let text = listed(&[version().into(), other.into()]);
    assert_eq!(
        text,
        "   recipe  stream             version  status     made                  rows   error   \
             baseline  size\n\
             *  ridge   press/m1\\u{1b}[2J  3        available  2026-05-28T20:26:40Z  1,000  0.2500  \
             1.0000    2.0 kB\n   ridge   press/m1\\u{1b}[2J  12       retired    \
             2026-05-28T20:26:40Z  1,000  -       -         2.0 kB\n* serves\n"
    );
    assert_eq!(listed(&[]), "there are no models\n");
}

#[test]
fn what_differs_is_marked() {
    let mut other = version();
    (other.number, other.seed) = (4, 8);
    let text = compared(&version(), &other);
    let marked: Vec<Vec<&str>> = text
        .lines()
        .filter(|line| line.starts_with('!'))
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        marked,
        [["!", "version", "3", "4"], ["!", "seed", "7", "8"]]
    );
    assert!(!text.contains("rows of its own time"), "{text}");
    other.lineage.rows_hash = 2;
    assert!(compared(&version(), &other).contains("rows of its own time"));
}

#[test]
fn the_facts_hold_the_gates_word() {
    let facts = facts(&version());
    let of = |name| {
        facts
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, fact)| fact.as_str())
    };
    assert_eq!(
        of("gate"),
        Some("passed: better than all others on 100 windows")
    );
    assert_eq!(of("error"), Some("0.2500 on 100 windows"));
    assert_eq!(of("incumbent"), Some("-"));
    assert_eq!(
        of("rows"),
        Some("1,000, 1970-01-01T00:00:01Z to 1970-01-01T00:00:02Z")
    );
}
