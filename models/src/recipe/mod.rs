//! What a recipe is: how to make a model, and what a model does.
//!
//! Promises asked of every recipe: the same data, seed and incumbent give the same bytes; it asks
//! [`Host::pace`] before every step and stops when told to; it never panics on data (the caller
//! guards against those that do); a model answers without allocating once it is warm.

use serde::{Deserialize, Serialize};

use crate::{
    data::{DataError, Source, WindowShape},
    registry::artifact::{Artifact, ArtifactError},
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

/// Why a job was told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stopped {
    /// The agent ends; the next start resumes from the last checkpoint.
    #[error("the agent is stopping")]
    Shutdown,
    /// Its time is up.
    #[error("the time limit is over")]
    TimeLimit,
}

/// One step of training, for the training log.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Step {
    /// Epoch, from 0.
    pub epoch: u32,
    /// Step since the start of the job, from 0.
    pub step: u64,
    /// Mean loss of the batch.
    pub loss: f32,
    /// Learning rate used.
    pub learning_rate: f32,
    /// Duration of the step, nanoseconds.
    pub ns: u64,
}

/// The end of an epoch, for the training log.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EpochEnd {
    /// Epoch, from 0.
    pub epoch: u32,
    /// Mean loss over the training windows.
    pub train_loss: f32,
    /// Mean loss over the validation windows.
    pub validation_loss: f32,
    /// Whether it is the best so far.
    pub is_best: bool,
}

/// Where a job runs: logging, the brake, checkpoints. The agent's governor stands behind it.
pub trait Host {
    /// Asked before every step or chunk; may wait, to keep the job civil.
    ///
    /// # Errors
    /// [`Stopped`] if the job must end now.
    fn pace(&mut self) -> Result<(), Stopped>;

    /// A step is done. Must cost next to nothing.
    fn step(&mut self, step: Step);

    /// An epoch is done.
    fn epoch(&mut self, end: EpochEnd);

    /// Keeps `checkpoint` in place of the one before; durable when this returns.
    ///
    /// # Errors
    /// A text for people.
    fn save_checkpoint(&mut self, checkpoint: &[u8]) -> Result<(), String>;

    /// The checkpoint kept last for this very job; `None`: start from the beginning.
    fn load_checkpoint(&mut self) -> Option<Vec<u8>>;

    /// Nanoseconds of a clock that only ever rises; for durations, never for decisions that must repeat.
    fn elapsed_ns(&self) -> u64;
}

/// A host that only counts: for histories and tests.
#[derive(Debug, Default)]
pub struct NullHost {
    /// Steps seen.
    pub steps: u64,
    /// Ends of epochs seen.
    pub epochs: Vec<EpochEnd>,
}

impl Host for NullHost {
    fn pace(&mut self) -> Result<(), Stopped> {
        Ok(())
    }

    fn step(&mut self, _: Step) {
        self.steps += 1;
    }

    fn epoch(&mut self, end: EpochEnd) {
        self.epochs.push(end);
    }

    fn save_checkpoint(&mut self, _: &[u8]) -> Result<(), String> {
        Ok(())
    }

    fn load_checkpoint(&mut self) -> Option<Vec<u8>> {
        None
    }

    fn elapsed_ns(&self) -> u64 {
        0
    }
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

/// Room for intermediate results, kept from one answer to the next.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    /// Anything the model likes; its size is the model's affair.
    pub a: Vec<f32>,
    /// Another.
    pub b: Vec<f32>,
}
