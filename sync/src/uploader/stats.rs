//! What the uploader is doing, readable at any time from anywhere.

use std::sync::{
    Mutex,
    atomic::{
        AtomicBool, AtomicI64, AtomicU64,
        Ordering::{Relaxed, SeqCst},
    },
};

use super::{Left, job::Delivered};
use crate::{cursor::Cursor, lock::unpoisoned};

/// No row is waiting.
const NONE: i64 = i64::MAX;

/// Counters since the start, and the present state. Each field is consistent by itself.
#[derive(Debug)]
pub struct UploadStats {
    /// Rows the upstream took; rows sent twice count twice.
    pub rows_uploaded: AtomicU64,
    /// Rows put aside because the upstream will never take them.
    pub rows_rejected: AtomicU64,
    /// Batches settled.
    pub batches: AtomicU64,
    /// Batches that failed and were sent again.
    pub retries: AtomicU64,
    /// Blocks that could not be read any more (trimmed or set aside as damaged).
    pub blocks_missing: AtomicU64,
    /// Committed rows not upstream yet, those of held streams among them; up to a second old.
    pub lag_rows: AtomicU64,
    /// Streams that the upstream refuses.
    pub streams_held: AtomicU64,
    /// Rows of these.
    pub rows_held: AtomicU64,
    /// Batches under way.
    pub in_flight: AtomicU64,
    /// Whether the last call succeeded; false before the first.
    pub connected: AtomicBool,
    oldest_ts: AtomicI64,
    taken_below: AtomicU64,
    last_error: Mutex<Option<String>>,
    held_stream: Mutex<Option<HeldStream>>,
    cursor: Mutex<Cursor>,
}

/// A stream that the upstream refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldStream {
    /// Its name.
    pub name: String,
    /// The upstream's words.
    pub reason: String,
}

impl Default for UploadStats {
    fn default() -> Self {
        Self {
            rows_uploaded: AtomicU64::default(),
            rows_rejected: AtomicU64::default(),
            batches: AtomicU64::default(),
            retries: AtomicU64::default(),
            blocks_missing: AtomicU64::default(),
            lag_rows: AtomicU64::default(),
            streams_held: AtomicU64::default(),
            rows_held: AtomicU64::default(),
            in_flight: AtomicU64::default(),
            connected: AtomicBool::default(),
            oldest_ts: AtomicI64::new(NONE),
            taken_below: AtomicU64::default(),
            last_error: Mutex::default(),
            held_stream: Mutex::default(),
            cursor: Mutex::default(),
        }
    }
}

impl UploadStats {
    /// Age at `now_ns` (nanoseconds UTC) of the oldest row not upstream; 0 if all are.
    pub fn lag_ns(&self, now_ns: i64) -> u64 {
        let oldest = self.oldest_ts.load(Relaxed);
        now_ns.saturating_sub(oldest).max(0) as u64
    }

    /// Every block ever taken for upload has `seq < taken_below()`: what lies above has not left this
    /// device. Once the gate has been set to closed this does not grow until it is opened again.
    pub fn taken_below(&self) -> u64 {
        self.taken_below.load(SeqCst)
    }

    /// The last failure, in words.
    pub fn last_error(&self) -> Option<String> {
        unpoisoned(self.last_error.lock()).clone()
    }

    /// The stream that was refused last, if any is held.
    pub fn held_stream(&self) -> Option<HeldStream> {
        unpoisoned(self.held_stream.lock()).clone()
    }

    /// A copy of the present cursor.
    pub fn cursor(&self) -> Cursor {
        unpoisoned(self.cursor.lock()).clone()
    }

    pub(super) fn take_below(&self, seq: u64) {
        self.taken_below.fetch_max(seq, SeqCst);
    }

    pub(super) fn set_error(&self, error: String) {
        *unpoisoned(self.last_error.lock()) = Some(error);
    }

    pub(super) fn set_held(&self, name: String, reason: String) {
        self.set_error(format!("stream {name} is held: {reason}"));
        *unpoisoned(self.held_stream.lock()) = Some(HeldStream { name, reason });
    }

    pub(super) fn forget_held(&self, name: &str) {
        let mut held = unpoisoned(self.held_stream.lock());
        if held.as_ref().is_some_and(|held| held.name == name) {
            *held = None;
        }
    }

    pub(super) fn set_oldest(&self, ts: Option<i64>) {
        self.oldest_ts.store(ts.unwrap_or(NONE), Relaxed);
    }

    pub(super) fn count_delivered(&self, delivered: &Delivered) {
        if !delivered.answered.is_empty() && !self.connected.swap(true, Relaxed) {
            tracing::info!("the upstream takes rows");
        }
        self.batches.fetch_add(1, Relaxed);
        self.rows_uploaded
            .fetch_add(delivered.rows_written, Relaxed);
        self.rows_rejected
            .fetch_add(delivered.rows_rejected, Relaxed);
        self.blocks_missing
            .fetch_add(delivered.blocks_missing, Relaxed);
    }

    pub(super) fn count_failure(&self, error: String) {
        self.connected.store(false, Relaxed);
        self.retries.fetch_add(1, Relaxed);
        self.set_error(error);
    }

    pub(super) fn set_state(&self, left: Left, in_flight: usize, cursor: &Cursor) {
        self.lag_rows.store(left.rows, Relaxed);
        self.streams_held.store(cursor.held().len() as u64, Relaxed);
        self.rows_held.store(left.rows_held, Relaxed);
        self.in_flight.store(in_flight as u64, Relaxed);
        let mut shared = unpoisoned(self.cursor.lock());
        if *shared != *cursor {
            shared.clone_from(cursor);
        }
    }
}
