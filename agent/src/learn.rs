//! Learning on the device: what to train when, training it, and answering records with it.
//!
//! Promises: ingestion comes first (low priority, a bounded share of a core, bounded queues); a task
//! that fails, panics or never returns is a row with its reason and leaves the version that serves
//! alone; a task under way when the agent ends goes on at the next start; everything that happens
//! here is a record on a stream of the agent's own, and goes upstream like any sample.
//!
//! `scheduler` decides, `training` does a task, `inference` answers records; they share the registry, in
//! which a promotion shows to all.

mod guarded;
mod inference;
pub mod released;
pub mod scheduler;
mod tables;
mod training;

#[cfg(all(test, feature = "demo"))]
pub(crate) mod dry_run;
#[cfg(test)]
mod tests;

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64},
    },
};

use dunlin_models::registry::Registry;
use dunlin_sync::buffer::Buffer;

pub(crate) use crate::learn::{
    guarded::guarded,
    training::judge::{Judge, judge},
};
pub use crate::learn::{
    scheduler::store::{StoredTask, open_tasks},
    tables::{EVENTS, PREDICTIONS, TASKS},
};
use crate::{
    base::progress::RecipeProgress,
    config::settings::{LearnSettings, RecipeRule},
    learn::{
        inference::Inference,
        released::Released,
        scheduler::{Scheduler, drifted::Drifted},
        tables::Tables,
    },
    mqtt::outgoing::Publisher,
    record::writer::Requests,
};

/// Counters since the start.
#[derive(Debug, Default)]
pub struct LearnStats {
    /// Records answered, durably.
    pub predictions: AtomicU64,
    /// Answers that flagged an anomaly.
    pub flagged: AtomicU64,
    /// Answers that could not be stored and never could have been.
    pub refused: AtomicU64,
    /// Tasks begun.
    pub tasks_started: AtomicU64,
    /// Tasks whose version serves.
    pub promoted: AtomicU64,
    /// Tasks whose version did not pass the gate.
    pub rejected: AtomicU64,
    /// Tasks that failed or were given up.
    pub failed: AtomicU64,
    /// Versions taken back.
    pub rollbacks: AtomicU64,
    /// Versions given up because their model panicked while answering.
    pub broken: AtomicU64,
    /// Rows that were let go, or lost, before they could be answered: of all streams, for nobody can
    /// look any more.
    pub missed: AtomicU64,
    /// Records that came too late for a grid whose rows are answered.
    pub late: AtomicU64,
    /// Alarms of drift.
    pub drifts: AtomicU64,
    /// Tasks that wait or work now.
    pub tasks_open: AtomicU64,
    /// How far each recipe is, as of the last scan.
    pub progress: Mutex<Vec<RecipeProgress>>,
    /// Rows about learning that could not be handed over because the agent was ending.
    pub rows_lost: AtomicU64,
}

/// What scheduler, tasks and answers work with.
pub(crate) struct Shared {
    settings: LearnSettings,
    rules: Vec<Arc<RecipeRule>>,
    buffer: Arc<Buffer>,
    models: Arc<Registry>,
    tables: Tables,
    publisher: Publisher,
    stats: Arc<LearnStats>,
    state_dir: PathBuf,
    stop: Arc<AtomicBool>,
    drifted: Drifted,
    released: Arc<Released>,
    wall_ns: fn() -> i64,
}

/// The parts of an agent that learning works with.
pub(crate) struct LearnParts {
    pub(crate) settings: LearnSettings,
    /// Where open tasks and checkpoints lie.
    pub(crate) state_dir: PathBuf,
    /// Records.
    pub(crate) buffer: Arc<Buffer>,
    /// Versions.
    pub(crate) models: Arc<Registry>,
    /// What the fleet has released to this device.
    pub(crate) released: Arc<Released>,
    /// The way of rows about learning.
    pub(crate) requests: Requests,
    /// The way of predictions to a controller.
    pub(crate) publisher: Publisher,
    /// Counted along.
    pub(crate) stats: Arc<LearnStats>,
    /// The agent ends.
    pub(crate) stop: Arc<AtomicBool>,
    /// The wall clock, nanoseconds UTC, for the age of tasks.
    pub(crate) wall_ns: fn() -> i64,
}

impl Shared {
    pub(crate) fn new(parts: LearnParts) -> Self {
        let LearnParts {
            settings, stats, ..
        } = parts;
        Self {
            rules: settings.recipes.iter().cloned().map(Arc::new).collect(),
            settings,
            buffer: parts.buffer,
            models: parts.models,
            released: parts.released,
            tables: Tables::new(parts.requests, Arc::clone(&stats)),
            publisher: parts.publisher,
            stats,
            stop: parts.stop,
            drifted: Drifted::open(&parts.state_dir),
            state_dir: parts.state_dir,
            wall_ns: parts.wall_ns,
        }
    }
}

/// Answers records until told to stop; blocks its thread.
///
/// # Errors
/// A text for people, if it cannot go on.
pub(crate) fn infer(shared: &Shared) -> Result<(), String> {
    Inference::resume(shared).run()
}

/// Looks for something to learn, and has it learnt, until told to stop; blocks its thread.
pub(crate) fn scan(shared: &Arc<Shared>) {
    Scheduler::open(Arc::clone(shared)).run();
}
