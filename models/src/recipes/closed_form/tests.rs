#![allow(clippy::unwrap_used)]
use std::sync::Arc;

use crate::{
    artifact::{Artifact, ArtifactError},
    data::{Columns, InMemory, Rows, Subset, WindowShape, scale::Scale},
    judging::{
        baseline::baseline,
        evaluation::{Evaluation, evaluate},
    },
    recipe::{
        EpochEnd, Host, Model, NullHost, Output, Problem, Scratch, Step, Stopped, TrainError,
    },
    recipes::{Algorithm, RecipeSettings, build},
};

/// Rows of two features, a wave and its echo with noise, the last fifth for validation; the label is
/// a mix of both.
pub(super) fn rows(count: usize, from: usize) -> Rows {
    let noise = |at: usize| ((at * 7_919 + 13) % 101) as f32 / 101.0 - 0.5;
    let wave = |at: usize| (at as f32 * 0.4).sin();
    let mut rows = Rows::default();
    for at in from..from + count {
        let (a, b) = (
            wave(at) + 0.1 * noise(at),
            5.0 * wave(at) + 20.0 + noise(at + 50),
        );
        rows.ts.push(at as i64);
        rows.values.extend([a, b]);
        rows.label.push(3.0 * a - 0.5 * b + 1.0);
        rows.is_train.push(at - from < count * 4 / 5);
    }
    rows
}

pub(super) fn source(chunks: Vec<Rows>) -> InMemory {
    InMemory {
        columns: Columns {
            features: vec!["a".into(), "b".into()],
            label: Some("y".into()),
            classes: Vec::new(),
        },
        chunks: chunks.into_iter().map(Arc::new).collect(),
        ..InMemory::default()
    }
}

pub(super) fn settings(algorithm: Algorithm) -> RecipeSettings {
    let (lookback, horizon) = match algorithm.problem() {
        Problem::Forecast => (24, 4),
        _ => (4, 0),
    };
    RecipeSettings::new(algorithm, WindowShape { lookback, horizon })
}

pub(super) const CLOSED: [Algorithm; 3] =
    [Algorithm::RidgeNlinear, Algorithm::Pca, Algorithm::Ridge];

pub(super) fn train(
    settings: &RecipeSettings,
    source: &InMemory,
    incumbent: Option<&dyn Model>,
) -> Result<Box<dyn Model>, TrainError> {
    let recipe = build(settings).unwrap();
    recipe.train(source, incumbent, 1, &mut NullHost::default())
}

fn trained(settings: &RecipeSettings, chunks: Vec<Rows>) -> Box<dyn Model> {
    train(settings, &source(chunks), None).unwrap()
}

fn judge(
    settings: &RecipeSettings,
    model: &dyn Model,
    source: &InMemory,
    subset: Subset,
) -> Evaluation {
    let what = (settings.algorithm.problem(), settings.shape());
    let scale = Scale::fit(source).unwrap();
    evaluate(model, what, &scale, source, subset).unwrap()
}

pub(super) fn answer(model: &dyn Model, input: &[f32]) -> Output {
    let mut output = Output::default();
    model.infer(input, &mut Scratch::default(), &mut output);
    output
}

#[test]
fn what_comes_back_from_bytes_answers_bit_for_bit() {
    for algorithm in CLOSED {
        let settings = settings(algorithm);
        let model = trained(&settings, vec![rows(400, 0)]);
        let bytes = model.save().to_bytes().unwrap();
        let again = trained(&settings, vec![rows(400, 0)]);
        assert_eq!(again.save().to_bytes().unwrap(), bytes, "{algorithm:?}");
        let artifact = Artifact::from_bytes(&bytes).unwrap();
        let loaded = build(&settings).unwrap().load(&artifact).unwrap();
        assert_eq!(loaded.save().to_bytes().unwrap(), bytes, "{algorithm:?}");
        let test = rows(60, 1_000);
        for input in test.values.windows(settings.lookback * 2).step_by(2) {
            assert_eq!(answer(&*model, input), answer(&*loaded, input));
        }
    }
}

#[test]
fn forecast_and_regression_are_far_better_than_their_baselines() {
    for algorithm in [Algorithm::RidgeNlinear, Algorithm::Ridge] {
        let settings = settings(algorithm);
        let source = source(vec![rows(600, 0)]);
        let model = train(&settings, &source, None).unwrap();
        let naive = baseline(algorithm.problem(), settings.shape(), &source).unwrap();
        let error = judge(&settings, &*model, &source, Subset::Validation).error();
        let naive = judge(&settings, &*naive, &source, Subset::Validation).error();
        assert!(error < 0.3 * naive, "{algorithm:?}: {error} beside {naive}");
    }
}

#[test]
fn what_breaks_the_relation_between_features_is_flagged() {
    let settings = settings(Algorithm::Pca);
    let source = source(vec![rows(4_000, 0)]);
    let model = train(&settings, &source, None).unwrap();
    let usual = judge(&settings, &*model, &source, Subset::Validation);
    assert!(usual.false_alarm_rate() < 0.015, "{usual:?}");
    let mut test = rows(settings.lookback, 5_000);
    let calm = answer(&*model, &test.values);
    assert!(!calm.flag && calm.score < 1.0, "{calm:?}");
    let last = test.values.len() - 1;
    let was = test.values[last];
    test.values[last] += 4.0;
    let fault = answer(&*model, &test.values);
    assert!(fault.flag && fault.score > 1.0, "{fault:?}");
    let distance = |output: &Output| (output.values[1] - was).abs();
    assert!(distance(&calm) < 1.0 && distance(&fault) < 3.0, "{fault:?}");
}

#[test]
fn fine_tuning_is_training_on_everything() {
    for algorithm in CLOSED {
        let settings = settings(algorithm);
        let first = rows(400, 0);
        // Standard deviations are those of the first training; the same here.
        let second = rows(400, 400);
        let incumbent = trained(&settings, vec![first.clone()]);
        let replay = Rows {
            is_replay: true,
            ..first.clone()
        };
        let tuned = source(vec![replay, second.clone()]);
        let tuned = train(&settings, &tuned, Some(&*incumbent)).unwrap();
        let whole = trained(&settings, vec![first, second]);
        let input = &rows(24, 900).values[..settings.lookback * 2];
        let (tuned, whole) = (answer(&*tuned, input), answer(&*whole, input));
        for (a, b) in tuned.values.iter().zip(&whole.values) {
            assert!(
                (a - b).abs() < 0.02 * b.abs().max(1.0),
                "{algorithm:?}: {a} {b}"
            );
        }
    }
}

#[test]
fn what_is_forgotten_no_longer_counts() {
    let mut settings = settings(Algorithm::Ridge);
    let incumbent = trained(&settings, vec![rows(400, 0)]);
    let mut turned = rows(400, 400);
    turned.label.iter_mut().for_each(|label| *label = -*label);
    (settings.forgetting, settings.ridge) = (0.0, 1e-6);
    let tuned = train(&settings, &source(vec![turned.clone()]), Some(&*incumbent)).unwrap();
    let source = source(vec![turned]);
    assert!(judge(&settings, &*tuned, &source, Subset::Validation).error() < 0.01);
    assert!(judge(&settings, &*incumbent, &source, Subset::Validation).error() > 1.0);
}

#[test]
fn missing_infinite_constant_and_equal_columns_do_no_harm() {
    for algorithm in CLOSED {
        let settings = settings(algorithm);
        for spoil in 0..5 {
            let mut rows = rows(300, 0);
            for (at, row) in rows.values.chunks_mut(2).enumerate() {
                match spoil {
                    0 if at % 67 == 0 => row[0] = f32::NAN,
                    1 if at % 67 == 0 => row[1] = f32::NEG_INFINITY,
                    2 => row[1] = 7.5,
                    3 => row[1] = row[0],
                    4 => row.fill(-1.0),
                    _ => (),
                }
            }
            rows.label[5] = f32::NAN;
            let test = rows.values[600 - 2 * settings.lookback..].to_vec();
            let model = trained(&settings, vec![rows]);
            let answer = answer(&*model, &test);
            let numbers = answer.values.iter().chain([&answer.score]);
            assert!(
                numbers.copied().all(f32::is_finite),
                "{algorithm:?} {spoil}: {answer:?}"
            );
            let bytes = model.save().to_bytes().unwrap();
            assert!(Artifact::from_bytes(&bytes).is_ok());
        }
    }
}

#[test]
fn numbers_beyond_reason_are_refused_or_answered_without_a_panic() {
    for algorithm in CLOSED {
        let settings = settings(algorithm);
        let mut rows = rows(300, 0);
        rows.values[100] = f32::MAX;
        rows.values[201] = f32::MIN;
        rows.label[50] = f32::MAX;
        match train(&settings, &source(vec![rows]), None) {
            Ok(model) => assert!(model.save().to_bytes().is_ok()),
            Err(error) => assert!(matches!(error, TrainError::Data(_)), "{error}"),
        }
    }
}

#[test]
fn too_little_data_is_told_with_what_was_needed_and_found() {
    let error = |algorithm, rows: Rows| {
        let error = train(&settings(algorithm), &source(vec![rows]), None).err();
        let error = error.unwrap();
        assert!(matches!(error, TrainError::Data(_)), "{error}");
        error.to_string()
    };
    for algorithm in CLOSED {
        for count in [0, 1, 3] {
            let text = error(algorithm, rows(count, 0));
            let needed = if algorithm == Algorithm::RidgeNlinear {
                28
            } else {
                4
            };
            assert!(text.starts_with(&format!("needed: {needed} ")), "{text}");
            assert!(text.contains(&format!("at most {count}")), "{text}");
        }
        let mut missing = rows(100, 0);
        missing
            .values
            .iter_mut()
            .step_by(3)
            .for_each(|v| *v = f32::NAN);
        assert!(error(algorithm, missing).contains("without a missing value"));
        let mut unlearnt = rows(100, 0);
        unlearnt.is_train.fill(false);
        assert!(error(algorithm, unlearnt).contains("training half"));
    }
    let mut unlabelled = rows(100, 0);
    unlabelled.label.fill(f32::NAN);
    assert!(error(Algorithm::Ridge, unlabelled).contains("a value of \"y\""));
    let mut nameless = source(vec![rows(100, 0)]);
    nameless.columns.label = None;
    let error = train(&settings(Algorithm::Ridge), &nameless, None)
        .err()
        .unwrap();
    assert!(error.to_string().contains("label"), "{error}");
}

#[test]
fn one_row_is_a_model_where_a_window_is_one_row() {
    for algorithm in [Algorithm::Pca, Algorithm::Ridge] {
        let mut settings = settings(algorithm);
        settings.lookback = 1;
        let mut rows = rows(1, 0);
        rows.is_train[0] = true;
        let input = rows.values.clone();
        let model = trained(&settings, vec![rows]);
        assert!(!answer(&*model, &input).flag, "{algorithm:?}");
    }
}

#[test]
fn an_artifact_of_another_kind_shape_or_with_parts_missing_does_not_fit() {
    for algorithm in CLOSED {
        let settings = settings(algorithm);
        let artifact = trained(&settings, vec![rows(400, 0)]).save();
        let load = |settings: &RecipeSettings, artifact: &Artifact| {
            build(settings).unwrap().load(artifact).map(|_| ())
        };
        assert_eq!(load(&settings, &artifact), Ok(()));
        let misfits = |result: Result<(), ArtifactError>| {
            assert!(
                matches!(result, Err(ArtifactError::Misfit(_))),
                "{result:?}"
            );
        };
        let mut other = settings.clone();
        other.lookback += 1;
        misfits(load(&other, &artifact));
        let mut renamed = artifact.clone();
        renamed.kind = "other".into();
        misfits(load(&settings, &renamed));
        for name in artifact.tensors.keys() {
            if name == "moments" {
                // Models were saved without them once.
                continue;
            }
            let mut without = artifact.clone();
            without.tensors.remove(name);
            misfits(load(&settings, &without));
        }
        let mut fewer = artifact.clone();
        fewer.features.pop();
        misfits(load(&settings, &fewer));
        let mut nonsense = artifact;
        nonsense.settings = "{}".into();
        misfits(load(&settings, &nonsense));
    }
}

#[test]
fn an_incumbent_of_another_kind_shape_or_features_is_refused() {
    for algorithm in CLOSED {
        let settings = settings(algorithm);
        let data = source(vec![rows(400, 0)]);
        let refused = |incumbent: &dyn Model, data: &InMemory| {
            let error = train(&settings, data, Some(incumbent)).err().unwrap();
            assert!(matches!(error, TrainError::Recipe(_)), "{error}");
            error.to_string()
        };
        let naive = baseline(algorithm.problem(), settings.shape(), &data).unwrap();
        refused(&*naive, &data);
        let mut longer = settings.clone();
        longer.lookback += 1;
        let text = refused(&*train(&longer, &data, None).unwrap(), &data);
        assert!(
            text.contains(&format!("{} rows", longer.lookback)),
            "{text}"
        );
        let incumbent = train(&settings, &data, None).unwrap();
        let mut renamed = data.clone();
        renamed.columns.features[1] = "c".into();
        assert!(refused(&*incumbent, &renamed).contains("a, c"));
    }
}

#[test]
fn stops_when_told_to() {
    struct Stopping;
    impl Host for Stopping {
        fn pace(&mut self) -> Result<(), Stopped> {
            Err(Stopped::TimeLimit)
        }
        fn step(&mut self, _: Step) {}
        fn epoch(&mut self, _: EpochEnd) {}
        fn save_checkpoint(&mut self, _: &[u8]) -> Result<(), String> {
            Ok(())
        }
        fn load_checkpoint(&mut self) -> Option<Vec<u8>> {
            None
        }
        fn elapsed_ns(&self) -> u64 {
            0
        }
    }
    for algorithm in CLOSED {
        let recipe = build(&settings(algorithm)).unwrap();
        let data = source(vec![rows(400, 0)]);
        let error = recipe.train(&data, None, 1, &mut Stopping).err().unwrap();
        assert!(
            matches!(error, TrainError::Stopped(Stopped::TimeLimit)),
            "{error}"
        );
    }
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let good = settings(Algorithm::RidgeNlinear);
    let refused = |change: fn(&mut RecipeSettings), word: &str| {
        let mut settings = good.clone();
        change(&mut settings);
        let error = build(&settings).err().unwrap();
        assert!(error.contains(word), "{error}");
    };
    refused(|s| s.lookback = 0, "lookback");
    refused(|s| s.lookback = usize::MAX, "65536");
    refused(|s| s.lookback = 5_000, "2048");
    refused(|s| s.horizon = 0, "horizon");
    refused(|s| s.algorithm = Algorithm::Pca, "horizon");
    refused(|s| s.ridge = -1.0, "ridge");
    refused(|s| s.ridge = f64::NAN, "ridge");
    refused(|s| s.forgetting = 1.5, "forgetting");
    refused(|s| s.variance_kept = 0.0, "variance_kept");
    refused(|s| s.false_alarm_rate = 1.0, "false_alarm_rate");
    let mut wide = settings(Algorithm::Pca);
    wide.lookback = 600;
    let error = train(&wide, &source(vec![rows(700, 0)]), None)
        .err()
        .unwrap();
    assert!(error.to_string().contains("1200 numbers"), "{error}");
}
