//! Predictors fed by hand: a row's value is its time, so that every answer can be checked.

#![allow(clippy::unwrap_used, clippy::float_cmp)]

mod broken;

use dunlin_models::{
    artifact::Artifact,
    data::WindowShape,
    recipe::{Model, Output, Scratch},
    recipes::{Algorithm, RecipeSettings},
};
use proptest::prelude::*;

use super::*;
use crate::{cohort::Labels, learn::tests::rule};

/// Forecasts that every row is one more than the row before, and `off` beside that; classifies by
/// whether the last value is odd, or by the opposite if it is off.
struct Counting {
    horizon: usize,
    off: f32,
}

impl Model for Counting {
    fn infer(&self, input: &[f32], _: &mut Scratch, output: &mut Output) {
        assert!(input.iter().all(|value| value.is_finite()));
        assert!(input.windows(2).all(|pair| pair[1] > pair[0]), "{input:?}");
        let last = *input.last().unwrap();
        output.values.clear();
        if self.horizon == 0 {
            let odd = last as i64 % 2;
            let odd = (odd as f32 - self.off).abs();
            output.values.extend([1.0 - odd, odd]);
            return;
        }
        let steps = (1..=self.horizon).map(|step| last + step as f32 + self.off);
        output.values.extend(steps);
    }

    fn save(&self) -> Artifact {
        unreachable!("nobody keeps it")
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

fn serving(version: u64, horizon: usize, off: f32) -> Serving {
    Serving {
        version,
        model: Arc::new(Counting { horizon, off }),
        classes: Arc::new([]),
        labels: Arc::new(Labels::Number),
    }
}

pub(super) fn reference() -> Reference {
    Reference {
        scale: Scale {
            mean: vec![0.0],
            std: vec![1.0],
        },
        inputs: None,
    }
}

fn predictor(lookback: usize, horizon: usize, gap_ns_max: Option<i64>) -> Predictor {
    let algorithm = match horizon {
        0 => Algorithm::MlpClassifier,
        _ => Algorithm::Nlinear,
    };
    let rule = RecipeRule {
        recipe: RecipeSettings::new(algorithm, WindowShape { lookback, horizon }).into(),
        gap_ns_max,
        ..rule("counting")
    };
    let spec = PredictorSpec {
        key: ModelKey::new("counting", "plant/press"),
        rule: Arc::new(rule),
        fields: vec![0],
        label: None,
        topic: None,
    };
    Predictor::new(spec, serving(1, horizon, 0.0), reference(), -1)
}

fn feed(predictor: &mut Predictor, ts: i64) -> Predicted {
    predictor.predict(ts, &[ts as f32], f32::NAN)
}

#[test]
fn versions_swapped_between_any_two_records_skip_none_and_answer_none_twice() {
    let (mut predictor, mut version) = (predictor(4, 2, None), 1);
    let mut answered = Vec::new();
    for ts in 0..20_000 {
        if ts % 7 == 3 || ts % 11 == 0 {
            version += 1;
            predictor.swap(serving(version, 2, 0.0), reference(), ts % 3 != 0);
        }
        let found = feed(&mut predictor, ts);
        if let Some(prediction) = found.prediction {
            assert_eq!(prediction.version, version, "the one in charge");
            assert_eq!(prediction.input, (ts - 3, ts));
            answered.push(ts);
        }
        assert!(!found.must_roll_back && found.alarms.is_empty());
    }
    assert!(answered.into_iter().eq(3..20_000));
}

#[test]
fn a_missing_value_costs_the_windows_it_lies_in() {
    let mut predictor = predictor(4, 2, None);
    let mut answered = Vec::new();
    for ts in 0..2_000 {
        let value = if ts % 100 == 50 { f32::NAN } else { ts as f32 };
        let found = predictor.predict(ts, &[value], f32::NAN);
        answered.extend(found.prediction.map(|prediction| prediction.input.1));
    }
    let whole = (3..2_000).filter(|ts| !(50..54).contains(&(ts % 100)));
    assert!(answered.into_iter().eq(whole));
}

#[test]
fn a_gap_costs_the_windows_over_it() {
    let mut predictor = predictor(4, 2, Some(10));
    let mut answered = Vec::new();
    for ts in (0..100).chain(200..300) {
        let found = feed(&mut predictor, ts);
        answered.extend(found.prediction.map(|prediction| prediction.input.1));
    }
    assert!(answered.into_iter().eq((3..100).chain(203..300)));
}

#[test]
fn a_forecast_is_compared_with_the_records_it_forecasts() {
    let mut predictor = predictor(4, 3, None);
    for ts in 0..50 {
        feed(&mut predictor, ts);
    }
    predictor.swap(serving(2, 3, 0.5), reference(), true);
    for ts in 50..140 {
        feed(&mut predictor, ts);
    }
    let totals = *predictor.trial.as_ref().unwrap().trial.totals();
    // The first forecast of the new version is made at 50, and judged when 53 has come.
    assert_eq!(totals.pairs, 87);
    assert_eq!((totals.before_sum, totals.new_sum), (0.0, 87.0 * 0.25));
}

proptest! {
    #[test]
    fn no_pattern_of_missing_values_gaps_and_swaps_shifts_a_forecast(
        steps in prop::collection::vec((0..40_u8, 1..3_i64), 1..400),
        lookback in 1..6_usize, horizon in 1..5_usize,
    ) {
        let mut predictor = predictor(lookback, horizon, Some(20));
        let (mut ts, mut version, mut last) = (0, 1, i64::MIN);
        for (what, stride) in steps {
            ts += if what == 0 { 100 } else { 1 };
            // A gap in time, not in value: the count goes on by one within a run.
            let value = if what == 1 { f32::NAN } else { ts as f32 };
            if what == 2 {
                version += 1;
                predictor.swap(serving(version, horizon, 0.0), reference(), stride == 1);
            }
            let found = predictor.predict(ts, &[value], f32::NAN);
            if let Some(prediction) = found.prediction {
                prop_assert_eq!(prediction.version, version);
                prop_assert_eq!(prediction.input, (ts + 1 - lookback as i64, ts));
                prop_assert!(ts > last);
                last = ts;
            }
            if let Some(trial) = &predictor.trial {
                let totals = trial.trial.totals();
                prop_assert_eq!((totals.new_sum, totals.before_sum), (0.0, 0.0));
            }
        }
    }
}

#[test]
fn a_worse_version_is_to_be_rolled_back_once_and_what_comes_back_is_not_on_trial() {
    for horizon in [0, 3] {
        let mut predictor = predictor(4, horizon, None);
        let odd = |ts: i64| (ts % 2) as f32;
        for ts in 0..100 {
            predictor.predict(ts, &[ts as f32], odd(ts));
        }
        predictor.swap(serving(2, horizon, 1.0), reference(), true);
        let mut rolled_back = Vec::new();
        for ts in 100..2_000 {
            let found = predictor.predict(ts, &[ts as f32], odd(ts));
            assert!(found.prediction.is_some());
            if found.must_roll_back {
                rolled_back.push(ts);
                predictor.swap(serving(1, horizon, 0.0), reference(), false);
            }
        }
        assert_eq!(
            rolled_back,
            [399 + horizon as i64],
            "three blocks of 100 records"
        );
        assert!(predictor.trial.is_none());
    }
}

#[test]
fn a_version_as_good_as_the_one_before_is_trusted_in_the_end() {
    let mut predictor = predictor(2, 1, None);
    feed(&mut predictor, 0);
    predictor.swap(serving(2, 1, 0.0), reference(), true);
    for ts in 1..11_000 {
        assert!(!feed(&mut predictor, ts).must_roll_back);
    }
    assert!(predictor.trial.is_none());
}

#[test]
fn labels_that_never_come_are_no_errors() {
    let mut predictor = predictor(2, 0, None);
    feed(&mut predictor, 0);
    predictor.swap(serving(2, 0, 1.0), reference(), true);
    for ts in 1..1_000 {
        let found = feed(&mut predictor, ts);
        assert!(!found.must_roll_back);
        assert_eq!(found.prediction.unwrap().error, None);
    }
    let found = predictor.predict(1_000, &[1_000.0], 0.0);
    assert_eq!(found.prediction.unwrap().error, Some(1.0));
}

#[test]
fn versions_with_other_classes_are_not_compared() {
    let mut predictor = predictor(2, 0, None);
    feed(&mut predictor, 0);
    let names = ["even".to_owned(), "odd".to_owned()];
    let other = Serving {
        classes: Arc::new(names.clone()),
        labels: Arc::new(Labels::classes(&names)),
        ..serving(2, 0, 0.0)
    };
    predictor.swap(other, reference(), true);
    assert!(predictor.trial.is_none());
    let found = feed(&mut predictor, 1);
    assert_eq!(found.prediction.unwrap().class.as_deref(), Some("odd"));
}
