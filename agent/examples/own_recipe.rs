//! An agent with a recipe of its own: `cargo run --example own_recipe -- dunlin.toml`, where the
//! configuration says
//!
//! ```toml
//! [[recipe]]
//! name = "steady"
//! streams = "vibration/*"
//! algorithm = "custom:extrapolation"
//! ```
//!
//! Everything else about a recipe's life is the agent's: when to train and to fine-tune, the gate,
//! versions and rollback, drift, predictions as rows upstream.

use std::path::Path;

use dunlin_agent::{
    app::Agent,
    config::{self, Overrides, settings::Settings},
    own::Own,
};
use dunlin_models::{
    data::{Source, Subset, WindowShape},
    recipe::{EpochEnd, Host, Output, Problem, TrainError},
    recipes::custom::Custom,
};

/// Two rows to extrapolate from, and the one to be expected.
const SHAPE: WindowShape = WindowShape {
    lookback: 3,
    horizon: 0,
};

/// An anomaly is a row far from where the two rows before it point.
fn extrapolation() -> Custom {
    Custom::new("extrapolation", Problem::Anomaly, SHAPE, train, infer)
}

/// Every window of a subset: three rows of all features.
fn each_window(
    data: &dyn Source,
    subset: Subset,
    mut see: impl FnMut(&[f32]),
) -> Result<(), TrainError> {
    let features = data.columns().features.len();
    for chunk in 0..data.chunks() {
        let rows = data.read(chunk)?;
        for window in rows.windows(SHAPE, features, false, subset) {
            see(rows.values_of(window.start..window.end, features));
        }
    }
    Ok(())
}

/// Where the row after `before` and `last` is expected, if `weight` of the change goes on.
fn expected(before: f32, last: f32, weight: f32) -> f32 {
    last + weight * (last - before)
}

/// The parameters: for each feature how much of a change goes on, then for each feature how far off
/// that usually is, then how many times as far counts as an anomaly.
fn train(
    data: &dyn Source,
    incumbent: Option<&[f32]>,
    _seed: u64,
    host: &mut dyn Host,
) -> Result<Vec<f32>, TrainError> {
    host.pace()?;
    let features = data.columns().features.len();
    // Least squares, by feature: sum of products of neighbouring changes over sum of squares.
    let (mut products, mut squares) = (vec![0.0; features], vec![1e-9; features]);
    each_window(data, Subset::Train, |rows| {
        for at in 0..features {
            let [a, b, c] = [0, 1, 2].map(|row| f64::from(rows[row * features + at]));
            products[at] += (b - a) * (c - b);
            squares[at] += (b - a) * (b - a);
        }
    })?;
    let mut weights: Vec<f32> = products
        .iter()
        .zip(&squares)
        .map(|(p, s)| (p / s) as f32)
        .collect();
    if let Some(known) = incumbent {
        // Fine-tuning moves half of the way.
        weights
            .iter_mut()
            .zip(known)
            .for_each(|(weight, known)| *weight = f32::midpoint(*weight, *known));
    }
    host.pace()?;
    let (mut spread, mut windows) = (vec![0.0; features], 0.0_f64);
    each_window(data, Subset::Train, |rows| {
        windows += 1.0;
        for at in 0..features {
            let row = expected(rows[at], rows[features + at], weights[at]);
            spread[at] += f64::from(rows[2 * features + at] - row).powi(2);
        }
    })?;
    if windows == 0.0 {
        return Err(TrainError::Data(
            "needed: three consecutive rows; found: none".into(),
        ));
    }
    let mut parameters = weights;
    parameters.extend(
        spread
            .iter()
            .map(|sum| ((sum / windows).sqrt() as f32).max(1e-6)),
    );
    parameters.push(1.0);
    // One usual row in a hundred may be flagged, on rows that were not learnt from.
    let (mut output, mut scores) = (Output::default(), Vec::new());
    each_window(data, Subset::Validation, |rows| {
        output.values.clear();
        infer(&parameters, rows, &mut output);
        scores.push(output.score);
    })?;
    scores.sort_by(f32::total_cmp);
    if let Some(limit) = scores.get(scores.len() * 99 / 100) {
        parameters[2 * features] = limit.max(1.0);
    }
    host.epoch(EpochEnd {
        is_best: true,
        ..EpochEnd::default()
    });
    Ok(parameters)
}

fn infer(parameters: &[f32], input: &[f32], output: &mut Output) {
    let features = input.len() / SHAPE.lookback;
    let limit = parameters[2 * features];
    output.score = 0.0;
    for at in 0..features {
        let row = expected(input[at], input[features + at], parameters[at]);
        let off = (input[2 * features + at] - row).abs() / parameters[features + at];
        output.score = output.score.max(off / limit);
        output.values.push(row);
    }
    output.flag = output.score > 1.0;
}

/// The configuration, in which recipes may name ours.
fn settings(path: &Path) -> Result<Settings, String> {
    let own = Own::default().with_recipe("extrapolation", extrapolation());
    config::load_with(Some(path), &Overrides::default(), &own).map_err(|mistakes| {
        let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        lines.join("\n")
    })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args()
        .nth(1)
        .ok_or("name the configuration file")?;
    let settings = settings(Path::new(&path))?;
    dunlin_agent::app::logging::init(&settings.log)?;
    let mut agent = Agent::start(settings).await?;
    tokio::select! {
        error = agent.failed() => return Err(error.into()),
        done = tokio::signal::ctrl_c() => done?,
    }
    agent.stop().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{
        sync::atomic::Ordering::Relaxed,
        time::{Duration, Instant},
    };

    use dunlin_agent::record::writer::{Request, RequestContent};

    use super::*;

    const CONFIG: &str = r#"
device = "example"
data_dir = "data"
[mqtt]
url = "mqtt://127.0.0.1:1"
[upstream]
url = "sqlite:up.db"
[http]
listen = ""
[clock]
hold_s = 0
[buffer]
commit_gap_ms_min = 100
[learn]
scan_ms = 100
[[stream]]
name = "vibration"
topic = "plant/+machine/vibration"
split = { method = "random", train = 0.7, seed = 1 }
[[recipe]]
name = "steady"
streams = "vibration/*"
algorithm = "custom:extrapolation"
min_start_count = 500
windows_min = 50
"#;

    #[tokio::test(flavor = "multi_thread")]
    async fn it_is_trained_promoted_and_answers() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dunlin.toml");
        std::fs::write(&path, CONFIG).unwrap();
        let agent = Agent::start(settings(&path).unwrap()).await.unwrap();
        let learnt = std::sync::Arc::clone(&agent.view().learn);
        let deadline = Instant::now() + Duration::from_mins(1);
        let mut step = 0;
        while learnt.predictions.load(Relaxed) < 100 {
            assert!(Instant::now() < deadline, "{learnt:?}");
            let (reply, answers) = std::sync::mpsc::channel();
            for _ in 0..100 {
                let angle = f64::from(step) / 5.0;
                let noise = f64::from(step * 7_919 % 101) / 1_000.0;
                step += 1;
                let payload = format!(
                    "{{\"x\":{},\"y\":{}}}",
                    angle.sin() + noise,
                    angle.cos() - noise
                );
                let content = RequestContent::Publish {
                    wanted: None,
                    at_ns: None,
                    topic: b"plant/press/vibration".to_vec(),
                    payload: payload.into_bytes(),
                };
                let reply = reply.clone();
                assert!(agent.requests().send(Request { content, reply }).is_ok());
            }
            // Durable, all of them.
            drop(reply);
            tokio::task::block_in_place(|| assert!(answers.iter().all(|stored| stored == Ok(1))));
        }
        assert_eq!(learnt.promoted.load(Relaxed), 1, "{learnt:?}");
        assert_eq!(learnt.failed.load(Relaxed), 0, "{learnt:?}");
        agent.stop().await.unwrap();
    }
}
