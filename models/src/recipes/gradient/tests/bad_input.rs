//! Rows, settings and artifacts that no model can come of.

use proptest::prelude::*;

use super::*;
use crate::{artifact::TensorData, data::DataError};

#[test]
fn missing_values_are_in_no_window_and_constants_do_no_harm() {
    for algorithm in ALL {
        let (settings, mut source) = (settings(algorithm), source(algorithm));
        for (at, rows) in source.chunks.iter_mut().enumerate() {
            let rows = Arc::make_mut(rows);
            rows.values[2 * (at + 1)] = f32::NAN;
            rows.values[2 * (at + 2)] = f32::INFINITY;
            for row in rows.values.chunks_mut(2) {
                row[1] = 4.5;
            }
        }
        let model = train(&settings, &source).unwrap();
        for output in answers(&*model, &source, settings.shape()) {
            assert!(
                output.values.iter().all(|value| value.is_finite()),
                "{algorithm:?}"
            );
        }
        // All of them constant.
        for rows in &mut source.chunks {
            Arc::make_mut(rows).values.fill(4.5);
        }
        let model = train(&settings, &source).unwrap();
        model.save().to_bytes().unwrap();
        let first = answers(&*model, &source, settings.shape())[0].clone();
        assert!(
            first.score.is_finite() && !first.flag,
            "{algorithm:?} {first:?}"
        );
    }
}

#[test]
fn too_little_data_is_an_error_that_names_needed_and_found() {
    for algorithm in ALL {
        let (settings, full) = (settings(algorithm), source(algorithm));
        let refusal = |change: &dyn Fn(&mut Rows)| {
            let mut source = full.clone();
            for rows in &mut source.chunks {
                change(Arc::make_mut(rows));
            }
            match train(&settings, &source) {
                Err(TrainError::Data(text)) => text,
                Err(error) => panic!("{algorithm:?}: {error}"),
                Ok(_) => panic!("{algorithm:?} trained"),
            }
        };
        let short = refusal(&|rows| {
            rows.ts.truncate(5);
            rows.values.truncate(10);
            rows.label.truncate(5);
            rows.is_train.truncate(5);
        });
        assert!(
            short.contains("needed") && short.contains("in 30 rows"),
            "{short}"
        );
        let unjudged = refusal(&|rows| rows.is_train.fill(true));
        assert!(unjudged.contains("1 validation window"), "{unjudged}");
        refusal(&|rows| rows.is_train.fill(false));
        refusal(&|rows| rows.values.fill(f32::NAN));
        if algorithm.problem().wants_label() {
            refusal(&|rows| rows.label.clear());
        }
        if algorithm.problem() == Problem::Classify {
            let one = refusal(&|rows| rows.label.fill(1.0));
            assert!(one.contains("2 classes; found: 1"), "{one}");
            let foreign = refusal(&|rows| rows.label.fill(2.0));
            assert!(foreign.contains("[\"slow\", \"fast\"]"), "{foreign}");
            refusal(&|rows| rows.label.fill(0.5));
            refusal(&|rows| rows.label.fill(-1.0));
        }
    }
}

#[test]
fn no_features_or_no_rows_are_errors() {
    let settings = settings(Algorithm::Nlinear);
    assert!(train(&settings, &InMemory::default()).is_err());
    let empty = InMemory {
        columns: source(Algorithm::Nlinear).columns,
        ..InMemory::default()
    };
    assert!(matches!(train(&settings, &empty), Err(TrainError::Data(_))));
}

#[test]
fn a_loss_that_explodes_ends_with_an_error() {
    let algorithm = Algorithm::MlpRegressor;
    let mut settings = settings(algorithm);
    settings.learning_rate = 1e30;
    settings.epochs_max = 50;
    let error = train(&settings, &source(algorithm))
        .map(|_| ())
        .unwrap_err();
    assert!(
        matches!(&error, TrainError::Data(text) if text.contains("finite")),
        "{error}"
    );
}

#[test]
fn a_source_that_cannot_be_read_is_told() {
    struct Broken(InMemory);
    impl Source for Broken {
        fn columns(&self) -> &Columns {
            self.0.columns()
        }
        fn chunks(&self) -> usize {
            self.0.chunks()
        }
        fn read(&self, index: usize) -> Result<Arc<Rows>, DataError> {
            if index == 3 {
                Err(DataError("gone".into()))
            } else {
                self.0.read(index)
            }
        }
        fn lineage(&self) -> &Lineage {
            self.0.lineage()
        }
    }
    let broken = Broken(source(Algorithm::Nlinear));
    let result = train(&settings(Algorithm::Nlinear), &broken);
    assert!(matches!(result, Err(TrainError::Read(_))));
}

#[test]
fn an_artifact_of_another_shape_kind_or_with_foreign_numbers_is_refused() {
    let own = settings(Algorithm::Autoencoder);
    let model = train(&own, &source(Algorithm::Autoencoder)).unwrap();
    let artifact = model.save();
    let refused = |settings: &RecipeSettings, change: &dyn Fn(&mut Artifact)| {
        let mut artifact = artifact.clone();
        change(&mut artifact);
        recipe(settings).load(&artifact).is_err()
    };
    assert!(!refused(&own, &|_| {}));
    assert!(refused(&settings(Algorithm::ConvAutoencoder), &|_| {}));
    let mut other = own.clone();
    other.hidden = vec![8, 5];
    assert!(refused(&other, &|_| {}));
    assert!(refused(&own, &|artifact| drop(artifact.features.pop())));
    assert!(refused(&own, &|artifact| artifact.features.clear()));
    assert!(refused(&own, &|artifact| drop(
        artifact.tensors.remove("limit")
    )));
    assert!(refused(&own, &|artifact| artifact.settings.clear()));
    assert!(refused(&own, &|artifact| {
        let std = artifact.tensors.get_mut("scale.std").unwrap();
        std.data = TensorData::F32(vec![1.0, 0.0]);
    }));
    let features = (0..1000).map(|x| x.to_string()).collect::<Vec<_>>();
    assert!(refused(&own, &|artifact| artifact
        .features
        .clone_from(&features)));
}

#[test]
fn settings_without_sense_are_refused() {
    let refused = |change: &dyn Fn(&mut RecipeSettings)| {
        let mut settings = settings(Algorithm::MlpForecast);
        change(&mut settings);
        build(&settings).map(|_| ()).unwrap_err()
    };
    refused(&|s| s.lookback = 0);
    refused(&|s| s.lookback = usize::MAX);
    refused(&|s| s.horizon = 0);
    refused(&|s| s.hidden.clear());
    refused(&|s| s.hidden = vec![0]);
    refused(&|s| s.hidden = vec![60_000, 60_000]);
    refused(&|s| s.batch_size = 0);
    refused(&|s| s.epochs_max = 0);
    refused(&|s| s.learning_rate = f64::NAN);
    refused(&|s| s.learning_rate_decay = 0.0);
    refused(&|s| s.gradient_norm_max = -1.0);
    refused(&|s| s.false_alarm_rate = 1.0);
    refused(&|s| s.algorithm = Algorithm::Pca);
    assert!(refused(&|s| s.algorithm = Algorithm::Autoencoder).contains("horizon"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_rows_train_or_are_refused(
        values in proptest::collection::vec(
            prop_oneof![4 => -1e3f32..1e3, 1 => Just(f32::NAN), 1 => any::<f32>()],
            0..160,
        ),
        algorithm in prop::sample::select(&ALL[..]),
    ) {
        let mut source = source(algorithm);
        let rows = values.len() / 2;
        source.chunks = vec![Arc::new(Rows {
            ts: (0..rows as i64).collect(),
            values: values[..rows * 2].to_vec(),
            label: (0..rows).map(|row| (row % 2) as f32).collect(),
            is_train: (0..rows).map(|row| !row.is_multiple_of(3)).collect(),
            ..Rows::default()
        })];
        let mut settings = settings(algorithm);
        settings.lookback = 4;
        settings.epochs_max = 1;
        if let Ok(model) = train(&settings, &source) {
            let mut output = Output::default();
            model.infer(&[1.0; 8], &mut Scratch::default(), &mut output);
        }
    }
}
