//! Laying out the rows that are taken: in chunks, with what counts in them and a hash of their keys.

use std::collections::VecDeque;

use xxhash_rust::xxh3::Xxh3;

use super::{
    CohortQuery, Missing,
    bits::Bits,
    draw::Lots,
    labels::{self, Labels},
    read::{Chunk, Position, filled},
    select::{self, Passes, Run, Span},
};

/// Rows of one stream being laid out.
#[derive(Default)]
pub(super) struct Line {
    pub(super) spans: Vec<Span>,
    pub(super) chunks: Vec<Chunk>,
    pub(super) open: Option<Chunk>,
    /// The last rows since the last gap, as many as windows look back, and the values to fill in before
    /// each.
    recent: VecDeque<(Position, Option<Box<[f32]>>)>,
    /// The next row does not follow the one before.
    pub(super) is_broken: bool,
    last_ts: Option<i64>,
    fill: Vec<f32>,
    pub(super) hash: Xxh3,
    pub(super) counted: u64,
    pub(super) first_ts: i64,
    pub(super) last_counted_ts: i64,
}

/// The last pass: chunks, what counts, hashes.
pub(super) struct Layout<'a> {
    pub(super) query: &'a CohortQuery,
    /// Rows that a window looks back over.
    pub(super) context: usize,
    pub(super) lots: &'a Lots<'a>,
    pub(super) labels: Option<&'a Labels>,
    pub(super) limits: Option<&'a [u64]>,
    pub(super) width: usize,
    pub(super) lines: Vec<Line>,
}

impl Layout<'_> {
    fn counts(&self, run: &Run<'_>, row: usize) -> bool {
        let drawn = |limits: &[u64]| {
            // The label is the last column read.
            let class = self.labels.zip(run.rows.columns.last());
            let class = class.and_then(|(labels, column)| labels.class(column, row));
            class.is_some_and(|class| self.lots.balance(run, row) <= limits[class])
        };
        self.lots.counts(run, row) && self.limits.is_none_or(drawn)
    }

    /// The next run of a stream, of whose rows `spans` are taken.
    pub(super) fn run(&mut self, run: &Run<'_>, spans: &[Span], passes: &Passes<'_>) {
        let thins = self.query.thins();
        let Some(span) = select::span_at(spans, run.seq) else {
            self.lines[run.place].is_broken = true;
            return;
        };
        let length = run.end - run.start;
        let (mut taken, mut counted) = (vec![false; length], vec![true; length]);
        for place in 0..length {
            let row = run.start + place;
            if !span.taken.has(place) {
                self.lines[run.place].is_broken = true;
                continue;
            }
            let counts = !thins || self.counts(run, row);
            // Without windows, nobody looks at a row that does not count.
            taken[place] = counts || self.context > 0;
            counted[place] = counts;
            if taken[place] {
                self.place(run, place, counts);
            }
        }
        let line = &mut self.lines[run.place];
        if let Some(taken) = Bits::of(&taken) {
            let counted = if self.context == 0 {
                Some(Bits::All)
            } else {
                Bits::of(&counted)
            };
            let span = Span {
                first: run.seq,
                last: run.seq,
                taken,
                counted: counted.unwrap_or_else(|| Bits::Some(Box::default())),
            };
            select::push(&mut line.spans, span, &passes.lost);
        }
    }

    /// Appends a row to its stream's chunks.
    fn place(&mut self, run: &Run<'_>, place: usize, counts: bool) {
        let row = run.start + place;
        let ts = run.rows.ts[row];
        let line = &mut self.lines[run.place];
        let gap = self.query.gap_ns_max.zip(line.last_ts);
        let is_gap = gap.is_some_and(|(gap, last)| ts.saturating_sub(last) > gap);
        if is_gap || (line.is_broken && self.context > 0) {
            line.chunks.extend(line.open.take());
            line.recent.clear();
            line.fill.clear();
        }
        line.is_broken = false;
        line.last_ts = Some(ts);
        if counts {
            if line.counted == 0 {
                line.first_ts = ts;
            }
            line.counted += 1;
            line.last_counted_ts = ts;
            line.hash.update(&ts.to_le_bytes());
        }
        let position = Position {
            seq: run.seq,
            row: place as u32,
        };
        let fill = (self.query.missing == Missing::LastValue).then(|| {
            line.fill.resize(self.width, f32::NAN);
            let before: Box<[f32]> = line.fill.as_slice().into();
            let columns = run.rows.columns.iter().take(self.width);
            let mut values: Vec<f32> = columns.map(|c| labels::number(c, row)).collect();
            filled(&mut values, &mut line.fill);
            before
        });
        match &mut line.open {
            Some(chunk) if chunk.rows - chunk.lead < self.query.rows_per_chunk_max => {
                chunk.rows += 1;
                chunk.counts |= counts;
            }
            full => {
                line.chunks.extend(full.take());
                let (start, fill) = line
                    .recent
                    .front()
                    .cloned()
                    .unwrap_or((position, fill.clone()));
                *full = Some(Chunk {
                    stream: run.place,
                    start,
                    lead: line.recent.len(),
                    rows: line.recent.len() + 1,
                    counts,
                    fill,
                });
            }
        }
        if self.context > 0 {
            if line.recent.len() == self.context {
                line.recent.pop_front();
            }
            line.recent.push_back((position, fill));
        }
    }
}
