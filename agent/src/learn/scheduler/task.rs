//! Tasks, and what each of them is at.

use dunlin_models::registry::ModelKey;
use serde::{Deserialize, Serialize};

use crate::config::settings::{LearnSettings, StatusWords};

/// Why a task was queued before there were enough records.
pub(super) const DRIFT: &str = "drift";

/// Where a task starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskKind {
    /// From nothing.
    Scratch,
    /// From the version that serves.
    FineTune,
    /// From nothing of ours: it is a model that the fleet has released, to be judged.
    Released,
}

impl TaskKind {
    /// As it is written into rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scratch => "scratch",
            Self::FineTune => "fine_tune",
            Self::Released => "released",
        }
    }
}

/// What a task is at. Rows and files hold the configured word for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskState {
    /// It waits for its turn.
    Queued,
    /// A worker has it, or had it when the agent ended.
    Training,
    /// It is open under this word, which meant something before another was configured: it waits for its turn.
    Other(String),
    /// Its version serves. An end.
    Available,
    /// Its version did not pass the gate. An end.
    Rejected,
    /// It has made no version. An end.
    Failed,
    /// It was older than it may be. An end.
    Dead,
}

impl TaskState {
    /// What an open task is at by its configured word.
    pub fn of_open(word: String, words: &StatusWords) -> Self {
        if word == words.training {
            Self::Training
        } else if word == words.queued {
            Self::Queued
        } else {
            Self::Other(word)
        }
    }

    /// The configured word for it.
    pub fn word<'a>(&'a self, words: &'a StatusWords) -> &'a str {
        match self {
            Self::Queued => &words.queued,
            Self::Training => &words.training,
            Self::Other(word) => word,
            Self::Available => &words.available,
            Self::Rejected => &words.rejected,
            Self::Failed => &words.failed,
            Self::Dead => &words.dead,
        }
    }

    /// Whether the deadline counts for it, by the words that are configured for that.
    pub(super) fn is_at_work(&self, settings: &LearnSettings) -> bool {
        let word = self.word(&settings.status);
        settings
            .working_status
            .iter()
            .any(|at_work| at_work == word)
    }
}

/// One training job. Those that are not at an end survive a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Number, rising on this device.
    pub id: u64,
    /// Which recipe on which stream.
    pub key: ModelKey,
    /// From nothing, or from the version that serves.
    pub kind: TaskKind,
    /// What it is at.
    pub state: TaskState,
    /// When it joined its queue; once a worker has taken it, when that was. Nanoseconds UTC.
    pub started_ns: i64,
    /// Seed of its training.
    pub seed: u64,
    /// Newest record it may see, nanoseconds UTC: the data set is the same after a restart.
    pub to_ts: i64,
    /// Version it starts from.
    pub parent: Option<u64>,
    /// Version it made.
    pub version: Option<u64>,
    /// The data set, in words.
    pub query: String,
    /// Why it is where it is.
    pub reason: String,
}

#[cfg(test)]
mod tests;
