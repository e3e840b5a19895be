//! Sums of errors, and what is read from them.

use serde::Serialize;

/// Sums of errors over the same rows: of the model, of the last label again, of the most frequent class
/// or the mean so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Errors {
    /// Rows judged.
    pub(super) count: u64,
    /// Absolute errors, or wrong classes.
    pub(super) absolute: [f64; 3],
    pub(super) squared: [f64; 3],
    /// Times that learning was refused and the model stayed as it was.
    pub(super) refused: u64,
}

impl Errors {
    /// Adds what was counted in another file.
    pub(super) fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.refused += other.refused;
        for of in 0..3 {
            self.absolute[of] += other.absolute[of];
            self.squared[of] += other.squared[of];
        }
    }

    /// Mean absolute error, or share of wrong classes: model, last label, mean.
    pub(super) fn mean(&self) -> [f64; 3] {
        self.absolute.map(|sum| sum / self.count as f64)
    }

    /// Root of the mean squared error, likewise.
    pub(super) fn root_mean_square(&self) -> [f64; 3] {
        self.squared.map(|sum| (sum / self.count as f64).sqrt())
    }

    /// How much better than the last class again: 1 is perfect, 0 no better; `None` if that is never
    /// wrong.
    pub(super) fn kappa_temporal(&self) -> Option<f64> {
        (self.absolute[1] > 0.0).then(|| 1.0 - self.absolute[0] / self.absolute[1])
    }
}
