//! Forecasting by closed form: one linear map from the window minus its last row to the horizon, shared
//! by all features, found by ridge regression on the sums over every training window.
//!
//! Promises: exact, hence no seed and no epochs; fine-tuning is the old sums times the forgetting
//! factor plus the new windows, so replayed rows (which are in the sums) are left out.

use std::any::Any;

use super::{
    RecipeSettings,
    normal::NormalEquations,
    report,
    setup::{Kept, nothing_to_learn},
};
use crate::{
    data::{Source, Subset, WindowShape},
    recipe::{Host, Model, Output, Problem, Recipe, Scratch, TrainError},
    registry::artifact::{Artifact, ArtifactError},
    training::wide,
};

const KIND: &str = "ridge_nlinear";

/// Makes [`RidgeNlinearModel`]s.
#[derive(Debug)]
pub(super) struct RidgeNlinear(pub RecipeSettings);

/// The map and what it was made from.
#[derive(Clone, Debug)]
struct RidgeNlinearModel {
    kept: Kept,
    sums: NormalEquations,
    /// `lookback` rows (the differences to the last row, oldest first, then the bias) of `horizon`.
    weights: Vec<f32>,
}

impl Recipe for RidgeNlinear {
    fn problem(&self) -> Problem {
        Problem::Forecast
    }

    fn shape(&self) -> WindowShape {
        self.0.shape()
    }

    fn train(
        &self,
        data: &dyn Source,
        incumbent: Option<&dyn Model>,
        _: u64,
        host: &mut dyn Host,
    ) -> Result<Box<dyn Model>, TrainError> {
        let started_ns = host.elapsed_ns();
        let shape = self.shape();
        let empty = NormalEquations::new(shape.lookback - 1, shape.horizon);
        let (kept, mut sums) = Kept::start(
            (&self.0, KIND),
            data,
            incumbent,
            empty,
            |old: &RidgeNlinearModel| (&old.kept, &old.sums),
        )?;
        let added = add_windows(data, &kept, incumbent.is_some(), &mut sums, host)?;
        if added == 0 {
            return Err(nothing_to_learn(data, shape, false)?);
        }
        let weights = sums
            .solve(self.0.ridge)
            .ok_or_else(|| super::too_large(&kept.features))?;
        let loss = sums.loss(&weights);
        let model = RidgeNlinearModel {
            // Row-major: nalgebra's columns are the rows of the transpose.
            weights: weights
                .transpose()
                .iter()
                .map(|weight| *weight as f32)
                .collect(),
            kept,
            sums,
        };
        let scale = &model.kept.scale;
        report(
            &model,
            (self.problem(), shape),
            scale,
            data,
            (started_ns, loss),
            host,
        )?;
        Ok(Box::new(model))
    }

    fn load(&self, artifact: &Artifact) -> Result<Box<dyn Model>, ArtifactError> {
        let kept = Kept::load(artifact, KIND, &self.0)?;
        let shape = self.shape();
        Ok(Box::new(RidgeNlinearModel {
            sums: NormalEquations::load(artifact, shape.lookback - 1, shape.horizon)?,
            weights: artifact.f32("weights", &[shape.lookback, shape.horizon])?,
            kept,
        }))
    }
}

/// Adds every training window of every feature; returns the number of windows.
fn add_windows(
    data: &dyn Source,
    kept: &Kept,
    skips_replay: bool,
    sums: &mut NormalEquations,
    host: &mut dyn Host,
) -> Result<usize, TrainError> {
    let features = kept.features.len();
    let shape = kept.settings.shape();
    let mut added = 0;
    for index in 0..data.chunks() {
        host.pace()?;
        let rows = data.read(index)?;
        if skips_replay && rows.is_replay {
            continue;
        }
        for window in rows.windows(shape, features, false, Subset::Train) {
            let values = rows.values_of(window.start..window.end, features);
            for feature in 0..features {
                let std = f64::from(kept.scale.std[feature]);
                let at = |row: usize| f64::from(values[row * features + feature]);
                let last = at(shape.lookback - 1);
                let is_block = sums.add(|x, y| {
                    for (row, x) in x.iter_mut().enumerate() {
                        *x = (at(row) - last) / std;
                    }
                    for (step, y) in y.iter_mut().enumerate() {
                        *y = (at(shape.lookback + step) - last) / std;
                    }
                });
                if is_block {
                    host.pace()?;
                }
            }
            added += 1;
        }
    }
    sums.flush();
    Ok(added)
}

impl Model for RidgeNlinearModel {
    fn infer(&self, input: &[f32], scratch: &mut Scratch, output: &mut Output) {
        let shape = self.kept.settings.shape();
        let features = self.kept.features.len();
        let (maps, bias) = self.weights.split_at((shape.lookback - 1) * shape.horizon);
        output.values.clear();
        output.values.resize(shape.horizon * features, 0.0);
        (output.score, output.flag) = (0.0, false);
        for feature in 0..features {
            let std = self.kept.scale.std[feature];
            let last = input[(shape.lookback - 1) * features + feature];
            let answer = &mut scratch.a;
            answer.clear();
            answer.extend_from_slice(bias);
            let inputs = input.iter().skip(feature).step_by(features);
            for (value, map) in inputs.zip(maps.chunks_exact(shape.horizon)) {
                let difference = (value - last) / std;
                wide::map_with(answer, map, |answer, weight| answer + difference * weight);
            }
            let outputs = output.values.iter_mut().skip(feature).step_by(features);
            for (output, answer) in outputs.zip(answer.iter()) {
                *output = last + answer * std;
            }
        }
    }

    fn save(&self) -> Artifact {
        let shape = self.kept.settings.shape();
        let mut artifact = self.kept.save(KIND);
        let weights = [shape.lookback, shape.horizon];
        artifact.insert_f32("weights", &weights, self.weights.clone());
        self.sums.save(&mut artifact);
        artifact
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
