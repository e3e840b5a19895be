#![allow(clippy::unwrap_used)]
mod bad_input;

use std::sync::Arc;

use super::*;
use crate::{
    data::{Columns, InMemory, Lineage, Rows},
    judging::evaluation::evaluate,
    recipe::{EpochEnd, NullHost, Step, Stopped},
    recipes::Algorithm,
};

const ALL: [Algorithm; 8] = [
    Algorithm::Nlinear,
    Algorithm::Dlinear,
    Algorithm::MlpForecast,
    Algorithm::Autoencoder,
    Algorithm::ConvAutoencoder,
    Algorithm::MlpClassifier,
    Algorithm::ConvClassifier,
    Algorithm::MlpRegressor,
];

fn settings(algorithm: Algorithm) -> RecipeSettings {
    let horizon = if algorithm.problem() == Problem::Forecast {
        3
    } else {
        0
    };
    let shape = WindowShape {
        lookback: 9,
        horizon,
    };
    RecipeSettings {
        hidden: vec![8, 4],
        epochs_max: 3,
        batch_size: 8,
        learning_rate: 5e-3,
        ..RecipeSettings::new(algorithm, shape)
    }
}

/// Two features: waves of two lengths by class; the class or the height is the label.
fn source(algorithm: Algorithm) -> InMemory {
    let is_class = algorithm.problem() == Problem::Classify;
    let chunk = |chunk: usize| {
        let row = |row: usize| {
            let pace = [0.4, 1.1][chunk % 2];
            let phase = (row + 3 * chunk) as f32 * pace;
            [20.0 + 5.0 * phase.sin(), -3.0 + phase.cos()]
        };
        let values: Vec<f32> = (0..40).flat_map(row).collect();
        let label = |row: usize| {
            if is_class {
                (chunk % 2) as f32
            } else {
                values[row * 2] * 2.0
            }
        };
        Arc::new(Rows {
            ts: (0..40).map(|row| (chunk * 40 + row) as i64).collect(),
            label: (0..40).map(label).collect(),
            is_train: (0..40)
                .map(|row| !(row + chunk).is_multiple_of(4))
                .collect(),
            values,
            ..Rows::default()
        })
    };
    InMemory {
        columns: Columns {
            features: vec!["level".into(), "flow".into()],
            label: Some("state".into()),
            classes: if is_class {
                vec!["slow".into(), "fast".into()]
            } else {
                Vec::new()
            },
        },
        chunks: (0..6).map(chunk).collect(),
        lineage: Lineage {
            rows: 240,
            rows_hash: 1,
            ..Lineage::default()
        },
    }
}

fn recipe(settings: &RecipeSettings) -> Box<dyn Recipe> {
    build(settings).unwrap()
}

fn train(settings: &RecipeSettings, source: &dyn Source) -> Result<Box<dyn Model>, TrainError> {
    recipe(settings).train(source, None, 7, &mut NullHost::default())
}

fn answers(model: &dyn Model, source: &InMemory, shape: WindowShape) -> Vec<Output> {
    let mut scratch = Scratch::default();
    let windows = source.chunks.iter().flat_map(|rows| {
        let windows = rows.windows(shape, 2, false, Subset::All);
        windows.map(|w| rows.values_of(w.start..w.split_at, 2).to_vec())
    });
    windows
        .map(|input| {
            let mut output = Output::default();
            model.infer(&input, &mut scratch, &mut output);
            output
        })
        .collect()
}

/// Stops after so many questions; keeps the last checkpoint.
#[derive(Default)]
struct Fragile {
    questions_left: Option<usize>,
    checkpoint: Option<Vec<u8>>,
    epochs: Vec<EpochEnd>,
}

impl Host for Fragile {
    fn pace(&mut self) -> Result<(), Stopped> {
        match &mut self.questions_left {
            Some(0) => return Err(Stopped::Shutdown),
            Some(left) => *left -= 1,
            None => {}
        }
        Ok(())
    }

    fn step(&mut self, step: Step) {
        assert!(step.loss.is_finite());
    }

    fn epoch(&mut self, end: EpochEnd) {
        self.epochs.push(end);
    }

    fn save_checkpoint(&mut self, checkpoint: &[u8]) -> Result<(), String> {
        self.checkpoint = Some(checkpoint.to_vec());
        Ok(())
    }

    fn load_checkpoint(&mut self) -> Option<Vec<u8>> {
        self.checkpoint.clone()
    }

    fn elapsed_ns(&self) -> u64 {
        0
    }
}

#[test]
fn every_recipe_trains_saves_loads_and_answers_the_same() {
    for algorithm in ALL {
        let (settings, source) = (settings(algorithm), source(algorithm));
        let model = train(&settings, &source).unwrap();
        let bytes = model.save().to_bytes().unwrap();
        let again = train(&settings, &source).unwrap();
        assert_eq!(again.save().to_bytes().unwrap(), bytes, "{algorithm:?}");

        let loaded = recipe(&settings).load(&Artifact::from_bytes(&bytes).unwrap());
        let loaded = loaded.unwrap();
        let shape = settings.shape();
        let expected = answers(&*model, &source, shape);
        assert_eq!(answers(&*loaded, &source, shape), expected, "{algorithm:?}");
        assert_eq!(loaded.save().to_bytes().unwrap(), bytes);
        assert_eq!(model.save().classes(), source.columns.classes);
        let finite = |output: &Output| output.values.iter().all(|value| value.is_finite());
        assert!(expected.iter().all(finite));
    }
}

#[test]
fn every_recipe_learns() {
    for algorithm in ALL {
        let mut settings = settings(algorithm);
        (settings.epochs_max, settings.patience_epochs) = (60, 60);
        settings.learning_rate_decay = 0.97;
        let source = source(algorithm);
        let model = train(&settings, &source).unwrap();
        let scale = Scale::fit(&source).unwrap();
        let what = (algorithm.problem(), settings.shape());
        let error = evaluate(&*model, what, &scale, &source, Subset::Validation).unwrap();
        // Forecasts and reconstructions in variances; the label's variance is 50.
        let bound = match algorithm.problem() {
            Problem::Forecast => 0.3,
            Problem::Anomaly => 0.3,
            Problem::Classify => 0.05,
            Problem::Regress => 5.0,
        };
        assert!(error.error() < bound, "{algorithm:?}: {}", error.error());
        if algorithm.problem() == Problem::Anomaly {
            assert!(error.false_alarm_rate() <= settings.false_alarm_rate + 1e-9);
        }
    }
}

#[test]
fn interrupted_anywhere_it_ends_with_the_same_bytes() {
    for algorithm in [
        Algorithm::MlpForecast,
        Algorithm::ConvClassifier,
        Algorithm::Autoencoder,
    ] {
        let (settings, source) = (settings(algorithm), source(algorithm));
        let whole = train(&settings, &source).unwrap().save();
        for steps in [0, 1, 7, 20, 33, 45, 55] {
            let mut host = Fragile::default();
            let mut rounds = 0;
            // Each start gets further: an epoch has fewer questions than this.
            let model = loop {
                host.questions_left = Some(if rounds == 0 { steps } else { 32 });
                rounds += 1;
                match recipe(&settings).train(&source, None, 7, &mut host) {
                    Ok(model) => break model,
                    Err(TrainError::Stopped(Stopped::Shutdown)) if rounds < 20 => {}
                    Err(error) => panic!("{error}"),
                }
            };
            assert!(rounds > 1);
            assert_eq!(model.save(), whole, "{algorithm:?} after {steps}");
            let epochs: Vec<u32> = host.epochs.iter().map(|end| end.epoch).collect();
            assert_eq!(epochs, [0, 1, 2]);
        }
    }
}

#[test]
fn a_damaged_checkpoint_or_one_of_another_job_is_as_none() {
    let algorithm = Algorithm::Nlinear;
    let (settings, source) = (settings(algorithm), source(algorithm));
    let mut host = Fragile::default();
    let whole = recipe(&settings)
        .train(&source, None, 7, &mut host)
        .unwrap();
    let kept = host.checkpoint.unwrap();
    let mut damaged = kept.clone();
    damaged[60] ^= 1;
    for checkpoint in [damaged, kept[..9].to_vec(), Vec::new()] {
        let mut host = Fragile {
            checkpoint: Some(checkpoint),
            ..Fragile::default()
        };
        let model = recipe(&settings)
            .train(&source, None, 7, &mut host)
            .unwrap();
        assert_eq!((model.save(), host.epochs.len()), (whole.save(), 3));
    }
    // Another seed is another job; the same one is done already.
    for (seed, epochs) in [(8, 3), (7, 0)] {
        let mut host = Fragile {
            checkpoint: Some(kept.clone()),
            ..Fragile::default()
        };
        recipe(&settings)
            .train(&source, None, seed, &mut host)
            .unwrap();
        assert_eq!(host.epochs.len(), epochs);
    }
}

#[test]
fn the_best_epoch_is_kept_and_patience_ends_the_job() {
    let algorithm = Algorithm::MlpRegressor;
    let mut settings = settings(algorithm);
    (settings.epochs_max, settings.patience_epochs) = (200, 2);
    settings.learning_rate = 0.2;
    let source = source(algorithm);
    let mut host = Fragile::default();
    let model = recipe(&settings)
        .train(&source, None, 7, &mut host)
        .unwrap();
    let best = host
        .epochs
        .iter()
        .map(|end| end.validation_loss)
        .fold(f32::MAX, f32::min);
    let last: Vec<bool> = host
        .epochs
        .iter()
        .rev()
        .take(3)
        .map(|end| end.is_best)
        .collect();
    assert_eq!(last, [false, false, true]);
    let own = model.as_any().downcast_ref::<NetworkModel>().unwrap();
    let what = (Problem::Regress, settings.shape());
    let judged = evaluate(&*model, what, &own.scale, &source, Subset::Validation).unwrap();
    let std = f64::from(own.label[1]);
    assert!((judged.error() / std / std - f64::from(best)).abs() < 1e-4);
}

#[test]
fn fine_tuning_goes_on_from_the_incumbent_and_keeps_its_scale() {
    for algorithm in ALL {
        let (mut settings, mut source) = (settings(algorithm), source(algorithm));
        settings.epochs_max = 20;
        let incumbent = train(&settings, &source).unwrap();
        for rows in &mut source.chunks {
            for value in &mut Arc::make_mut(rows).values {
                *value *= 1.02;
            }
        }
        settings.epochs_max = 1;
        let mut host = Fragile::default();
        let tuned = recipe(&settings).train(&source, Some(&*incumbent), 8, &mut host);
        let tuned = tuned.unwrap();
        let (before, after) = (incumbent.save(), tuned.save());
        assert_eq!(before.tensors["scale.mean"], after.tensors["scale.mean"]);
        assert_ne!(before.tensors["0.weights"], after.tensors["0.weights"]);
        let mut scratch = Fragile::default();
        recipe(&settings)
            .train(&source, None, 8, &mut scratch)
            .unwrap();
        assert!(
            host.epochs[0].validation_loss < scratch.epochs[0].validation_loss,
            "{algorithm:?}: {:?} {:?}",
            host.epochs,
            scratch.epochs
        );
    }
}

#[test]
fn a_rare_class_weighs_as_much_as_a_common_one_if_asked_for() {
    let algorithm = Algorithm::MlpClassifier;
    let mut source = source(algorithm);
    // Nothing to tell them apart by; one row in four is of the second class.
    for rows in &mut source.chunks {
        let rows = Arc::make_mut(rows);
        rows.values.fill(1.0);
        rows.is_train.fill(true);
        for (row, label) in rows.label.iter_mut().enumerate() {
            *label = f32::from(u8::from(row % 4 == 0));
        }
    }
    Arc::make_mut(&mut source.chunks[5]).is_train.fill(false);
    for (balance_classes, expected) in [(false, 0.25), (true, 0.5)] {
        let settings = RecipeSettings {
            balance_classes,
            learning_rate: 2e-2,
            learning_rate_decay: 0.9,
            epochs_max: 40,
            patience_epochs: 40,
            ..settings(algorithm)
        };
        let model = train(&settings, &source).unwrap();
        let answer = &answers(&*model, &source, settings.shape())[0];
        let rare = answer.values[1];
        assert!((rare - expected).abs() < 0.1, "{rare}, not {expected}");
    }
}

#[test]
fn an_incumbent_of_another_recipe_shape_or_width_is_refused() {
    let source = source(Algorithm::Nlinear);
    let own = settings(Algorithm::Nlinear);
    let incumbent = train(&own, &source).unwrap();
    let refused = |settings: &RecipeSettings, source: &InMemory| {
        let mut host = NullHost::default();
        let result = recipe(settings).train(source, Some(&*incumbent), 7, &mut host);
        matches!(result, Err(TrainError::Recipe(_)))
    };
    let mut longer = own.clone();
    longer.lookback = 10;
    assert!(refused(&longer, &source));
    assert!(refused(&settings(Algorithm::MlpForecast), &source));
    let mut renamed = source.clone();
    renamed.columns.features[0] = "other".into();
    assert!(refused(&own, &renamed));
    assert!(!refused(&own, &source));
}

#[test]
fn an_anomaly_is_flagged_and_numbers_beyond_counting_too() {
    for algorithm in [Algorithm::Autoencoder, Algorithm::ConvAutoencoder] {
        let mut settings = settings(algorithm);
        settings.epochs_max = 30;
        let source = source(algorithm);
        let model = train(&settings, &source).unwrap();
        let usual = source.chunks[0].values_of(4..13, 2).to_vec();
        let (mut scratch, mut output) = (Scratch::default(), Output::default());
        for (value, is_flagged) in [(None, false), (Some(90.0), true), (Some(f32::MAX), true)] {
            let mut input = usual.clone();
            if let Some(value) = value {
                input[16] = value;
            }
            model.infer(&input, &mut scratch, &mut output);
            assert_eq!(
                output.flag, is_flagged,
                "{algorithm:?} {value:?} {output:?}"
            );
            assert_eq!(output.values.len(), 2);
        }
        // Of another length: no answer, no panic.
        model.infer(&usual[2..], &mut scratch, &mut output);
        assert_eq!((output.values.len(), output.flag), (0, false));
    }
}
