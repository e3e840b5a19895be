//! One thread from arrival to PUBACK: decode, timestamp, split, block, commit, acknowledge.
//!
//! Promises: a publish is acknowledged only when its records (or its place in quarantine) survive a
//! power cut; PUBACKs go out in order of arrival; a publish the broker sends again is not stored
//! again; a publish that cannot be decoded stops nothing and is acknowledged from quarantine.
//! While the buffer is full nothing is taken and nothing is acknowledged; the broker keeps the rest.
//!
//! One thread, because every step needs the one before it, and a commit takes everything that
//! arrived while the commit before it waited for the disk.

mod intake;
mod keep_time;
mod stats;
#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering::Relaxed, mpsc},
    time::{Duration, Instant},
};

use dunlin_sync::{
    buffer::{Buffer, CommitError},
    builder::BlockBuilder,
    codec::BlockBody,
    pack::Compression,
    quarantine::{Item, Quarantine},
    uploader::UploadStats,
};
use tokio::sync::watch;

use self::intake::Intake;
pub use self::{intake::STREAMS_MAX, stats::WriterStats};
pub(crate) use self::{intake::fingerprints_max, keep_time::load as load_clock};
use crate::{
    clock::Clock,
    decode::Record,
    ingest::{Ack, Acker, Inbox, Incoming, Received, Waker},
    settings::{MqttVersion, Settings, StreamRule},
};

/// How often the clock is judged.
const TICK: Duration = Duration::from_secs(1);
/// Wait between attempts while the buffer takes nothing.
const RETRY: Duration = Duration::from_millis(250);
/// Requests from inside that may wait; each holds a bounded batch of records.
const REQUESTS_MAX: usize = 4;
/// Records from inside that are worth a commit of their own, like a full block: an import need not
/// wait for the smallest gap between commits.
const REQUESTED_RECORDS_MIN: u64 = 1_000;

/// Records or a publish from inside the agent: an import, a retry.
pub struct Request {
    /// What to take in.
    pub content: RequestContent,
    /// Told once it is durable: records committed, or why not.
    pub reply: mpsc::Sender<Answer>,
}

/// Records stored, or why there are none.
pub type Answer = Result<u64, String>;

/// What a [`Request`] holds.
pub enum RequestContent {
    /// Decode this as if it had arrived now.
    Publish {
        /// Topic.
        topic: Vec<u8>,
        /// Payload.
        payload: Vec<u8>,
    },
    /// Records of one stream; their fields follow `fields`.
    Records {
        /// Name of the schema.
        schema: String,
        /// Name of the stream.
        stream: String,
        /// Fields in the order of each record's values.
        fields: Vec<dunlin_sync::sample::Field>,
        /// The records.
        records: Vec<Record>,
    },
}

/// Hands [`Request`]s to the writer; bounded.
#[derive(Clone, Debug)]
pub struct Requests {
    queue: mpsc::SyncSender<Request>,
    waker: Waker,
}

impl Requests {
    /// Queues a request; blocks the thread while the queue is full.
    ///
    /// # Errors
    /// The request, if the writer has ended.
    pub fn send(&self, request: Request) -> Result<(), mpsc::SendError<Request>> {
        self.queue.send(request)?;
        self.waker.wake();
        Ok(())
    }
}

/// Everything the writer works with.
pub struct Parts {
    /// Where publishes arrive.
    pub inbox: Inbox,
    /// How they are acknowledged.
    pub acker: Acker,
    /// Where records go.
    pub buffer: Arc<Buffer>,
    /// Where the rest goes.
    pub quarantine: Arc<Quarantine>,
    /// Gives timestamps.
    pub clock: Clock,
    /// Opens and closes uploads.
    pub gate: watch::Sender<bool>,
    /// What the uploader has taken.
    pub uploads: Arc<UploadStats>,
    /// The wall clock, for quarantine items.
    pub wall_ns: fn() -> i64,
}

/// The writer; [`Writer::run`] is its thread.
pub struct Writer {
    parts: Parts,
    intake: Intake,
    requests: mpsc::Receiver<Request>,
    stats: Arc<WriterStats>,
    clock_path: PathBuf,
    gap: Duration,
    acks_max: usize,
    pending: Pending,
    stalled: Option<Stall>,
    last_commit: Instant,
    next_tick: Instant,
}

/// What the next commit makes durable and answers.
struct Pending {
    builder: BlockBuilder,
    /// Finished blocks whose commit failed.
    blocks: Vec<BlockBody>,
    rejects: Vec<Item>,
    fingerprints: Vec<u64>,
    acks: Vec<Ack>,
    replies: Vec<(mpsc::Sender<Answer>, Answer)>,
    /// Records stored for these replies.
    requested: u64,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.builder.is_empty()
            && self.blocks.is_empty()
            && self.rejects.is_empty()
            && self.fingerprints.is_empty()
            && self.acks.is_empty()
            && self.replies.is_empty()
    }
}

/// The buffer takes nothing at present.
struct Stall {
    since: Instant,
    retry_at: Instant,
}

impl Writer {
    /// Gets ready; nothing happens before [`Writer::run`].
    pub fn new(parts: Parts, settings: &Settings) -> (Self, Requests) {
        let (queue, requests) = mpsc::sync_channel(REQUESTS_MAX);
        let waker = parts.inbox.waker();
        let stats = Arc::new(WriterStats::default());
        let intake = Intake::new(settings, Arc::clone(&parts.buffer), parts.wall_ns);
        let now = Instant::now();
        let writer = Self {
            intake,
            requests,
            stats,
            clock_path: clock_path(&settings.data_dir),
            gap: Duration::from_millis(settings.buffer.commit_gap_ms_min),
            acks_max: (in_flight_max(settings) / 2).max(1),
            pending: Pending {
                builder: BlockBuilder::new(Compression::default()),
                blocks: Vec::new(),
                rejects: Vec::new(),
                fingerprints: Vec::new(),
                acks: Vec::new(),
                replies: Vec::new(),
                requested: 0,
            },
            stalled: None,
            last_commit: now,
            next_tick: now,
            parts,
        };
        (writer, Requests { queue, waker })
    }

    /// Counters.
    pub fn stats(&self) -> Arc<WriterStats> {
        Arc::clone(&self.stats)
    }

    /// Works until the inbox is closed and everything in it is durable and acknowledged.
    ///
    /// # Errors
    /// A text for people when the agent cannot go on: no timestamps are left, or the buffer took
    /// nothing until `stop_waiting` said to give up.
    pub fn run(mut self, stop_waiting: &watch::Receiver<bool>) -> Result<(), String> {
        let mut arrived: Vec<Incoming> = Vec::new();
        loop {
            let now = Instant::now();
            if now >= self.next_tick {
                self.tick();
                self.next_tick = now + TICK;
            }
            if let Some(stall) = &self.stalled {
                if *stop_waiting.borrow() {
                    return Err(
                        "stopped while the buffer was full; the broker keeps what was not \
                                acknowledged"
                            .into(),
                    );
                }
                let wait = stall.retry_at.saturating_duration_since(now);
                // Nothing else to wait for: only time brings space back.
                std::thread::sleep(wait);
                self.commit();
                continue;
            }
            // No more than a commit's worth at once; the rest waits until that is durable.
            while !self.commit_is_due()
                && let Ok(request) = self.requests.try_recv()
            {
                self.take_request(request)?;
            }
            let deadline = if self.commit_is_due() {
                now
            } else if self.pending.is_empty() {
                self.next_tick.min(now + RETRY)
            } else {
                self.next_tick.min(self.last_commit + self.gap)
            };
            let received = self.parts.inbox.recv(&mut arrived, Some(deadline));
            for publish in arrived.drain(..) {
                self.take(&publish)?;
            }
            if received == Received::Closed {
                self.commit();
                if self.stalled.is_none() {
                    break;
                }
            } else if self.commit_is_due() {
                self.commit();
            }
        }
        self.close();
        Ok(())
    }

    fn commit_is_due(&self) -> bool {
        let pending = &self.pending;
        !pending.is_empty()
            && (pending.builder.has_full_block()
                || pending.acks.len() >= self.acks_max
                || pending.requested >= REQUESTED_RECORDS_MIN
                || self.last_commit.elapsed() >= self.gap)
    }

    fn take(&mut self, publish: &Incoming) -> Result<(), String> {
        self.stats.publishes.fetch_add(1, Relaxed);
        if let Some(ack) = publish.ack() {
            self.pending.acks.push(ack);
            let fingerprint = intake::fingerprint(publish);
            if publish.dup
                && self
                    .intake
                    .has_seen(fingerprint, &self.pending.fingerprints)
            {
                self.stats.duplicates.fetch_add(1, Relaxed);
                return Ok(());
            }
            self.pending.fingerprints.push(fingerprint);
        }
        let whole = (!publish.too_large()).then_some(&publish.payload[..]);
        match self
            .intake
            .decode(&publish.topic, whole, publish.payload_bytes)
        {
            Ok(batch) => {
                let clock = (&mut self.parts.clock, &*self.clock_path);
                store(batch, clock, &mut self.pending.builder, &self.stats)?;
            }
            Err(reject) => {
                let payload = (&publish.payload[..], publish.payload_bytes);
                let item = self.intake.reject(&reject, &publish.topic, payload);
                self.pending.rejects.push(item);
            }
        }
        Ok(())
    }

    fn take_request(&mut self, request: Request) -> Result<(), String> {
        let taken = match request.content {
            RequestContent::Publish { topic, payload } => {
                self.intake.decode(&topic, Some(&payload), payload.len())
            }
            RequestContent::Records {
                schema,
                stream,
                fields,
                records,
            } => self.intake.adopt(&schema, &stream, &fields, records),
        };
        let answer = match taken {
            Ok(batch) => {
                let clock = (&mut self.parts.clock, &*self.clock_path);
                Ok(store(batch, clock, &mut self.pending.builder, &self.stats)?)
            }
            Err(reject) => Err(reject.to_string()),
        };
        self.pending.requested += answer.as_ref().copied().unwrap_or_default();
        self.pending.replies.push((request.reply, answer));
        Ok(())
    }

    /// Makes everything pending durable, then answers for it. A buffer that takes nothing stalls the
    /// writer; nothing is lost.
    fn commit(&mut self) {
        let pending = &mut self.pending;
        if pending.is_empty() {
            self.stalled = None;
            return;
        }
        pending.blocks.extend(pending.builder.finish());
        let started = Instant::now();
        if let Err(error) = self.parts.quarantine.add(&pending.rejects) {
            self.stall(&error.to_string());
            return;
        }
        for item in pending.rejects.drain(..) {
            self.stats.count_quarantined(&item);
        }
        if !pending.blocks.is_empty() || !pending.fingerprints.is_empty() {
            match self
                .parts
                .buffer
                .commit(&pending.blocks, &pending.fingerprints)
            {
                Ok(_) => {}
                Err(CommitError::Full(why)) => {
                    self.stall(&why);
                    return;
                }
                Err(CommitError::Failed(why)) => {
                    self.stall(&format!("{why}; going on in a new generation"));
                    return;
                }
            }
        }
        pending.blocks.clear();
        self.intake.remember(&mut pending.fingerprints);
        self.parts.acker.ack(&pending.acks);
        pending.acks.clear();
        for (reply, answer) in pending.replies.drain(..) {
            // Whoever asked may have gone.
            let _gone = reply.send(answer);
        }
        pending.requested = 0;
        self.last_commit = Instant::now();
        self.stats
            .commit_ns
            .store(started.elapsed().as_nanos() as u64, Relaxed);
        if let Some(stall) = self.stalled.take() {
            self.stats.stalled.store(false, Relaxed);
            let seconds = stall.since.elapsed().as_secs();
            tracing::info!(seconds, "the buffer takes records again");
        }
    }

    fn stall(&mut self, why: &str) {
        let now = Instant::now();
        if self.stalled.is_none() {
            tracing::error!(
                why,
                "nothing more is acknowledged until the buffer has room"
            );
            self.stats.stalled.store(true, Relaxed);
        }
        let since = self.stalled.as_ref().map_or(now, |stall| stall.since);
        self.stalled = Some(Stall {
            since,
            retry_at: now + RETRY,
        });
    }
}

/// Gives timestamps and pushes; returns the records stored.
fn store(
    batch: intake::Batch<'_>,
    (clock, clock_path): (&mut Clock, &Path),
    builder: &mut BlockBuilder,
    stats: &WriterStats,
) -> Result<u64, String> {
    let records = batch.records.len();
    let first = keep_time::next(clock, clock_path, records)?;
    let (stored, refused) = batch.push_into(builder, first);
    stats.records_received.fetch_add(records as u64, Relaxed);
    if refused > 0 {
        // Cannot happen while decoder and builder agree on sizes and types; counted all the same.
        stats.records_dropped.fetch_add(refused, Relaxed);
        tracing::error!(records = refused, "records that fit no block were dropped");
    }
    Ok(stored)
}

/// Publishes a broker has under way at once. MQTT 3.1.1 has no way to say it: brokers take 20.
fn in_flight_max(settings: &Settings) -> usize {
    match settings.mqtt.version {
        MqttVersion::V5 => usize::from(settings.mqtt.receive_maximum),
        MqttVersion::V311 => usize::from(settings.mqtt.receive_maximum).min(20),
    }
}

/// Where the clock keeps its record.
pub(crate) fn clock_path(data_dir: &Path) -> PathBuf {
    data_dir.join("state").join("clock")
}

/// Tag names and values of a rule's streams, `device` first.
fn tag_names(rule: &StreamRule) -> Vec<String> {
    let captured = rule.filter.tag_names().iter().cloned();
    ["device".to_owned()]
        .into_iter()
        .chain(captured)
        .chain(rule.tags.keys().cloned())
        .collect()
}
