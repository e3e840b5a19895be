#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use rand::{RngExt as _, SeedableRng, rngs::SmallRng};

use super::*;
use crate::data::{Columns, InMemory, Rows};

const FEATURES: usize = 20;

fn population(mut row: impl FnMut(usize) -> f32) -> Population {
    let rows = Rows {
        ts: (0..10_000).collect(),
        values: (0..10_000 * FEATURES)
            .map(|at| row(at % FEATURES))
            .collect(),
        is_train: vec![true; 10_000],
        ..Rows::default()
    };
    let source = InMemory {
        columns: Columns {
            features: vec![String::new(); FEATURES],
            ..Columns::default()
        },
        chunks: vec![Arc::new(rows)],
        ..InMemory::default()
    };
    Population::fit(&source).unwrap()
}

fn bell(rng: &mut SmallRng) -> f32 {
    (0..6).map(|_| rng.random::<f32>() - 0.5).sum()
}

#[test]
fn the_quantiles_are_those_of_the_tables() {
    for (freedom, alpha, value) in [
        (9.0, 0.05, 16.919),
        (11.0, 0.001, 31.264),
        (2.0, 0.01, 9.210),
    ] {
        let found = chi_squared(freedom, alpha);
        assert!((found - value).abs() < 0.01 * value, "{found} {value}");
    }
    assert!((normal(0.025) - 1.96).abs() < 1e-3);
    assert!((normal(0.975) + 1.96).abs() < 1e-3);
}

#[test]
fn inputs_that_stay_as_they_were_do_not_alarm_even_by_chance_alone() {
    let mut rng = SmallRng::seed_from_u64(0);
    let population = population(|_| bell(&mut rng));
    // Without the rule of thumb and the second block: chance alone, at the level that is set.
    let settings = InputDriftSettings {
        block_rows: 500,
        index_min: 0.0,
        alpha: 0.01,
        blocks: 1,
    };
    let (mut blocks, mut alarms) = (0, 0);
    for seed in 1..=20 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut drift = InputDrift::new(settings, population.clone());
        for _ in 0..20 * 500 {
            let row: Vec<f32> = (0..FEATURES).map(|_| bell(&mut rng)).collect();
            alarms += usize::from(drift.add(&row).is_some());
        }
        blocks += 20;
    }
    assert!(alarms * 100 <= blocks * 4, "{alarms} of {blocks}");
}

#[test]
fn one_feature_that_shifts_or_widens_is_named() {
    let mut rng = SmallRng::seed_from_u64(0);
    let population = population(|_| bell(&mut rng));
    for change in [|value: f32| value + 0.8, |value: f32| value * 2.5] {
        let mut drift = InputDrift::new(InputDriftSettings::default(), population.clone());
        let mut alarmed = None;
        for row in 1..=2_000 {
            let mut values: Vec<f32> = (0..FEATURES).map(|_| bell(&mut rng)).collect();
            values[7] = change(values[7]);
            alarmed = alarmed.or(drift.add(&values).map(|alarm| (row, alarm)));
        }
        let (row, alarm) = alarmed.unwrap();
        assert_eq!((row, alarm.feature), (2_000, Some(7)), "{alarm:?}");
        assert!(alarm.figure > alarm.bound);
    }
}

#[test]
fn a_constant_is_quiet_until_it_moves_either_way() {
    let population = population(|_| 5.0);
    for (value, is_drift) in [(5.0, false), (5.1, true), (4.9, true)] {
        let mut drift = InputDrift::new(InputDriftSettings::default(), population.clone());
        let alarms = (0..10_000).filter_map(|_| drift.add(&[value; FEATURES]));
        assert_eq!(alarms.count() > 0, is_drift, "{value}");
    }
}

#[test]
fn no_numbers_and_no_training_rows_are_no_drift() {
    let none = population(|_| f32::NAN);
    let some = population(|feature| feature as f32);
    for population in [none, some] {
        let mut drift = InputDrift::new(InputDriftSettings::default(), population);
        for _ in 0..5_000 {
            assert_eq!(drift.add(&[f32::NAN; FEATURES]), None);
            assert_eq!(drift.add(&[]), None);
        }
        assert_eq!(drift.ignored(), 5_000 * FEATURES as u64);
    }
}

#[test]
fn it_can_be_stored() {
    let mut rng = SmallRng::seed_from_u64(0);
    let population = population(|_| bell(&mut rng));
    let drift = InputDrift::new(InputDriftSettings::default(), population);
    let text = serde_json::to_string(&drift).unwrap();
    assert_eq!(serde_json::from_str::<InputDrift>(&text).unwrap(), drift);
    assert!(text.len() < FEATURES * 1_000, "{}", text.len());
}
