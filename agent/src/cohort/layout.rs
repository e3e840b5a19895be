//! Laying out the rows that are taken: in chunks, with what counts in them and a hash of their keys.
//!
//! Rows are placed a stretch at a time: as many as follow each other in a block without a gap.

use std::{collections::VecDeque, ops::Range};

use xxhash_rust::xxh3::Xxh3;

use super::{
    CohortQuery, Missing,
    bits::Bits,
    draw::Sampler,
    labels::{self, Labels},
    read::{Chunk, Position, filled},
    select::{self, Passes, RowRun, Span},
};

/// Timestamps hashed at a time.
const HASHED_TIMES: usize = 64;

/// Rows of one stream being laid out.
#[derive(Default)]
pub(super) struct StreamLayout {
    pub(super) spans: Vec<Span>,
    pub(super) chunks: Vec<Chunk>,
    pub(super) open: Option<Chunk>,
    /// The last rows since the last gap, as many as windows look back.
    recent: VecDeque<Recent>,
    recent_rows: usize,
    /// The next row does not follow the one before.
    pub(super) is_broken: bool,
    last_ts: Option<i64>,
    fill: Vec<f32>,
    pub(super) hash: Xxh3,
    pub(super) counted: u64,
    pub(super) first_ts: i64,
    pub(super) last_counted_ts: i64,
}

/// Rows that follow each other in a block.
#[derive(Clone)]
struct Recent {
    start: Position,
    rows: usize,
    /// The values to fill in before the first.
    fill: Option<Box<[f32]>>,
}

impl StreamLayout {
    /// What comes does not follow what was.
    fn part(&mut self) {
        self.chunks.extend(self.open.take());
        self.recent.clear();
        self.recent_rows = 0;
        self.fill.clear();
    }

    /// Counts rows with these timestamps.
    fn count(&mut self, times: &[i64]) {
        let (Some(first), Some(last)) = (times.first(), times.last()) else {
            return;
        };
        if self.counted == 0 {
            (self.first_ts, self.last_counted_ts) = (*first, *last);
        }
        self.counted += times.len() as u64;
        self.first_ts = self.first_ts.min(*first);
        self.last_counted_ts = self.last_counted_ts.max(*last);
        let mut bytes = [0; 8 * HASHED_TIMES];
        for times in times.chunks(HASHED_TIMES) {
            for (bytes, ts) in bytes.as_chunks_mut().0.iter_mut().zip(times) {
                *bytes = ts.to_le_bytes();
            }
            self.hash.update(&bytes[..8 * times.len()]);
        }
    }

    /// Notes rows into which windows look back, `context` at most.
    fn remember(&mut self, rows: Recent, context: usize) {
        self.recent_rows += rows.rows;
        self.recent.push_back(rows);
        while self.recent_rows > context
            && let Some(oldest) = self.recent.front_mut()
        {
            let surplus = (self.recent_rows - context).min(oldest.rows);
            oldest.start.row += surplus as u32;
            oldest.rows -= surplus;
            self.recent_rows -= surplus;
            if oldest.rows == 0 {
                self.recent.pop_front();
            }
        }
    }
}

/// The last pass: chunks, what counts, hashes.
pub(super) struct Layout<'a> {
    pub(super) query: &'a CohortQuery,
    /// Rows that a window looks back over.
    pub(super) context: usize,
    pub(super) sampler: &'a Sampler<'a>,
    pub(super) labels: Option<&'a Labels>,
    pub(super) limits: Option<&'a [u64]>,
    pub(super) width: usize,
    pub(super) lines: Vec<StreamLayout>,
}

impl Layout<'_> {
    fn counts(&self, run: &RowRun<'_>, row: usize) -> bool {
        let drawn = |limits: &[u64]| {
            // The label is the last column read.
            let class = self.labels.zip(run.rows.columns.iter().last());
            let class = class.and_then(|(labels, (_, column))| labels.class(column, row));
            class.is_some_and(|class| self.sampler.balance(run, row) <= limits[class])
        };
        self.sampler.counts(run, row) && self.limits.is_none_or(drawn)
    }

    /// Which of the rows taken count.
    fn counted(&self, run: &RowRun<'_>, taken: &Bits) -> Bits {
        if !self.query.thins() {
            return Bits::All;
        }
        let places = 0..run.end - run.start;
        let flags = places.map(|row| !taken.has(row) || self.counts(run, run.start + row));
        Bits::of(&flags.collect::<Vec<bool>>()).unwrap_or_else(|| Bits::Some(Box::default()))
    }

    /// The next run of a stream, of whose rows `spans` are taken.
    pub(super) fn run(&mut self, run: &RowRun<'_>, spans: &[Span], passes: &Passes<'_>) {
        let Some(span) = select::span_at(spans, run.seq) else {
            self.lines[run.place].is_broken = true;
            return;
        };
        let length = run.end - run.start;
        let counted = self.counted(run, &span.taken);
        let (taken, counted) = if self.context > 0 {
            (Some(span.taken.clone()), counted)
        } else {
            // Without windows, nobody looks at a row that does not count.
            (span.taken.and(&counted, length), Bits::All)
        };
        let Some(taken) = taken else { return };
        self.count(run, &taken, &counted);
        let mut end = 0;
        for stretch in taken.stretches(0..length) {
            self.lines[run.place].is_broken |= stretch.start > end;
            end = stretch.end;
            self.stretch(run, stretch, &counted);
        }
        let line = &mut self.lines[run.place];
        line.is_broken |= end < length;
        let span = Span {
            first: run.seq,
            last: run.seq,
            taken,
            counted,
        };
        select::push(&mut line.spans, span, &passes.lost);
    }

    /// Counts the rows of a run that are taken and count.
    fn count(&mut self, run: &RowRun<'_>, taken: &Bits, counted: &Bits) {
        let times = &run.rows.ts[run.start..run.end];
        let line = &mut self.lines[run.place];
        match taken.and(counted, times.len()) {
            None => {}
            Some(Bits::All) => line.count(times),
            Some(some) => {
                let stretches = some.stretches(0..times.len());
                let counted = stretches.flat_map(|rows| &times[rows]).copied();
                line.count(&counted.collect::<Vec<i64>>());
            }
        }
    }

    /// Appends rows that follow each other in a block, parted by gaps.
    fn stretch(&mut self, run: &RowRun<'_>, mut rows: Range<usize>, counted: &Bits) {
        let times = &run.rows.ts[run.start..run.end];
        let gap_ns_max = self.query.gap_ns();
        // Times of measurement may go back, where a clock did.
        let is_gap = |before: i64, ts: i64| ts <= before || ts.saturating_sub(before) > gap_ns_max;
        while !rows.is_empty() {
            let line = &mut self.lines[run.place];
            let before = line.last_ts;
            if before.is_some_and(|before| is_gap(before, times[rows.start]))
                || (line.is_broken && self.context > 0)
            {
                line.part();
            }
            line.is_broken = false;
            let mut pairs = times[rows.clone()].windows(2);
            let gap = pairs.position(|pair| is_gap(pair[0], pair[1]));
            let end = gap.map_or(rows.end, |at| rows.start + at + 1);
            line.last_ts = Some(times[end - 1]);
            self.place(run, rows.start..end, counted);
            rows.start = end;
        }
    }

    /// Appends rows without a gap to the chunks of their stream.
    fn place(&mut self, run: &RowRun<'_>, mut rows: Range<usize>, counted: &Bits) {
        let line = &mut self.lines[run.place];
        while !rows.is_empty() {
            let start = Position {
                seq: run.seq,
                row: rows.start as u32,
            };
            // What is to be filled in differs from row to row.
            let fills = self.query.missing == Missing::LastValue;
            let fill = fills.then(|| {
                line.fill.resize(self.width, f32::NAN);
                let before: Box<[f32]> = line.fill.as_slice().into();
                let columns = run.rows.columns.iter().take(self.width);
                let row = run.start + rows.start;
                let mut values: Vec<f32> = columns.map(|(_, c)| labels::number(c, row)).collect();
                filled(&mut values, &mut line.fill);
                before
            });
            let is_full =
                |chunk: &mut Chunk| chunk.rows - chunk.lead >= self.query.rows_per_chunk_max;
            if line.open.as_mut().is_none_or(is_full) {
                line.chunks.extend(line.open.take());
            }
            let first = line.recent.front();
            let chunk = line.open.get_or_insert_with(|| Chunk {
                stream: run.place,
                start: first.map_or(start, |first| first.start),
                lead: line.recent_rows,
                rows: line.recent_rows,
                counts: false,
                fill: first.map_or_else(|| fill.clone(), |first| first.fill.clone()),
            });
            let room = self.query.rows_per_chunk_max - (chunk.rows - chunk.lead);
            let added = if fills { 1 } else { room.min(rows.len()) };
            let end = rows.start + added;
            chunk.rows += added;
            chunk.counts |= counted.stretches(rows.start..end).next().is_some();
            rows.start = end;
            let added = Recent {
                start,
                rows: added,
                fill,
            };
            if self.context > 0 {
                line.remember(added, self.context);
            }
        }
    }
}
