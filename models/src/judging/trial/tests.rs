#![allow(clippy::unwrap_used)]

use rand::{RngExt as _, SeedableRng, rngs::Xoshiro256PlusPlus};

use super::*;

/// The verdict after `rows` rows with errors of the new version `factor` times as great.
fn run(factor: f64, rows: usize, seed: u64) -> (Verdict, usize) {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut trial = Trial::new(TrialSettings::default());
    for row in 1..=rows {
        // A fault now and then, which both see.
        let hard = if rng.random_bool(0.01) { 50.0 } else { 1.0 };
        let (a, b): (f64, f64) = (rng.random(), rng.random());
        let verdict = trial.add(hard * a * factor, hard * b);
        if verdict != Verdict::Undecided {
            return (verdict, row);
        }
    }
    (Verdict::Undecided, rows)
}

#[test]
fn an_equal_version_is_trusted_and_a_worse_one_taken_back() {
    for seed in 0..100 {
        assert_eq!(
            run(1.0, 20_000, seed),
            (Verdict::Trusted, 10_000),
            "seed {seed}"
        );
        assert_eq!(run(0.5, 20_000, seed).0, Verdict::Trusted);
        let (verdict, rows) = run(2.0, 20_000, seed);
        assert_eq!(verdict, Verdict::RollBack, "seed {seed}");
        assert!(rows < 10_000, "{rows}");
    }
}

#[test]
fn a_bad_moment_is_forgiven() {
    let mut trial = Trial::new(TrialSettings::default());
    for row in 0..10_000 {
        let is_bad_moment = (500..690).contains(&row);
        trial.add(if is_bad_moment { 100.0 } else { 0.9 }, 1.0);
    }
    assert_eq!(trial.verdict(), Verdict::Trusted);
    assert_eq!(trial.totals().pairs, 10_000);
}

#[test]
fn exactly_equal_errors_are_not_worse_and_a_steady_difference_is() {
    let verdict = |new: f64, before: f64| {
        let mut trial = Trial::new(TrialSettings::default());
        (0..10_000).map(|_| trial.add(new, before)).last().unwrap()
    };
    assert_eq!(verdict(1.0, 1.0), Verdict::Trusted);
    assert_eq!(verdict(0.0, 0.0), Verdict::Trusted);
    assert_eq!(verdict(1.04, 1.0), Verdict::Trusted, "within the margin");
    assert_eq!(verdict(1.06, 1.0), Verdict::RollBack);
    assert_eq!(verdict(1e-9, 0.0), Verdict::RollBack);
}

#[test]
fn answers_that_are_no_numbers_count_against_the_one_that_gives_them() {
    let mut trial = Trial::new(TrialSettings::default());
    for _ in 0..300 {
        trial.add(f64::NAN, 1.0);
    }
    assert_eq!(trial.verdict(), Verdict::RollBack);
    let mut trial = Trial::new(TrialSettings::default());
    for _ in 0..1_000 {
        trial.add(1.0, f64::NAN);
        trial.add(f64::NAN, f64::INFINITY);
    }
    assert_eq!(
        (trial.verdict(), trial.totals().ignored),
        (Verdict::Undecided, 2_000)
    );
}

#[test]
fn a_verdict_is_final_and_a_trial_survives_a_restart() {
    let mut trial = Trial::new(TrialSettings::default());
    for _ in 0..150 {
        trial.add(2.0, 1.0);
    }
    let text = serde_json::to_string(&trial).unwrap();
    let mut trial: Trial = serde_json::from_str(&text).unwrap();
    for _ in 0..150 {
        trial.add(2.0, 1.0);
    }
    assert_eq!(trial.verdict(), Verdict::RollBack);
    assert_eq!(trial.add(0.0, 1.0), Verdict::RollBack);
}
