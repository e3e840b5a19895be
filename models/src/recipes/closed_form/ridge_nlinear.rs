//! Forecasting by closed form: one linear map from the window minus its last row to the horizon, shared
//! by all features, found by ridge regression on the sums over every training window.

use super::{
    ClosedForm, ClosedFormModel, Solved,
    normal::{Affine, NormalEquations, Size},
    setup::Setup,
    sums::Sums,
    too_large,
};
use crate::{
    artifact::{Artifact, ArtifactError},
    data::{Columns, Rows, Source, Window, scale::Scale},
    recipe::{Host, Output, Problem, Scratch, TrainError},
    recipes::RecipeSettings,
    training::wide,
};

/// The map.
#[derive(Clone, Debug)]
pub(super) struct RidgeNlinear {
    /// `lookback` rows (the differences to the last row, oldest first, then the bias) of `horizon`.
    weights: Vec<f32>,
}

impl ClosedForm for RidgeNlinear {
    const KIND: &'static str = "ridge_nlinear";
    const PROBLEM: Problem = Problem::Forecast;

    fn check(_: &RecipeSettings, _: &Columns) -> Result<(), TrainError> {
        // The lookback, which the settings bound, is all that its size depends on.
        Ok(())
    }

    fn size(setup: &Setup) -> Size {
        let shape = setup.settings.shape();
        Size {
            inputs: shape.lookback - 1,
            outputs: shape.horizon,
        }
    }

    fn rows_a_window(setup: &Setup) -> usize {
        setup.features.len()
    }

    /// Every feature is a row of the sums.
    fn add(
        setup: &Setup,
        rows: &Rows,
        window: Window,
        sums: &mut Sums,
        host: &mut dyn Host,
    ) -> Result<(), TrainError> {
        let (shape, features) = (setup.settings.shape(), setup.features.len());
        let values = rows.values_of(window.start..window.end, features);
        for feature in 0..features {
            let std = f64::from(setup.scale.std[feature]);
            let at = |row: usize| f64::from(values[row * features + feature]);
            let last = at(shape.lookback - 1);
            let is_block = sums.add_to(feature, |x, y| {
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

    /// Differences to the last row: only standard deviations matter, one for each feature's inputs and outputs.
    fn sums_on(sums: &Sums, from: &Scale, to: &Scale) -> Result<Sums, String> {
        let both = from.std.iter().zip(&to.std);
        let factors: Vec<f64> = both
            .map(|(from, to)| f64::from(*from) / f64::from(*to))
            .collect();
        let is_apart = sums.parts().len() == factors.len();
        let is_other = |factor: &f64| factor.to_bits() != factors[0].to_bits();
        if !is_apart && factors.iter().any(is_other) {
            return Err(
                "it keeps the sums of all features together, and its scale is not that of the \
                 others; train it anew, or begin all of them from one model"
                    .into(),
            );
        }
        Ok(sums.map(|feature, part| {
            let factor = factors[feature];
            let input = Affine { factor, shift: 0.0 };
            part.affine(&vec![input; part.gram.nrows() - 1], factor)
        }))
    }

    fn infer(&self, setup: &Setup, input: &[f32], scratch: &mut Scratch, output: &mut Output) {
        let (shape, features) = (setup.settings.shape(), setup.features.len());
        let (maps, bias) = self.weights.split_at((shape.lookback - 1) * shape.horizon);
        output.values.clear();
        output.values.resize(shape.horizon * features, 0.0);
        (output.score, output.flag) = (0.0, false);
        for feature in 0..features {
            let std = setup.scale.std[feature];
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

    fn save(&self, setup: &Setup, artifact: &mut Artifact) {
        let shape = setup.settings.shape();
        let weights = [shape.lookback, shape.horizon];
        artifact.insert_f32("weights", &weights, self.weights.clone());
    }

    fn load(setup: &Setup, artifact: &Artifact) -> Result<Self, ArtifactError> {
        let shape = setup.settings.shape();
        Ok(Self {
            weights: artifact.f32("weights", &[shape.lookback, shape.horizon])?,
        })
    }
}

impl RidgeNlinear {
    fn solved(setup: &Setup, sums: &NormalEquations) -> Result<Solved<Self>, TrainError> {
        let weights = sums.solve(setup.settings.ridge);
        let weights = weights.ok_or_else(|| too_large(&setup.features))?;
        // Row-major: nalgebra's columns are the rows of the transpose.
        let by_row = weights.transpose();
        Ok(Solved {
            loss: sums.loss(&weights),
            form: Self {
                weights: by_row.iter().map(|weight| *weight as f32).collect(),
            },
        })
    }
}
