//! What learning on this device is doing.

#[cfg(feature = "learning")]
use dunlin_sync::lock::unpoisoned;
use serde::{Deserialize, Serialize};

use crate::{base::progress::RecipeProgress, observe::metrics::Metric};

/// Learning on this device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LearnStatus {
    /// Recipes configured.
    pub recipes: usize,
    /// Tasks that wait or work.
    pub tasks_open: u64,
    /// Tasks begun.
    pub tasks_started: u64,
    /// Tasks whose version serves.
    pub models_promoted: u64,
    /// Tasks whose version did not pass the gate.
    pub models_rejected: u64,
    /// Tasks that failed or were given up.
    pub tasks_failed: u64,
    /// Versions taken back.
    pub rollbacks: u64,
    /// Alarms of drift.
    pub drifts: u64,
    /// Records answered, durably.
    pub predictions: u64,
    /// Answers that flagged an anomaly.
    pub flagged: u64,
    /// Records of all streams that were let go, or lost, before they could be answered.
    #[serde(default)]
    pub missed: u64,
    /// Records that came too late for a grid whose rows are answered.
    #[serde(default)]
    pub late: u64,
    /// Answers dropped because they could never have been stored.
    #[serde(default)]
    pub refused: u64,
    /// Versions given up because their model panicked while answering.
    pub broken: u64,
    /// Predictions published, written to a connection.
    pub published: u64,
    /// Predictions that were to be published and were not: no connection, or no room.
    pub publishes_dropped: u64,
    /// How far each recipe is, as of the last scan.
    #[serde(default)]
    pub progress: Vec<RecipeProgress>,
}

#[cfg(feature = "learning")]
impl super::View {
    pub(super) fn learn_status(&self) -> LearnStatus {
        use std::sync::atomic::Ordering::Relaxed;

        LearnStatus {
            recipes: self.settings().learn.recipes.len(),
            tasks_open: self.learn.tasks_open.load(Relaxed),
            tasks_started: self.learn.tasks_started.load(Relaxed),
            models_promoted: self.learn.promoted.load(Relaxed),
            models_rejected: self.learn.rejected.load(Relaxed),
            tasks_failed: self.learn.failed.load(Relaxed),
            rollbacks: self.learn.rollbacks.load(Relaxed),
            drifts: self.learn.drifts.load(Relaxed),
            predictions: self.learn.predictions.load(Relaxed),
            flagged: self.learn.flagged.load(Relaxed),
            missed: self.learn.missed.load(Relaxed),
            late: self.learn.late.load(Relaxed),
            refused: self.learn.refused.load(Relaxed),
            broken: self.learn.broken.load(Relaxed),
            published: self.publisher.stats().written.load(Relaxed),
            publishes_dropped: self.publisher.stats().dropped.load(Relaxed),
            progress: unpoisoned(self.learn.progress.lock()).clone(),
        }
    }
}

impl LearnStatus {
    /// What a monitoring system wants of it.
    pub(super) fn metrics(&self) -> Vec<Metric> {
        let counter = Metric::counter;
        vec![
            counter(
                "dunlin_predictions_total",
                "Records answered by a model",
                self.predictions,
            ),
            counter(
                "dunlin_predictions_flagged_total",
                "Answers that flagged an anomaly",
                self.flagged,
            ),
            counter(
                "dunlin_predictions_missed_total",
                "Records of all streams let go, or lost, before they were answered",
                self.missed,
            ),
            counter(
                "dunlin_grid_late_total",
                "Records in no row of a grid because their step was over when they came",
                self.late,
            ),
            counter(
                "dunlin_predictions_refused_total",
                "Answers dropped because they could never have been stored",
                self.refused,
            ),
            counter(
                "dunlin_predictions_published_total",
                "Predictions written to the broker",
                self.published,
            ),
            counter(
                "dunlin_predictions_publish_dropped_total",
                "Predictions not published: no connection, or no room",
                self.publishes_dropped,
            ),
            counter(
                "dunlin_models_broken_total",
                "Versions given up because their model panicked",
                self.broken,
            ),
            counter(
                "dunlin_models_promoted_total",
                "Versions that passed the gate",
                self.models_promoted,
            ),
            counter(
                "dunlin_models_rejected_total",
                "Versions that did not",
                self.models_rejected,
            ),
            counter(
                "dunlin_tasks_failed_total",
                "Tasks that failed or were given up",
                self.tasks_failed,
            ),
            Metric::gauge(
                "dunlin_tasks_open",
                "Tasks that wait or work",
                self.tasks_open as f64,
            ),
            counter(
                "dunlin_rollbacks_total",
                "Versions taken back",
                self.rollbacks,
            ),
            counter("dunlin_drift_alarms_total", "Alarms of drift", self.drifts),
        ]
    }
}
