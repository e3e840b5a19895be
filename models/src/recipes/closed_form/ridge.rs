//! Regression by closed form: a linear map from the standardised window to the label.

use super::{
    ClosedForm, ClosedFormModel, Solved,
    normal::{INPUTS_MAX, NormalEquations, Size},
    setup::{Setup, check_inputs},
    sums::Sums,
    too_large,
};
use crate::{
    artifact::{Artifact, ArtifactError},
    data::{Columns, Rows, Source, Window},
    recipe::{Host, Output, Problem, Scratch, TrainError},
    recipes::RecipeSettings,
    training::wide,
};

/// The map.
#[derive(Clone, Debug)]
pub(super) struct Ridge {
    /// One a number of the window, then the bias.
    weights: Vec<f32>,
}

impl ClosedForm for Ridge {
    const KIND: &'static str = "ridge";
    const PROBLEM: Problem = Problem::Regress;

    fn check(settings: &RecipeSettings, columns: &Columns) -> Result<(), TrainError> {
        check_inputs(settings.shape(), columns.features.len(), INPUTS_MAX)?;
        if columns.label.is_none() {
            return Err(TrainError::Data(
                "needed: a label to estimate; found: none among the columns".into(),
            ));
        }
        Ok(())
    }

    fn size(setup: &Setup) -> Size {
        Size {
            inputs: setup.inputs(),
            outputs: 1,
        }
    }

    fn add(
        setup: &Setup,
        rows: &Rows,
        window: Window,
        sums: &mut Sums,
        host: &mut dyn Host,
    ) -> Result<(), TrainError> {
        let values = rows.values_of(window.start..window.split_at, setup.features.len());
        let is_block = sums.add(|x, y| {
            setup.standardise(values, x);
            y[0] = f64::from(rows.label[window.end - 1]);
        });
        if is_block {
            host.pace()?;
        }
        Ok(())
    }

    fn solve(
        setup: &Setup,
        sums: &NormalEquations,
        _: Option<&Self>,
        _: &dyn Source,
        _: &mut dyn Host,
    ) -> Result<Solved<Self>, TrainError> {
        Self::solved(setup, sums)
    }

    fn merge(
        setup: &Setup,
        sums: &NormalEquations,
        _: &[&ClosedFormModel<Self>],
    ) -> Result<Self, TrainError> {
        Ok(Self::solved(setup, sums)?.form)
    }

    fn infer(&self, setup: &Setup, input: &[f32], scratch: &mut Scratch, output: &mut Output) {
        let standard = &mut scratch.a;
        standard.clear();
        standard.extend_from_slice(input);
        setup.scale.apply(standard);
        let (weights, bias) = self.weights.split_at(self.weights.len() - 1);
        output.values.clear();
        output.values.push(bias[0] + wide::dot(standard, weights));
        (output.score, output.flag) = (0.0, false);
    }

    fn save(&self, _: &Setup, artifact: &mut Artifact) {
        artifact.insert_f32("weights", &[self.weights.len()], self.weights.clone());
    }

    fn load(setup: &Setup, artifact: &Artifact) -> Result<Self, ArtifactError> {
        Ok(Self {
            weights: artifact.f32("weights", &[setup.inputs() + 1])?,
        })
    }
}

impl Ridge {
    fn solved(setup: &Setup, sums: &NormalEquations) -> Result<Solved<Self>, TrainError> {
        let weights = sums.solve(setup.settings.ridge);
        let weights = weights.ok_or_else(|| too_large(&setup.features))?;
        Ok(Solved {
            loss: sums.loss(&weights),
            form: Self {
                weights: weights.iter().map(|weight| *weight as f32).collect(),
            },
        })
    }
}
