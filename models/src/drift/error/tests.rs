#![allow(clippy::unwrap_used)]

use rand::{RngExt as _, SeedableRng, rngs::SmallRng};

use super::*;

/// A squared error: of chance with a long tail.
fn error(rng: &mut SmallRng, scale: f64) -> f64 {
    let sum: f64 = (0..6).map(|_| rng.random::<f64>() - 0.5).sum();
    let outlier = if rng.random_bool(0.002) { 1e6 } else { 1.0 };
    scale * sum * sum * outlier
}

#[test]
fn steady_errors_of_any_scale_seldom_alarm() {
    let mut alarms = 0;
    for seed in 0..100 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut drift = ErrorDrift::new(ErrorDriftSettings::default());
        let scale = 10f64.powi(seed as i32 % 13 - 6);
        let alarmed = (0..20_000).filter_map(|_| drift.add(error(&mut rng, scale)));
        alarms += usize::from(alarmed.count() > 0);
    }
    assert!(alarms <= 5, "{alarms} of 100");
}

#[test]
fn errors_that_triple_are_seen_soon_and_smaller_ones_are_no_drift() {
    for seed in 0..50 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut drift = ErrorDrift::new(ErrorDriftSettings::default());
        for _ in 0..5_000 {
            drift.add(error(&mut rng, 1e-3));
        }
        let delay = (1..10_000)
            .find(|_| drift.add(error(&mut rng, 3e-3)).is_some())
            .unwrap();
        assert!(delay <= 500, "{delay}");
        let mut drift = ErrorDrift::new(ErrorDriftSettings::default());
        for _ in 0..5_000 {
            drift.add(error(&mut rng, 1.0));
        }
        let fewer = (0..5_000).filter_map(|_| drift.add(error(&mut rng, 0.1)));
        assert_eq!(fewer.count(), 0);
    }
}

#[test]
fn constant_and_absent_errors_are_quiet_until_the_first_real_one() {
    let mut drift = ErrorDrift::new(ErrorDriftSettings::default());
    for _ in 0..5_000 {
        assert_eq!(drift.add(0.0), None);
        assert_eq!(drift.add(f64::NAN), None);
    }
    assert_eq!(drift.ignored(), 5_000);
    let delay = (1..10_000).find(|_| drift.add(1e-12).is_some()).unwrap();
    assert!(delay <= 64, "{delay}");
}

#[test]
fn it_goes_on_after_a_restart_as_if_there_had_been_none() {
    let mut rng = SmallRng::seed_from_u64(3);
    let errors: Vec<f64> = (0..4_000)
        .map(|row| error(&mut rng, if row < 3_000 { 1.0 } else { 5.0 }))
        .collect();
    let run = |restarts: bool| {
        let mut drift = ErrorDrift::new(ErrorDriftSettings::default());
        let alarms = errors.iter().enumerate().filter_map(|(row, error)| {
            if restarts && row % 500 == 0 {
                let text = serde_json::to_string(&drift).unwrap();
                drift = serde_json::from_str(&text).unwrap();
            }
            drift.add(*error).map(|_| row)
        });
        alarms.collect::<Vec<_>>()
    };
    assert_eq!(run(false), run(true));
    assert!(!run(true).is_empty());
}
