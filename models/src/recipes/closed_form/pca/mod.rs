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

use std::any::Any;

use nalgebra::{DMatrix, DVector, SymmetricEigen};

use self::limit::{Limit, Thinned};
use super::{
    RecipeSettings,
    normal::NormalEquations,
    report,
    setup::{Kept, check_inputs, nothing_to_learn},
};
use crate::{
    data::{Source, Subset, WindowShape},
    recipe::{Host, Model, Output, Problem, Recipe, Scratch, TrainError},
    registry::artifact::{Artifact, ArtifactError},
    training::wide,
};

const KIND: &str = "pca";
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

/// Makes [`PcaModel`]s.
#[derive(Debug)]
pub(super) struct Pca(pub RecipeSettings);

/// The usual, its directions, and the limits.
#[derive(Clone, Debug)]
struct PcaModel {
    kept: Kept,
    sums: NormalEquations,
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

impl Recipe for Pca {
    fn problem(&self) -> Problem {
        Problem::Anomaly
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
        let empty = NormalEquations::new(inputs, 0);
        let (kept, mut sums) =
            Kept::start((&self.0, KIND), data, incumbent, empty, |old: &PcaModel| {
                (&old.kept, &old.sums)
            })?;
        let added = add_windows(data, &kept, incumbent.is_some(), &mut sums, host)?;
        if added == 0 {
            return Err(nothing_to_learn(data, self.shape(), false)?);
        }
        let usual = Usual::of(&sums, self.0.variance_kept);
        let (usual, loss) = usual.ok_or_else(|| super::too_large(&kept.features))?;
        let mut model = PcaModel {
            kept,
            sums,
            usual,
            limits: [1.0; 2],
        };
        model.calibrate(data, host)?;
        let (what, scale) = ((self.problem(), self.shape()), &model.kept.scale);
        report(&model, what, scale, data, (started_ns, loss), host)?;
        Ok(Box::new(model))
    }

    fn load(&self, artifact: &Artifact) -> Result<Box<dyn Model>, ArtifactError> {
        let kept = Kept::load(artifact, KIND, &self.0)?;
        let inputs = kept.inputs();
        let count = artifact.tensors.get("variances").map(|t| t.shape.clone());
        let count = match count.as_deref() {
            Some([count]) if *count <= inputs => *count,
            _ => return Err(ArtifactError::Misfit("its directions are too many".into())),
        };
        let main = artifact.f32("main", &[1])?[0] as usize;
        let limits = artifact.f32("limits", &[2])?;
        let model = PcaModel {
            sums: NormalEquations::load(artifact, inputs, 0)?,
            usual: Usual {
                mean: artifact.f32("window_mean", &[inputs])?,
                directions: artifact.f32("directions", &[count, inputs])?,
                variances: artifact.f32("variances", &[count])?,
                main: main.min(count),
            },
            limits: [limits[0], limits[1]],
            kept,
        };
        let positive = model.usual.variances.iter().chain(&model.limits);
        if positive.copied().any(|number| number <= 0.0) {
            let what = "a variance or limit is not positive";
            return Err(ArtifactError::Damaged(what.into()));
        }
        Ok(Box::new(model))
    }
}

/// Adds every training window; returns their number.
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
        for window in rows.windows(kept.settings.shape(), features, false, Subset::Train) {
            let values = rows.values_of(window.start..window.end, features);
            if sums.add(|x, _| kept.standardise(values, x)) {
                host.pace()?;
            }
            added += 1;
        }
    }
    sums.flush();
    Ok(added)
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

    /// T² and Q of a standardised window; `window` becomes what is left of it, `usual` its likeness
    /// among the usual ones.
    fn distances(&self, window: &mut [f32], usual: &mut Vec<f32>) -> [f32; 2] {
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

impl PcaModel {
    /// Sets the limits so that the rate of false alarms is what was asked for.
    fn calibrate(&mut self, data: &dyn Source, host: &mut dyn Host) -> Result<(), TrainError> {
        let mut seen = self.distances_of(data, Subset::Validation, host)?;
        if seen.count() < VALIDATION_WINDOWS_MIN {
            seen = self.distances_of(data, Subset::Train, host)?;
        }
        let rate = self.kept.settings.false_alarm_rate;
        // A thousandth of a standard deviation, each number.
        let least = LIMIT_MIN * self.kept.inputs() as f32;
        self.limits = Limit::of(&seen, rate, [least, least / USUAL_VARIANCE_MIN]).0;
        Ok(())
    }

    fn distances_of(
        &self,
        data: &dyn Source,
        subset: Subset,
        host: &mut dyn Host,
    ) -> Result<Thinned, TrainError> {
        let features = self.kept.features.len();
        let mut scratch = Scratch::default();
        let mut seen = Thinned::default();
        for index in 0..data.chunks() {
            host.pace()?;
            let rows = data.read(index)?;
            for window in rows.windows(self.kept.settings.shape(), features, false, subset) {
                let values = rows.values_of(window.start..window.end, features);
                seen.add(self.distances(values, &mut scratch));
            }
        }
        Ok(seen)
    }

    fn distances(&self, input: &[f32], scratch: &mut Scratch) -> [f32; 2] {
        scratch.a.clear();
        scratch.a.extend_from_slice(input);
        self.kept.scale.apply(&mut scratch.a);
        self.usual.distances(&mut scratch.a, &mut scratch.b)
    }
}

impl Model for PcaModel {
    fn infer(&self, input: &[f32], scratch: &mut Scratch, output: &mut Output) {
        let distances = self.distances(input, scratch);
        let features = self.kept.features.len();
        output.score = Limit(self.limits).score(distances);
        output.flag = output.score > 1.0;
        output.values.clear();
        let last = scratch.b.len() - features;
        output.values.extend_from_slice(&scratch.b[last..]);
        self.kept.scale.invert(&mut output.values);
    }

    fn save(&self) -> Artifact {
        let mut artifact = self.kept.save(KIND);
        let (usual, inputs) = (&self.usual, self.usual.mean.len());
        let count = usual.variances.len();
        artifact.insert_f32("window_mean", &[inputs], usual.mean.clone());
        artifact.insert_f32("directions", &[count, inputs], usual.directions.clone());
        artifact.insert_f32("variances", &[count], usual.variances.clone());
        artifact.insert_f32("main", &[1], vec![usual.main as f32]);
        artifact.insert_f32("limits", &[2], self.limits.to_vec());
        self.sums.save(&mut artifact);
        artifact
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests;
