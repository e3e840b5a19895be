//! What the MQTT side counts.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

/// Counters of one [`super::Ingest`], readable at any time from any thread.
#[derive(Debug, Default)]
pub struct IngestStats {
    /// Connected and told so by the broker.
    pub connected: AtomicBool,
    /// Connections made so far; also the number of the current one.
    pub connections: AtomicU64,
    /// How often the broker has answered our SUBSCRIBE.
    pub subscriptions: AtomicU64,
    /// Publishes handed to the consumer.
    pub publishes: AtomicU64,
    /// Of these, marked as sent before (DUP).
    pub redelivered: AtomicU64,
    /// Bytes of topics and payloads of these.
    pub bytes: AtomicU64,
    /// PUBACKs queued on the current connection of their publish.
    pub acks: AtomicU64,
    /// Acknowledgements forgotten because their connection is gone; the broker sends them again.
    pub stale_acks: AtomicU64,
    /// Filters the broker refused on the current connection.
    pub filters_refused: AtomicU64,
    /// How often the broker had lost the session.
    pub sessions_lost: AtomicU64,
    /// How often reading paused because the consumer was behind.
    pub pauses: AtomicU64,
    last_error: Mutex<Option<String>>,
}

impl IngestStats {
    /// What went wrong last, if anything; stays after it is mended.
    pub fn last_error(&self) -> Option<String> {
        self.last_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn set_last_error(&self, text: String) {
        *self
            .last_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(text);
    }
}

pub(super) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Relaxed);
}
