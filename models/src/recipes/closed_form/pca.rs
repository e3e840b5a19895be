//! Anomaly detection by principal components of the window: Hotelling's T² tells how far a window is
//! from the usual within its main directions, Q how far outside of them.
//!
//! Q counts every direction by what is usual along it, not by its size: a slow sensor that leaves what the
//! others say of it moves little, and would be lost in the noise of a fast one.
//!
//! Promises: what is usual comes from the training windows, the limits from the validation windows
//! (from the training windows only if there are too few), nothing from labels; fine-tuning is the old
//! sums times the forgetting factor plus the new windows.

mod limit;
mod merge;
#[cfg(test)]
mod tests;

use nalgebra::{DMatrix, DVector, SymmetricEigen};

use self::limit::{Limit, Thinned};
use super::{
    ClosedForm, ClosedFormModel, Solved,
    normal::{NormalEquations, Size},
    setup::{Setup, check_inputs},
    sums::Sums,
    too_large,
};
use crate::{
    artifact::{Artifact, ArtifactError},
    data::{Columns, Rows, Source, Subset, Window},
    recipe::{Host, Output, Problem, Scratch, TrainError},
    recipes::RecipeSettings,
    training::wide,
};

/// Numbers in a window: the eigenvectors of a matrix of 1,024 take seconds, those of more minutes.
const INPUTS_MAX: usize = 1_024;
/// Variance, beside the greatest, below which a direction is rounding.
const RELATIVE_VARIANCE_MIN: f64 = 1e-7;
/// Along no direction outside of the main ones counts less than this as usual, squared standard deviations:
/// of what varied less, the training windows say too little.
const USUAL_VARIANCE_MIN: f32 = 2e-3;
/// Fewer validation windows say nothing about limits.
const VALIDATION_WINDOWS_MIN: u64 = 20;

/// No limit is below this times the numbers of a window, squared standard deviations.
const LIMIT_MIN: f32 = 1e-6;

/// The usual, and how far from it a window may be.
#[derive(Clone, Debug)]
pub(super) struct Pca {
    usual: Usual,
    /// Of T² and of Q.
    limits: [f32; 2],
}

/// Mean and directions of the standardised windows.
#[derive(Clone, Debug)]
struct Usual {
    /// One a number of the window.
    mean: Vec<f32>,
    /// One direction of unit length after the other, the main ones first; those along which hardly
    /// anything varies are left out.
    directions: Vec<f32>,
    /// Along each direction; above 0.
    variances: Vec<f32>,
    /// How many of them are main ones.
    main: usize,
}

impl ClosedForm for Pca {
    const KIND: &'static str = "pca";
    const PROBLEM: Problem = Problem::Anomaly;

    fn check(settings: &RecipeSettings, columns: &Columns) -> Result<(), TrainError> {
        check_inputs(settings.shape(), columns.features.len(), INPUTS_MAX)
    }

    fn size(setup: &Setup) -> Size {
        Size {
            inputs: setup.inputs(),
            outputs: 0,
        }
    }

    fn add(
        setup: &Setup,
        rows: &Rows,
        window: Window,
        sums: &mut Sums,
        host: &mut dyn Host,
    ) -> Result<(), TrainError> {
        let values = rows.values_of(window.start..window.end, setup.features.len());
        if sums.add(|x, _| setup.standardise(values, x)) {
            host.pace()?;
        }
        Ok(())
    }

    fn solve(
        setup: &Setup,
        sums: &NormalEquations,
        _: Option<&Self>,
        data: &dyn Source,
        host: &mut dyn Host,
    ) -> Result<Solved<Self>, TrainError> {
        let usual = Usual::of(sums, setup.settings.variance_kept);
        let (usual, loss) = usual.ok_or_else(|| too_large(&setup.features))?;
        let limits = usual.limits(setup, data, host)?;
        Ok(Solved {
            form: Self { usual, limits },
            loss,
        })
    }

    fn merge(
        setup: &Setup,
        sums: &NormalEquations,
        models: &[&ClosedFormModel<Self>],
    ) -> Result<Self, TrainError> {
        let usual = Usual::of(sums, setup.settings.variance_kept);
        let (usual, _) = usual.ok_or_else(|| too_large(&setup.features))?;
        let limits = merge::limits(&usual, setup, models)?;
        Ok(Self { usual, limits })
    }

    fn infer(&self, setup: &Setup, input: &[f32], scratch: &mut Scratch, output: &mut Output) {
        let distances = self.usual.distances(setup, input, scratch);
        output.score = Limit(self.limits).score(distances);
        output.flag = output.score > 1.0;
        output.values.clear();
        let last = scratch.b.len() - setup.features.len();
        output.values.extend_from_slice(&scratch.b[last..]);
        setup.scale.invert(&mut output.values);
    }

    fn save(&self, _: &Setup, artifact: &mut Artifact) {
        let (usual, inputs) = (&self.usual, self.usual.mean.len());
        let count = usual.variances.len();
        artifact.insert_f32("window_mean", &[inputs], usual.mean.clone());
        artifact.insert_f32("directions", &[count, inputs], usual.directions.clone());
        artifact.insert_f32("variances", &[count], usual.variances.clone());
        artifact.insert_f32("main", &[1], vec![usual.main as f32]);
        artifact.insert_f32("limits", &[2], self.limits.to_vec());
    }

    fn load(setup: &Setup, artifact: &Artifact) -> Result<Self, ArtifactError> {
        let inputs = setup.inputs();
        let count = artifact.tensors.get("variances").map(|t| t.shape.clone());
        let count = match count.as_deref() {
            Some([count]) if *count <= inputs => *count,
            _ => return Err(ArtifactError::Misfit("its directions are too many".into())),
        };
        let main = artifact.f32("main", &[1])?[0] as usize;
        let limits = artifact.f32("limits", &[2])?;
        let usual = Usual {
            mean: artifact.f32("window_mean", &[inputs])?,
            directions: artifact.f32("directions", &[count, inputs])?,
            variances: artifact.f32("variances", &[count])?,
            main: main.min(count),
        };
        let mut positive = usual.variances.iter().chain(&limits);
        if positive.any(|number| *number <= 0.0) {
            let what = "a variance or limit is not positive";
            return Err(ArtifactError::Damaged(what.into()));
        }
        Ok(Self {
            usual,
            limits: [limits[0], limits[1]],
        })
    }
}

impl Usual {
    /// From the sums, with as many directions as hold `variance_kept`; and the mean squared error of
    /// a window's numbers without the others. `None` if the sums are not finite.
    fn of(sums: &NormalEquations, variance_kept: f64) -> Option<(Self, f64)> {
        let inputs = sums.gram.nrows() - 1;
        let rows = sums.rows();
        let mean = DVector::from_fn(inputs, |i, _| sums.gram[(i, inputs)] / rows);
        let covariance = DMatrix::from_fn(inputs, inputs, |i, j| {
            sums.gram[(i, j)] / rows - mean[i] * mean[j]
        });
        if !covariance.iter().all(|value| value.is_finite()) {
            return None;
        }
        let eigen = SymmetricEigen::new(covariance);
        let mut order: Vec<usize> = (0..inputs).collect();
        order.sort_by(|a, b| eigen.eigenvalues[*b].total_cmp(&eigen.eigenvalues[*a]));
        let variance = |at: usize| eigen.eigenvalues[at].max(0.0);
        let total: f64 = order.iter().map(|at| variance(*at)).sum();
        let least = variance(order[0]) * RELATIVE_VARIANCE_MIN;
        // A variance that f32 cannot hold is none.
        let is_usual = |at: usize| variance(at) > least && variance(at) as f32 > f32::MIN_POSITIVE;
        let (mut main, mut held) = (0, 0.0);
        while main < inputs && is_usual(order[main]) && held < variance_kept * total {
            held += variance(order[main]);
            main += 1;
        }
        let rest = &order[main..];
        let counts = |at: &&usize| is_usual(**at) && variance(**at) as f32 > USUAL_VARIANCE_MIN;
        let kept = &order[..main + rest.iter().take_while(counts).count()];
        let directions = kept.iter().flat_map(|at| eigen.eigenvectors.column(*at));
        let usual = Self {
            mean: mean.iter().map(|mean| *mean as f32).collect(),
            directions: directions.map(|value| *value as f32).collect(),
            variances: kept.iter().map(|at| variance(*at) as f32).collect(),
            main,
        };
        Some((usual, (total - held).max(0.0) / inputs as f64))
    }

    /// Limits of T² and Q with the rate of false alarms that was asked for.
    fn limits(
        &self,
        setup: &Setup,
        data: &dyn Source,
        host: &mut dyn Host,
    ) -> Result<[f32; 2], TrainError> {
        let mut seen = self.distances_in(setup, data, Subset::Validation, host)?;
        if seen.count() < VALIDATION_WINDOWS_MIN {
            seen = self.distances_in(setup, data, Subset::Train, host)?;
        }
        let rate = setup.settings.false_alarm_rate;
        Ok(Limit::of(&seen, rate, least_limits(setup)).0)
    }

    /// T² and Q of every window of `subset`.
    fn distances_in(
        &self,
        setup: &Setup,
        data: &dyn Source,
        subset: Subset,
        host: &mut dyn Host,
    ) -> Result<Thinned, TrainError> {
        let features = setup.features.len();
        let mut scratch = Scratch::default();
        let mut seen = Thinned::default();
        for index in 0..data.chunks() {
            host.pace()?;
            let rows = data.read(index)?;
            for window in rows.windows(setup.settings.shape(), features, false, subset) {
                let values = rows.values_of(window.start..window.end, features);
                seen.add(self.distances(setup, values, &mut scratch));
            }
        }
        Ok(seen)
    }

    /// T² and Q of a window; `scratch.a` becomes what is left of it, standardised, `scratch.b` its
    /// likeness among the usual ones.
    fn distances(&self, setup: &Setup, input: &[f32], scratch: &mut Scratch) -> [f32; 2] {
        let Scratch {
            a: window,
            b: usual,
        } = scratch;
        window.clear();
        window.extend_from_slice(input);
        setup.scale.apply(window);
        usual.clear();
        usual.extend_from_slice(&self.mean);
        for (value, mean) in window.iter_mut().zip(&self.mean) {
            *value -= mean;
        }
        let (mut t2, mut q) = (0.0, 0.0);
        let directions = self.directions.chunks_exact(self.mean.len());
        for (at, (direction, variance)) in directions.zip(&self.variances).enumerate() {
            // Directions are orthogonal: what was taken away before does not matter.
            let along = wide::dot(window, direction);
            wide::map_with(window, direction, |value, d| value - along * d);
            if at < self.main {
                t2 += along * along / variance;
                wide::map_with(usual, direction, |usual, d| usual + along * d);
            } else {
                q += along * along / variance;
            }
        }
        [t2, q + wide::dot(window, window) / USUAL_VARIANCE_MIN]
    }
}

/// No limits are below these: a thousandth of a standard deviation, each number.
fn least_limits(setup: &Setup) -> [f32; 2] {
    let least = LIMIT_MIN * setup.inputs() as f32;
    [least, least / USUAL_VARIANCE_MIN]
}
