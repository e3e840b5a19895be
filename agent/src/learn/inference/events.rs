//! What comes to light about versions while records are answered, told as rows, in the log and in
//! counters.

use std::sync::atomic::Ordering::Relaxed;

use dunlin_models::{drift::Alarm, registry::ModelKey};

use crate::learn::{Shared, tables::Event};

/// A version that should serve cannot.
pub(super) fn unusable(shared: &Shared, key: &ModelKey, version: u64, why: String) {
    tracing::error!(%key, version, why, "this version cannot serve");
    shared.released.taken_back(key, version, &why);
    row(shared, key, version, "unusable", why);
}

/// A version has panicked and serves no more.
pub(super) fn given_up(shared: &Shared, key: &ModelKey, version: u64, what: String) {
    tracing::error!(%key, version, what, "given up");
    shared.stats.broken.fetch_add(1, Relaxed);
    shared.released.taken_back(key, version, &what);
    row(shared, key, version, "given_up", what);
}

/// A version was found worse than the one before.
pub(super) fn rolled_back(shared: &Shared, key: &ModelKey, version: u64, what: String) {
    tracing::warn!(%key, version, what, "worse than the version before: rolled back");
    shared.stats.rollbacks.fetch_add(1, Relaxed);
    shared.released.taken_back(key, version, &what);
    row(shared, key, version, "rolled_back", what);
}

/// No version is left that may serve: records go unanswered until there is one.
pub(super) fn ended(shared: &Shared, key: &ModelKey, version: u64) {
    let what = "no version has a status that may serve".to_owned();
    tracing::warn!(%key, version, what, "answers no more");
    row(shared, key, version, "ended", what);
}

/// A detector of drift has raised an alarm, which the scheduler is to look into.
pub(super) fn drift(shared: &Shared, key: &ModelKey, version: u64, alarm: &Alarm) {
    let what = match alarm.feature {
        Some(feature) => format!("{:?}, feature number {feature}", alarm.detector),
        None => format!("{:?}", alarm.detector),
    };
    tracing::info!(%key, version, what, "drift");
    shared.stats.drifts.fetch_add(1, Relaxed);
    shared.drifted.note(key);
    let event = Event {
        kind: "drift",
        version: Some(version),
        what,
        figures: Some((alarm.figure, alarm.bound)),
    };
    shared.tables.event(key, &event);
}

fn row(shared: &Shared, key: &ModelKey, version: u64, kind: &'static str, what: String) {
    let event = Event {
        kind,
        version: Some(version),
        what,
        figures: None,
    };
    shared.tables.event(key, &event);
}
