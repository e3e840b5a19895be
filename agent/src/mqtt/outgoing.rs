//! Publishes of our own on the connection that ingestion holds.
//!
//! Promises: handing one over never waits; at most [`QUEUED_MAX`] wait for the connection, and what
//! finds no room, or no connection, is dropped and counted: `QoS` 0, because what is told late is no
//! help to whoever acts on it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use tokio::sync::mpsc;

/// Publishes that may wait.
pub const QUEUED_MAX: usize = 1_024;
/// Longest payload, bytes; no broker's limit is less.
const PAYLOAD_BYTES_MAX: usize = 4_096;

/// One publish of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Topic, without wildcards.
    pub topic: String,
    /// Payload.
    pub payload: Vec<u8>,
}

/// Counters: handed over = written + dropped + waiting.
#[derive(Debug, Default)]
pub struct OutgoingStats {
    /// Written to a connection.
    pub written: AtomicU64,
    /// Dropped: no connection, no room, too long, or the connection broke before its turn.
    pub dropped: AtomicU64,
    /// Whether there is a connection to write to.
    pub(crate) is_open: AtomicBool,
}

/// Hands publishes over, from any thread.
#[derive(Clone, Debug)]
pub struct Publisher {
    queue: mpsc::Sender<Outgoing>,
    stats: Arc<OutgoingStats>,
}

/// The connection's end.
#[derive(Debug)]
pub(crate) struct Outbox {
    queue: mpsc::Receiver<Outgoing>,
    pub(crate) stats: Arc<OutgoingStats>,
}

/// Both ends.
pub(crate) fn channel() -> (Publisher, Outbox) {
    let (sender, queue) = mpsc::channel(QUEUED_MAX);
    let stats = Arc::<OutgoingStats>::default();
    let publisher = Publisher {
        queue: sender,
        stats: Arc::clone(&stats),
    };
    (publisher, Outbox { queue, stats })
}

impl Publisher {
    /// Publishes, or drops and counts; never waits.
    pub fn publish(&self, publish: Outgoing) {
        let fits = publish.payload.len() <= PAYLOAD_BYTES_MAX;
        let is_taken =
            fits && self.stats.is_open.load(Relaxed) && self.queue.try_send(publish).is_ok();
        if !is_taken {
            self.stats.dropped.fetch_add(1, Relaxed);
        }
    }

    /// The counters.
    pub fn stats(&self) -> &OutgoingStats {
        &self.stats
    }
}

impl Outbox {
    /// A connection is there. What waited for an earlier one is dropped.
    pub(crate) fn open(&mut self) {
        self.drop_waiting();
        self.stats.is_open.store(true, Relaxed);
    }

    /// The connection is gone.
    pub(crate) fn close(&mut self) {
        self.stats.is_open.store(false, Relaxed);
        self.drop_waiting();
    }

    fn drop_waiting(&mut self) {
        while self.queue.try_recv().is_ok() {
            self.stats.dropped.fetch_add(1, Relaxed);
        }
    }

    /// The next one. Cancel-safe; never, once every [`Publisher`] is gone.
    pub(crate) async fn next(&mut self) -> Outgoing {
        match self.queue.recv().await {
            Some(publish) => publish,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests;
