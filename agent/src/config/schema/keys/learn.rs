//! `[learn]`: learning on this device, whatever is learnt.

use std::time::Duration;

use super::{DAY_S, MIB, TIB};
use crate::config::schema::{
    key::Key,
    kind::{bytes, integer, millis, seconds, text},
};

pub(in crate::config) const SCAN_MS: Key<Duration> = Key::new(
    "learn.scan_ms",
    millis(100, 3_600_000),
    "5000",
    "Between two looks for something to learn",
);

pub(in crate::config) const WORKERS: Key<usize> = Key::new(
    "learn.workers",
    integer(1, 8),
    "1",
    "Tasks under way at once",
);

pub(in crate::config) const CPU_PERCENT_MAX: Key<u64> = Key::new(
    "learn.cpu_percent_max",
    integer(1, 100),
    "50",
    "Share of one core that a task may take",
);

pub(in crate::config) const TEMPERATURE_C_MAX: Key<u64> = Key::new(
    "learn.temperature_c_max",
    integer(20, 150),
    "80",
    "Above this the task under way waits, degrees Celsius",
);

pub(in crate::config) const LIMIT_S: Key<Duration> = Key::new(
    "learn.limit_s",
    seconds(1, 365 * DAY_S),
    "3600",
    "Age at which a task that is still at work counts as dead",
);

pub(in crate::config) const ROWS_PER_CHUNK_MAX: Key<usize> = Key::new(
    "learn.rows_per_chunk_max",
    integer(1_000, 10_000_000),
    "20000",
    "Rows of a data set in memory at once; a window must fit in",
);

pub(in crate::config) const VERSIONS_MAX: Key<usize> = Key::new(
    "learn.versions_max",
    integer(3, 1_000),
    "8",
    "Versions kept of each model; the oldest that is not needed gives way",
);

pub(in crate::config) const BYTES_MAX: Key<u64> = Key::new(
    "learn.bytes_max",
    bytes(MIB, TIB),
    "256 MiB",
    "Most disk of all models; the oldest that are not needed give way",
);

pub(in crate::config) const WORKING_STATUS: Key<String> = Key::new(
    "learn.working_status",
    text(1, 1024),
    "queued,training",
    "Statuses of a task at work, divided by commas: older than limit_s, it is dead",
);

pub(in crate::config) const STATUS_QUEUED: Key<String> = Key::new(
    "learn.status_queued",
    text(1, 64),
    "queued",
    "The word for a task that waits for its turn",
);

pub(in crate::config) const STATUS_TRAINING: Key<String> = Key::new(
    "learn.status_training",
    text(1, 64),
    "training",
    "The word for a task that trains",
);

pub(in crate::config) const STATUS_AVAILABLE: Key<String> = Key::new(
    "learn.status_available",
    text(1, 64),
    "available",
    "The word for a version that may serve, and for its task",
);

pub(in crate::config) const STATUS_REJECTED: Key<String> = Key::new(
    "learn.status_rejected",
    text(1, 64),
    "rejected",
    "The word for a version that did not pass the gate, and for its task",
);

pub(in crate::config) const STATUS_RETIRED: Key<String> = Key::new(
    "learn.status_retired",
    text(1, 64),
    "retired",
    "The word for a version that served before",
);

pub(in crate::config) const STATUS_ROLLED_BACK: Key<String> = Key::new(
    "learn.status_rolled_back",
    text(1, 64),
    "rolled_back",
    "The word for a version that served and was worse than the one before",
);

pub(in crate::config) const STATUS_FAILED: Key<String> = Key::new(
    "learn.status_failed",
    text(1, 64),
    "failed",
    "The word for a task that has failed",
);

pub(in crate::config) const STATUS_DEAD: Key<String> = Key::new(
    "learn.status_dead",
    text(1, 64),
    "dead",
    "The word for a task that was given up",
);
