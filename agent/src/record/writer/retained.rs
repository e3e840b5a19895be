//! Retained publishes: data once, however often the broker repeats them.
//!
//! A broker sends what it retains at every subscription: with MQTT 3.1.1 at each connect, with MQTT 5
//! whenever the session is new. So of each topic two hashes are remembered: of the payload that was
//! stored last from a publish marked as retained, and of the one stored last from a live one, since
//! that may be the same to the publisher. A retained publish with either payload is known.
//!
//! Promises: at most [`TOPICS_MAX`] topics are remembered, those heard of last; what is forgotten is
//! stored once more, never lost. The file holds nothing that is not durable itself: it is written
//! between a commit and its PUBACKs when a retained publish was stored, otherwise once a minute and
//! at the end.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use dunlin_sync::files::state_file;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::ingest::Incoming;

/// Topics remembered: some 2 MiB of memory, and 1 MiB on disk.
const TOPICS_MAX: usize = 32_768;
/// Between two writes of what live publishes have changed.
const SAVE_GAP: Duration = Duration::from_mins(1);
/// Format of the file; another one is as none.
const FORMAT: u8 = 1;

/// Hashes of the payloads stored last from one topic; 0: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Last {
    retained: u64,
    live: u64,
}

type Topics = HashMap<u64, Last>;

/// (topic, retained, live), as in [`Last`].
type Row = (u64, u64, u64);

#[derive(Debug)]
pub(super) struct Retained {
    path: PathBuf,
    /// Heard of since the older half was let go; and before.
    newer: Topics,
    older: Topics,
    half_max: usize,
    /// A retained publish was stored and is not in the file: it is due before the PUBACK.
    must_save_now: bool,
    /// A live one: due within [`SAVE_GAP`].
    must_save_soon: bool,
    saved: Instant,
}

pub(super) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("state").join("retained")
}

impl Retained {
    /// As the file at `path` has it.
    pub(super) fn read(path: PathBuf) -> Self {
        let rows = match state_file::read::<(u8, Vec<Row>)>(&path) {
            Ok(Some((FORMAT, rows))) => rows,
            Ok(_) => Vec::new(),
            Err(error) => {
                tracing::warn!(%error, "retained publishes may be stored once more");
                Vec::new()
            }
        };
        let rows = rows.into_iter().take(TOPICS_MAX);
        let older = rows.map(|(topic, retained, live)| (topic, Last { retained, live }));
        Self {
            path,
            newer: Topics::new(),
            older: older.collect(),
            half_max: TOPICS_MAX / 2,
            must_save_now: false,
            must_save_soon: false,
            saved: Instant::now(),
        }
    }

    /// Whether its payload is the last one stored from its topic.
    pub(super) fn knows(&self, publish: &Incoming) -> bool {
        let (topic, payload) = hashes(publish);
        let last = self.newer.get(&topic).or_else(|| self.older.get(&topic));
        last.is_some_and(|last| last.retained == payload || last.live == payload)
    }

    /// It becomes durable with the next commit.
    pub(super) fn stored(&mut self, publish: &Incoming) {
        let (topic, payload) = hashes(publish);
        let last = if let Some(last) = self.newer.get_mut(&topic) {
            last
        } else {
            let before = self.older.remove(&topic).unwrap_or_default();
            if self.newer.len() >= self.half_max {
                self.older = std::mem::take(&mut self.newer);
            }
            self.newer.entry(topic).or_insert(before)
        };
        let (place, owes) = if publish.retain {
            (&mut last.retained, &mut self.must_save_now)
        } else {
            (&mut last.live, &mut self.must_save_soon)
        };
        *owes |= std::mem::replace(place, payload) != payload;
    }

    /// Everything stored so far is durable: the file may say so.
    pub(super) fn committed(&mut self) {
        if self.must_save_now || self.must_save_soon && self.saved.elapsed() >= SAVE_GAP {
            self.save();
        }
    }

    /// As [`Retained::committed`], for the last time.
    pub(super) fn close(mut self) {
        if self.must_save_now || self.must_save_soon {
            self.save();
        }
    }

    fn save(&mut self) {
        let topics = self.older.iter().chain(&self.newer);
        let rows: Vec<Row> = topics
            .map(|(topic, last)| (*topic, last.retained, last.live))
            .collect();
        let written: io::Result<()> = state_file::write(&self.path, &(FORMAT, rows));
        match written {
            Ok(()) => (self.must_save_now, self.must_save_soon) = (false, false),
            // It costs a record stored twice after a crash.
            Err(error) => {
                tracing::debug!(%error, "cannot store which retained publishes are known");
            }
        }
        self.saved = Instant::now();
    }
}

/// Of the topic, and of the payload, which is never 0.
fn hashes(publish: &Incoming) -> (u64, u64) {
    let mut payload = Xxh3::new();
    payload.update(&(publish.payload_bytes as u64).to_le_bytes());
    payload.update(&publish.payload);
    (xxh3_64(&publish.topic), payload.digest().max(1))
}

#[cfg(test)]
mod tests;
