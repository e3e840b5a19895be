//! A model that panics is given up, and ends nothing else.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use dunlin_models::{
    artifact::Artifact,
    recipe::{Model, Output, Scratch},
    registry::ModelKey,
};

use crate::{
    cohort::Labels,
    learn::inference::predictor::{Predictor, PredictorSpec, Serving, tests::reference},
};

/// Says that all is well, and panics at a value of 13.
struct Superstitious;

impl Model for Superstitious {
    fn infer(&self, input: &[f32], _: &mut Scratch, output: &mut Output) {
        assert!(!input.contains(&13.0), "thirteen");
        output.score = 0.5;
    }

    fn save(&self) -> Artifact {
        Artifact::default()
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

fn serving(version: u64) -> Serving {
    Serving {
        version,
        model: Arc::new(Superstitious),
        classes: Arc::new([]),
        labels: Arc::new(Labels::Number),
    }
}

fn predictor() -> Predictor {
    let spec = PredictorSpec {
        key: ModelKey::new("pca", "plant/press"),
        rule: Arc::new(crate::learn::tests::rule("pca")),
        fields: vec![0],
        label: None,
        topic: None,
    };
    Predictor::new(spec, serving(1), reference(), 0)
}

#[test]
fn a_model_that_panics_answers_no_more_until_another_serves() {
    let mut predictor = predictor();
    let mut answers = Vec::new();
    let mut broke = Vec::new();
    for ts in 1..=20 {
        let found = predictor.predict(ts, &[ts as f32], f32::NAN);
        broke.extend(found.broke);
        answers.extend(found.prediction.map(|prediction| prediction.input.1));
    }
    assert_eq!(broke, ["thirteen"], "told once");
    assert_eq!(answers, (2..=12).collect::<Vec<_>>());

    // The window went on, so the next version answers at once; the broken one is no yardstick.
    predictor.swap(serving(2), reference(), true);
    let found = predictor.predict(21, &[21.0], f32::NAN);
    assert_eq!(found.prediction.unwrap().version, 2);
    assert!(found.broke.is_none() && !found.must_roll_back);
}

#[test]
fn a_shadow_that_panics_costs_the_comparison_alone() {
    struct Calm;
    impl Model for Calm {
        fn infer(&self, _: &[f32], _: &mut Scratch, output: &mut Output) {
            output.score = 0.1;
        }
        fn save(&self) -> Artifact {
            Artifact::default()
        }
        fn as_any(&self) -> &dyn std::any::Any {
            self
        }
    }
    let mut predictor = predictor();
    let calm = Serving {
        model: Arc::new(Calm),
        ..serving(2)
    };
    predictor.swap(calm, reference(), true);
    for ts in 1..=20 {
        let found = predictor.predict(ts, &[ts as f32], f32::NAN);
        assert_eq!(found.broke, None);
        assert_eq!(found.prediction.is_some(), ts > 1);
    }
}
