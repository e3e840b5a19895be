//! Limits of a merged model. They come from windows, which are not at hand, so they are carried over from
//! the limits of the models: by as much as the mean distance of a model's windows changes, which its sums
//! tell exactly, from its own usual to the merged one. Of these the loosest is taken, so that what was usual
//! on a device hardly ever becomes an alarm; what is unusual on one and usual on another is no longer told.

use nalgebra::DMatrix;

use super::{Pca, USUAL_VARIANCE_MIN, Usual, least_limits};
use crate::{
    recipe::TrainError,
    recipes::closed_form::{ClosedFormModel, normal::NormalEquations, setup::Setup},
};

/// Of T² and Q by `usual`, which `models` were merged to.
pub(super) fn limits(
    usual: &Usual,
    setup: &Setup,
    models: &[&ClosedFormModel<Pca>],
) -> Result<[f32; 2], TrainError> {
    let least = least_limits(setup);
    let mut limits = least;
    for model in models {
        let before = model.form.usual.mean_distances(&model.sums.total());
        let sums = model.sums_on(&setup.scale).map_err(TrainError::Recipe)?;
        let after = usual.mean_distances(&sums.total());
        for which in [0, 1] {
            // Below the least, distances are rounding.
            let [before, after] = [before, after].map(|of| of[which].max(f64::from(least[which])));
            let limit = f64::from(model.form.limits[which]) * (after / before);
            limits[which] = limits[which].max((limit as f32).min(f32::MAX));
        }
    }
    Ok(limits)
}

impl Usual {
    /// Mean T² and Q of the windows in `sums`.
    pub(super) fn mean_distances(&self, sums: &NormalEquations) -> [f64; 2] {
        let (inputs, rows) = (self.mean.len(), sums.rows());
        let usual = |at: usize| f64::from(self.mean[at]);
        let mean = |at: usize| sums.gram[(at, inputs)] / rows;
        let around = DMatrix::from_fn(inputs, inputs, |i, j| {
            sums.gram[(i, j)] / rows - usual(i) * mean(j) - mean(i) * usual(j) + usual(i) * usual(j)
        });
        let directions = DMatrix::from_fn(inputs, self.variances.len(), |number, at| {
            f64::from(self.directions[at * inputs + number])
        });
        let turned = &around * &directions;
        let (mut distances, mut left) = ([0.0, 0.0], around.trace());
        for (at, variance) in self.variances.iter().enumerate() {
            let along = turned.column(at).dot(&directions.column(at)).max(0.0);
            distances[usize::from(at >= self.main)] += along / f64::from(*variance);
            left -= along;
        }
        distances[1] += left.max(0.0) / f64::from(USUAL_VARIANCE_MIN);
        distances
    }
}
