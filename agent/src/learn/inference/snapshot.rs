//! What a line takes along over a restart, beside its window, which is read back.
//!
//! Promises: it names the last record that it has seen, so that none is counted twice.

use std::collections::VecDeque;

use dunlin_models::{
    drift::{error::ErrorDrift, population::InputDrift},
    judging::trial::{Watch, WatchSettings},
    registry::ModelKey,
};
use serde::{Deserialize, Serialize};

use crate::learn::inference::predictor::{Line, Serving, Shadow};

/// Detectors of drift, and the trial of a new version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::learn) struct KeptLine {
    pub(in crate::learn) key: ModelKey,
    /// The version that answers.
    pub(in crate::learn) version: u64,
    /// Timestamp of the last record in what follows, nanoseconds UTC.
    pub(in crate::learn) seen_to: i64,
    /// Timestamp of the last record answered, nanoseconds UTC.
    pub(in crate::learn) answered_to: i64,
    error_drift: ErrorDrift,
    input_drift: Option<InputDrift>,
    /// The version before, while it answers along for comparison.
    trial: Option<(u64, Watch)>,
}

impl KeptLine {
    /// The version that answers along.
    pub(in crate::learn) fn on_trial_against(&self) -> Option<u64> {
        self.trial.as_ref().map(|(before, _)| *before)
    }
}

impl Line {
    /// What to take along.
    pub(in crate::learn) fn kept(&self) -> KeptLine {
        let trial = self.shadow.as_ref();
        KeptLine {
            key: self.key.clone(),
            version: self.serving.version,
            seen_to: self.seen_to,
            answered_to: self.answered_to,
            error_drift: self.error_drift.clone(),
            input_drift: self.input_drift.clone(),
            trial: trial.map(|shadow| (shadow.serving.version, shadow.watch.clone())),
        }
    }

    /// Goes on with what was taken along, while the same version serves; `before` is the one that it
    /// is on trial against, if there still is one.
    pub(in crate::learn) fn take_up(&mut self, kept: KeptLine, before: Option<Serving>) {
        self.error_drift = kept.error_drift;
        if kept.input_drift.is_some() {
            self.input_drift = kept.input_drift;
        }
        self.shadow = kept.trial.zip(before).map(|((_, watch), serving)| Shadow {
            serving,
            forecasts: VecDeque::new(),
            watch,
        });
        self.seen_to = kept.seen_to.min(self.answered_to);
    }

    /// Puts the version that serves on trial against `before`, if the two can be compared.
    pub(in crate::learn) fn put_on_trial(&mut self, before: Serving) {
        if before.classes == self.serving.classes {
            self.shadow = Some(Shadow {
                serving: before,
                forecasts: VecDeque::new(),
                watch: Watch::new(WatchSettings::default()),
            });
        }
    }
}
