#![allow(clippy::unwrap_used)]

use rand::{RngExt as _, SeedableRng, rngs::SmallRng};

use super::*;

fn test() -> PageHinkley {
    PageHinkley::new(0.02, 20.0)
}

#[test]
fn noise_that_stays_as_it_is_seldom_alarms() {
    let mut alarms = 0;
    for seed in 0..200 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut test = test();
        let risen = (0..10_000).filter_map(|_| test.add(rng.random()));
        alarms += usize::from(risen.count() > 0);
    }
    assert!(alarms <= 4, "{alarms} of 200");
}

#[test]
fn a_rise_is_seen_soon_and_a_fall_is_none() {
    for seed in 0..100 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut value = |offset: f64| offset + rng.random::<f64>() * 0.5;
        let mut test = test();
        for _ in 0..5_000 {
            assert_eq!(test.add(value(0.2)), None);
        }
        for _ in 0..5_000 {
            assert_eq!(test.add(value(0.0)), None);
        }
        let delay = (1..10_000)
            .find(|_| test.add(value(0.4)).is_some())
            .unwrap();
        assert!(delay <= 120, "{delay}");
    }
}

#[test]
fn a_constant_never_alarms_and_no_numbers_are_counted() {
    let mut test = test();
    for _ in 0..100_000 {
        assert_eq!(test.add(0.7), None);
        assert_eq!(test.add(f64::INFINITY), None);
    }
    assert_eq!(test.ignored(), 100_000);
}
