//! Regression by closed form: a linear map from the standardised window to the label.
//!
//! Promises: exact; fine-tuning is the old sums times the forgetting factor plus the new windows, so
//! replayed rows (which are in the sums) are left out.

use std::any::Any;

use super::{
    RecipeSettings,
    normal::{INPUTS_MAX, NormalEquations},
    report,
    setup::{Kept, check_inputs, nothing_to_learn},
};
use crate::{
    data::{Source, Subset, WindowShape},
    recipe::{Host, Model, Output, Problem, Recipe, Scratch, TrainError},
    registry::artifact::{Artifact, ArtifactError},
    training::wide,
};

const KIND: &str = "ridge";

/// Makes [`RidgeModel`]s.
#[derive(Debug)]
pub(super) struct Ridge(pub RecipeSettings);

/// The map and what it was made from.
#[derive(Clone, Debug)]
struct RidgeModel {
    kept: Kept,
    sums: NormalEquations,
    /// One a number of the window, then the bias.
    weights: Vec<f32>,
}

impl Recipe for Ridge {
    fn problem(&self) -> Problem {
        Problem::Regress
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
        let inputs = self.0.lookback * data.columns().features.len();
        check_inputs(inputs, INPUTS_MAX, self.shape())?;
        if data.columns().label.is_none() {
            return Err(TrainError::Data(
                "needed: a label to estimate; found: none among the columns".into(),
            ));
        }
        let empty = NormalEquations::new(inputs, 1);
        let (kept, mut sums) = Kept::start(
            (&self.0, KIND),
            data,
            incumbent,
            empty,
            |old: &RidgeModel| (&old.kept, &old.sums),
        )?;
        let added = add_windows(data, &kept, incumbent.is_some(), &mut sums, host)?;
        if added == 0 {
            return Err(nothing_to_learn(data, self.shape(), true)?);
        }
        let weights = sums
            .solve(self.0.ridge)
            .ok_or_else(|| super::too_large(&kept.features))?;
        let loss = sums.loss(&weights);
        let model = RidgeModel {
            weights: weights.iter().map(|weight| *weight as f32).collect(),
            kept,
            sums,
        };
        let (what, scale) = ((self.problem(), self.shape()), &model.kept.scale);
        report(&model, what, scale, data, (started_ns, loss), host)?;
        Ok(Box::new(model))
    }

    fn load(&self, artifact: &Artifact) -> Result<Box<dyn Model>, ArtifactError> {
        let kept = Kept::load(artifact, KIND, &self.0)?;
        let inputs = kept.inputs();
        Ok(Box::new(RidgeModel {
            sums: NormalEquations::load(artifact, inputs, 1)?,
            weights: artifact.f32("weights", &[inputs + 1])?,
            kept,
        }))
    }
}

/// Adds every labelled training window; returns their number.
fn add_windows(
    data: &dyn Source,
    kept: &Kept,
    skips_replay: bool,
    sums: &mut NormalEquations,
    host: &mut dyn Host,
) -> Result<usize, TrainError> {
    let features = kept.features.len();
    let mut added = 0;
    for index in 0..data.chunks() {
        host.pace()?;
        let rows = data.read(index)?;
        if skips_replay && rows.is_replay {
            continue;
        }
        for window in rows.windows(kept.settings.shape(), features, true, Subset::Train) {
            let values = rows.values_of(window.start..window.split_at, features);
            let is_block = sums.add(|x, y| {
                kept.standardise(values, x);
                y[0] = f64::from(rows.label[window.end - 1]);
            });
            if is_block {
                host.pace()?;
            }
            added += 1;
        }
    }
    sums.flush();
    Ok(added)
}

impl Model for RidgeModel {
    fn infer(&self, input: &[f32], scratch: &mut Scratch, output: &mut Output) {
        let standard = &mut scratch.a;
        standard.clear();
        standard.extend_from_slice(input);
        self.kept.scale.apply(standard);
        let (weights, bias) = self.weights.split_at(self.weights.len() - 1);
        output.values.clear();
        output.values.push(bias[0] + wide::dot(standard, weights));
        (output.score, output.flag) = (0.0, false);
    }

    fn save(&self) -> Artifact {
        let mut artifact = self.kept.save(KIND);
        artifact.insert_f32("weights", &[self.weights.len()], self.weights.clone());
        self.sums.save(&mut artifact);
        artifact
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
