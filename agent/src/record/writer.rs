//! One thread from arrival to PUBACK: decode, timestamp, split, block, commit, acknowledge.
//!
//! Promises: a publish is acknowledged only when its records (or its place in quarantine) survive a
//! power cut; PUBACKs go out in order of arrival; a publish the broker sends again is not stored
//! again; a publish that cannot be decoded stops nothing and is acknowledged from quarantine.
//! While the buffer is full nothing is taken and nothing is acknowledged; the broker keeps the rest.
//!
//! One thread, because every step needs the one before it, and a commit takes everything that
//! arrived while the commit before it waited for the disk.

mod batch;
mod clock_duty;
mod commit;
mod imports;
mod inside;
mod intake;
mod items;
mod partly;
mod rebirths;
mod redelivery;
mod request;
mod retained;
mod room;
mod settling;
mod stats;
#[cfg(test)]
mod tests;
mod window;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering::Relaxed, mpsc},
    time::{Duration, Instant},
};

use dunlin_sync::{
    block::builder::BlockBuilder,
    buffer::Buffer,
    quarantine::{Notices, Quarantine},
    uploader::UploadStats,
};
use tokio::sync::watch;

use self::{
    batch::{DecodedBatch, Decoding},
    clock_duty::NoTime,
    commit::{Pending, Stall},
    imports::Imports,
    intake::Intake,
    partly::PartlyKept,
    rebirths::Rebirths,
    redelivery::{End, FOLLOWING_MAX, Following, Redelivery, Verdict},
    retained::Retained,
    window::Window,
};
pub(crate) use self::{
    clock_duty::load as load_clock, redelivery::fingerprints_max,
    room::percent_used as streams_percent_used,
};
pub use self::{
    imports::{Imported, ImportedRows},
    request::{
        Answer, FromFile, OWN_TABLE_PREFIX, Refused, Request, RequestContent, Requests, WriterEnded,
    },
    stats::WriterStats,
};
use crate::{
    config::settings::{MqttVersion, RetainedPolicy, Settings},
    ingest::{Acker, Inbox, Incoming, Received},
    mqtt::outgoing::Publisher,
    record::clock::Clock,
};

/// How often the clock is judged.
const TICK: Duration = Duration::from_secs(1);
/// How often what nobody needs any more is looked for.
const IDLE_TICK: Duration = Duration::from_secs(10);
/// Wait between attempts while the buffer takes nothing.
const RETRY: Duration = Duration::from_millis(250);
/// What a broker sends again it sends together: nothing more for this long, and there is nothing more.
const SETTLED_AFTER: Duration = Duration::from_millis(250);
/// Batches of requests from inside that may wait; each holds a bounded number of records.
const REQUESTS_MAX: usize = 4;
/// Records from inside that are worth a commit of their own, like a full block: an import need not
/// wait for the smallest gap between commits.
const REQUESTED_RECORDS_MIN: u64 = 1_000;

/// Everything the writer works with.
pub struct WriterParts {
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
    /// How edge nodes of Sparkplug B are told that they should announce themselves again.
    pub publisher: Publisher,
    /// The wall clock, for quarantine items.
    pub wall_ns: fn() -> i64,
}

/// The writer; [`Writer::run`] is its thread.
pub struct Writer {
    parts: WriterParts,
    intake: Intake,
    retained: Retained,
    imports: Imports,
    redelivery: Redelivery,
    requests: mpsc::Receiver<Vec<Request>>,
    stats: Arc<WriterStats>,
    clock_path: PathBuf,
    gap: Duration,
    acks_max: usize,
    window: Window,
    /// Taken from the inbox, for the next commits.
    arrived: Vec<Incoming>,
    /// Since when the first of these waits for the one after it.
    undecided: Option<Instant>,
    partly: PartlyKept,
    rebirths: Rebirths,
    pending: Pending,
    /// What is said of what goes into quarantine.
    notices: Notices,
    stalled: Option<Stall>,
    last_commit: Instant,
    next_tick: Instant,
    streams_idle_ns_max: i64,
    next_idle_tick: Instant,
}

impl Writer {
    /// Gets ready; nothing happens before [`Writer::run`].
    pub fn new(parts: WriterParts, settings: &Settings) -> (Self, Requests) {
        let (queue, requests) = mpsc::sync_channel(REQUESTS_MAX);
        let waker = parts.inbox.waker();
        let stats = Arc::new(WriterStats::default());
        let seen = parts.buffer.fingerprints();
        let redelivery = Redelivery::new(seen, fingerprints_max(settings));
        let intake = Intake::new(settings, Arc::clone(&parts.buffer), parts.wall_ns);
        let now = Instant::now();
        let gap = commit_gap(settings);
        let writer = Self {
            intake,
            retained: Retained::read(retained::path(&settings.data_dir)),
            imports: Imports::open(
                imports::path(&settings.data_dir),
                parts.buffer.shape().newest_ts,
            ),
            redelivery,
            requests,
            stats,
            clock_path: clock_path(&settings.data_dir),
            gap,
            acks_max: (in_flight_max(settings) / 2).max(1),
            window: Window::new(gap, now),
            arrived: Vec::new(),
            undecided: None,
            partly: PartlyKept::new(),
            rebirths: Rebirths::new(&parts.publisher),
            pending: Pending::new(),
            notices: Notices::default(),
            stalled: None,
            last_commit: now,
            next_tick: now,
            streams_idle_ns_max: streams_idle_ns_max(settings),
            next_idle_tick: now + IDLE_TICK,
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
    /// A text for people when the agent cannot go on: no timestamps are left, or nothing could be
    /// made durable until `stop_waiting` said to give up.
    pub fn run(mut self, stop_waiting: &watch::Receiver<bool>) -> Result<(), String> {
        while self.turn(stop_waiting)? {}
        self.close();
        Ok(())
    }

    /// Waits for something to do and does it; whether more may come.
    fn turn(&mut self, stop_waiting: &watch::Receiver<bool>) -> Result<bool, String> {
        let now = Instant::now();
        if now >= self.next_tick {
            self.tick();
            self.notices.sum_up(now);
            self.next_tick = now + TICK;
        }
        if now >= self.next_idle_tick && self.pending.is_empty() {
            self.next_idle_tick = now + IDLE_TICK;
            let now_ts = self.parts.clock.now();
            let before_ts = now_ts.saturating_sub(self.streams_idle_ns_max);
            self.intake.tidy(now_ts, before_ts);
        }
        if let Some(stall) = &self.stalled {
            if *stop_waiting.borrow() {
                let why = self.stats.stalled_because().unwrap_or_default();
                return Err(format!(
                    "stopped while nothing could be stored ({why}); the broker keeps what was not \
                     acknowledged"
                ));
            }
            // Nothing else to wait for: only time brings space back.
            std::thread::sleep(stall.retry_at.saturating_duration_since(now));
            if !self.retry() {
                return Ok(true);
            }
        }
        // No more than a commit's worth at once; the rest waits until that is durable.
        while !self.commit_is_due()
            && let Ok(together) = self.requests.try_recv()
        {
            for request in together {
                self.take_request(request)?;
            }
        }
        let mut closed = false;
        if self.arrived.is_empty() || self.undecided.is_some() {
            let mut deadline = if self.commit_is_due() {
                now
            } else if self.pending.is_empty() {
                self.next_tick
            } else {
                self.next_tick.min(self.last_commit + self.gap)
            };
            if let Some(since) = self.undecided {
                deadline = deadline.min(since + SETTLED_AFTER);
            }
            let received = self.parts.inbox.recv(&mut self.arrived, Some(deadline));
            closed = received == Received::Closed;
        }
        self.take_arrived(closed)?;
        if self.stalled.is_none() && (closed || self.commit_is_due()) {
            let committed = self.commit();
            return Ok(!(closed && committed));
        }
        Ok(true)
    }

    fn commit_is_due(&self) -> bool {
        let pending = &self.pending;
        !pending.is_empty()
            && (pending.builder.has_full_block()
                || pending.is_heavy()
                || pending.acks.len() >= self.acks_max
                || self.window.is_full()
                || pending.requested >= REQUESTED_RECORDS_MIN
                || self.last_commit.elapsed() >= self.gap)
    }

    /// Takes what has arrived, in order, as far as one commit should reach; nothing follows if `closed`.
    fn take_arrived(&mut self, closed: bool) -> Result<(), String> {
        let mut arrived = std::mem::take(&mut self.arrived);
        let mut taken = 0;
        let now = Instant::now();
        let settled = |since: Instant| now.saturating_duration_since(since) >= SETTLED_AFTER;
        let no_more = closed || self.undecided.is_some_and(settled);
        while taken < arrived.len() && !self.pending.is_heavy() {
            let publish = &arrived[taken];
            let following = || following(publish, &arrived[taken + 1..], no_more);
            match self.take(publish, following, now) {
                Ok(true) => {
                    taken += 1;
                    self.undecided = None;
                    if !publish.qos0 {
                        self.window.arrived(publish.connection, now);
                    }
                }
                Ok(false) => {
                    self.undecided.get_or_insert(now);
                    break;
                }
                Err(NoTime::Transient(why)) => {
                    self.stall(&why, true);
                    break;
                }
                Err(NoTime::Permanent(why)) => return Err(why),
            }
        }
        arrived.drain(..taken);
        self.arrived = arrived;
        Ok(())
    }

    /// All of a publish becomes pending, or after an error nothing of it; nor if it is too early to say
    /// whether it is stored already (`false`).
    fn take(
        &mut self,
        publish: &Incoming,
        following: impl FnOnce() -> Following,
        now: Instant,
    ) -> Result<bool, NoTime> {
        let print = redelivery::fingerprint(publish);
        let verdict = if publish.qos0 {
            Verdict::New
        } else {
            let (redelivery, pending) = (&mut self.redelivery, &self.pending.fingerprints);
            redelivery.judge(publish, print, following, pending, now)
        };
        if verdict == Verdict::Wait {
            return Ok(false);
        }
        if verdict != Verdict::Again && publish.retain && self.is_known_retained(publish) {
            self.stats.publishes.fetch_add(1, Relaxed);
            self.stats.retained_known.fetch_add(1, Relaxed);
            self.pending.acks.extend(publish.ack());
            return Ok(true);
        }
        let pending = &mut self.pending;
        let now_ns = self.parts.clock.synchronised_ns();
        let decoded = (verdict != Verdict::Again).then(|| {
            let whole = (!publish.too_large()).then_some(&publish.payload[..]);
            let payload = (whole, publish.payload_bytes);
            let intake = &mut self.intake;
            intake.decode(&publish.topic, payload, (None, true), now_ns)
        });
        let is_timed = matches!(&decoded, Some(Ok(Decoding::Records(batch))) if batch.is_timed());
        let is_stored = verdict.is_stored(is_timed);
        let is_nothing = matches!(&decoded, Some(Ok(Decoding::Nothing { .. })));
        match decoded {
            Some(Ok(Decoding::Records(mut batch))) if !is_stored => {
                let misfits = std::mem::take(&mut batch.misfits);
                let clock = (&mut self.parts.clock, &*self.clock_path);
                store(batch, clock, &mut pending.builder, &self.stats)
                    .inspect_err(|_| self.redelivery.keep(publish, print, verdict))?;
                self.stats.count_misfits(&misfits);
                if !misfits.missing.is_empty() && self.partly.may_be_kept(now) {
                    let (topic, payload) = (&publish.topic, &publish.payload);
                    let at_ns = (self.parts.wall_ns)();
                    pending.reject(items::partly_stored(misfits, topic, payload, at_ns));
                }
            }
            Some(Ok(Decoding::Nothing { records_excluded })) => {
                self.stats.excluded.fetch_add(1, Relaxed);
                self.stats.count_excluded(records_excluded);
            }
            Some(Err(reject)) => {
                let payload = (&publish.payload[..], publish.payload_bytes);
                let at_ns = (self.parts.wall_ns)();
                pending.reject(items::refused(&reject, &publish.topic, payload, at_ns));
            }
            _ => {}
        }
        let stats = &self.stats;
        if let Some(heard) = self.intake.take_heard() {
            let now_ms = u64::try_from(self.parts.clock.now() / 1_000_000).unwrap_or_default();
            let is_asked = self.rebirths.hear(heard, now, now_ms);
            stats.rebirths_asked.fetch_add(u64::from(is_asked), Relaxed);
        }
        stats.publishes.fetch_add(1, Relaxed);
        stats.duplicates.fetch_add(u64::from(is_stored), Relaxed);
        let is_possible = !is_stored && !is_nothing && verdict.is_doubtful();
        let possible = &stats.possible_duplicates;
        if possible.fetch_add(u64::from(is_possible), Relaxed) == 0 && is_possible {
            tracing::warn!(
                "the broker may be sending again what is stored, and nothing tells: stored perhaps twice, and \
                 counted (`dunlin status`); records with a time of their own (`time`) are recognised"
            );
        }
        if !is_stored && !is_nothing {
            self.retained.stored(publish);
        }
        if let Some(ack) = publish.ack() {
            pending.acks.push(ack);
            if is_possible {
                pending.fingerprints.push(redelivery::without_place(print));
            } else if !is_stored {
                pending.fingerprints.push(print);
            }
        }
        Ok(true)
    }

    /// Whether this retained publish is no news.
    fn is_known_retained(&self, publish: &Incoming) -> bool {
        match self.intake.retained_policy(&publish.topic) {
            RetainedPolicy::Once => self.retained.knows(publish),
            RetainedPolicy::Ignore => true,
            RetainedPolicy::Always => false,
        }
    }
}

/// What of `arrived` comes behind a publish; nothing is expected after it if there is `no_more`.
fn following(publish: &Incoming, arrived: &[Incoming], no_more: bool) -> Following {
    let is_marked = |next: &&Incoming| next.dup && next.connection == publish.connection;
    let marked = arrived.iter().take(FOLLOWING_MAX).take_while(is_marked);
    let marked: Vec<u64> = marked.map(redelivery::fingerprint).collect();
    let end = if marked.len() < arrived.len() {
        End::Other
    } else if no_more {
        End::Nothing
    } else {
        End::Open
    };
    Following { marked, end }
}

/// Gives timestamps and pushes; returns the records stored, and the last timestamp.
fn store(
    batch: DecodedBatch<'_>,
    (clock, clock_path): (&mut Clock, &Path),
    builder: &mut BlockBuilder,
    stats: &WriterStats,
) -> Result<(u64, i64), NoTime> {
    let records = batch.len();
    if records == 0 {
        stats.count_excluded(batch.records_excluded);
        return Ok((0, i64::MIN));
    }
    let first = clock_duty::next(clock, clock_path, records, stats)?;
    stats
        .times_implausible
        .fetch_add(batch.times_implausible, Relaxed);
    stats.count_excluded(batch.records_excluded);
    batch.push_into(builder, first);
    stats.records_received.fetch_add(records as u64, Relaxed);
    Ok((records as u64, first.shifted(records as i64 - 1).0))
}

fn commit_gap(settings: &Settings) -> Duration {
    Duration::from_millis(settings.buffer.commit_gap_ms_min)
}

/// Publishes a broker has under way at once. MQTT 3.1.1 has no way to say it: brokers take 20.
fn in_flight_max(settings: &Settings) -> usize {
    match settings.mqtt.version {
        None | Some(MqttVersion::V5) => usize::from(settings.mqtt.receive_maximum),
        Some(MqttVersion::V311) => usize::from(settings.mqtt.receive_maximum).min(20),
    }
}

/// How long a stream may be idle before it is forgotten, nanoseconds.
fn streams_idle_ns_max(settings: &Settings) -> i64 {
    let seconds = i64::try_from(settings.buffer.streams_idle_s_max).unwrap_or(i64::MAX);
    seconds.saturating_mul(1_000_000_000)
}

/// Where the clock keeps its record.
pub(crate) fn clock_path(data_dir: &Path) -> PathBuf {
    data_dir.join("state").join("clock")
}
