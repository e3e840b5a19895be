use proptest::prelude::*;

use super::*;

fn of(windows: u64, error: f64) -> Evaluation {
    Evaluation {
        windows,
        error_sum: error * windows as f64,
        ..Evaluation::default()
    }
}

const SETTINGS: GateSettings = GateSettings {
    margin: 0.1,
    windows_min: 10,
};

fn reason(candidate: f64, incumbent: Option<f64>, baseline: f64) -> Reason {
    let incumbent = incumbent.map(|error| of(10, error));
    let (candidate, baseline) = (of(10, candidate), of(10, baseline));
    let decision = decide(&SETTINGS, &candidate, incumbent.as_ref(), &baseline);
    assert_eq!(decision.promoted, decision.reason == Reason::Better);
    assert!(!decision.explain().is_empty());
    decision.reason
}

#[test]
fn both_must_be_beaten_by_the_margin() {
    use Reason::{Better, NotBetterThan};
    assert_eq!(reason(0.89, Some(1.0), 1.0), Better);
    assert_eq!(reason(0.89, None, 1.0), Better);
    assert_eq!(
        reason(0.91, Some(1.0), 2.0),
        NotBetterThan(Whose::Incumbent)
    );
    assert_eq!(reason(0.91, Some(2.0), 1.0), NotBetterThan(Whose::Baseline));
    assert_eq!(reason(0.0, Some(0.0), 1.0), NotBetterThan(Whose::Incumbent));
}

#[test]
fn what_is_no_number_is_refused() {
    use Reason::NotFinite;
    assert_eq!(reason(f64::NAN, None, 1.0), NotFinite(Whose::Candidate));
    assert_eq!(reason(-1.0, None, 1.0), NotFinite(Whose::Candidate));
    assert_eq!(
        reason(0.1, Some(f64::NAN), 1.0),
        NotFinite(Whose::Incumbent)
    );
    assert_eq!(reason(0.1, None, f64::INFINITY), NotFinite(Whose::Baseline));
}

#[test]
fn windows_must_be_enough_and_the_same() {
    let decide = |settings: &GateSettings, candidate, incumbent, baseline| {
        decide(
            settings,
            &of(candidate, 0.1),
            Some(&of(incumbent, 1.0)),
            &of(baseline, 1.0),
        )
        .reason
    };
    assert_eq!(decide(&SETTINGS, 9, 9, 9), Reason::TooFewWindows);
    assert_eq!(
        decide(&SETTINGS, 10, 9, 10),
        Reason::OtherWindows(Whose::Incumbent)
    );
    assert_eq!(
        decide(&SETTINGS, 10, 10, 11),
        Reason::OtherWindows(Whose::Baseline)
    );
    let careless = GateSettings {
        margin: 0.0,
        windows_min: 0,
    };
    assert_eq!(decide(&careless, 0, 0, 0), Reason::TooFewWindows);
    let senseless = GateSettings {
        margin: f64::NAN,
        ..SETTINGS
    };
    assert_eq!(
        decide(&senseless, 10, 10, 10),
        Reason::NotBetterThan(Whose::Incumbent)
    );
}

#[test]
fn a_decision_survives_json() {
    let decision = decide(&SETTINGS, &of(10, f64::NAN), None, &of(10, 1.0)).finite();
    let back: Result<Decision, _> =
        serde_json::to_string(&decision).and_then(|text| serde_json::from_str(&text));
    assert_eq!(back.ok(), Some(decision));
}

proptest! {
    #[test]
    fn nothing_worse_is_ever_promoted(
        candidate in any::<f64>(), incumbent in any::<f64>(), baseline in any::<f64>(),
        windows in 0u64..30, margin in 0.0..1.0,
    ) {
        let settings = GateSettings { margin, windows_min: 10 };
        let decision = decide(
            &settings, &of(windows, candidate), Some(&of(windows, incumbent)),
            &of(windows, baseline),
        );
        if decision.promoted {
            prop_assert!(candidate < incumbent && candidate < baseline && windows >= 10);
        }
    }
}
