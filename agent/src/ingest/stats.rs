//! What the MQTT side counts.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use dunlin_sync::lock::unpoisoned;

use super::rivals::LASTS as RIVAL_LASTS;

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
    /// How often a session that the broker had kept for us was gone.
    pub sessions_lost: AtomicU64,
    /// How often reading paused because the consumer was behind.
    pub pauses: AtomicU64,
    last_error: Mutex<Option<String>>,
    /// Subscriptions refused at present, in words.
    refused: Mutex<Vec<String>>,
    /// Who else uses our client id, in words, and when that showed last.
    rival: Mutex<Option<(Instant, String)>>,
}

impl IngestStats {
    /// What went wrong last, if anything; stays after it is mended.
    pub fn last_error(&self) -> Option<String> {
        unpoisoned(self.last_error.lock()).clone()
    }

    /// What is wrong at present although the connection may stand, in words.
    pub fn troubles(&self) -> Vec<String> {
        let rival = unpoisoned(self.rival.lock()).clone();
        let rival = rival.filter(|(at, _)| at.elapsed() < RIVAL_LASTS);
        let rival = rival.map(|(_, text)| text);
        rival
            .into_iter()
            .chain(unpoisoned(self.refused.lock()).clone())
            .collect()
    }

    pub(super) fn set_refused(&self, refused: Vec<String>) {
        self.filters_refused.store(refused.len() as u64, Relaxed);
        *unpoisoned(self.refused.lock()) = refused;
    }

    pub(super) fn set_rival(&self, text: String) {
        *unpoisoned(self.rival.lock()) = Some((Instant::now(), text));
    }

    pub(super) fn set_last_error(&self, text: String) {
        *unpoisoned(self.last_error.lock()) = Some(text);
    }
}

pub(super) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Relaxed);
}
