//! What a recipe is: how to make a model, and what a model does.
//!
//! Promises asked of every recipe: the same data, seed and incumbent give the same bytes; it asks
//! [`Host::pace`] before every step and stops when told to; it never panics on data (the caller
//! guards against those that do); a model answers without allocating once it is warm.

mod host;
mod merge;

use serde::{Deserialize, Serialize};

pub use self::{
    host::{EpochEnd, Host, NullHost, Step, Stopped},
    merge::{MergeError, Merged},
};
use crate::{
    artifact::{Artifact, ArtifactError},
    data::{DataError, Source, WindowShape},
};

/// What a model is for, which decides what its answers mean and how it is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Problem {
    /// The next `horizon` rows of every feature.
    Forecast,
    /// How unlike the usual a window is.
    Anomaly,
    /// Which class a window belongs to.
    Classify,
    /// A number that belongs to a window.
    Regress,
}

impl Problem {
    /// Whether training and judging need a label.
    pub const fn wants_label(self) -> bool {
        matches!(self, Self::Classify | Self::Regress)
    }
}

/// A model's answer to one window. Reused from window to window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Output {
    /// In the data's own units.
    /// Forecast: `horizon` rows of all features. Anomaly: what the last row should have been, every
    /// feature (empty if the model has no such idea). Classify: one probability a class. Regress: one
    /// number.
    pub values: Vec<f32>,
    /// Anomaly: 1 at the threshold, more is more unlike the usual. Classify: the probability of the
    /// most likely class. Otherwise 0.
    pub score: f32,
    /// Anomaly: the score is above 1.
    pub flag: bool,
}

/// Why there is no model.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The data does not allow it; more or other data may.
    #[error("{0}")]
    Data(String),
    /// The data could not be read.
    #[error(transparent)]
    Read(#[from] DataError),
    /// The recipe's settings make no sense, or do not fit the incumbent.
    #[error("{0}")]
    Recipe(String),
    /// Told to stop.
    #[error("stopped: {0}")]
    Stopped(#[from] Stopped),
    /// A checkpoint could not be kept or read.
    #[error("checkpoint: {0}")]
    Checkpoint(String),
}

/// How models of one kind are made. Several may watch one stream.
pub trait Recipe: Send + Sync {
    /// What its models are for.
    fn problem(&self) -> Problem;

    /// Rows a model looks at, and rows it forecasts.
    fn shape(&self) -> WindowShape;

    /// Makes a model of `data`. With an `incumbent` this is fine-tuning: start from what it knows;
    /// `data` then holds the new rows and, marked as replay, a sample of the old ones.
    ///
    /// # Errors
    /// [`TrainError`]; nothing is left behind but a checkpoint.
    fn train(
        &self,
        data: &dyn Source,
        incumbent: Option<&dyn Model>,
        seed: u64,
        host: &mut dyn Host,
    ) -> Result<Box<dyn Model>, TrainError>;

    /// Reads back what [`Model::save`] wrote.
    ///
    /// # Errors
    /// [`ArtifactError`] if it is damaged, of another recipe, or of another shape.
    fn load(&self, artifact: &Artifact) -> Result<Box<dyn Model>, ArtifactError>;

    /// One model of several, as if it had been trained on the data of all of them, which is not needed.
    /// `weights` says how much each counts: 2 as if every row of it were there twice.
    ///
    /// What two of the models have learnt from counts twice: of models that were fine-tuned from one, what
    /// that one had learnt is in each of them. Which column was the label is not in a model; that it is the
    /// same is the caller's affair, too.
    ///
    /// # Errors
    /// [`MergeError`]; [`MergeError::NoSums`] unless the recipe says otherwise.
    fn merge(&self, models: &[&dyn Model], weights: &[f64]) -> Result<Merged, MergeError> {
        let _ = (models, weights);
        Err(MergeError::NoSums)
    }
}

/// A trained model.
pub trait Model: Send + Sync {
    /// Answers one window: `input` holds `lookback` rows of all features, in the data's own units, no
    /// value missing. `output` is overwritten. A model is shared between readers: state that an answer
    /// needs lives in `scratch`, which belongs to the caller.
    fn infer(&self, input: &[f32], scratch: &mut Scratch, output: &mut Output);

    /// All of it as an artifact: parameters, scale, thresholds.
    fn save(&self) -> Artifact;

    /// For recipes that fine-tune: the model as its own type.
    fn as_any(&self) -> &dyn std::any::Any;
}

/// Room for intermediate results, kept from one answer to the next. What is in it, and how much, is
/// the model's affair.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    /// The first of two buffers, overwritten by every answer.
    pub a: Vec<f32>,
    /// The second.
    pub b: Vec<f32>,
}
