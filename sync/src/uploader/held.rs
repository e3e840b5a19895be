//! Held streams: when each is tested again, and how many together.
//!
//! Whether a stream is refused is found out beside the others, never in front of them: one call at a
//! time, each followed by one for streams that are not held, if there is anything to send. Where the
//! upstream does not say whom it refuses, streams are tested in groups that double after a success and
//! halve after a refusal, down to one: few refused among many, or many among few, cost a few calls each.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::{
    job::{Delivered, Scope, UploadJob},
    plan::BATCH_BLOCKS_MAX,
};
use crate::{cursor::Cursor, sample::StreamId};

/// Most blocks read for a test: streams that stand further on are tested next.
const TEST_BLOCKS_MAX: u64 = 64;
/// Wait before a stream is tested again after its first refusal; doubles with each that follows.
const WAIT_MIN: Duration = Duration::from_secs(2);
/// Longest such wait: a repair is seen soon after, however long it took.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// Wait between two tests for each stream that is held: thousands are asked about less often.
const WAIT_FOR_EACH: Duration = Duration::from_millis(20);

/// When held streams are sent again. The cursor says who is held.
pub(super) struct HeldStreams {
    /// Longest wait before a stream that is refused is tested again, where few are.
    wait_max: Duration,
    /// When a stream is tested next; at once if not named.
    retry_at: HashMap<StreamId, Instant>,
    /// The wait before that, where few are held.
    waits: HashMap<StreamId, Duration>,
    /// Taken when last tested: they catch up with the rest.
    taken: BTreeSet<StreamId>,
    /// Streams in the next test.
    together: usize,
    /// Whether a test comes before catching up.
    test_next: bool,
}

/// What becomes of a stream after a job for held ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HoldChange {
    /// The upstream takes it again, and it stands where all others do.
    Released,
    Refused,
    /// Neither yet.
    Open,
}

impl HeldStreams {
    /// `wait_max` bounds the wait between attempts of every kind.
    pub(super) fn new(wait_max: Duration) -> Self {
        Self {
            wait_max: wait_max.min(WAIT_MAX),
            retry_at: HashMap::new(),
            waits: HashMap::new(),
            taken: BTreeSet::new(),
            together: usize::MAX,
            test_next: true,
        }
    }

    /// The next job for held streams, up to block `end`; `None` if none is due at `now`.
    pub(super) fn next_job(
        &mut self,
        cursor: &Cursor,
        end: u64,
        now: Instant,
    ) -> Option<UploadJob> {
        let taken = self.catching_up(cursor, end);
        let test = self.test(cursor, end, now);
        let is_test = test.is_some() && (self.test_next || taken.is_none());
        self.test_next = !is_test;
        if is_test { test } else { taken }
    }

    fn catching_up(&self, cursor: &Cursor, end: u64) -> Option<UploadJob> {
        let held = cursor.held();
        let position = |id: &StreamId| Some((*id, held.get(id)?.seq));
        let streams: BTreeMap<StreamId, u64> = self.taken.iter().filter_map(position).collect();
        let start = streams.values().copied().min()?;
        let end = end.max(start + 1).min(start + BATCH_BLOCKS_MAX);
        Some(job(streams, start..end, false))
    }

    fn test(&self, cursor: &Cursor, end: u64, now: Instant) -> Option<UploadJob> {
        let is_due = |id: &StreamId| {
            let at = self.retry_at.get(id);
            !self.taken.contains(id) && at.is_none_or(|at| *at <= now)
        };
        let due = cursor.held().iter().filter(|(id, _)| is_due(id));
        let mut due: Vec<(u64, StreamId)> = due.map(|(id, held)| (held.seq, *id)).collect();
        due.sort_unstable();
        let start = due.first()?.0;
        let end = end.max(start + 1).min(start + TEST_BLOCKS_MAX);
        let near = due.into_iter().take_while(|(seq, _)| *seq < end);
        let streams = near.take(self.together.max(1)).map(|(seq, id)| (id, seq));
        Some(job(streams.collect(), start..end, true))
    }

    /// Streams that the upstream may refuse, one or more of them: which is found out by tests.
    pub(super) fn suspect(&mut self, streams: usize) {
        self.together = (streams / 2).max(1);
    }

    /// `stream` was refused just now, one of `held` streams.
    pub(super) fn refused(&mut self, stream: StreamId, held: usize, now: Instant) {
        let for_all = WAIT_FOR_EACH.saturating_mul(u32::try_from(held).unwrap_or(u32::MAX));
        let before = self.waits.get(&stream);
        let wait = before.map_or(WAIT_MIN, |before| *before * 2);
        let wait = wait.min(self.wait_max);
        self.waits.insert(stream, wait);
        self.retry_at.insert(stream, now + wait.max(for_all));
        self.taken.remove(&stream);
    }

    /// Moves the cursor by what a job for held streams came to; `end` is where all others stand. What
    /// became of each stream of it.
    pub(super) fn settle(
        &mut self,
        (job, delivered): (&UploadJob, &Delivered),
        cursor: &mut Cursor,
        end: u64,
        now: Instant,
    ) -> Vec<(StreamId, HoldChange)> {
        let Scope::Held { streams, is_test } = &job.scope else {
            return Vec::new();
        };
        let is_one_refused = streams.len() == 1 && !delivered.refused.is_empty();
        if !delivered.suspected.is_empty() {
            self.together = (self.together.min(streams.len()) / 2).max(1);
        } else if *is_test && !is_one_refused {
            self.together = self.together.saturating_mul(2);
        }
        let mut changes = Vec::new();
        for (stream, from) in streams.iter() {
            let share = delivered.sent.get(stream);
            let change = if delivered.refused.contains_key(stream) {
                // No row of it lies before this one.
                let first = share.map_or(delivered.read_to, |share| share.seq);
                cursor.advance_held(*stream, &(*from..first), 0);
                self.refused(*stream, cursor.held().len(), now);
                HoldChange::Refused
            } else if delivered.suspected.contains_key(stream) {
                self.taken.remove(stream);
                HoldChange::Open
            } else {
                let rows = share.map_or(0, |share| share.rows);
                cursor.advance_held(*stream, &(*from..delivered.read_to), rows);
                self.retry_at.remove(stream);
                self.waits.remove(stream);
                self.taken.insert(*stream);
                let held = cursor.held().get(stream);
                if held.is_none_or(|held| held.seq >= end) {
                    cursor.release(*stream);
                    self.taken.remove(stream);
                    HoldChange::Released
                } else {
                    HoldChange::Open
                }
            };
            changes.push((*stream, change));
        }
        changes
    }

    /// Whether there is something to do that may come to an end soon.
    pub(super) fn is_busy(&self, cursor: &Cursor) -> bool {
        let mut held = cursor.held().keys();
        held.any(|id| self.taken.contains(id) || !self.retry_at.contains_key(id))
    }

    /// When the next stream is tested, if that is later than `now`.
    pub(super) fn wake_at(&self, cursor: &Cursor, now: Instant) -> Option<Instant> {
        let held = cursor.held().keys();
        let at = held.filter_map(|id| self.retry_at.get(id).copied());
        at.filter(|at| *at > now).min()
    }
}

fn job(streams: BTreeMap<StreamId, u64>, blocks: std::ops::Range<u64>, is_test: bool) -> UploadJob {
    let streams = Arc::new(streams);
    let scope = Scope::Held { streams, is_test };
    UploadJob { blocks, scope }
}
