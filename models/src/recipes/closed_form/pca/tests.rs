#![allow(clippy::unwrap_used)]
use rand::{RngExt as _, SeedableRng, rngs::SmallRng};

use super::*;
use crate::{
    data::{Columns, InMemory, Rows, WindowShape},
    judging::evaluation::{Evaluation, evaluate},
    recipe::{Model, NullHost},
    recipes::{Algorithm, RecipeSettings, build},
};

const SHAPE: WindowShape = WindowShape {
    lookback: 4,
    horizon: 0,
};

/// A slow wave as two good sensors and two noisy ones see it, a fifth for validation; `off` is what the
/// second good one shows too much.
fn plant(rows: usize, off: f32, rng: &mut SmallRng) -> InMemory {
    let mut noise = |size: f32| {
        let sum: f32 = (0..4).map(|_| rng.random::<f32>() - 0.5).sum();
        size * 1.732 * sum
    };
    let mut all = Rows::default();
    for at in 0..rows {
        let wave = (at as f32 * 0.05).sin();
        all.ts.push(at as i64);
        let values = [
            wave + noise(0.03),
            wave + noise(0.03) + off,
            wave + noise(1.0),
            wave + noise(1.0),
        ];
        all.values.extend(values);
        all.is_train.push(at < rows * 4 / 5);
    }
    InMemory {
        columns: Columns {
            features: ["a", "b", "c", "d"].map(String::from).to_vec(),
            ..Columns::default()
        },
        chunks: vec![all.into()],
        ..InMemory::default()
    }
}

fn judge(model: &dyn Model, data: &InMemory) -> Evaluation {
    let scale = crate::data::scale::Scale::fit(data).unwrap();
    evaluate(model, (Problem::Anomaly, SHAPE), &scale, data, Subset::All).unwrap()
}

#[test]
fn a_good_sensor_that_is_off_is_seen_beside_noisy_ones() {
    let mut rng = SmallRng::seed_from_u64(1);
    let recipe = build(&RecipeSettings::new(Algorithm::Pca, SHAPE)).unwrap();
    let usual = plant(4_000, 0.0, &mut rng);
    let model = recipe
        .train(&usual, None, 1, &mut NullHost::default())
        .unwrap();
    let healthy = judge(&*model, &plant(1_000, 0.0, &mut rng));
    assert!(healthy.false_alarm_rate() < 0.03, "{healthy:?}");
    // A third of the wave's own spread, a third of the noise of the others.
    let off = judge(&*model, &plant(1_000, 0.3, &mut rng));
    assert!(off.false_alarm_rate() > 0.95, "{off:?}");
}

#[test]
fn directions_along_which_nothing_varies_are_left_out() {
    let mut rng = SmallRng::seed_from_u64(2);
    let mut usual = plant(1_000, 0.0, &mut rng);
    let rows = std::sync::Arc::get_mut(&mut usual.chunks[0]).unwrap();
    // Both good sensors say the very same, and one of the others nothing at all.
    for row in rows.values.chunks_exact_mut(4) {
        (row[1], row[3]) = (row[0], 7.0);
    }
    let recipe = build(&RecipeSettings::new(Algorithm::Pca, SHAPE)).unwrap();
    let model = recipe
        .train(&usual, None, 1, &mut NullHost::default())
        .unwrap();
    let artifact = model.save();
    let variances = artifact.tensors["variances"].shape[0];
    assert!(variances <= 8, "{variances} of 16");
    assert!(judge(&*model, &usual).false_alarm_rate() < 0.03);
    let broken = plant(500, 0.3, &mut rng);
    assert!(judge(&*model, &broken).false_alarm_rate() > 0.95);
}
