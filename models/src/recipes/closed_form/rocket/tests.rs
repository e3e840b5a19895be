#![allow(clippy::unwrap_used)]
use std::{sync::Arc, time::Duration};

use rustix::time::{ClockId, clock_gettime};

use super::*;
use crate::{
    artifact::TensorData,
    data::{InMemory, Subset, WindowShape, scale::Scale},
    judging::evaluation::{argmax, evaluate},
    recipe::{Model, NullHost},
    recipes::{Algorithm, build},
    training::random::Random,
};

/// Pieces of `lookback` rows, each with a class at its last row: how fast its waves are.
struct Pieces {
    lookback: usize,
    features: usize,
    classes: usize,
}

const SMALL: Pieces = Pieces {
    lookback: 40,
    features: 2,
    classes: 3,
};

impl Pieces {
    fn settings(&self) -> RecipeSettings {
        let shape = WindowShape {
            lookback: self.lookback,
            horizon: 0,
        };
        RecipeSettings::new(Algorithm::Rocket, shape)
    }

    fn rows(&self, piece: usize) -> Rows {
        let class = piece % self.classes;
        let mut random = Random::new(piece as u64, 9);
        let phase = random.uniform(3.0);
        let mut rows = Rows::default();
        for row in 0..self.lookback {
            let wave = (row as f32 * 0.2 * (class + 1) as f32 + phase).sin();
            rows.ts.push(row as i64);
            rows.values
                .extend((0..self.features).map(|at| wave * (at + 1) as f32 + random.uniform(0.5)));
            rows.label.push(f32::NAN);
            rows.is_train.push(true);
        }
        rows.label[self.lookback - 1] = class as f32;
        rows
    }

    fn source(&self, pieces: std::ops::Range<usize>) -> InMemory {
        let names = |letter: &str, count| (0..count).map(|at| format!("{letter}{at}")).collect();
        InMemory {
            columns: Columns {
                features: names("f", self.features),
                label: Some("class".into()),
                classes: names("c", self.classes),
            },
            chunks: pieces.map(|piece| Arc::new(self.rows(piece))).collect(),
            ..InMemory::default()
        }
    }

    fn train(
        &self,
        data: &InMemory,
        incumbent: Option<&dyn Model>,
    ) -> Result<Box<dyn Model>, TrainError> {
        let recipe = build(&self.settings()).unwrap();
        recipe.train(data, incumbent, 1, &mut NullHost::default())
    }

    fn error(&self, model: &dyn Model, data: &InMemory) -> f64 {
        let what = (Problem::Classify, self.settings().shape());
        let scale = Scale::fit(data).unwrap();
        evaluate(model, what, &scale, data, Subset::All)
            .unwrap()
            .error()
    }
}

fn bytes(model: &dyn Model) -> Vec<u8> {
    model.save().to_bytes().unwrap()
}

fn sums(model: &dyn Model) -> Vec<f64> {
    let artifact = model.save();
    let all = ["gram", "cross", "squares"].map(|name| match &artifact.tensors[name].data {
        TensorData::F64(data) => data.clone(),
        TensorData::F32(_) => panic!("{name} is rounded"),
    });
    all.concat()
}

#[test]
fn waves_are_told_apart_and_the_answer_is_a_probability_for_each_class() {
    let data = SMALL.source(0..60);
    let model = SMALL.train(&data, None).unwrap();
    assert!(SMALL.error(&*model, &SMALL.source(60..180)) < 0.05);
    let loaded = Artifact::from_bytes(&bytes(&*model)).unwrap();
    assert_eq!(loaded.classes(), data.columns.classes);
    let loaded = build(&SMALL.settings()).unwrap().load(&loaded).unwrap();
    assert_eq!(bytes(&*loaded), bytes(&*model));
    let (mut scratch, mut output) = (Scratch::default(), Output::default());
    for piece in 60..90 {
        let rows = SMALL.rows(piece);
        model.infer(&rows.values, &mut scratch, &mut output);
        let sum: f32 = output.values.iter().sum();
        assert!((sum - 1.0).abs() < 1e-5, "{output:?}");
        assert!(
            output
                .values
                .iter()
                .all(|value| (0.0..=1.0).contains(value))
        );
        assert_eq!(output.score, output.values[argmax(&output.values).unwrap()]);
        let answered = output.clone();
        loaded.infer(&rows.values, &mut scratch, &mut output);
        assert_eq!(output, answered);
    }
}

#[test]
fn the_same_seed_and_data_give_the_same_bytes_and_another_seed_others() {
    let data = SMALL.source(0..30);
    let first = SMALL.train(&data, None).unwrap();
    assert_eq!(bytes(&*first), bytes(&*SMALL.train(&data, None).unwrap()));
    let recipe = build(&SMALL.settings()).unwrap();
    let other = recipe
        .train(&data, None, 2, &mut NullHost::default())
        .unwrap();
    assert_ne!(bytes(&*first), bytes(&*other));
}

#[test]
fn sums_of_parts_add_up_bit_for_bit_and_scaling_and_penalty_stay() {
    let base = SMALL.train(&SMALL.source(0..30), None).unwrap();
    let tuned = |pieces| SMALL.train(&SMALL.source(pieces), Some(&*base)).unwrap();
    let (one, two, both) = (tuned(30..50), tuned(50..80), tuned(30..80));
    let parts = sums(&*one).into_iter().zip(sums(&*two)).zip(sums(&*base));
    let added: Vec<f64> = parts.map(|((one, two), base)| one + two - base).collect();
    assert_eq!(added, sums(&*both));
    let in_turn = SMALL.train(&SMALL.source(50..80), Some(&*one)).unwrap();
    assert_eq!(bytes(&*in_turn), bytes(&*both));
    let kept = |model: &dyn Model| {
        let artifact = model.save();
        ["kernels", "channels", "mean", "std", "scales", "penalty"]
            .map(|name| artifact.tensors[name].clone())
    };
    assert_eq!(kept(&*both), kept(&*base));
}

#[test]
fn shuffled_labels_teach_no_more_than_the_most_frequent_class() {
    // Half of the pieces are of one class, a quarter of each other.
    let shuffled = |pieces: std::ops::Range<usize>, seed| {
        let mut data = SMALL.source(pieces.clone());
        let mut labels: Vec<f32> = pieces.map(|at| [0.0, 1.0, 0.0, 2.0][at % 4]).collect();
        Random::new(seed, 4).shuffle(&mut labels);
        for (rows, label) in data.chunks.iter_mut().zip(labels) {
            Arc::make_mut(rows).label[SMALL.lookback - 1] = label;
        }
        data
    };
    let model = SMALL.train(&shuffled(0..200, 1), None).unwrap();
    let error = SMALL.error(&*model, &shuffled(200..600, 2));
    assert!((0.4..0.62).contains(&error), "{error}");
}

#[test]
fn what_comes_later_changes_nothing_before() {
    let later = |value: f32| {
        let mut data = SMALL.source(0..60);
        for rows in &mut data.chunks[40..] {
            let rows = Arc::make_mut(rows);
            rows.is_train.fill(false);
            rows.values.iter_mut().for_each(|at| *at *= value);
            rows.label[SMALL.lookback - 1] = value % 3.0;
        }
        bytes(&*SMALL.train(&data, None).unwrap())
    };
    assert_eq!(later(1.0), later(5.0));
}

#[test]
fn the_error_of_a_window_left_out_is_that_of_a_map_without_it() {
    let data = SMALL.source(0..20);
    let model = SMALL.train(&data, None).unwrap();
    let model = model
        .as_any()
        .downcast_ref::<super::super::ClosedFormModel<Rocket>>();
    let model = model.unwrap();
    let total = model.sums.total();
    let sums = Centred::of(&total, &model.form.scales);
    let penalty = 10.0;
    for (left_out, rows) in data.chunks.iter().enumerate().take(3) {
        let mut scratch = Scratch::default();
        let setup = &model.setup;
        let counts = setup
            .kernels
            .count(&rows.values, &setup.scale, &mut scratch)
            .to_vec();
        let found = penalty::left_out(&sums, &counts, left_out % 3, penalty);
        let mut others = Sums::new(Rocket::size(setup), 1);
        for (at, rows) in data.chunks.iter().enumerate() {
            let window = Window {
                start: 0,
                split_at: rows.len(),
                end: rows.len(),
            };
            if at != left_out {
                Rocket::add(setup, rows, window, &mut others, &mut NullHost::default()).unwrap();
            }
        }
        others.flush();
        let weights = Centred::of(&others.total(), &model.form.scales)
            .weights(penalty)
            .unwrap();
        let answers: Vec<f64> = (0..3)
            .map(|class| {
                let weights = weights.column(class);
                let counts = counts.iter().map(|count| f64::from(*count));
                counts
                    .zip(weights.iter())
                    .map(|(count, weight)| count * weight)
                    .sum::<f64>()
                    + weights[KERNELS]
            })
            .collect();
        let wanted = |class: usize| f64::from(u8::from(class == left_out % 3));
        let errors = answers
            .iter()
            .enumerate()
            .map(|(class, answer)| wanted(class) - answer);
        let expected: f64 = errors.map(|error| error * error).sum();
        assert!(
            (found - expected).abs() < 1e-6 * expected,
            "{found} {expected}"
        );
    }
}

#[test]
fn what_cannot_be_learnt_from_is_told_with_what_was_found() {
    let refused = |data: &InMemory, incumbent| {
        let error = SMALL.train(data, incumbent).err().unwrap();
        error.to_string()
    };
    let mut one_class = SMALL.source(0..30);
    one_class
        .chunks
        .retain(|rows| rows.label[SMALL.lookback - 1] == 1.0);
    assert!(refused(&one_class, None).contains("at least 2 classes; found: 1"));
    let mut wrong = SMALL.source(0..30);
    Arc::make_mut(&mut wrong.chunks[3]).label[SMALL.lookback - 1] = 7.0;
    assert!(refused(&wrong, None).contains("label 7"));
    Arc::make_mut(&mut wrong.chunks[3]).label[SMALL.lookback - 1] = -0.5;
    assert!(refused(&wrong, None).contains("label -0.5"));
    let mut nameless = SMALL.source(0..30);
    nameless.columns.label = None;
    assert!(refused(&nameless, None).contains("names classes"));
    let mut short = SMALL.source(0..0);
    let text = refused(&short, None);
    assert!(text.starts_with("needed: 40 "), "{text}");
    // Of one class, where more are known already, there is something to learn.
    let incumbent = SMALL.train(&SMALL.source(0..30), None).unwrap();
    assert!(SMALL.train(&one_class, Some(&*incumbent)).is_ok());
    short.chunks.clone_from(&one_class.chunks);
    short.columns.classes.swap(0, 1);
    assert!(refused(&short, Some(&*incumbent)).contains("c1, c0, c2"));
}

#[test]
fn constant_missing_and_huge_numbers_and_a_window_of_one_row_do_no_harm() {
    for spoil in 0..4 {
        let mut data = SMALL.source(0..40);
        for rows in &mut data.chunks[4..] {
            for (at, value) in Arc::make_mut(rows).values.iter_mut().enumerate() {
                match (spoil, at) {
                    (0, _) if at % 2 == 0 => *value = 7.5,
                    (1, 3) => *value = f32::MAX,
                    (2, _) => *value = -1.0,
                    _ => (),
                }
            }
        }
        if spoil == 3 {
            Arc::make_mut(&mut data.chunks[0]).values[7] = f32::NAN;
        }
        let model = SMALL.train(&data, None).unwrap();
        assert!(Artifact::from_bytes(&bytes(&*model)).is_ok());
    }
    let one = Pieces {
        lookback: 1,
        ..SMALL
    };
    let model = one.train(&one.source(0..30), None).unwrap();
    assert!(Artifact::from_bytes(&bytes(&*model)).is_ok());
}

#[test]
fn artifacts_that_do_not_fit_are_refused() {
    let artifact = SMALL.train(&SMALL.source(0..30), None).unwrap().save();
    let load = |artifact: &Artifact| {
        let loaded = build(&SMALL.settings()).unwrap().load(artifact);
        loaded.map(|_| ()).unwrap_err()
    };
    // Models were saved without `moments` once.
    for name in artifact.tensors.keys().filter(|name| *name != "moments") {
        let mut without = artifact.clone();
        without.tensors.remove(name);
        assert!(matches!(load(&without), ArtifactError::Misfit(_)), "{name}");
    }
    let mut nameless = artifact.clone();
    let settings: serde_json::Value = serde_json::from_str(&artifact.settings).unwrap();
    assert_eq!(settings["classes"][2], "c2");
    let recipe = &settings["recipe"];
    nameless.settings = serde_json::json!({"recipe": recipe, "classes": []}).to_string();
    assert!(matches!(load(&nameless), ArtifactError::Misfit(_)));
    let mut unpenalised = artifact;
    unpenalised.insert_f64("penalty", &[1], vec![0.0]);
    assert!(matches!(load(&unpenalised), ArtifactError::Damaged(_)));
}

/// Processor time of this thread, for what is measured and told.
fn spent() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

#[test]
fn a_model_is_small_and_tells_what_it_takes() {
    let motions = Pieces {
        lookback: 100,
        features: 6,
        classes: 4,
    };
    let data = motions.source(0..150);
    let started = spent();
    let model = motions.train(&data, None).unwrap();
    let train = spent().saturating_sub(started);
    let (mut scratch, mut output) = (Scratch::default(), Output::default());
    let rows = motions.rows(3);
    let started = spent();
    for _ in 0..1_000 {
        model.infer(&rows.values, &mut scratch, &mut output);
    }
    let answer = spent().saturating_sub(started) / 1_000;
    let artifact = model.save();
    let mut serving = artifact.clone();
    for name in ["gram", "cross", "squares"] {
        serving.tensors.remove(name);
    }
    let [all, serving] = [artifact, serving].map(|artifact| artifact.to_bytes().unwrap().len());
    println!("trained in {train:?}, answered in {answer:?}, {all} bytes, {serving} without sums");
    assert!(all <= 5_000_000 && serving <= 200_000, "{all} {serving}");
}

#[test]
fn models_fine_tuned_from_one_are_merged_bit_for_bit_and_strangers_refused() {
    let mut settings = SMALL.settings();
    // What the first has learnt is in each of the others, unless it is forgotten.
    settings.forgetting = 0.0;
    let recipe = build(&settings).unwrap();
    let train = |pieces, incumbent: Option<&dyn Model>| {
        let data = SMALL.source(pieces);
        recipe
            .train(&data, incumbent, 1, &mut NullHost::default())
            .unwrap()
    };
    let first = train(0..60, None);
    let (one, two) = (train(60..90, Some(&*first)), train(90..150, Some(&*first)));
    let merged = recipe.merge(&[&*one, &*two], &[1.0; 2]).unwrap();
    assert_eq!(merged.windows, 90.0);
    let (merged, whole) = (merged.model.save(), train(60..150, Some(&*first)).save());
    for (name, tensor) in &whole.tensors {
        if name != "moments" {
            assert_eq!(&merged.tensors[name], tensor, "{name}");
        }
    }
    let stranger = train(150..210, None);
    let error = recipe.merge(&[&*one, &*stranger], &[1.0; 2]).err().unwrap();
    let text = error.to_string();
    assert!(text.starts_with("model 2: its kernels and scale"), "{text}");
}
