//! What predictors have learnt while they answered, over a restart.
//!
//! Promises: stored at most once in [`GAP`], and at the ordered end; only what durable answers have
//! shown. Every snapshot names the last record that it has seen: what came later is looked at again,
//! once. A file that is damaged or of another format is as none, which is told.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use dunlin_sync::files::state_file;
use serde::{Deserialize, Serialize};

use crate::learn::inference::snapshot::PredictorSnapshot;

/// Of the file; another is as none.
const FORMAT: u32 = 1;
/// Between two times of storing: a thousand snapshots are some megabytes.
const GAP: Duration = Duration::from_mins(1);
const FILE: &str = "answering";

/// The content of the file: the order of the fields is the format.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct InferenceState {
    format: u32,
    /// Rows of the buffer, of whatever streams, that all predictors have passed.
    pub(super) rows: u64,
    pub(super) predictors: Vec<PredictorSnapshot>,
}

/// The file, and when it is to be written.
pub(super) struct StateFile {
    path: PathBuf,
    /// Records were taken since it was written.
    has_news: bool,
    next_write: Instant,
    is_failing: bool,
}

impl StateFile {
    /// The file in the directory `dir`, to be written a while from now.
    pub(super) fn new(dir: &Path) -> Self {
        Self {
            path: dir.join(FILE),
            has_news: false,
            next_write: Instant::now() + GAP,
            is_failing: false,
        }
    }

    /// What was stored; `None` if there is nothing that can be used.
    pub(super) fn read(&self) -> Option<InferenceState> {
        let path = &self.path;
        let why = match state_file::read::<InferenceState>(path) {
            Ok(None) => return None,
            Ok(Some(state)) if state.format == FORMAT => return Some(state),
            Ok(Some(state)) => format!("{} has format {}", path.display(), state.format),
            Err(error) => error.to_string(),
        };
        tracing::warn!(
            why,
            "detectors of drift begin anew, and no version is on trial"
        );
        None
    }

    /// Notes that predictors know more than what is stored.
    pub(super) fn note_news(&mut self) {
        self.has_news = true;
    }

    /// Whether there is something to write, and it is time or the agent `is_ending`.
    pub(super) fn is_due(&self, is_ending: bool) -> bool {
        self.has_news && (is_ending || Instant::now() >= self.next_write)
    }

    /// Writes what `predictors` know after so many rows of the buffer; that this fails is told once.
    pub(super) fn write(&mut self, rows: u64, predictors: Vec<PredictorSnapshot>) {
        self.next_write = Instant::now() + GAP;
        self.has_news = false;
        let state = InferenceState {
            format: FORMAT,
            rows,
            predictors,
        };
        let written = state_file::write(&self.path, &state);
        if let Err(error) = &written
            && !self.is_failing
        {
            let path = self.path.display();
            tracing::warn!(%path, %error, "what was learnt while answering is not stored");
        }
        self.is_failing = written.is_err();
    }
}
