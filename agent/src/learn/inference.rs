//! Live inference: every committed record of a watched stream is answered, in order.
//!
//! Promises: predictions are durable before the next records are read; after a restart answering
//! goes on behind the last durable prediction (whose source time is that of the record it answers),
//! so none is skipped and none answered twice. Records are answered in rounds of a bounded number;
//! all answers of a round, whatever their lines, become durable together, and what has been promoted
//! meanwhile serves from the next round on, also amidst a long backlog. What was let go before it was
//! answered is counted.

mod events;
pub(in crate::learn) mod predictor;
mod resume;
mod rollout;
mod rows;
mod snapshot;
mod state;

#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, atomic::Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use dunlin_models::registry::ModelKey;
use dunlin_sync::{block::Block, sample::StreamId};
use tokio::{runtime, time::timeout};

use crate::{
    learn::{
        Shared,
        inference::{
            predictor::{Findings, Line},
            rows::{number_at, parts},
            snapshot::KeptLine,
        },
    },
    record::writer::Refused,
};

/// Longest wait for a commit before the end of the agent is noticed.
const WAIT_MAX: Duration = Duration::from_millis(100);
/// How soon a version that could not serve is tried again without a hint.
const REFRESH_GAP: Duration = Duration::from_secs(1);
/// Answers after which a round ends: a commit's worth. The last block is finished.
const ROUND_ANSWERS: usize = 1_000;
/// Records read, of whatever streams, after which a round ends.
const ROUND_ROWS: u64 = 10_000;
/// Between attempts while the buffer takes nothing.
const RETRY: Duration = Duration::from_millis(250);
/// Training records from which scale and bins are taken.
const SCALE_ROWS_MAX: usize = 5_000;

/// How a round has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    /// There is more to answer.
    More,
    /// Everything committed is answered, or cannot be read now.
    Done,
    /// The agent ends before its answers are durable.
    Ended,
}

/// All lines, and how far the buffer has been read.
pub(super) struct Answering<'a> {
    shared: &'a Shared,
    lines: HashMap<StreamId, Vec<Line>>,
    /// Last source time of each prediction stream when the agent started, until its line goes on.
    resume: HashMap<String, i64>,
    /// What lines had taken along when the agent started, until they go on.
    kept: HashMap<ModelKey, KeptLine>,
    /// How far back predictions were looked for at the start, nanoseconds UTC.
    searched_from: i64,
    /// Versions that could not serve, and have been told of.
    unusable: HashSet<(ModelKey, u64)>,
    next_seq: u64,
    /// Rows committed before that block, of whatever streams.
    next_row: u64,
    /// Lines for all streams that have records before this block were looked for.
    looked_to: u64,
    /// Timestamp of the last record read, nanoseconds UTC.
    read_to: i64,
    registry_seen: Option<u64>,
    catalog_seen: u64,
    next_refresh: Instant,
    /// A version could not serve for a reason that may pass.
    must_retry: bool,
    /// A version was found wanting: another is to serve before more is answered.
    is_unsettled: bool,
    /// Records were taken since the state was stored.
    has_news: bool,
    next_store: Instant,
    is_store_failing: bool,
}

impl<'a> Answering<'a> {
    pub(super) fn new(shared: &'a Shared) -> Self {
        Self {
            shared,
            lines: HashMap::new(),
            resume: HashMap::new(),
            kept: HashMap::new(),
            searched_from: i64::MAX,
            unusable: HashSet::new(),
            next_seq: 0,
            next_row: 0,
            looked_to: 0,
            read_to: i64::MIN,
            registry_seen: None,
            catalog_seen: 0,
            next_refresh: Instant::now(),
            must_retry: false,
            is_unsettled: false,
            has_news: false,
            next_store: Instant::now() + state::GAP,
            is_store_failing: false,
        }
    }

    /// Answers until the agent ends.
    ///
    /// # Errors
    /// If the operating system refuses what waiting needs.
    pub(super) fn run(mut self) -> Result<(), String> {
        let runtime = runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let mut committed = self.shared.buffer.committed();
        self.resume();
        loop {
            // What one more round does not reach is answered at the next start.
            let stopping = self.shared.stop.load(Relaxed);
            self.refresh();
            let ended = self.round();
            if ended != Round::Ended {
                self.store(stopping);
                self.want();
            }
            match ended {
                _ if stopping => return Ok(()),
                Round::Ended => return Ok(()),
                Round::More => {}
                Round::Done => {
                    // The end of the wait matters, not its reason.
                    let _woken =
                        runtime.block_on(async { timeout(WAIT_MAX, committed.changed()).await });
                }
            }
        }
    }

    /// Answers the next records and makes the answers durable.
    fn round(&mut self) -> Round {
        let buffer = Arc::clone(&self.shared.buffer);
        self.next_seq = self.next_seq.max(buffer.oldest_seq());
        self.is_unsettled = false;
        let (mut answers, mut rows, mut is_readable) = (0, 0, true);
        // A stream is declared before its first record is committed: if the catalog is still the one that lines
        // were made from, these records have theirs.
        let mut end = buffer.next_seq();
        if buffer.catalog().changes() != self.catalog_seen {
            end = end.min(self.looked_to);
        }
        while self.next_seq < end {
            if answers >= ROUND_ANSWERS || rows >= ROUND_ROWS || self.is_unsettled {
                break;
            }
            if self.lines.is_empty() {
                self.next_seq = end;
                self.next_row = buffer.rows_before(end);
                let last = buffer.times(end - 1).ok().flatten();
                self.read_to = last.map_or(self.read_to, |(_, last_ts)| last_ts);
                return Round::Done;
            }
            match buffer.read_block(self.next_seq) {
                Ok(Some(block)) => {
                    self.miss(self.next_row, block.first_row);
                    answers += self.answer_block(&block);
                    rows += block.rows();
                    self.next_row = block.first_row + block.rows();
                }
                // Gone or lost; the rows of the next one tell how many that were.
                Ok(None) => {}
                Err(why) => {
                    tracing::warn!(why, "cannot read records to answer; trying again");
                    is_readable = false;
                    break;
                }
            }
            self.next_seq = buffer.next_stored(self.next_seq);
        }
        if !self.keep() {
            return Round::Ended;
        }
        if is_readable && self.next_seq < end {
            Round::More
        } else {
            Round::Done
        }
    }

    /// Says what is still to be read, so that it is not let go while there is room.
    fn want(&self) {
        let reads = !self.lines.is_empty();
        let from = if reads { self.next_seq } else { u64::MAX };
        self.shared.buffer.wanted_from(from);
    }

    /// Counts rows that were let go, or lost, before they were read: those between two numbers.
    fn miss(&self, expected: u64, found: u64) {
        let missed = found.saturating_sub(expected);
        if missed > 0 {
            self.shared.stats.missed.fetch_add(missed, Relaxed);
            tracing::warn!(records = missed, "let go before they were answered");
        }
    }

    /// Answers what is in a block, as far as it is not answered; returns the number of answers.
    fn answer_block(&mut self, block: &Block) -> usize {
        let mut answers = 0;
        let (mut found, mut broken) = (Vec::new(), Vec::new());
        for (stream, section, rows) in parts(block) {
            for line in self.lines.get_mut(&stream).into_iter().flatten() {
                let mut features = vec![0.0; line.fields.len()];
                for row in rows.clone() {
                    let ts = section.rows.ts[row];
                    if ts <= line.seen_to {
                        continue;
                    }
                    for (value, field) in features.iter_mut().zip(&line.fields) {
                        *value = number_at(section, *field, row);
                    }
                    let label = line.label_at(&section.rows.columns, row);
                    let Findings {
                        prediction,
                        alarms,
                        must_roll_back,
                        broke,
                    } = line.answer(ts, &features, label);
                    self.has_news = true;
                    answers += usize::from(prediction.is_some());
                    line.waiting.extend(prediction);
                    if let Some(what) = broke {
                        broken.push((line.key.clone(), line.version(), what));
                    }
                    if !alarms.is_empty() || must_roll_back {
                        let key = line.key.clone();
                        found.push((key, line.version(), alarms, must_roll_back));
                    }
                }
            }
        }
        self.read_to = self.read_to.max(block.last_ts);
        for (key, version, alarms, must_roll_back) in found {
            for alarm in alarms {
                self.tell_drift(&key, version, &alarm);
            }
            if must_roll_back {
                self.roll_back(&key, version);
            }
        }
        for (key, version, what) in broken {
            self.give_up(&key, version, &what);
        }
        answers
    }

    /// Makes the answers of this round durable, all lines' at once; waits as long as it takes. Answers that
    /// would be refused again are dropped, counted, and told of. False if the agent ends before: the next
    /// start answers these records, and those behind them, again.
    fn keep(&mut self) -> bool {
        let shared = self.shared;
        loop {
            let lines = self.lines.values_mut().flatten();
            let mut lines: Vec<&mut Line> = lines.filter(|line| !line.waiting.is_empty()).collect();
            let answers = lines.iter().map(|line| (&line.key, &line.waiting[..]));
            let kept = shared.journal.keep(answers);
            let mut waits = None;
            for (line, kept) in lines.iter_mut().zip(kept) {
                match kept {
                    Ok(()) => shared.told(line),
                    Err(Refused::Now(why)) => waits = Some(why),
                    Err(Refused::ForGood(why)) => shared.drop_answers(line, &why),
                }
            }
            let Some(why) = waits else {
                return true;
            };
            tracing::warn!(why, "predictions wait");
            if shared.stop.load(Relaxed) {
                return false;
            }
            thread::sleep(RETRY);
        }
    }
}
