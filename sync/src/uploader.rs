//! Buffer to upstream: read, write, advance, let trim.
//!
//! Promises:
//! - a block counts as done only when each of its rows is upstream, or put aside by
//!   [`RejectedRows::reject`], or belongs to a stream that is held ([`Cursor::held`](crate::cursor::Cursor::held));
//! - rows sent again after a lost answer or a restart are the same rows: nothing doubles;
//! - while the gate is closed no block is taken, and every block ever taken lies below
//!   [`UploadStats::taken_below`], even after a crash;
//! - an upstream that is away costs waiting, never memory: at most `in_flight_max` batches exist.
//!
//! One task decides; jobs (read blocks, write, put rejections aside) run beside it and report back.

#[cfg(all(test, feature = "sqlite"))]
mod end_to_end;
mod job;
#[cfg(test)]
pub(crate) mod model;
mod options;
mod position;
mod seam;
mod stats;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, ops::Range, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    task::{Id, JoinSet, spawn_blocking},
    time::{Instant, sleep_until},
};

use self::{
    job::{BATCH_BLOCKS_MAX, Delivered, Failure, Job, Scope},
    position::SavedCursor,
};
pub use self::{
    options::{Left, UploadOrder, UploaderOptions},
    seam::{BlockSource, NamedValue, RejectedRow, RejectedRows},
    stats::UploadStats,
};
use crate::{
    backoff::Backoff, cursor::Cursor, interval_set::IntervalSet, sample::StreamId,
    upstream::Upstream,
};

/// How often the lag is looked up.
const LAG_GAP: Duration = Duration::from_secs(1);

/// Uploads committed blocks until told to stop.
pub struct Uploader {
    options: UploaderOptions,
    source: Arc<dyn BlockSource>,
    upstream: Arc<dyn Upstream>,
    rejected: Arc<dyn RejectedRows>,
    /// Whether blocks may be taken.
    gate: watch::Receiver<bool>,
    stats: Arc<UploadStats>,
    cursor: SavedCursor,
    /// Done, or under way.
    claimed: IntervalSet,
    jobs: JoinSet<Result<Delivered, Failure>>,
    /// Each with when it began.
    job_of: HashMap<Id, (Job, Instant)>,
    backoff: Backoff,
    /// No new job before this.
    resume_at: Instant,
    last_take: Option<Instant>,
    /// When the upstream last took anything.
    taken_at: Option<Instant>,
    /// The first of the blocks that it refused as a whole, and when that attempt began.
    refused: Option<(u64, Instant)>,
    /// Whether the next batch comes from the other end of what there is, to learn whether the upstream
    /// refuses some streams or everything: a batch may hold nothing but refused ones.
    from_other_end: bool,
    /// When a held stream is tried next; at once if not named.
    retry_at: HashMap<StreamId, Instant>,
    /// Position told to the source last.
    told: Option<u64>,
    /// When the lag is looked up next, and what it was.
    look_at: Instant,
    left: Left,
}

impl Uploader {
    /// Reads the cursor and gets ready; blocks on the disk for a moment. A missing or damaged cursor
    /// is reported and everything still buffered is sent again, which changes nothing upstream.
    pub fn open(
        options: UploaderOptions,
        source: Arc<dyn BlockSource>,
        upstream: Arc<dyn Upstream>,
        rejected: Arc<dyn RejectedRows>,
        gate: watch::Receiver<bool>,
    ) -> Self {
        let stats = Arc::new(UploadStats::default());
        let path = options.cursor_path.clone();
        let cursor = SavedCursor::open(path, options.save_gap_min, &*source, &stats);
        let backoff = Backoff::new(options.backoff_min, options.backoff_max, options.seed);
        let now = Instant::now();
        let (left, oldest_ts) = lag(&*source, &cursor);
        stats.set_oldest(oldest_ts);
        let mut uploader = Self {
            claimed: cursor.done().clone(),
            options,
            source,
            upstream,
            rejected,
            gate,
            stats,
            cursor,
            jobs: JoinSet::new(),
            job_of: HashMap::new(),
            backoff,
            resume_at: now,
            last_take: None,
            taken_at: None,
            refused: None,
            from_other_end: false,
            retry_at: HashMap::new(),
            told: None,
            look_at: now,
            left,
        };
        uploader.publish();
        uploader
    }

    /// What it is doing, for metrics and for the clock; stays valid while it runs and after.
    pub fn stats(&self) -> Arc<UploadStats> {
        Arc::clone(&self.stats)
    }

    /// Uploads until `stop` names a deadline, then until everything committed is upstream or the
    /// deadline has passed. A dropped sender of `stop` means: stop now.
    pub async fn run(mut self, mut stop: watch::Receiver<Option<Instant>>) -> Left {
        let mut committed = self.source.committed();
        let mut gate = self.gate.clone();
        let mut deadline = *stop.borrow_and_update();
        let mut orphaned = false;
        loop {
            committed.borrow_and_update();
            gate.borrow_and_update();
            self.forget_dropped();
            self.start_jobs(deadline.is_some()).await;
            self.tell_source().await;
            if self
                .cursor
                .save_due_at()
                .is_some_and(|due| due <= Instant::now())
            {
                self.cursor.save(&self.stats).await;
            }
            self.look_up_lag().await;
            self.publish();
            if let Some(deadline) = deadline
                && (deadline <= Instant::now() || self.is_drained())
            {
                break;
            }
            let wake = self.next_wake(deadline);
            tokio::select! {
                Some(ended) = self.jobs.join_next_with_id() => self.settle(ended),
                () = changed(&mut committed) => {}
                () = changed(&mut gate) => {}
                ended = stop.changed(), if !orphaned => {
                    orphaned = ended.is_err();
                    deadline = *stop.borrow_and_update();
                    if orphaned {
                        deadline.get_or_insert_with(Instant::now);
                    }
                }
                () = sleep_until(wake) => {}
            }
        }
        self.jobs.shutdown().await;
        self.tell_source().await;
        self.cursor.save(&self.stats).await;
        self.look_at = Instant::now();
        self.look_up_lag().await;
        self.publish();
        self.left
    }

    /// Blocks that are gone need no upload; the buffer has counted what it dropped.
    fn forget_dropped(&mut self) {
        let oldest = self.source.oldest_seq();
        if self.cursor.position() < oldest {
            self.cursor.change().forget_below(oldest);
            self.claimed.insert(0..oldest);
        }
    }

    async fn start_jobs(&mut self, draining: bool) {
        // After a failure one job goes ahead alone and finds out.
        let in_flight_max = match self.backoff.failures() {
            0 => self.options.in_flight_max.max(1),
            _ => 1,
        };
        while self.jobs.len() < in_flight_max
            && Instant::now() >= self.resume_at
            && *self.gate.borrow()
        {
            let Some(job) = self.next_job(draining).await else {
                return;
            };
            if !self.take(&job).await {
                return;
            }
            let work = job::run(
                job.clone(),
                self.cursor.held().keys().copied().collect(),
                self.options.batch_rows_max,
                self.others_are_taken(),
                Arc::clone(&self.source),
                Arc::clone(&self.upstream),
                Arc::clone(&self.rejected),
            );
            let handle = self.jobs.spawn(work);
            self.job_of.insert(handle.id(), (job, Instant::now()));
        }
    }

    /// Whether the upstream took something since it began to refuse a batch that is still not done.
    fn others_are_taken(&self) -> bool {
        self.refused.is_some_and(|(seq, since)| {
            !self.cursor.done().contains(seq) && self.taken_at.is_some_and(|at| at >= since)
        })
    }

    async fn next_job(&self, draining: bool) -> Option<Job> {
        if let Some(job) = self.held_job() {
            return Some(job);
        }
        let next = self.source.next_seq();
        let order = match (self.options.order, self.from_other_end) {
            (order, false) => order,
            (UploadOrder::OldestFirst, true) => UploadOrder::LiveFirst,
            (UploadOrder::LiveFirst, true) => UploadOrder::OldestFirst,
        };
        let gap = match order {
            UploadOrder::OldestFirst => self.claimed.first_gap(next),
            UploadOrder::LiveFirst => self.claimed.last_gap(next),
        }?;
        let (source, wanted) = (Arc::clone(&self.source), gap.clone());
        let rows_max = self.options.batch_rows_max as u64;
        let planned = spawn_blocking(move || job::plan(&*source, order, rows_max, wanted)).await;
        // If the buffer panics here it will do so again in the job, which reports it.
        let blocks = planned.unwrap_or(gap.start..gap.start + 1);
        let is_all = blocks == gap && self.claimed.gaps(next).nth(1).is_none();
        let too_soon = self
            .last_take
            .is_some_and(|last| Instant::now() < last + self.options.upload_gap_min);
        if is_all && too_soon && !draining {
            return None;
        }
        Some(Job {
            blocks,
            scope: Scope::AllButHeld,
        })
    }

    /// The held stream whose turn it is, unless one is being tried.
    fn held_job(&self) -> Option<Job> {
        let mut jobs = self.job_of.values();
        if jobs.any(|(job, _)| matches!(job.scope, Scope::Only(_))) {
            return None;
        }
        let now = Instant::now();
        let held = self.cursor.held().iter();
        let (_, &stream, &seq) = held
            .map(|(stream, seq)| (self.retry_at.get(stream).copied(), stream, seq))
            .filter(|(at, _, _)| at.is_none_or(|at| at <= now))
            .min()?;
        let end = self.claimed.end().max(seq + 1);
        Some(Job {
            blocks: seq..end.min(seq + BATCH_BLOCKS_MAX),
            scope: Scope::Only(stream),
        })
    }

    /// Claims the blocks of `job`; false if the gate has been closed.
    async fn take(&mut self, job: &Job) -> bool {
        self.cursor.reserve(job.blocks.end, &self.stats).await;
        // The gate's value is locked while the claim becomes visible: whoever closes it finds below
        // `taken_below` every block that may still be read.
        let open = self.gate.borrow();
        if !*open {
            return false;
        }
        self.stats.take_below(job.blocks.end);
        drop(open);
        if job.scope == Scope::AllButHeld {
            self.claimed.insert(job.blocks.clone());
            self.last_take = Some(Instant::now());
        }
        true
    }

    fn settle(&mut self, ended: Result<(Id, Result<Delivered, Failure>), tokio::task::JoinError>) {
        let (id, result) = match ended {
            Ok(ended) => ended,
            Err(error) => (
                error.id(),
                Err(Failure::Failed(format!("a worker failed: {error}"))),
            ),
        };
        let Some((job, begun)) = self.job_of.remove(&id) else {
            return;
        };
        match result {
            Ok(delivered) => self.delivered(&job, delivered),
            Err(failure) => {
                if let Failure::RefusedAll(_) = failure {
                    let known = self
                        .refused
                        .filter(|(seq, _)| !self.cursor.done().contains(*seq));
                    self.refused = known.or(Some((job.blocks.start, begun)));
                    self.from_other_end = !self.from_other_end;
                }
                self.failed(&job, failure.text());
            }
        }
    }

    fn delivered(&mut self, job: &Job, delivered: Delivered) {
        if delivered.taken {
            self.backoff.reset();
            self.taken_at = Some(Instant::now());
        }
        self.stats.count_delivered(&delivered);
        let rows = delivered.rows_written + delivered.rows_rejected;
        let end = delivered.read_to;
        match job.scope {
            Scope::AllButHeld => {
                self.from_other_end = false;
                self.cursor.change().advance(job.blocks.clone(), rows);
                for (stream, seq) in delivered.skipped {
                    self.cursor.change().hold(stream, seq);
                }
                for (stream, reason) in delivered.refused {
                    self.hold(stream, job.blocks.start, &reason);
                }
            }
            Scope::Only(stream) => match delivered.refused.into_iter().next() {
                Some((_, reason)) => self.hold(stream, job.blocks.start, &reason),
                None => self.caught_up(stream, &(job.blocks.start..end), rows),
            },
        }
    }

    fn hold(&mut self, stream: StreamId, seq: u64, reason: &str) {
        let name = self.stream_name(stream);
        tracing::warn!(
            stream = name,
            reason,
            "held: the upstream refuses this stream; repair it there"
        );
        self.stats
            .set_error(format!("stream {name} is held: {reason}"));
        self.cursor.change().hold(stream, seq);
        let retry_at = Instant::now() + self.options.backoff_max;
        self.retry_at.insert(stream, retry_at);
    }

    /// A held stream got rid of the rows in `blocks`; if none are left behind, it joins the rest.
    fn caught_up(&mut self, stream: StreamId, blocks: &Range<u64>, rows: u64) {
        self.cursor.change().advance_held(stream, blocks, rows);
        let seq = self.cursor.held().get(&stream).copied();
        if seq.is_some_and(|seq| seq >= self.claimed.end()) {
            self.cursor.change().release(stream);
            self.retry_at.remove(&stream);
            tracing::info!(
                stream = self.stream_name(stream),
                "the upstream takes this stream again"
            );
        }
    }

    fn failed(&mut self, job: &Job, error: &str) {
        if job.scope == Scope::AllButHeld {
            self.claimed.remove(job.blocks.clone());
        }
        let said = self.stats.last_error().is_some_and(|last| last == error)
            && !self
                .stats
                .connected
                .load(std::sync::atomic::Ordering::Relaxed);
        self.stats.count_failure(error.to_owned());
        // Several batches that fail together are one failure.
        if Instant::now() >= self.resume_at {
            let wait = self.backoff.after_failure();
            self.resume_at = Instant::now() + wait;
            if said {
                tracing::debug!(error, ?wait, "upload failed again");
            } else {
                tracing::warn!(error, "upload failed; trying again until it works");
            }
        }
    }

    fn stream_name(&self, stream: StreamId) -> String {
        let catalog = self.source.catalog();
        catalog
            .stream(stream)
            .map_or_else(|| stream.to_string(), |stream| stream.name.clone())
    }

    /// Nothing can be done any more, or nothing may be done.
    fn is_drained(&self) -> bool {
        self.jobs.is_empty()
            && (!*self.gate.borrow() || self.claimed.first_missing() >= self.source.next_seq())
    }

    fn next_wake(&self, deadline: Option<Instant>) -> Instant {
        let now = Instant::now();
        let gap = self
            .last_take
            .map(|last| last + self.options.upload_gap_min);
        let held = self.cursor.held().keys();
        let held = held.filter_map(|stream| self.retry_at.get(stream).copied());
        let position = self.cursor.position();
        let lagging = position < self.source.next_seq();
        let wakes = [
            gap.filter(|at| *at > now),
            held.filter(|at| *at > now).min(),
            Some(self.resume_at).filter(|at| *at > now),
            self.cursor.save_due_at(),
            lagging.then_some(self.look_at),
            deadline,
        ];
        let far = now + Duration::from_mins(1);
        wakes.into_iter().flatten().min().unwrap_or(far).min(far)
    }

    async fn tell_source(&mut self) {
        let position = self.cursor.position();
        if self.told != Some(position) {
            self.told = Some(position);
            let source = Arc::clone(&self.source);
            let told = spawn_blocking(move || source.uploaded_to(position)).await;
            if let Err(error) = told {
                tracing::error!(%error, "trimming failed");
            }
        }
    }

    /// What is left and how old it is; reads a few blocks, once a second at most.
    async fn look_up_lag(&mut self) {
        let next = self.source.next_seq();
        if self.cursor.position() >= next {
            self.left = Left::default();
            self.stats.set_oldest(None);
        } else if Instant::now() >= self.look_at {
            self.look_at = Instant::now() + LAG_GAP;
            let (source, cursor) = (Arc::clone(&self.source), self.cursor.clone());
            let looked = spawn_blocking(move || lag(&*source, &cursor)).await;
            if let Ok((left, oldest_ts)) = looked {
                self.left = left;
                self.stats.set_oldest(oldest_ts);
            }
        }
    }

    fn publish(&mut self) {
        self.stats
            .set_state(self.left, self.jobs.len(), &self.cursor);
    }
}

/// Waits for the next change; for ever if the sender is gone.
async fn changed<T>(receiver: &mut watch::Receiver<T>) {
    if receiver.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// What is not upstream, and the timestamp of the oldest row of it. Reads the disk.
fn lag(source: &dyn BlockSource, cursor: &Cursor) -> (Left, Option<i64>) {
    let mut left = Left {
        streams_held: cursor.held().len(),
        ..Left::default()
    };
    for gap in cursor.done().gaps(source.next_seq()) {
        left.blocks += gap.end - gap.start;
        let rows = source.rows_before(gap.end);
        left.rows += rows.saturating_sub(source.rows_before(gap.start));
    }
    let oldest = source.read_block(cursor.position());
    (left, oldest.ok().flatten().map(|block| block.first_ts))
}
