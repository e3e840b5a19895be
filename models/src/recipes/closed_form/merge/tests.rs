#![allow(clippy::unwrap_used)]
use crate::{
    artifact::{Artifact, Tensor, TensorData},
    data::{InMemory, Rows},
    recipe::{MergeError, Merged, Model, Recipe},
    recipes::{
        Algorithm, RecipeSettings, build,
        closed_form::tests::{CLOSED, answer, rows, settings, source, train},
    },
};

const DEVICES: usize = 10;

/// What a device has seen: each feature with a mean and a scale of its own, and a length of its own.
fn device(number: usize) -> Rows {
    scaled(number, rows(300 + 20 * number, 1_000 * number))
}

fn scaled(number: usize, mut rows: Rows) -> Rows {
    let by = number as f32;
    for row in rows.values.chunks_mut(2) {
        row[0] = row[0] * (1.0 + 0.5 * by) + 3.0 * by;
        row[1] = row[1] * (2.0 / (1.0 + by)) - by;
    }
    rows
}

fn devices() -> Vec<Rows> {
    (0..DEVICES).map(device).collect()
}

fn trained(settings: &RecipeSettings, chunks: Vec<Rows>) -> Box<dyn Model> {
    train(settings, &source(chunks), None).unwrap()
}

fn merge(
    settings: &RecipeSettings,
    models: &[Box<dyn Model>],
    weights: &[f64],
) -> Result<Merged, MergeError> {
    let models: Vec<&dyn Model> = models.iter().map(|model| &**model).collect();
    build(settings).unwrap().merge(&models, weights)
}

fn refusal(settings: &RecipeSettings, models: &[Box<dyn Model>], weights: &[f64]) -> String {
    merge(settings, models, weights).err().unwrap().to_string()
}

fn reloaded(settings: &RecipeSettings, artifact: &Artifact) -> Box<dyn Model> {
    build(settings).unwrap().load(artifact).unwrap()
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    match &tensor.data {
        TensorData::F32(data) => data.iter().map(|value| f64::from(*value)).collect(),
        TensorData::F64(data) => data.clone(),
    }
}

/// Both hold the same numbers but for 1e-6 of the greatest of each kind; directions may point either way,
/// and limits are another matter.
fn assert_same(one: &dyn Model, other: &dyn Model, what: &str) {
    let (one, other) = (one.save(), other.save());
    assert_eq!(one.features, other.features);
    assert_eq!(one.settings, other.settings);
    let names = |artifact: &Artifact| artifact.tensors.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&one), names(&other), "{what}");
    for (name, tensor) in &one.tensors {
        if name == "limits" {
            continue;
        }
        let other = &other.tensors[name];
        assert_eq!(tensor.shape, other.shape, "{what} {name}");
        let is_sign_free = name == "directions";
        let width = tensor.shape.last().copied().unwrap_or(1).max(1);
        let (one, other) = (numbers(tensor), numbers(other));
        let greatest = one
            .iter()
            .fold(0.0_f64, |most, value| most.max(value.abs()));
        for (one, other) in one.chunks(width).zip(other.chunks(width)) {
            let dot: f64 = one.iter().zip(other).map(|(a, b)| a * b).sum();
            let sign = if is_sign_free { dot.signum() } else { 1.0 };
            for (a, b) in one.iter().zip(other) {
                assert!(
                    (a - sign * b).abs() <= 1e-6 * greatest,
                    "{what} {name}: {a} {b}"
                );
            }
        }
    }
}

fn assert_same_answers(settings: &RecipeSettings, one: &dyn Model, other: &dyn Model) {
    for number in 0..DEVICES {
        let test = device(number).values;
        for input in test.windows(settings.lookback * 2).step_by(26) {
            let (one, other) = (answer(one, input), answer(other, input));
            let greatest = input
                .iter()
                .fold(1.0_f32, |most, value| most.max(value.abs()));
            assert_eq!(one.values.len(), other.values.len());
            for (a, b) in one.values.iter().zip(&other.values) {
                assert!((a - b).abs() <= 1e-6 * greatest, "{settings:?}: {a} {b}");
            }
        }
    }
}

#[test]
fn models_of_ten_devices_are_the_model_of_all_their_data() {
    for algorithm in CLOSED {
        let settings = settings(algorithm);
        let models = devices()
            .into_iter()
            .map(|rows| trained(&settings, vec![rows]));
        let models: Vec<_> = models.collect();
        let merged = merge(&settings, &models, &[1.0; DEVICES]).unwrap();
        let together = trained(&settings, devices());
        assert_same(&*merged.model, &*together, &format!("{algorithm:?}"));
        assert_same_answers(&settings, &*merged.model, &*together);
        // None of them is that model, or the test would say nothing.
        let gap = (answer(&*models[0], &device(9).values[..settings.lookback * 2]).values[0]
            - answer(&*together, &device(9).values[..settings.lookback * 2]).values[0])
            .abs();
        assert!(gap > 1e-3, "{algorithm:?}: {gap}");
        // Four fifths of the rows of each device, less those before its first window.
        let windows: usize = (0..DEVICES)
            .map(|number| (300 + 20 * number) * 4 / 5 + 1 - settings.lookback - settings.horizon)
            .sum();
        assert_eq!(merged.windows.round() as usize, windows, "{algorithm:?}");
        // What is merged goes through bytes as any model does.
        let bytes = merged.model.save().to_bytes().unwrap();
        let loaded = reloaded(&settings, &Artifact::from_bytes(&bytes).unwrap());
        assert_eq!(loaded.save().to_bytes().unwrap(), bytes);
    }
}

#[test]
fn a_weight_of_two_is_every_row_twice() {
    for algorithm in CLOSED {
        let settings = settings(algorithm);
        let models = [0, 5].map(|number| trained(&settings, vec![device(number)]));
        let merged = merge(&settings, &models, &[2.0, 1.0]).unwrap();
        let twice = trained(&settings, vec![device(0), device(0), device(5)]);
        assert_same(&*merged.model, &*twice, &format!("{algorithm:?}"));
        assert_same_answers(&settings, &*merged.model, &*twice);
    }
}

#[test]
fn merged_models_can_be_merged_and_one_alone_is_itself() {
    for algorithm in CLOSED {
        let settings = settings(algorithm);
        let models = [1, 4, 8].map(|number| trained(&settings, vec![device(number)]));
        let whole = merge(&settings, &models, &[1.0; 3]).unwrap().model;
        let [one, two, three] = models;
        let bytes = three.save().to_bytes().unwrap();
        let alone = merge(&settings, &[three], &[1.0]).unwrap().model;
        assert_eq!(alone.save().to_bytes().unwrap(), bytes, "{algorithm:?}");
        let part = merge(&settings, &[one, two], &[1.0; 2]).unwrap().model;
        let steps = merge(&settings, &[part, alone], &[1.0; 2]).unwrap().model;
        assert_same(&*steps, &*whole, &format!("{algorithm:?}"));
    }
}

#[test]
fn a_merged_model_is_fine_tuned_as_any_other() {
    for algorithm in CLOSED {
        let settings = settings(algorithm);
        let models = [1, 4].map(|number| trained(&settings, vec![device(number)]));
        let merged = merge(&settings, &models, &[1.0; 2]).unwrap().model;
        let together = trained(&settings, vec![device(1), device(4)]);
        let tuned =
            |model: &dyn Model| train(&settings, &source(vec![device(7)]), Some(model)).unwrap();
        assert_same_answers(&settings, &*tuned(&*merged), &*tuned(&*together));
    }
}

/// As models were saved before what merging needs was kept.
fn as_before(model: &dyn Model) -> Artifact {
    let mut artifact = model.save();
    let is_new = |name: &str| name == "moments" || name.starts_with("feature_");
    artifact.tensors.retain(|name, _| !is_new(name));
    artifact
}

#[test]
fn models_of_before_stay_as_they_are_and_are_merged_where_that_can_be() {
    for algorithm in CLOSED {
        let settings = settings(algorithm);
        let artifacts = [2, 3].map(|number| as_before(&*trained(&settings, vec![device(number)])));
        let models = artifacts
            .each_ref()
            .map(|artifact| reloaded(&settings, artifact));
        assert_eq!(models[0].save(), artifacts[0], "{algorithm:?}");
        let tuned = train(&settings, &source(vec![device(2)]), Some(&*models[0])).unwrap();
        assert!(!tuned.save().tensors.contains_key("feature_gram"));
        let same = [tuned, reloaded(&settings, &artifacts[0])];
        assert!(merge(&settings, &same, &[1.0; 2]).is_ok(), "{algorithm:?}");
        if algorithm == Algorithm::RidgeNlinear {
            let text = refusal(&settings, &models, &[1.0; 2]);
            assert!(text.starts_with("model 1: it keeps the sums"), "{text}");
            continue;
        }
        // The scale is a little beside that of all rows, and so is the ridge.
        let merged = merge(&settings, &models, &[1.0; 2]).unwrap().model;
        let together = trained(&settings, vec![device(2), device(3)]);
        let input = &device(2).values[..settings.lookback * 2];
        let (a, b) = (answer(&*merged, input), answer(&*together, input));
        for (a, b) in a.values.iter().zip(&b.values) {
            assert!(
                (a - b).abs() < 0.01 * b.abs().max(1.0),
                "{algorithm:?}: {a} {b}"
            );
        }
    }
}

#[test]
fn a_forecaster_of_one_feature_needs_no_sums_apart() {
    let settings = settings(Algorithm::RidgeNlinear);
    let one = |number: usize| {
        let mut rows = device(number);
        rows.values = rows.values.chunks(2).map(|row| row[0]).collect();
        rows
    };
    let source = |chunks: Vec<Rows>| {
        let mut source: InMemory = source(chunks);
        source.columns.features.pop();
        source
    };
    let model = |numbers: &[usize]| {
        let chunks = numbers.iter().map(|number| one(*number)).collect();
        train(&settings, &source(chunks), None).unwrap()
    };
    let models = [model(&[0]), model(&[6])];
    assert!(!models[0].save().tensors.contains_key("feature_gram"));
    let merged = merge(&settings, &models, &[1.0; 2]).unwrap().model;
    assert_same(&*merged, &*model(&[0, 6]), "one feature");
}

#[test]
fn what_does_not_go_together_is_refused_with_the_first_difference() {
    for algorithm in CLOSED {
        let settings = settings(algorithm);
        let with = |other: &RecipeSettings, rename: bool| {
            let mut data = source(vec![device(1)]);
            if rename {
                data.columns.features[1] = "c".into();
            }
            let own = trained(&settings, vec![device(0)]);
            let models = [own, train(other, &data, None).unwrap()];
            refusal(&settings, &models, &[1.0; 2])
        };
        let changed = |change: fn(&mut RecipeSettings)| {
            let mut other = settings.clone();
            change(&mut other);
            with(&other, false)
        };
        let text = with(&settings, true);
        let expected = "model 2: it has the features a, c; the first model has a, b";
        assert_eq!(text, expected);
        let text = changed(|s| s.lookback += 1);
        assert!(text.starts_with("model 2: it looks at "), "{text}");
        let text = changed(|s| s.ridge = 0.5);
        let expected = "model 2: it was made with ridge = 0.5, the recipe says 0.01";
        assert_eq!(text, expected);
        let text = changed(|s| s.forgetting = 0.5);
        assert!(text.contains("forgetting = 0.5"), "{text}");
        let text = changed(|s| s.variance_kept = 0.5);
        assert!(text.contains("variance_kept = 0.5"), "{text}");
        let text = changed(|s| s.false_alarm_rate = 0.5);
        assert!(text.contains("false_alarm_rate = 0.5"), "{text}");
        let one = || trained(&settings, vec![device(0)]);
        for weight in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let text = refusal(&settings, &[one(), one()], &[1.0, weight]);
            assert!(text.contains("must be above 0"), "{text}");
        }
        assert!(refusal(&settings, &[one()], &[]).contains("0 weights for 1 models"));
        assert!(refusal(&settings, &[], &[]).contains("at least 1 model"));
    }
    let (ridge, pca) = (settings(Algorithm::Ridge), settings(Algorithm::Pca));
    let models = [
        trained(&ridge, vec![device(0)]),
        trained(&pca, vec![device(0)]),
    ];
    assert_eq!(
        refusal(&ridge, &models, &[1.0; 2]),
        "model 2: it is not of kind ridge"
    );
}

#[test]
fn by_merged_limits_few_usual_windows_of_any_device_are_flagged_and_faults_are() {
    let settings = settings(Algorithm::Pca);
    let models = devices()
        .into_iter()
        .map(|rows| trained(&settings, vec![rows]));
    let models: Vec<_> = models.collect();
    let merged = merge(&settings, &models, &[1.0; DEVICES]).unwrap().model;
    let width = settings.lookback * 2;
    let (mut windows, mut flagged) = (0, 0);
    for number in 0..DEVICES {
        let unseen = scaled(number, rows(500, 100_000 + 1_000 * number)).values;
        for input in unseen.windows(width).step_by(2) {
            windows += 1;
            flagged += usize::from(answer(&*merged, input).flag);
        }
        let mut fault = unseen[..width].to_vec();
        fault[width - 1] += 40.0;
        assert!(answer(&*merged, &fault).flag, "device {number}");
    }
    assert!(flagged * 50 < windows, "{flagged} of {windows}");
}

#[test]
fn networks_and_recipes_of_ones_own_say_that_they_cannot() {
    let network = build(&settings(Algorithm::MlpRegressor)).unwrap();
    let error = network.merge(&[], &[]).err().unwrap();
    assert!(matches!(error, MergeError::NoSums), "{error}");
    assert!(error.to_string().contains("only closed forms"), "{error}");
}

#[test]
fn hostile_numbers_are_refused_without_a_panic() {
    for algorithm in CLOSED {
        let settings = settings(algorithm);
        let good = trained(&settings, vec![device(0)]).save();
        for (name, tensor) in &good.tensors {
            for value in [0.0, -1.0, 1e30, f64::MAX] {
                let mut bad = tensor.clone();
                match &mut bad.data {
                    TensorData::F32(data) => data.fill(value as f32),
                    TensorData::F64(data) => data.fill(value),
                }
                let mut artifact = good.clone();
                artifact.tensors.insert(name.clone(), bad);
                let recipe: Box<dyn Recipe> = build(&settings).unwrap();
                let Ok(model) = recipe.load(&artifact) else {
                    continue;
                };
                let own = trained(&settings, vec![device(1)]);
                let Ok(merged) = merge(&settings, &[own, model], &[1.0; 2]) else {
                    continue;
                };
                let bytes = merged.model.save().to_bytes().unwrap();
                let back = Artifact::from_bytes(&bytes);
                assert!(back.is_ok(), "{algorithm:?}, {name} of {value}: {back:?}");
            }
        }
    }
    let settings = settings(Algorithm::Ridge);
    let mut artifact = trained(&settings, vec![device(0)]).save();
    let gram = artifact.tensors.get_mut("gram").unwrap();
    if let TensorData::F64(data) = &mut gram.data {
        data.fill(0.0);
    }
    let models = [reloaded(&settings, &artifact)];
    let text = refusal(&settings, &models, &[1.0]);
    assert!(text.contains("hold no windows"), "{text}");
}
