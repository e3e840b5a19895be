//! What came and will not come upstream by itself: named before everything else.

use std::{collections::BTreeMap, path::Path, sync::atomic::Ordering::Relaxed};

use dunlin_sync::uploader;

use super::Findings;
use crate::{
    admin::{
        client,
        operations::{
            CountItems, Listener, Operation, OperationError, OperationParts, Quarantined, Selection,
        },
        protocol::socket_path,
    },
    base::text::of,
    observe::status::Status,
};

#[derive(Default)]
pub(super) struct KeptBack {
    /// By reason.
    pub(super) quarantine: BTreeMap<String, Quarantined>,
    pub(super) streams_held: u64,
    pub(super) rows_held: u64,
    /// A held stream, with the upstream's words.
    pub(super) example: Option<String>,
    /// The database was found to be another so often, and may lack what was uploaded.
    pub(super) times_replaced: u64,
    pub(super) dropped: u64,
}

impl KeptBack {
    /// In the directory of a stopped agent. Blocks on the disk.
    pub(super) fn in_directory(parts: &OperationParts) -> Result<Self, OperationError> {
        let (left, _) = uploader::lag(&*parts.buffer, &(parts.cursor)());
        Ok(Self {
            quarantine: CountItems(Selection::default()).run(parts, &mut Nobody)?,
            streams_held: left.streams_held as u64,
            rows_held: left.rows_held,
            example: None,
            times_replaced: 0,
            dropped: parts.quarantine.records_dropped.load(Relaxed),
        })
    }

    /// By a running agent.
    pub(super) async fn by_agent(data_dir: &Path, status: &Status) -> Self {
        let up = &status.upstream;
        Self {
            quarantine: counted(data_dir).await.unwrap_or_default(),
            streams_held: up.streams_held,
            rows_held: up.rows_held,
            example: up.held_stream.clone(),
            times_replaced: up.times_replaced,
            dropped: status.records.dropped,
        }
    }

    pub(super) fn tell(&self, found: &mut Findings) {
        if self.times_replaced > 0 {
            found.warning_first(
                "replaced",
                format!(
                    "the upstream's database was removed or replaced, {} since the start",
                    of(self.times_replaced, "time")
                ),
                "what it lacks: dunlin status --verify; send it again: dunlin upload --again",
            );
        }
        if self.streams_held > 0 {
            let example = self.example.as_deref();
            let example =
                example.map_or_else(String::new, |example| format!(", such as {example}"));
            found.warning_first(
                "held",
                format!(
                    "{} refused by the upstream{example}; {} wait in the buffer",
                    of(self.streams_held, "stream"),
                    of(self.rows_held, "row")
                ),
                "repair them in the database; the agent tries again by itself",
            );
        }
        if !self.quarantine.is_empty() {
            let held = self.quarantine.values();
            let (items, records) = held.fold((0, 0), |(items, records), held| {
                (items + held.items, records + held.records)
            });
            let reasons: Vec<&str> = self.quarantine.keys().map(String::as_str).collect();
            found.warning_first(
                "quarantine",
                format!(
                    "{} with {}: {}",
                    of(items, "item"),
                    of(records, "record"),
                    reasons.join(", ")
                ),
                "look: dunlin quarantine list; send again: dunlin quarantine retry --all",
            );
        }
        if self.dropped > 0 {
            found.warning_first(
                "dropped",
                format!("{} lost since the start", of(self.dropped, "record")),
                "see the log; give the buffer or the quarantine more room, or mend what fills them",
            );
        }
    }
}

/// Hears nothing.
struct Nobody;

impl Listener for Nobody {
    fn progress(&mut self, _: u64, _: u64) -> std::io::Result<()> {
        Ok(())
    }

    fn data(&mut self, _: &[u8]) -> std::io::Result<()> {
        Ok(())
    }
}

async fn counted(data_dir: &Path) -> Option<BTreeMap<String, Quarantined>> {
    let count = CountItems(Selection::default());
    let counted = client::request(&socket_path(data_dir), count, &mut Nobody).await;
    counted.ok()
}

#[cfg(test)]
mod tests;
