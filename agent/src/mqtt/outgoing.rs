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
}

/// Hands publishes over, from any thread.
#[derive(Clone, Debug)]
pub struct Publisher {
    queue: mpsc::Sender<Queued>,
    stats: Arc<OutgoingStats>,
    is_open: Arc<AtomicBool>,
}

/// A publish, and where it counts.
#[derive(Debug)]
struct Queued {
    publish: Outgoing,
    stats: Arc<OutgoingStats>,
}

/// The connection's end.
#[derive(Debug)]
pub(crate) struct Outbox {
    queue: mpsc::Receiver<Queued>,
    /// Whether there is a connection to write to.
    is_open: Arc<AtomicBool>,
}

/// Both ends.
pub(crate) fn channel() -> (Publisher, Outbox) {
    let (sender, queue) = mpsc::channel(QUEUED_MAX);
    let is_open = Arc::<AtomicBool>::default();
    let publisher = Publisher {
        queue: sender,
        stats: Arc::default(),
        is_open: Arc::clone(&is_open),
    };
    (publisher, Outbox { queue, is_open })
}

impl Publisher {
    /// Publishes, or drops and counts; never waits. Whether it was taken.
    pub fn publish(&self, publish: Outgoing) -> bool {
        let fits = publish.payload.len() <= PAYLOAD_BYTES_MAX;
        let stats = Arc::clone(&self.stats);
        let queued = Queued { publish, stats };
        let is_taken = fits && self.is_open.load(Relaxed) && self.queue.try_send(queued).is_ok();
        if !is_taken {
            self.stats.dropped.fetch_add(1, Relaxed);
        }
        is_taken
    }

    /// The same way out with counters of its own.
    #[must_use]
    pub(crate) fn apart(&self) -> Self {
        Self {
            stats: Arc::default(),
            ..self.clone()
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
        self.is_open.store(true, Relaxed);
    }

    /// The connection is gone.
    pub(crate) fn close(&mut self) {
        self.is_open.store(false, Relaxed);
        self.drop_waiting();
    }

    fn drop_waiting(&mut self) {
        while let Ok(queued) = self.queue.try_recv() {
            queued.stats.dropped.fetch_add(1, Relaxed);
        }
    }

    /// The next one, with the counters of whoever handed it over. Cancel-safe; never, once every
    /// [`Publisher`] is gone.
    pub(crate) async fn next(&mut self) -> (Outgoing, Arc<OutgoingStats>) {
        match self.queue.recv().await {
            Some(queued) => (queued.publish, queued.stats),
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests;
