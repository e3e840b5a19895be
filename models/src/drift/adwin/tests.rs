#![allow(clippy::unwrap_used)]

use rand::{RngExt as _, SeedableRng, rngs::SmallRng};

use super::*;

#[test]
fn noise_that_stays_as_it_is_seldom_alarms() {
    let (seeds, values) = (200, 10_000);
    let mut alarms = 0;
    for seed in 0..seeds {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut adwin = Adwin::new(0.002);
        let cuts = (0..values).filter_map(|_| adwin.add(rng.random()));
        alarms += usize::from(cuts.count() > 0);
    }
    assert!(alarms <= 4, "{alarms} of {seeds} runs of {values} values");
}

#[test]
fn a_shift_is_seen_soon_and_what_came_before_is_dropped() {
    for seed in 0..100 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut adwin = Adwin::new(0.002);
        for _ in 0..5_000 {
            adwin.add(rng.random::<f64>() * 0.5);
        }
        let delay = (1..1_000).find_map(|row| {
            let cut = adwin.add(0.2 + rng.random::<f64>() * 0.5)?;
            Some((row, cut))
        });
        let (delay, cut) = delay.unwrap();
        assert!(delay <= 192, "{delay}");
        assert!(cut.after > cut.before, "{cut:?}");
        for _ in 0..2_000 {
            adwin.add(0.2 + rng.random::<f64>() * 0.5);
        }
        assert!((adwin.mean() - 0.45).abs() < 0.02, "{}", adwin.mean());
    }
}

#[test]
fn a_constant_never_alarms_and_no_numbers_are_counted() {
    let mut adwin = Adwin::new(0.002);
    for _ in 0..100_000 {
        assert_eq!(adwin.add(0.3), None);
        assert_eq!(adwin.add(f64::NAN), None);
    }
    assert_eq!((adwin.count(), adwin.ignored()), (100_000, 100_000));
    assert!((adwin.mean() - 0.3).abs() < 1e-9);
}

#[test]
fn memory_stays_small_and_the_sums_right() {
    let mut rng = SmallRng::seed_from_u64(1);
    let mut adwin = Adwin::new(1e-9);
    let values: Vec<f64> = (0..50_000).map(|_| rng.random()).collect();
    for value in &values {
        adwin.add(*value);
    }
    assert!(adwin.rows.iter().map(VecDeque::len).sum::<usize>() < 16 * BUCKETS_MAX);
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    assert!((adwin.mean() - mean).abs() < 1e-9);
    assert!((adwin.variance() - squares / values.len() as f64).abs() < 1e-9);
    let text = serde_json::to_string(&adwin).unwrap();
    let back: Adwin = serde_json::from_str(&text).unwrap();
    assert_eq!(back.count(), adwin.count());
}
