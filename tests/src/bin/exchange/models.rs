//! Models of every recipe, and their answers.

use std::{error::Error, fs, path::Path, sync::Arc};

use dunlin_models::{
    artifact::Artifact,
    data::{Columns, InMemory, Rows, WindowShape},
    recipe::{Model, NullHost, Output, Problem, Scratch},
    recipes::{Algorithm, RecipeSettings, build},
};
use serde_json::{Value, json};

const ALGORITHMS: [Algorithm; 12] = [
    Algorithm::RidgeNlinear,
    Algorithm::Nlinear,
    Algorithm::Dlinear,
    Algorithm::MlpForecast,
    Algorithm::Pca,
    Algorithm::Autoencoder,
    Algorithm::ConvAutoencoder,
    Algorithm::MlpClassifier,
    Algorithm::ConvClassifier,
    Algorithm::Rocket,
    Algorithm::Ridge,
    Algorithm::MlpRegressor,
];
const FEATURES: usize = 2;
const TRAINING_ROWS: usize = 600;
/// Windows asked about; none of them was trained on.
const QUESTIONS: usize = 40;
/// By which an answer may differ, beside the larger of 1 and the answer.
const DIFFERENCE_MAX: f64 = 1e-5;

type Done<T> = Result<T, Box<dyn Error>>;

/// Trains all of them; keeps models and answers in `dir`.
pub(crate) fn write(dir: &Path) -> Done<Value> {
    fs::create_dir_all(dir)?;
    for algorithm in ALGORITHMS {
        let settings = settings(algorithm);
        let recipe = build(&settings)?;
        let model = recipe.train(&training(algorithm), None, 1, &mut NullHost::default())?;
        fs::write(
            dir.join(format!("{algorithm:?}.safetensors")),
            model.save().to_bytes()?,
        )?;
        let answers = serde_json::to_vec(&answers(&*model, &settings))?;
        fs::write(dir.join(format!("{algorithm:?}.json")), answers)?;
    }
    Ok(json!(ALGORITHMS.len()))
}

/// Loads all of them from `dir` and compares their answers with those kept there; returns the largest
/// difference for each.
pub(crate) fn read(dir: &Path) -> Done<Value> {
    let mut differences = serde_json::Map::new();
    for algorithm in ALGORITHMS {
        let settings = settings(algorithm);
        let bytes = fs::read(dir.join(format!("{algorithm:?}.safetensors")))?;
        let model = build(&settings)?.load(&Artifact::from_bytes(&bytes)?)?;
        let kept = fs::read(dir.join(format!("{algorithm:?}.json")))?;
        let theirs: Vec<Vec<f64>> = serde_json::from_slice(&kept)?;
        let largest = difference(&answers(&*model, &settings), &theirs)
            .ok_or_else(|| format!("{algorithm:?}: answers of another number or length"))?;
        // A difference that is no number is no small one.
        if largest.is_nan() || largest > DIFFERENCE_MAX {
            return Err(format!("{algorithm:?}: an answer differs by {largest:e}").into());
        }
        differences.insert(format!("{algorithm:?}"), json!(largest));
    }
    Ok(differences.into())
}

fn settings(algorithm: Algorithm) -> RecipeSettings {
    let (lookback, horizon) = match algorithm.problem() {
        Problem::Forecast => (24, 4),
        _ => (16, 0),
    };
    let mut settings = RecipeSettings::new(algorithm, WindowShape { lookback, horizon });
    settings.hidden = vec![16, 8];
    settings.epochs_max = 3;
    settings
}

/// A triangle and its echo, both with noise; the label belongs to `algorithm`'s task.
fn rows(algorithm: Algorithm, from: usize, count: usize) -> Rows {
    let noise = |at: usize| ((at * 7_919 + 13) % 101) as f32 / 1_024.0;
    let triangle = |at: usize| (at % 32).abs_diff(16) as f32 / 16.0;
    let mut rows = Rows::default();
    for at in from..from + count {
        let a = triangle(at) + noise(at);
        let b = 4.0 * triangle(at + 5) + noise(at + 50) - 2.0;
        rows.ts.push(at as i64);
        rows.values.extend([a, b]);
        rows.label.push(match algorithm.problem() {
            Problem::Classify => f32::from(u8::from(a > 0.5)),
            _ => 3.0 * a - 0.5 * b + 1.0,
        });
        rows.is_train.push(at % 5 != 0);
    }
    rows
}

fn training(algorithm: Algorithm) -> InMemory {
    let classes = match algorithm.problem() {
        Problem::Classify => vec!["calm".into(), "busy".into()],
        _ => Vec::new(),
    };
    InMemory {
        columns: Columns {
            features: vec!["a".into(), "b".into()],
            label: algorithm.problem().wants_label().then(|| "y".into()),
            classes,
        },
        chunks: vec![Arc::new(rows(algorithm, 0, TRAINING_ROWS))],
        ..InMemory::default()
    }
}

/// One answer a row: the values, then the score, then the flag as 0 or 1.
fn answers(model: &dyn Model, settings: &RecipeSettings) -> Vec<Vec<f64>> {
    let rows = rows(
        settings.algorithm,
        TRAINING_ROWS,
        QUESTIONS + settings.lookback - 1,
    );
    let (mut scratch, mut output) = (Scratch::default(), Output::default());
    let windows = rows.values.windows(settings.lookback * FEATURES);
    let answers = windows.step_by(FEATURES).map(|window| {
        model.infer(window, &mut scratch, &mut output);
        let mut answer: Vec<f64> = output.values.iter().copied().map(f64::from).collect();
        answer.extend([f64::from(output.score), f64::from(u8::from(output.flag))]);
        answer
    });
    answers.collect()
}

/// The largest difference between numbers of the two, each beside the larger of 1 and the number;
/// `None` if they are not of the same shape.
fn difference(ours: &[Vec<f64>], theirs: &[Vec<f64>]) -> Option<f64> {
    let same_shape =
        ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| a.len() == b.len());
    let pairs = ours.iter().flatten().zip(theirs.iter().flatten());
    let differences = pairs.map(|(a, b)| (a - b).abs() / b.abs().max(1.0));
    // Not `f64::max`, which forgets what is no number.
    same_shape.then(|| differences.fold(0.0, |most, next| if next <= most { most } else { next }))
}
