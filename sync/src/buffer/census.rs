//! Whose rows a generation holds, and what that makes of each stream: counted when they are committed, so
//! that nobody need read the buffer to know.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use super::{Buffer, Extent, Inner, parts};
use crate::{
    block::{Run, codec},
    buffer::Query,
    generation::{Generation, GenerationError},
    sample::{Stream, StreamId, TimeRange, Timestamp},
};

/// Rows of each stream in one generation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Census(BTreeMap<StreamId, StreamCount>);

/// What a generation holds of one stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct StreamCount {
    rows: u64,
    /// The last block with a row of it.
    last_seq: u64,
    /// The last timestamp in that block, as stored (before corrections).
    last_ts: i64,
}

impl Census {
    /// Adds the rows of block `seq`, which ends at `last_ts` (nanoseconds UTC, as stored).
    pub(crate) fn add(&mut self, seq: u64, runs: &[Run], last_ts: i64) {
        for run in runs {
            let held = self.0.entry(run.stream).or_default();
            held.rows += u64::from(run.rows);
            (held.last_seq, held.last_ts) = (seq, last_ts);
        }
    }

    /// Counts what lies in `extent` of a generation by reading its blocks. One that cannot be read counts
    /// nothing: it is told to whoever reads it.
    pub(crate) fn take(generation: &Generation, extent: &Extent) -> Result<Self, GenerationError> {
        let (mut census, mut failed) = (Self::default(), None);
        let start = parts::key(extent.first_seq, 0);
        generation.scan_from(b"b", &start, |key, _| {
            let Some(seq) = parts::number(key, 1).filter(|seq| *seq < extent.next_seq) else {
                return false;
            };
            if !parts::is_first(key) {
                return true;
            }
            match parts::read(generation, seq) {
                Ok(stored) => {
                    let outline = stored.map(|stored| codec::outline(&stored, 0, |_| true));
                    if let Some(Ok(outline)) = outline {
                        census.add(seq, &outline.runs, outline.last_ts);
                    }
                }
                Err(error) => failed = Some(error),
            }
            failed.is_none()
        })?;
        failed.map_or(Ok(census), Err)
    }

    pub(crate) fn has(&self, stream: StreamId) -> bool {
        self.0.contains_key(&stream)
    }

    fn rows(&self, stream: StreamId) -> u64 {
        self.0.get(&stream).map_or(0, |held| held.rows)
    }

    /// As it is kept for a generation that nothing is added to any more.
    pub(crate) fn sealed(&self) -> SealedCensus {
        let streams = self.0.iter();
        streams.map(|(stream, held)| (*stream, held.rows)).collect()
    }
}

/// A [`Census`] in little memory, by stream.
pub(crate) type SealedCensus = Box<[(StreamId, u64)]>;

fn rows_in(census: &SealedCensus, stream: StreamId) -> u64 {
    let found = census.binary_search_by_key(&stream, |(id, _)| *id);
    found.map_or(0, |at| census[at].1)
}

/// What the buffer has of one stream.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Generations that hold rows of it.
    pub(crate) generations: u32,
    /// Rows there are.
    pub(crate) rows: u64,
    /// Rows there were when the buffer was opened, and those committed since.
    pub(crate) rows_seen: u64,
    /// No record of it is later, nanoseconds UTC; nothing if there never was one.
    pub(crate) last_ts: Option<i64>,
}

/// What the buffer has of each stream.
#[derive(Debug, Default)]
pub(crate) struct Usages(HashMap<StreamId, Usage>);

impl Usages {
    pub(crate) fn get(&self, stream: StreamId) -> Usage {
        self.0.get(&stream).copied().unwrap_or_default()
    }

    /// Notes that `stream` had a record at `ts`, or before it.
    pub(crate) fn seen(&mut self, stream: StreamId, ts: i64) {
        let usage = self.0.entry(stream).or_default();
        usage.last_ts = usage.last_ts.max(Some(ts));
    }

    /// Notes that the last record of `stream` was at `ts`, or before it, whatever was noted so far.
    fn date(&mut self, stream: StreamId, ts: i64) {
        self.0.entry(stream).or_default().last_ts = Some(ts);
    }

    /// Adds rows that a generation holds; whether they are its first of that stream.
    pub(crate) fn add(&mut self, stream: StreamId, rows: u64, is_first: bool, last_ts: i64) {
        self.seen(stream, last_ts);
        if let Some(usage) = self.0.get_mut(&stream) {
            usage.generations += u32::from(is_first);
            usage.rows += rows;
            usage.rows_seen += rows;
        }
    }

    /// Adds what a generation holds.
    pub(crate) fn add_all(&mut self, census: &SealedCensus, last_ts: i64) {
        for (stream, rows) in census {
            self.add(*stream, *rows, true, last_ts);
        }
    }

    /// Takes away what a generation held.
    pub(crate) fn remove(&mut self, census: &SealedCensus) {
        for (stream, rows) in census {
            if let Some(usage) = self.0.get_mut(stream) {
                usage.generations = usage.generations.saturating_sub(1);
                usage.rows = usage.rows.saturating_sub(*rows);
            }
        }
    }

    pub(crate) fn forget(&mut self, stream: StreamId) {
        self.0.remove(&stream);
    }

    /// One past the highest number.
    pub(crate) fn end(&self) -> StreamId {
        let highest = self.0.keys().max();
        highest.map_or(0, |stream| stream.saturating_add(1))
    }
}

impl Inner {
    /// Whether `stream` has had no record since `before_ts` and nobody refers to it.
    pub(super) fn is_idle(&self, stream: &Stream, before_ts: i64) -> bool {
        let last_ts = self.usages.get(stream.id).last_ts;
        last_ts.is_some_and(|last| last < before_ts) && !self.streams_kept.contains(&stream.name)
    }

    /// Dates every stream that has rows anew: the clock was corrected since these were counted. Those of
    /// which there is nothing keep what they have.
    pub(super) fn redate(&mut self) {
        let dated = |extent: &Extent| self.last_ts(extent).unwrap_or(i64::MIN);
        let dates: Vec<i64> = self.sealed.iter().map(|s| dated(&s.extent)).collect();
        // Oldest first: the newest generation with rows of a stream has the last word.
        for (sealed, last_ts) in self.sealed.iter().zip(dates) {
            for (stream, _) in &sealed.census {
                self.usages.date(*stream, last_ts);
            }
        }
        let newest = self.active.census.0.iter();
        let dates = newest.map(|(stream, held)| {
            let shift_ns = self.shift_ns(held.last_seq);
            (*stream, held.last_ts.saturating_add(shift_ns))
        });
        for (stream, last_ts) in dates.collect::<Vec<_>>() {
            self.usages.date(stream, last_ts);
        }
    }
}

/// Rows of a stream, as of one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowCount {
    /// Rows of the stream that are in the buffer.
    pub rows: u64,
    /// [`Buffer::rows_seen`] at that moment: what it has grown by since has been added since.
    pub rows_seen: u64,
}

impl Buffer {
    /// Rows of `stream` in the buffer. Reads nothing.
    pub fn rows_of(&self, stream: StreamId) -> u64 {
        self.lock().usages.get(stream).rows
    }

    /// Rows of `stream` when the buffer was opened, and those committed since: never fewer than before as
    /// long as the stream is known. Reads nothing.
    pub fn rows_seen(&self, stream: StreamId) -> u64 {
        self.lock().usages.get(stream).rows_seen
    }

    /// Rows of `stream` after `ts` (nanoseconds UTC). Reads blocks of one generation at most.
    ///
    /// # Errors
    /// A text for people, when the disk refuses.
    pub fn rows_after(&self, stream: StreamId, ts: i64) -> Result<RowCount, String> {
        let (mut count, rest) = {
            let inner = self.lock();
            let active = (inner.active.extent, inner.active.census.rows(stream));
            let sealed = inner.sealed.iter().rev();
            let sealed = sealed.map(|s| (s.extent, rows_in(&s.census, stream)));
            let mut newest_first = [active].into_iter().chain(sealed).peekable();
            let (mut rows, mut rest) = (0, None);
            while let Some((extent, here)) = newest_first.next() {
                let last_ts = inner.last_ts(&extent);
                if last_ts.is_none_or(|last| last <= ts) {
                    break;
                }
                // Timestamps increase from one generation to the next.
                let before = newest_first.peek();
                let before = before.and_then(|(before, _)| inner.last_ts(before));
                if before.is_some_and(|before| before >= ts) {
                    rows += here;
                    continue;
                }
                rest = last_ts.filter(|_| here > 0);
                break;
            }
            let rows_seen = inner.usages.get(stream).rows_seen;
            (RowCount { rows, rows_seen }, rest)
        };
        if let Some(last_ts) = rest {
            let range = TimeRange {
                from: Timestamp(ts.saturating_add(1)),
                to: Timestamp(last_ts),
            };
            let query = Query {
                range,
                ..Query::all(stream, Vec::new())
            };
            count.rows += self.matrix(&query)?.ts.len() as u64;
        }
        Ok(count)
    }

    /// Streams that somebody still refers to, by name: these are not forgotten, however idle.
    pub fn keep_streams(&self, names: HashSet<String>) {
        self.lock().streams_kept = names;
    }

    /// Forgets streams of which the buffer holds nothing any more, and no record since `before_ts`
    /// (nanoseconds UTC) was seen, unless [`Self::keep_streams`] has named them. The caller makes sure that no record of
    /// any stream waits for a commit. A stream that comes back gets another number.
    pub fn forget_idle(&self, before_ts: i64) -> Vec<Arc<Stream>> {
        let mut inner = self.change();
        let catalog = self.catalog();
        let idle = catalog.streams().filter(|stream| {
            let usage = inner.usages.get(stream.id);
            usage.generations == 0 && inner.is_idle(stream, before_ts)
        });
        let idle: Vec<_> = idle.cloned().collect();
        drop(catalog);
        if !idle.is_empty() {
            self.change_catalog(|catalog| {
                for stream in &idle {
                    catalog.remove_stream(stream.id);
                }
            });
            for stream in &idle {
                inner.usages.forget(stream.id);
                inner.declared.remove(&stream.id);
                inner.active.named.remove(&stream.id);
            }
        }
        idle
    }
}
