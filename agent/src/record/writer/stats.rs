//! What the writer counts.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use dunlin_sync::{lock::unpoisoned, quarantine::Item};

use crate::record::{
    clock::ClockStats,
    decode::{Misfits, Reason},
};

/// Fields and reasons counted one by one.
const FIELDS_TOLD_MAX: usize = 200;
/// Stands for all others.
const OTHER_FIELDS: &str = "*";

/// Counters since the start.
#[derive(Debug, Default)]
pub struct WriterStats {
    /// Publishes taken from the inbox, those sent again included.
    pub publishes: AtomicU64,
    /// Records decoded, or counted in publishes that went to quarantine.
    pub records_received: AtomicU64,
    /// Records of the agent's own tables among these: predictions, training log, tasks.
    pub records_own: AtomicU64,
    /// Publishes recognised as stored already.
    pub duplicates: AtomicU64,
    /// Retained publishes that were no news, or are to be ignored.
    pub retained_known: AtomicU64,
    /// Publishes stored although they may be stored already: the broker does not mark or number what it
    /// sends again so that it could be told, and their records carry no time of their own.
    pub possible_duplicates: AtomicU64,
    /// Records in publishes that went to quarantine.
    pub records_quarantined: AtomicU64,
    /// Publishes of which nothing is to be stored: their rule excludes the topic, or they are no data.
    pub excluded: AtomicU64,
    /// Records of which their rule leaves out all fields, of these publishes and of those that are stored.
    pub records_excluded: AtomicU64,
    /// Requests to edge nodes of Sparkplug B that they announce themselves again.
    pub rebirths_asked: AtomicU64,
    /// Records whose source's time was left out because it cannot be one.
    pub times_implausible: AtomicU64,
    /// How long the last commit took, nanoseconds.
    pub commit_ns: AtomicU64,
    disk_since: Mutex<Option<Instant>>,
    /// Nothing is taken at present because nothing can be made durable.
    pub stalled: AtomicBool,
    stall_reason: Mutex<Option<String>>,
    by_reason: Mutex<BTreeMap<String, u64>>,
    /// Values that do not fit, by reason and field.
    by_field: Mutex<BTreeMap<(Reason, String), u64>>,
    clock: Mutex<ClockStats>,
}

impl WriterStats {
    pub(super) fn count_quarantined(&self, item: &Item) {
        self.records_received.fetch_add(item.records, Relaxed);
        self.records_quarantined.fetch_add(item.records, Relaxed);
        let mut by_reason = unpoisoned(self.by_reason.lock());
        *by_reason.entry(item.reason.clone()).or_default() += item.records;
    }

    pub(super) fn count_excluded(&self, records: u64) {
        self.records_excluded.fetch_add(records, Relaxed);
    }

    pub(super) fn count_misfits(&self, misfits: &Misfits) {
        let mut by_field = unpoisoned(self.by_field.lock());
        for kind in &misfits.kinds {
            let mut key = (kind.reason, kind.field.clone());
            if by_field.len() >= FIELDS_TOLD_MAX && !by_field.contains_key(&key) {
                OTHER_FIELDS.clone_into(&mut key.1);
            }
            *by_field.entry(key).or_default() += kind.values;
        }
    }

    /// Values that are missing because they do not fit, by reason and field. Beyond a number of fields,
    /// others count together.
    pub fn missing_by_field(&self) -> BTreeMap<String, BTreeMap<String, u64>> {
        let by_field = unpoisoned(self.by_field.lock());
        let mut by_reason: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
        for ((reason, field), values) in by_field.iter() {
            let fields = by_reason.entry(reason.as_str().to_owned()).or_default();
            fields.insert(field.clone(), *values);
        }
        by_reason
    }

    /// Records quarantined, by reason.
    pub fn quarantined_by_reason(&self) -> BTreeMap<String, u64> {
        unpoisoned(self.by_reason.lock()).clone()
    }

    /// The disk is given something to make durable (`true`) or has answered.
    pub(crate) fn set_waiting_for_disk(&self, begins: bool) {
        let since = begins.then(Instant::now);
        *unpoisoned(self.disk_since.lock()) = since;
    }

    /// How long the disk has not answered by `now`: one that hangs says nothing else.
    pub fn waiting_for_disk(&self, now: Instant) -> Option<Duration> {
        let since = unpoisoned(self.disk_since.lock());
        since.map(|since| now.saturating_duration_since(since))
    }

    /// Whether this is news.
    pub(super) fn stall(&self, why: &str) -> bool {
        *self.reason() = Some(why.to_owned());
        !self.stalled.swap(true, Relaxed)
    }

    pub(super) fn resume(&self) {
        self.stalled.store(false, Relaxed);
        *self.reason() = None;
    }

    /// Why nothing is taken at present, if so.
    pub fn stalled_because(&self) -> Option<String> {
        self.reason().clone()
    }

    fn reason(&self) -> MutexGuard<'_, Option<String>> {
        unpoisoned(self.stall_reason.lock())
    }

    pub(super) fn set_clock(&self, clock: ClockStats) {
        *unpoisoned(self.clock.lock()) = clock;
    }

    /// The clock's figures, at most a second old.
    pub fn clock(&self) -> ClockStats {
        *unpoisoned(self.clock.lock())
    }
}
