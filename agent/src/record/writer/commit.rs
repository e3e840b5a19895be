//! Durable first, answered then; and what is done while nothing can be made durable.

use std::{
    path::Path,
    sync::{atomic::Ordering::Relaxed, mpsc},
    time::Instant,
};

use dunlin_sync::{
    block::{
        builder::{BLOCK_BYTES_MAX, BlockBuilder},
        codec::BlockBody,
        pack::Compression,
    },
    buffer::CommitError,
    quarantine::{Item, Notice},
};

use super::{Answer, RETRY, Writer};
use crate::{ingest::Ack, record::decode::Reason};

/// Bytes of full blocks and refused payloads, of the block that is open and of one more, that are enough
/// for one commit: with the fingerprints it stays below what would begin a generation. 96 KiB of full
/// blocks, unless records of several blocks' worth are about.
const PENDING_BYTES_MAX: usize = 112 << 10;

/// What the next commit makes durable and answers.
pub(super) struct Pending {
    pub(super) builder: BlockBuilder,
    /// Finished blocks whose commit failed.
    blocks: Vec<BlockBody>,
    rejects: Vec<Item>,
    reject_bytes: usize,
    pub(super) fingerprints: Vec<u64>,
    pub(super) acks: Vec<Ack>,
    replies: Vec<(mpsc::Sender<Answer>, Answer)>,
    /// Records stored for these replies.
    pub(super) requested: u64,
}

impl Pending {
    pub(super) fn new() -> Self {
        Self {
            builder: BlockBuilder::new(Compression::default()),
            blocks: Vec::new(),
            rejects: Vec::new(),
            reject_bytes: 0,
            fingerprints: Vec::new(),
            acks: Vec::new(),
            replies: Vec::new(),
            requested: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.builder.is_empty()
            && self.blocks.is_empty()
            && self.rejects.is_empty()
            && self.fingerprints.is_empty()
            && self.acks.is_empty()
            && self.replies.is_empty()
    }

    /// Nothing more should be taken before a commit.
    pub(super) fn is_heavy(&self) -> bool {
        let builder = &self.builder;
        let here = builder.full_bytes() + self.reject_bytes;
        let to_come = 2 * builder.largest_bytes().max(BLOCK_BYTES_MAX);
        (here > 0 || !builder.is_empty()) && here + to_come >= PENDING_BYTES_MAX
    }

    pub(super) fn reject(&mut self, item: Item) {
        if let Some(publish) = item.content.publish() {
            self.reject_bytes += publish.payload.len();
        }
        self.rejects.push(item);
    }

    pub(super) fn reply(&mut self, to: mpsc::Sender<Answer>, answer: Answer) {
        self.requested += answer.as_ref().copied().unwrap_or_default();
        self.replies.push((to, answer));
    }
}

/// Nothing can be made durable at present.
pub(super) struct Stall {
    since: Instant,
    pub(super) retry_at: Instant,
    /// The clock's ceiling could not be stored, so that no timestamp may be given.
    for_ceiling: bool,
}

impl Writer {
    /// Makes everything pending durable, then answers for it. Otherwise stalls the writer, and
    /// everything stays pending; what is in quarantine already is not put there again.
    pub(super) fn commit(&mut self) -> bool {
        self.stats.set_waiting_for_disk(true);
        let committed = self.commit_pending();
        self.stats.set_waiting_for_disk(false);
        committed
    }

    fn commit_pending(&mut self) -> bool {
        let pending = &mut self.pending;
        if pending.is_empty() {
            return true;
        }
        pending.blocks.extend(pending.builder.finish());
        let started = Instant::now();
        self.intake.save_sessions();
        if let Err(error) = self.parts.quarantine.add(&pending.rejects) {
            self.stall(&error.to_string(), false);
            return false;
        }
        for item in pending.rejects.drain(..) {
            self.stats.count_quarantined(&item);
            if let Some(publish) = item.content.publish() {
                let topic = publish.topic;
                let rule = self.intake.rule_of(topic).unwrap_or("none");
                let advice = Reason::named(&item.reason).map_or("", Reason::advice);
                let notice = Notice {
                    rule,
                    of: &String::from_utf8_lossy(topic),
                    reason: &item.reason,
                    detail: &item.detail,
                    advice,
                    records: item.records,
                };
                self.notices.note(&notice, started);
            }
        }
        pending.reject_bytes = 0;
        if let Err(error) = self.imports.intend() {
            self.stall(&format!("cannot note what is imported: {error}"), false);
            return false;
        }
        if !pending.blocks.is_empty() || !pending.fingerprints.is_empty() {
            let buffer = &self.parts.buffer;
            let why = match buffer.commit(&pending.blocks, &pending.fingerprints) {
                Ok(_) => None,
                Err(CommitError::Full(why)) => Some(format!("the buffer is full: {why}")),
                Err(CommitError::Failed(why)) => {
                    Some(format!("{why}; going on in a new generation"))
                }
                Err(unnamed @ CommitError::Unnamed(_)) => Some(format!(
                    "{unnamed}: a fault of dunlin; starting the agent again loses nothing"
                )),
            };
            if let Some(why) = why {
                self.stall(&why, false);
                return false;
            }
        }
        pending.blocks.clear();
        self.redelivery.remember(&mut pending.fingerprints);
        self.retained.committed();
        self.imports.committed();
        self.parts.acker.ack(&pending.acks);
        let acknowledges = !pending.acks.is_empty();
        pending.acks.clear();
        for (reply, answer) in pending.replies.drain(..) {
            // Whoever asked may have gone.
            let _gone = reply.send(answer);
        }
        pending.requested = 0;
        self.last_commit = Instant::now();
        if acknowledges && let Some(window) = self.window.acknowledged(self.last_commit) {
            tracing::info!(
                window,
                "the broker keeps no more publishes than this under way: commits follow it"
            );
        }
        let took_ns = started.elapsed().as_nanos() as u64;
        self.stats.commit_ns.store(took_ns, Relaxed);
        true
    }

    /// Takes nothing more until [`Writer::retry`] has succeeded.
    pub(super) fn stall(&mut self, why: &str, for_ceiling: bool) {
        let now = Instant::now();
        if self.stats.stall(why) {
            tracing::error!(why, "nothing more is acknowledged until this is over");
        }
        let before = self.stalled.as_ref();
        self.stalled = Some(Stall {
            since: before.map_or(now, |stall| stall.since),
            retry_at: now + RETRY,
            for_ceiling: for_ceiling || before.is_some_and(|stall| stall.for_ceiling),
        });
    }

    /// Tries again what failed; whether the writer may go on.
    pub(super) fn retry(&mut self) -> bool {
        let for_ceiling = self.stalled.as_ref().is_some_and(|s| s.for_ceiling);
        // What has its timestamps need not wait for more of them.
        let committed = self.commit();
        if for_ceiling && let Err(why) = self.store_record() {
            self.stall(&no_ceiling(&self.clock_path, &why), true);
            return false;
        }
        if committed && let Some(stall) = self.stalled.take() {
            self.stats.resume();
            let seconds = stall.since.elapsed().as_secs();
            tracing::info!(seconds, "records are taken again");
        }
        committed
    }
}

pub(super) fn no_ceiling(path: &Path, why: &std::io::Error) -> String {
    format!(
        "cannot store the clock's ceiling in {}: {why}",
        path.display()
    )
}
