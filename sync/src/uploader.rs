//! Buffer to upstream: read, write, advance, let trim.
//!
//! Promises:
//! - a block counts as done only when each of its rows is upstream, or put aside by
//!   [`RejectedRows::reject`], or belongs to a stream that is held ([`Cursor::held`](crate::cursor::Cursor::held));
//! - rows sent again after a lost answer or a restart are the same rows: nothing doubles;
//! - while the gate is closed no block is taken, and every block ever taken lies below
//!   [`UploadStats::taken_below`], even after a crash;
//! - an upstream that is away costs waiting, never memory: at most `in_flight_max` batches exist;
//! - streams that the upstream refuses cost the others no more than every other call.
//!
//! One task decides; jobs (read blocks, write, put rejections aside) run beside it and report back.

#[cfg(all(test, feature = "sqlite"))]
mod end_to_end;

mod batch_rows;
mod broken;
#[cfg(test)]
pub(crate) mod doubles;
mod held;
mod held_log;
mod job;
mod lag;
mod options;
mod plan;
mod ports;
mod position;
mod settle;
mod stats;
mod stretch;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    task::{Id, JoinSet, spawn_blocking},
    time::{Instant, sleep_until},
};

use self::{
    batch_rows::BatchRows,
    broken::Broken,
    held::HeldStreams,
    held_log::HeldLog,
    job::{Delivered, Failure, Scope, Standing, UploadJob},
    position::SavedCursor,
};
pub use self::{
    lag::lag,
    options::{Left, UploadOrder, UploaderOptions},
    ports::{BlockSource, NamedValue, RejectError, RejectedRow, RejectedRows},
    stats::{HeldStream, UploadStats},
};
use crate::{backoff::Backoff, interval_set::IntervalSet, sample::StreamId, upstream::Upstream};

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
    job_of: HashMap<Id, UploadJob>,
    backoff: Backoff,
    /// No new job before this.
    resume_at: Instant,
    last_take: Option<Instant>,
    /// When the upstream last answered a write.
    answered_at: Option<Instant>,
    batch_rows: BatchRows,
    broken: Broken,
    /// Whether the next batch comes from the other end of what there is: one row was not answered, and
    /// whether others are, nobody knows yet.
    from_other_end: bool,
    held: HeldStreams,
    held_log: HeldLog,
    /// Whether the last job was one for held streams.
    was_held: bool,
    /// Streams of which every row was rejected so far, with how many.
    rejected_in_a_row: HashMap<StreamId, u64>,
    /// When there is more to say of held streams.
    log_at: Option<Instant>,
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
            batch_rows: BatchRows::new(options.batch_rows_max),
            broken: Broken::default(),
            held: HeldStreams::new(options.backoff_max),
            held_log: HeldLog::default(),
            was_held: false,
            rejected_in_a_row: HashMap::new(),
            log_at: None,
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
            answered_at: None,
            from_other_end: false,
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
            self.log_held();
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
            let standing = Standing {
                held: self.cursor.held().keys().copied().collect(),
                batch_rows: self.batch_rows.clone(),
                broken: self.broken.places(),
                breaking: self.broken.breaking().clone(),
                rejected_in_a_row: self.rejected_in_a_row.clone(),
            };
            let work = job::run(
                job.clone(),
                standing,
                Arc::clone(&self.source),
                Arc::clone(&self.upstream),
                Arc::clone(&self.rejected),
            );
            let handle = self.jobs.spawn(work);
            self.was_held = job.scope.is_held();
            self.job_of.insert(handle.id(), job);
        }
    }

    /// The next job; those for held streams and the others take turns.
    async fn next_job(&mut self, draining: bool) -> Option<UploadJob> {
        if !self.was_held
            && let Some(job) = self.held_job()
        {
            return Some(job);
        }
        match self.fresh_job(draining).await {
            Some(job) => Some(job),
            None => self.held_job(),
        }
    }

    async fn fresh_job(&self, draining: bool) -> Option<UploadJob> {
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
        let rows_max = self.batch_rows.rows() as u64;
        let planned = spawn_blocking(move || plan::plan(&*source, order, rows_max, wanted)).await;
        // If the buffer panics here it will do so again in the job, which reports it.
        let blocks = planned.unwrap_or(gap.start..gap.start + 1);
        let is_all = blocks == gap && self.claimed.gaps(next).nth(1).is_none();
        let too_soon = self
            .last_take
            .is_some_and(|last| Instant::now() < last + self.options.upload_gap_min);
        if is_all && too_soon && !draining {
            return None;
        }
        Some(UploadJob {
            blocks,
            scope: Scope::AllButHeld,
        })
    }

    /// Held streams whose turn it is, unless some are under way.
    fn held_job(&mut self) -> Option<UploadJob> {
        let mut jobs = self.job_of.values();
        if jobs.any(|job| job.scope.is_held()) {
            return None;
        }
        let end = self.claimed.end();
        self.held.next_job(&self.cursor, end, Instant::now())
    }

    /// Claims the blocks of `job`; false if the gate has been closed.
    async fn take(&mut self, job: &UploadJob) -> bool {
        self.cursor.reserve(job.blocks.end, &self.stats).await;
        // The gate's value is locked while the claim becomes visible: whoever closes it finds below
        // `taken_below` every block that may still be read.
        let open = self.gate.borrow();
        if !*open {
            return false;
        }
        self.stats.take_below(job.blocks.end);
        drop(open);
        if !job.scope.is_held() {
            self.claimed.insert(job.blocks.clone());
            self.last_take = Some(Instant::now());
        }
        true
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
            && (!*self.gate.borrow()
                || (self.claimed.first_missing() >= self.source.next_seq()
                    && !self.held.is_busy(&self.cursor)))
    }

    fn next_wake(&self, deadline: Option<Instant>) -> Instant {
        let now = Instant::now();
        let gap = self
            .last_take
            .map(|last| last + self.options.upload_gap_min);
        let position = self.cursor.position();
        let lagging = position < self.source.next_seq();
        let wakes = [
            gap.filter(|at| *at > now),
            self.held.wake_at(&self.cursor, now),
            self.log_at,
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
        if self.cursor.position() >= next && self.cursor.held().is_empty() {
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

    fn log_held(&mut self) {
        let (streams, rows) = (self.cursor.held().len(), self.cursor.rows_held());
        let reason = self.stats.held_stream().map(|held| held.reason);
        self.log_at = self.held_log.sum_up(streams, rows, reason.as_deref());
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
