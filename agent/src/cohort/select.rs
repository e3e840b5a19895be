//! Which rows a cohort has: for each stream, spans of blocks and the rows taken in them.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use dunlin_sync::{
    buffer::Fields,
    rows::Rows,
    sample::{Schema, Stream, StreamId, TimeRange, Timestamp},
};

use super::{Checked, CohortError, CohortQuery, bits::Bits, store::RowStore};

pub(super) type Described = (Arc<Stream>, Arc<Schema>);

/// Rows of one stream in the blocks `first..=last`; several blocks only if all rows are taken and count.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) first: u64,
    pub(super) last: u64,
    /// By place in the stream's run in the block.
    pub(super) taken: Bits,
    /// Among those taken, the rows in which a window may end.
    pub(super) counted: Bits,
}

impl Span {
    fn is_whole(&self) -> bool {
        self.taken == Bits::All && self.counted == Bits::All
    }
}

/// Appends `span`, which is later than all others, to the last one if nothing gets lost by that.
/// `lost`: blocks that cannot be read, over which no span reaches.
pub(super) fn push(spans: &mut Vec<Span>, span: Span, lost: &BTreeSet<u64>) {
    if let Some(before) = spans.last_mut()
        && before.is_whole()
        && span.is_whole()
        && lost.range(before.last..span.first).next().is_none()
    {
        before.last = span.last;
    } else {
        spans.push(span);
    }
}

/// What the passes over the rows share.
pub(super) struct Passes<'a> {
    pub(super) store: &'a RowStore,
    /// Place of each stream among those of the cohort.
    pub(super) places: HashMap<StreamId, usize>,
    /// Blocks `first..end`.
    pub(super) first: u64,
    pub(super) end: u64,
    /// Blocks that could not be read when the first pass came by.
    pub(super) lost: BTreeSet<u64>,
    /// Hears how many blocks of how many a pass has seen; an error ends it.
    pub(super) tell: &'a dyn Fn(u64, u64) -> Result<(), CohortError>,
}

/// Blocks searched for rows before [`CohortQuery::after`] into which windows look back.
const CONTEXT_BLOCKS_MAX: u64 = 4096;

/// One stream's rows in a block: the section they are in and where.
pub(super) struct RowRun<'b> {
    pub(super) seq: u64,
    /// Place of the stream.
    pub(super) place: usize,
    pub(super) rows: &'b Rows,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Passes<'_> {
    /// Every run of a stream of the cohort, oldest first.
    pub(super) fn oldest_first(
        &self,
        fields: &Fields,
        mut each: impl FnMut(Event<'_>) -> Result<(), CohortError>,
    ) -> Result<(), CohortError> {
        let mut reader = self.store.reader(fields);
        let mut seq = self.first;
        while seq < self.end {
            (self.tell)(seq - self.first, self.end - self.first)?;
            match reader.block(seq).map_err(CohortError::Unreadable)? {
                Some(block) => self.runs(&block, |run| each(Event::Run(run)))?,
                None if self.lost.contains(&seq) => each(Event::Lost)?,
                None => {
                    return Err(CohortError::Unreadable(format!(
                        "block {seq} was trimmed or lost meanwhile; ask again"
                    )));
                }
            }
            seq = self.store.next_stored(seq);
        }
        Ok(())
    }

    fn runs(
        &self,
        block: &dunlin_sync::block::Block,
        mut each: impl FnMut(RowRun<'_>) -> Result<(), CohortError>,
    ) -> Result<(), CohortError> {
        for run in block.runs() {
            if let Some(place) = self.places.get(&run.stream) {
                each(RowRun {
                    seq: block.seq,
                    place: *place,
                    rows: &run.section.rows,
                    start: run.rows.start,
                    end: run.rows.end,
                })?;
            }
        }
        Ok(())
    }

    /// The rows of each stream within `range` for which its condition holds; the last of them, if so
    /// many are enough. Of those that are not later than the query's `after`, only the `context` rows
    /// into which windows look back.
    pub(super) fn take(
        &mut self,
        query: &CohortQuery,
        range: TimeRange,
        context: usize,
        fields: &Fields,
        conditions: &[Option<Checked>],
    ) -> Result<Vec<Vec<Span>>, CohortError> {
        let last = query.last.unwrap_or(u64::MAX);
        let after = query.after.unwrap_or(i64::MIN);
        let mut wants = vec![Wanted { last, context }; conditions.len()];
        let mut newest_first: Vec<Vec<Span>> = vec![Vec::new(); conditions.len()];
        let mut reader = self.store.reader(fields);
        let mut lost = BTreeSet::new();
        let (mut seq, mut oldest, mut blocks_before) = (self.end, self.end, 0);
        while seq > self.first {
            seq = self.store.previous_stored(seq);
            if seq < self.first {
                break;
            }
            (self.tell)(self.end - seq, self.end - self.first)?;
            let Some(outline) = reader.outline(seq).map_err(CohortError::Unreadable)? else {
                if seq < self.store.oldest_seq() {
                    // Trimmed just now, and so is everything before.
                    break;
                }
                lost.insert(seq);
                continue;
            };
            if query.after.is_some() && outline.last_ts <= after {
                let has_rows = newest_first.iter().map(|spans| !spans.is_empty());
                let mut open = wants.iter().zip(has_rows);
                blocks_before += 1;
                if blocks_before > CONTEXT_BLOCKS_MAX
                    || !open.any(|(w, has)| has && w.context > 0 && w.last > 0)
                {
                    break;
                }
            } else if wants.iter().all(|wanted| wanted.last == 0) {
                break;
            }
            oldest = seq;
            let mut take = |place: usize, taken| {
                let counted = Bits::All;
                let span = Span {
                    first: seq,
                    last: seq,
                    taken,
                    counted,
                };
                push_before(&mut newest_first[place], span, &lost);
            };
            let is_inside = range.contains(Timestamp(outline.first_ts))
                && range.contains(Timestamp(outline.last_ts))
                && (query.after.is_none() || outline.first_ts > after);
            let runs = outline.runs.iter().filter(|run| run.rows > 0);
            let ours = runs.filter_map(|run| {
                let place = *self.places.get(&run.stream)?;
                (wants[place].last > 0).then_some((place, u64::from(run.rows)))
            });
            let ours: Vec<(usize, u64)> = ours.collect();
            let is_whole = |(place, rows): &(usize, u64)| {
                conditions[*place].is_none() && wants[*place].last >= *rows
            };
            if is_inside && ours.iter().all(is_whole) {
                // Nothing is to be seen in the rows themselves.
                for (place, rows) in ours {
                    wants[place].last -= rows;
                    take(place, Bits::All);
                }
                continue;
            }
            let Some(block) = reader.block(seq).map_err(CohortError::Unreadable)? else {
                lost.insert(seq);
                continue;
            };
            self.runs(&block, |run| {
                let wanted = &mut wants[run.place];
                let condition = conditions[run.place].as_ref();
                let columns: Vec<_> = run.rows.columns.iter().map(|(_, c)| c).collect();
                let mut flags = vec![false; run.end - run.start];
                for row in (run.start..run.end).rev() {
                    let ts = run.rows.ts[row];
                    flags[row - run.start] = wanted.last > 0
                        && range.contains(Timestamp(ts))
                        && (ts > after || wanted.context > 0)
                        && condition.is_none_or(|c| c.takes(&columns, row))
                        && wanted.take(ts > after);
                }
                if let Some(taken) = Bits::of(&flags) {
                    take(run.place, taken);
                }
                Ok(())
            })?;
        }
        self.first = oldest;
        self.lost = lost;
        for spans in &mut newest_first {
            spans.reverse();
        }
        Ok(newest_first)
    }
}

/// Rows of a stream that are still to be taken.
#[derive(Clone, Copy)]
struct Wanted {
    last: u64,
    /// Before the query's `after`.
    context: usize,
}

impl Wanted {
    /// Takes one; there must be one to take.
    fn take(&mut self, is_after: bool) -> bool {
        if is_after {
            self.last -= 1;
        } else {
            self.context -= 1;
        }
        true
    }
}

/// As [`push`], with a span that is earlier than all others.
fn push_before(spans: &mut Vec<Span>, span: Span, lost: &BTreeSet<u64>) {
    if let Some(after) = spans.last_mut()
        && after.is_whole()
        && span.is_whole()
        && lost.range(span.last..after.first).next().is_none()
    {
        after.first = span.first;
    } else {
        spans.push(span);
    }
}

/// What a pass comes by.
pub(super) enum Event<'b> {
    Run(RowRun<'b>),
    /// A block that cannot be read: nobody knows whose rows were in it.
    Lost,
}

/// The span among `spans` that block `seq` belongs to.
pub(super) fn span_at(spans: &[Span], seq: u64) -> Option<&Span> {
    let span = spans.get(spans.partition_point(|span| span.last < seq))?;
    (span.first <= seq).then_some(span)
}
