//! What a recipe sees of a builder while it trains, and what the builder sees of it.

use std::{
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use dunlin_models::recipe::{EpochEnd, Host, Step, Stopped};
use dunlin_sync::lock::unpoisoned;

use super::{checkpoint::Ranges, error::JobError};

/// How far an attempt is; shared by who trains and who tells the centre.
#[derive(Debug, Default)]
pub(super) struct Attempt {
    /// Rises with everything that is done: pages of records, steps, epochs.
    pub(super) steps: AtomicU64,
    /// Nobody waits for it any more.
    pub(super) is_over: AtomicBool,
    /// The latest checkpoint that the centre does not have yet.
    pub(super) checkpoint: Mutex<Option<Vec<u8>>>,
    /// What it is trained with, once that is here.
    pub(super) records: OnceLock<Ranges>,
}

impl Attempt {
    pub(super) fn advance(&self) {
        self.steps.fetch_add(1, Relaxed);
    }

    /// A step of the way to the records, unless nobody waits for it any more.
    ///
    /// # Errors
    /// [`JobError::Interrupted`]
    pub(super) fn go_on(&self) -> Result<(), JobError> {
        if self.is_over.load(Relaxed) {
            return Err(JobError::Interrupted);
        }
        self.advance();
        Ok(())
    }

    /// Keeps a checkpoint that could not be sent, unless there is a later one.
    pub(super) fn take_back(&self, checkpoint: Vec<u8>) {
        unpoisoned(self.checkpoint.lock()).get_or_insert(checkpoint);
    }
}

/// The host of one attempt.
pub(super) struct BuilderHost<'a> {
    attempt: &'a Attempt,
    /// From where to go on.
    resume: Option<Vec<u8>>,
    begun: Instant,
}

impl<'a> BuilderHost<'a> {
    pub(super) fn new(attempt: &'a Attempt, resume: Option<Vec<u8>>) -> Self {
        Self {
            attempt,
            resume,
            begun: Instant::now(),
        }
    }
}

impl Host for BuilderHost<'_> {
    fn pace(&mut self) -> Result<(), Stopped> {
        if self.attempt.is_over.load(Relaxed) {
            return Err(Stopped::Shutdown);
        }
        Ok(())
    }

    fn step(&mut self, _: Step) {
        self.attempt.advance();
    }

    fn epoch(&mut self, _: EpochEnd) {
        self.attempt.advance();
    }

    /// Durable once the centre has it, which is told with the next renewal: one that is lost before costs the
    /// steps since the one before.
    fn save_checkpoint(&mut self, checkpoint: &[u8]) -> Result<(), String> {
        *unpoisoned(self.attempt.checkpoint.lock()) = Some(checkpoint.to_vec());
        Ok(())
    }

    fn load_checkpoint(&mut self) -> Option<Vec<u8>> {
        self.resume.take()
    }

    fn elapsed_ns(&self) -> u64 {
        self.begun.elapsed().as_nanos() as u64
    }
}
