//! Ridge regression on centred and scaled counts, and its penalty by leaving out one window at a time,
//! without solving anew for each (Golub, Heath, Wahba 1979).

use nalgebra::{Cholesky, DMatrix, DVector, RowDVector, SymmetricEigen};

use super::{KERNELS, class_of};
use crate::{
    data::{Source, Subset},
    recipe::{Host, Scratch, TrainError},
    recipes::closed_form::{normal::NormalEquations, setup::Setup},
};

/// Penalties to choose from, beside counts of variance 1: powers of 10^(1/2), from and to these halves.
const HALVES: std::ops::RangeInclusive<i32> = -4..=10;
/// Windows left out one at a time, spread evenly, if there are more.
const LEFT_OUT_MAX: usize = 1_024;
/// A standard deviation of a count below this is 0.
const STD_MIN: f64 = 1e-6;
/// A window that the map follows closer than this says nothing about the others.
const FREEDOM_MIN: f64 = 1e-9;

/// One over the standard deviation of each count; 0 for those that are always the same.
pub(super) fn scales_of(sums: &NormalEquations) -> Vec<f64> {
    let rows = sums.rows();
    let scale = |at: usize| {
        let mean = sums.gram[(at, KERNELS)] / rows;
        let variance = sums.gram[(at, at)] / rows - mean * mean;
        let std = variance.max(0.0).sqrt();
        if std > STD_MIN { 1.0 / std } else { 0.0 }
    };
    (0..KERNELS).map(scale).collect()
}

/// Sums over counts and classes minus their means, the counts scaled.
pub(super) struct Centred<'a> {
    scales: &'a [f64],
    rows: f64,
    /// Of the counts, unscaled.
    means: DVector<f64>,
    /// Of the classes.
    shares: RowDVector<f64>,
    gram: DMatrix<f64>,
    cross: DMatrix<f64>,
}

impl<'a> Centred<'a> {
    pub(super) fn of(sums: &NormalEquations, scales: &'a [f64]) -> Self {
        let rows = sums.rows();
        let means = DVector::from_fn(KERNELS, |i, _| sums.gram[(i, KERNELS)] / rows);
        let shares = sums.cross.row(KERNELS) / rows;
        let gram = DMatrix::from_fn(KERNELS, KERNELS, |i, j| {
            (sums.gram[(i, j)] - rows * means[i] * means[j]) * scales[i] * scales[j]
        });
        let cross = DMatrix::from_fn(KERNELS, shares.len(), |i, class| {
            (sums.cross[(i, class)] - rows * means[i] * shares[class]) * scales[i]
        });
        Self {
            scales,
            rows,
            means,
            shares,
            gram,
            cross,
        }
    }

    /// Counts of a window as the sums have them.
    fn centred(&self, counts: &[f32]) -> DVector<f64> {
        DVector::from_fn(KERNELS, |at, _| {
            (f64::from(counts[at]) - self.means[at]) * self.scales[at]
        })
    }

    /// Weights of unscaled counts, the bias last; `None` if they are not finite.
    pub(super) fn weights(&self, penalty: f64) -> Option<DMatrix<f64>> {
        let mut matrix = self.gram.clone();
        for at in 0..KERNELS {
            matrix[(at, at)] += penalty;
        }
        let solved = Cholesky::new(matrix)?.solve(&self.cross);
        let mut weights = solved.insert_row(KERNELS, 0.0);
        for (at, scale) in self.scales.iter().enumerate() {
            weights.row_mut(at).scale_mut(*scale);
        }
        let bias = &self.shares - self.means.transpose() * weights.rows(0, KERNELS);
        weights.set_row(KERNELS, &bias);
        weights
            .iter()
            .all(|weight| weight.is_finite())
            .then_some(weights)
    }
}

/// The penalty with the least sum of squared errors on windows of `data` that are left out.
pub(super) fn choose(
    setup: &Setup,
    sums: &Centred<'_>,
    data: &dyn Source,
    host: &mut dyn Host,
) -> Result<f64, TrainError> {
    host.pace()?;
    let eigen = SymmetricEigen::new(sums.gram.clone());
    let along = eigen.eigenvectors.tr_mul(&sums.cross);
    let mut trials: Vec<Trial> = HALVES
        .map(|halves| Trial {
            penalty: penalty_of(halves),
            error: 0.0,
        })
        .collect();
    let step = (sums.rows as usize).div_ceil(LEFT_OUT_MAX).max(1);
    let (mut scratch, mut seen) = (Scratch::default(), 0);
    let features = setup.features.len();
    for index in 0..data.chunks() {
        host.pace()?;
        let rows = data.read(index)?;
        for window in rows.windows(setup.settings.shape(), features, true, Subset::Train) {
            seen += 1;
            if (seen - 1) % step != 0 {
                continue;
            }
            let class = class_of(setup, &rows, window)?;
            let values = rows.values_of(window.start..window.end, features);
            let counts = setup.kernels.count(values, &setup.scale, &mut scratch);
            let turned = eigen.eigenvectors.tr_mul(&sums.centred(counts));
            for trial in &mut trials {
                trial.leave_out(&turned, &eigen.eigenvalues, &along, (sums, class));
            }
        }
    }
    // The first of equals is the least: compare from the greatest on, the safer one.
    let best = trials.iter().rev().reduce(
        |best, next| {
            if next.error < best.error { next } else { best }
        },
    );
    Ok(best.map_or(1.0, |best| best.penalty))
}

/// 10^(halves / 2), without a power function, of which there are many.
fn penalty_of(halves: i32) -> f64 {
    let whole = (0..halves.div_euclid(2).abs()).fold(1.0, |power, _| power * 10.0);
    let whole = if halves < 0 { 1.0 / whole } else { whole };
    if halves.rem_euclid(2) == 0 {
        whole
    } else {
        whole * 10.0_f64.sqrt()
    }
}

struct Trial {
    penalty: f64,
    error: f64,
}

impl Trial {
    /// Adds the squared error of a window's answers where it was left out; `turned` are its counts along
    /// the eigenvectors, `along` what the classes are there.
    fn leave_out(
        &mut self,
        turned: &DVector<f64>,
        variances: &DVector<f64>,
        along: &DMatrix<f64>,
        (sums, class): (&Centred<'_>, usize),
    ) {
        let shrunk = turned.zip_map(variances, |turned, variance| {
            turned / (variance.max(0.0) + self.penalty)
        });
        let freedom = 1.0 - 1.0 / sums.rows - shrunk.dot(turned);
        let answers = along.tr_mul(&shrunk);
        for (at, answer) in answers.iter().enumerate() {
            let wanted = f64::from(u8::from(at == class));
            let error = (wanted - answer - sums.shares[at]) / freedom.max(FREEDOM_MIN);
            self.error += error * error;
        }
    }
}

/// The squared error of the answers to a window that is left out.
#[cfg(test)]
pub(super) fn left_out(sums: &Centred<'_>, counts: &[f32], class: usize, penalty: f64) -> f64 {
    let eigen = SymmetricEigen::new(sums.gram.clone());
    let along = eigen.eigenvectors.tr_mul(&sums.cross);
    let mut trial = Trial {
        penalty,
        error: 0.0,
    };
    let turned = eigen.eigenvectors.tr_mul(&sums.centred(counts));
    trial.leave_out(&turned, &eigen.eigenvalues, &along, (sums, class));
    trial.error
}
