//! What merging models gives, and why there may be nothing.

use super::{Model, TrainError};

/// One model of several.
pub struct Merged {
    /// As if it had been trained on what all of them were trained on.
    pub model: Box<dyn Model>,
    /// Windows in its sums, each counted by the weight of its model.
    pub windows: f64,
}

/// Why models cannot be merged.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// No model of this recipe can be.
    #[error(
        "only closed forms (ridge, ridge_nlinear, pca, rocket) can be merged: models of other \
         recipes do not hold the sums that they were made from"
    )]
    NoSums,
    /// No models, or weights that make no sense.
    #[error("{0}")]
    Weights(String),
    /// One of them does not go with the recipe or with the first; the others may without it.
    #[error("model {}: {what}", index + 1)]
    Model {
        /// Its place among the models, from 0.
        index: usize,
        /// The first difference.
        what: String,
    },
    /// Their sums have no solution.
    #[error(transparent)]
    Solve(#[from] TrainError),
}
