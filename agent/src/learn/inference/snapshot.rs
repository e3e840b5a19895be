//! What a predictor takes along over a restart, beside its window, which is read back.
//!
//! Promises: it names the last record that it has seen, so that none is counted twice.

use dunlin_models::{judging::trial::Trial, registry::ModelKey};
use serde::{Deserialize, Serialize};

use crate::learn::inference::drift::DriftDetectors;

/// Detectors of drift, and the trial of a new version. Stored: the order of the fields is the format.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct PredictorSnapshot {
    pub(super) key: ModelKey,
    /// The version that serves.
    pub(super) version: u64,
    /// Timestamp of the last record in what follows, nanoseconds UTC.
    pub(super) seen_to: i64,
    /// Timestamp of the last record answered, nanoseconds UTC.
    pub(super) answered_to: i64,
    pub(super) drift: DriftDetectors,
    pub(super) trial: Option<TrialSnapshot>,
}

/// A trial of the version that serves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct TrialSnapshot {
    /// The version before, which answers along for comparison.
    pub(super) before: u64,
    pub(super) trial: Trial,
}

impl PredictorSnapshot {
    /// The version that answers along.
    pub(super) fn on_trial_against(&self) -> Option<u64> {
        self.trial.as_ref().map(|trial| trial.before)
    }
}
