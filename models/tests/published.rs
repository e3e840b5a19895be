//! Models trained by gradient against published figures on real data.
//!
//! `DUNLIN_DATA` names the folder with `etth1/ETTh1.csv` and `basicmotions/*.ts`; without it these
//! tests say that they are skipped. Run them with `--release -- --nocapture` to see the figures.

#![allow(clippy::unwrap_used)]

use std::{fs, path::PathBuf, sync::Arc};

use dunlin_models::{
    data::{Columns, InMemory, Lineage, Rows, Subset, WindowShape, scale::Scale},
    judging::evaluation::{Evaluation, evaluate},
    recipe::{NullHost, Problem},
    recipes::{self, Algorithm, RecipeSettings, gradient},
};

fn data(file: &str) -> Option<String> {
    let Some(folder) = std::env::var_os("DUNLIN_DATA") else {
        println!("skipped: DUNLIN_DATA does not name a folder with {file}");
        return None;
    };
    let path = PathBuf::from(folder).join(file);
    match fs::read_to_string(&path) {
        Ok(text) => Some(text),
        Err(error) => {
            println!("skipped: {}: {error}", path.display());
            None
        }
    }
}

/// Rows `from..to`, of which those before `train_to` train.
fn etth1(text: &str, (from, train_to, to): (usize, usize, usize)) -> InMemory {
    let lines: Vec<&str> = text.lines().skip(1 + from).take(to - from).collect();
    let values = lines.iter().flat_map(|line| line.split(',').skip(1));
    let names = text.lines().next().unwrap().split(',').skip(1);
    InMemory {
        columns: Columns {
            features: names.map(str::to_owned).collect(),
            ..Columns::default()
        },
        chunks: vec![Arc::new(Rows {
            ts: (from as i64..to as i64).collect(),
            values: values.map(|value| value.parse().unwrap()).collect(),
            is_train: (from..to).map(|row| row < train_to).collect(),
            ..Rows::default()
        })],
        lineage: Lineage::default(),
    }
}

/// All windows of the test span, by a model trained on rows before it.
fn etth1_test(settings: &RecipeSettings, seed: u64) -> Option<Evaluation> {
    let text = data("etth1/ETTh1.csv")?;
    let learnt = etth1(&text, (0, 8640, 11520));
    let recipe = recipes::build(settings).unwrap();
    let mut host = NullHost::default();
    let model = recipe.train(&learnt, None, seed, &mut host).unwrap();
    let scale = Scale::fit(&learnt).unwrap();
    let test = etth1(&text, (11520 - settings.lookback, 0, 14400));
    let what = (Problem::Forecast, settings.shape());
    let found = evaluate(&*model, what, &scale, &test, Subset::All).unwrap();
    assert_eq!(found.windows, 2785);
    println!(
        "ETTh1 {:?} seed {seed}: MSE {:.4}, MAE {:.4} after {} epochs",
        settings.algorithm,
        found.error(),
        found.mae(),
        host.epochs.len()
    );
    Some(found)
}

fn forecast(algorithm: Algorithm, lookback: usize) -> RecipeSettings {
    let shape = WindowShape {
        lookback,
        horizon: 96,
    };
    RecipeSettings::new(algorithm, shape)
}

/// Mean test error of five seeds, with the schedule of Zeng et al. 2023: a rate of 5e-3, halved after
/// each epoch, batches of 32, three epochs of patience.
fn etth1_by_gradient(algorithm: Algorithm) -> Option<f64> {
    let settings = RecipeSettings {
        learning_rate: 5e-3,
        learning_rate_decay: 0.5,
        ..forecast(algorithm, 336)
    };
    let found: Option<Vec<_>> = (1..=5).map(|seed| etth1_test(&settings, seed)).collect();
    let found = found?;
    let mean = |figure: fn(&Evaluation) -> f64| found.iter().map(figure).sum::<f64>() / 5.0;
    let (mse, mae) = (mean(Evaluation::error), mean(Evaluation::mae));
    println!("ETTh1 {algorithm:?}: MSE {mse:.4}, MAE {mae:.4}");
    Some(mse)
}

#[test]
fn nlinear_forecasts_as_well_as_published() {
    if let Some(mse) = etth1_by_gradient(Algorithm::Nlinear) {
        // Zeng et al. 2023: 0.374.
        assert!(mse < 0.377);
    }
}

#[test]
fn dlinear_forecasts_as_well_as_published() {
    if let Some(mse) = etth1_by_gradient(Algorithm::Dlinear) {
        // Zeng et al. 2023: 0.375. One seed and another differ by more than this.
        assert!(mse < 0.38);
    }
}

#[test]
fn a_perceptron_forecasts_better_than_the_seasonal_naive() {
    if let Some(mse) = etth1_by_gradient(Algorithm::MlpForecast) {
        assert!(mse < 0.45);
    }
}

#[test]
fn the_closed_form_forecasts_better_than_the_best_published() {
    for (lookback, bound) in [(336, 0.37), (512, 0.368)] {
        let settings = forecast(Algorithm::RidgeNlinear, lookback);
        if let Some(found) = etth1_test(&settings, 1) {
            // Nie et al. 2023, PatchTST/64 with a lookback of 512: 0.370.
            assert!(found.error() < bound);
        }
    }
}

/// A case a chunk, its class at the last row alone; every fifth case of a training file validates. Cases
/// shorter than `rows_min` begin with their first row until they are as long.
fn cases(text: &str, rows_min: usize) -> InMemory {
    let classes = text
        .lines()
        .find_map(|line| line.strip_prefix("@classLabel true "));
    let classes: Vec<String> = classes.unwrap().split(' ').map(str::to_owned).collect();
    let cases = text.lines().skip_while(|line| *line != "@data").skip(1);
    let cases = cases.filter(|line| !line.trim().is_empty());
    let chunks = cases.enumerate().map(|(case, line)| {
        let mut channels: Vec<Vec<f32>> = Vec::new();
        let mut class = f32::NAN;
        for part in line.split(':') {
            if let Some(position) = classes.iter().position(|name| name == part.trim()) {
                class = position as f32;
            } else {
                channels.push(part.split(',').map(|v| v.trim().parse().unwrap()).collect());
            }
        }
        for channel in &mut channels {
            let missing = rows_min.saturating_sub(channel.len());
            channel.splice(..0, vec![channel[0]; missing]);
        }
        let rows = channels[0].len();
        let mut label = vec![f32::NAN; rows];
        label[rows - 1] = class;
        Arc::new(Rows {
            ts: (0..rows as i64).collect(),
            values: (0..rows)
                .flat_map(|row| channels.iter().map(move |channel| channel[row]))
                .collect(),
            label,
            is_train: vec![case % 5 != 0; rows],
            ..Rows::default()
        })
    });
    let chunks: Vec<_> = chunks.collect();
    let last = &chunks[chunks.len() - 1];
    let channels = last.values.len() / last.len();
    InMemory {
        columns: Columns {
            features: (0..channels).map(|channel| format!("c{channel}")).collect(),
            label: Some("class".into()),
            classes,
        },
        chunks,
        lineage: Lineage::default(),
    }
}

#[test]
fn convolutions_tell_activities_apart() {
    let file = |half: &str| data(&format!("basicmotions/BasicMotions_{half}.ts"));
    let (Some(train), Some(test)) = (file("TRAIN"), file("TEST")) else {
        return;
    };
    let (train, test) = (cases(&train, 0), cases(&test, 0));
    let shape = WindowShape {
        lookback: 100,
        horizon: 0,
    };
    for algorithm in [Algorithm::ConvClassifier, Algorithm::MlpClassifier] {
        let mut right = 0.0;
        for seed in 1..=5 {
            let settings = RecipeSettings {
                epochs_max: 60,
                patience_epochs: 15,
                batch_size: 8,
                learning_rate_decay: 0.98,
                ..RecipeSettings::new(algorithm, shape)
            };
            let recipe = gradient::build(&settings).unwrap();
            let mut host = NullHost::default();
            let model = recipe.train(&train, None, seed, &mut host).unwrap();
            let scale = Scale::fit(&train).unwrap();
            let what = (Problem::Classify, shape);
            let found = evaluate(&*model, what, &scale, &test, Subset::All).unwrap();
            assert_eq!(found.windows, 40);
            let accuracy = 1.0 - found.error();
            let epochs = host.epochs.len();
            println!("BasicMotions {algorithm:?} seed {seed}: {accuracy} after {epochs} epochs");
            right += accuracy / 5.0;
        }
        println!("BasicMotions {algorithm:?}: {right}");
        if algorithm == Algorithm::ConvClassifier {
            assert!(right >= 0.95);
        }
    }
}

/// Mean test accuracy of `rocket` over five seeds, on a data set of the archive.
fn rocket(name: &str, rows: usize) -> Option<f64> {
    let file = |half: &str| data(&format!("{name}_{half}.ts"));
    let (mut train, test) = (cases(&file("TRAIN")?, rows), cases(&file("TEST")?, rows));
    // It needs no case to validate by.
    for case in &mut train.chunks {
        Arc::make_mut(case).is_train.fill(true);
    }
    let shape = WindowShape {
        lookback: rows,
        horizon: 0,
    };
    let settings = RecipeSettings::new(Algorithm::Rocket, shape);
    let recipe = recipes::build(&settings).unwrap();
    let right = (1..=5).map(|seed| {
        let mut host = NullHost::default();
        let model = recipe.train(&train, None, seed, &mut host).unwrap();
        let scale = Scale::fit(&train).unwrap();
        let what = (Problem::Classify, shape);
        let found = evaluate(&*model, what, &scale, &test, Subset::All).unwrap();
        assert_eq!(found.windows, test.chunks.len() as u64);
        println!("{name} Rocket seed {seed}: {}", 1.0 - found.error());
        1.0 - found.error()
    });
    let right = right.sum::<f64>() / 5.0;
    println!("{name} Rocket: {right}");
    Some(right)
}

#[test]
fn random_convolutions_tell_motions_and_speakers_apart() {
    for (name, rows, least) in [
        ("basicmotions/BasicMotions", 100, 1.0),
        ("gunpoint/GunPoint", 150, 0.99),
        ("vowels/JapaneseVowels", 29, 0.965),
    ] {
        if let Some(right) = rocket(name, rows) {
            assert!(right >= least - 1e-9, "{name}: {right}");
        }
    }
}
