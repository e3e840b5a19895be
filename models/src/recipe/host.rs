//! Where a training job runs, and what it reports.

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
    /// Which epoch of the job, from 0.
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
    /// Which epoch of the job, from 0.
    pub epoch: u32,
    /// Mean loss over the training windows.
    pub train_loss: f32,
    /// Mean loss over the validation windows.
    pub validation_loss: f32,
    /// Whether its validation loss is the least so far.
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

/// A host that never waits, stops or stores, and only counts: for histories and tests.
#[derive(Debug, Default)]
pub struct NullHost {
    /// How many steps were done.
    pub steps: u64,
    /// The log of the epochs, oldest first.
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
