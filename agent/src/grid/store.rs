//! The rows of grids as blocks, made of the buffer's records whenever they are read.
//!
//! Each block is a stretch of one stream's rows. What is kept of it is the state of its grid before the
//! first record and where that record is: from there the same rows come again.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
    sync::Arc,
};

use dunlin_sync::{
    block::{Block, Run, Section},
    buffer::{Buffer, Fields},
    rows::{Column, Rows},
    sample::{Schema, SchemaId, Stream, StreamId, TimeRange, Timestamp},
};

use super::{
    GridSpec,
    resampler::{Arrival, GridRows, Resampler},
};

/// Rows of a block, unless one record gives more.
const ROWS: usize = 4_096;

/// A stream with the schema that its records have.
pub(crate) type GridStream = (Arc<Stream>, Arc<Schema>);

/// Where a record is: its block, and its place in the stream's run there.
#[derive(Clone, Copy, Debug)]
struct Position {
    seq: u64,
    row: u32,
}

/// A stretch of a stream's rows.
struct GridBlock {
    schema: SchemaId,
    run: Run,
    /// Times of the first and the last row, nanoseconds UTC.
    first_ts: i64,
    last_ts: i64,
    /// The record to go on with.
    start: Position,
    /// The grid before that record.
    state: Resampler,
}

/// Which records a query can concern.
pub(crate) struct StoreWanted {
    /// Nothing that is measured before this matters, nanoseconds UTC.
    pub(crate) from: i64,
    /// So many rows of each stream up to this time are enough, nanoseconds UTC.
    pub(crate) last: u64,
    pub(crate) to: i64,
    /// Records that arrived later are not there, nanoseconds UTC.
    pub(crate) arrived_to: i64,
}

/// The grids of some streams.
pub(crate) struct GridStore {
    buffer: Arc<Buffer>,
    /// What is read of the records, by schema.
    fields: Fields,
    /// In order of their last rows; numbered from 1.
    blocks: Vec<GridBlock>,
    late: u64,
}

/// Hears how many blocks of how many are read; an error ends it.
type Tell<'a, E> = &'a dyn Fn(u64, u64) -> Result<(), E>;

impl GridStore {
    /// The grids of `streams` over `fields` of their records: positions and types as they are stored.
    ///
    /// # Errors
    /// A text for people if the buffer cannot be read now; what `tell` says.
    pub(crate) fn new<E: From<String>>(
        buffer: &Arc<Buffer>,
        spec: &GridSpec,
        streams: &[GridStream],
        fields: Fields,
        wanted: &StoreWanted,
        tell: Tell<'_, E>,
    ) -> Result<Self, E> {
        let newest = buffer.shape().newest_ts.unwrap_or(i64::MAX);
        let enough = wanted
            .last
            .saturating_add((spec.memory_ns() / spec.every_ns) as u64);
        let steps = i64::try_from(enough).unwrap_or(i64::MAX);
        let mut span_ns = steps.saturating_mul(spec.every_ns);
        loop {
            let newest = newest.min(wanted.arrived_to);
            let rows_from = newest.saturating_sub(span_ns).max(wanted.from);
            let from = rows_from.saturating_sub(spec.memory_ns());
            let range = TimeRange {
                from: Timestamp(from),
                to: Timestamp(wanted.arrived_to),
            };
            let (first, end) = buffer.blocks_within(range)?;
            let is_all = first <= buffer.oldest_seq() || rows_from == wanted.from;
            let mut scan = Scan::new(buffer, spec, streams, &fields);
            scan.run(first..end, wanted, tell)?;
            let is_enough = |grid: &OpenGrid| grid.rows >= enough;
            if is_all || scan.open.iter().all(is_enough) {
                let (blocks, late) = scan.finish();
                return Ok(Self {
                    buffer: Arc::clone(buffer),
                    fields,
                    blocks,
                    late,
                });
            }
            // There were silences.
            span_ns = span_ns.saturating_mul(4);
        }
    }

    /// Records that came for steps that were over.
    pub(crate) fn late(&self) -> u64 {
        self.late
    }

    /// Number behind the last block.
    pub(crate) fn end(&self) -> u64 {
        self.blocks.len() as u64 + 1
    }

    fn block(&self, seq: u64) -> Option<&GridBlock> {
        self.blocks.get(usize::try_from(seq.checked_sub(1)?).ok()?)
    }

    /// The rows of a block, as its records give them now.
    fn rows(&self, block: &GridBlock) -> Result<Rows, String> {
        let fields: Fields = BTreeMap::from([(
            block.schema,
            self.fields.get(&block.schema).cloned().unwrap_or_default(),
        )]);
        let mut reader = self.buffer.read_fields(&fields).with_source_times();
        let mut grid = block.state.clone();
        let mut out = GridRows::keeping(grid.fields());
        let (mut seq, mut row) = (block.start.seq, block.start.row as usize);
        let wanted = block.run.rows as usize;
        while out.count < wanted && seq < self.buffer.next_seq() {
            let stored = reader.block(seq)?.ok_or_else(|| gone(seq))?;
            for (section, run, rows) in runs(&stored) {
                if run.stream != block.run.stream {
                    continue;
                }
                let columns = columns(section);
                for row in rows.start + row..rows.end {
                    if out.count >= wanted {
                        break;
                    }
                    grid.push(Arrival::of(&section.rows, row), &columns, row, &mut out);
                }
            }
            (seq, row) = (self.buffer.next_stored(seq), 0);
        }
        match out.rows {
            Some(rows) if rows.len() == wanted => Ok(rows),
            _ => Err(gone(seq)),
        }
    }
}

fn gone(seq: u64) -> String {
    format!("block {seq} was trimmed or lost since it was looked at; ask again")
}

/// Whose rows are where in a block.
fn runs(block: &Block) -> impl Iterator<Item = (&Section, Run, Range<usize>)> {
    block.sections.iter().flat_map(|section| {
        let mut start = 0;
        section.runs.iter().map(move |run| {
            let rows = start..start + run.rows as usize;
            start = rows.end;
            (section, *run, rows)
        })
    })
}

/// The columns of a section that was read for a grid, in the order of its fields.
fn columns(section: &Section) -> Vec<Option<&Column>> {
    let columns = section.rows.columns.iter();
    columns.map(|(_, column)| Some(column)).collect()
}

/// The grid of one stream while its records are passed.
struct OpenGrid {
    schema: SchemaId,
    stream: StreamId,
    grid: Resampler,
    /// Rows since the start of the block that is gathered.
    since: GridRows,
    start: Position,
    /// The grid at that start.
    state: Resampler,
    /// Rows in all that are early enough.
    rows: u64,
}

impl OpenGrid {
    /// What is gathered becomes a block; the next one begins at `next`.
    fn cut(&mut self, next: Position) -> Option<GridBlock> {
        let since = std::mem::take(&mut self.since);
        let start = std::mem::replace(&mut self.start, next);
        let state = std::mem::replace(&mut self.state, self.grid.clone());
        (since.count > 0).then_some(GridBlock {
            schema: self.schema,
            run: Run {
                stream: self.stream,
                rows: since.count as u32,
            },
            first_ts: since.first_ts,
            last_ts: since.last_ts,
            start,
            state,
        })
    }
}

/// One pass over the records.
struct Scan<'a> {
    buffer: &'a Buffer,
    spec: &'a GridSpec,
    fields: &'a Fields,
    open: Vec<OpenGrid>,
    places: HashMap<StreamId, usize>,
    blocks: Vec<GridBlock>,
    /// Records that were late for grids that are given up.
    late: u64,
}

impl<'a> Scan<'a> {
    fn new(
        buffer: &'a Buffer,
        spec: &'a GridSpec,
        streams: &[GridStream],
        fields: &'a Fields,
    ) -> Self {
        let open = streams.iter().map(|(stream, schema)| {
            let read = fields.get(&schema.id).into_iter().flatten();
            let fields = read.map(|(field, _)| spec.field_of(schema, *field));
            let grid = Resampler::new(spec, fields.collect());
            OpenGrid {
                schema: schema.id,
                stream: stream.id,
                state: grid.clone(),
                grid,
                since: GridRows::default(),
                start: Position { seq: 0, row: 0 },
                rows: 0,
            }
        });
        let places = streams.iter().enumerate();
        Self {
            buffer,
            spec,
            fields,
            open: open.collect(),
            places: places
                .map(|(place, (stream, _))| (stream.id, place))
                .collect(),
            blocks: Vec::new(),
            late: 0,
        }
    }

    /// Passes the records in the blocks `range` that are wanted.
    fn run<E: From<String>>(
        &mut self,
        range: Range<u64>,
        wanted: &StoreWanted,
        tell: Tell<'_, E>,
    ) -> Result<(), E> {
        let mut reader = self.buffer.read_fields(self.fields).with_source_times();
        let mut seq = range.start;
        self.begin_at(seq);
        while seq < range.end {
            tell(seq - range.start, range.end - range.start)?;
            match reader.block(seq)? {
                Some(block) => self.block(&block, wanted),
                // Nobody knows whose records were in it.
                None => self.begin_at(seq + 1),
            }
            seq = self.buffer.next_stored(seq);
        }
        let end = Position {
            seq: range.end,
            row: 0,
        };
        let Self { open, blocks, .. } = self;
        blocks.extend(open.iter_mut().filter_map(|open| open.cut(end)));
        Ok(())
    }

    /// Begins all grids anew with the block `seq`.
    fn begin_at(&mut self, seq: u64) {
        for open in &mut self.open {
            self.late += open.grid.late();
            open.grid = Resampler::new(self.spec, Arc::clone(open.grid.fields()));
            self.blocks.extend(open.cut(Position { seq, row: 0 }));
        }
    }

    fn block(&mut self, block: &Block, wanted: &StoreWanted) {
        for (section, run, rows) in runs(block) {
            let Some(place) = self.places.get(&run.stream) else {
                continue;
            };
            let (open, columns) = (&mut self.open[*place], columns(section));
            for row in rows.clone() {
                let arrival = Arrival::of(&section.rows, row);
                if arrival.ts > wanted.arrived_to {
                    break;
                }
                let before = open.since.count;
                open.grid.push(arrival, &columns, row, &mut open.since);
                if open.since.last_ts <= wanted.to {
                    open.rows += (open.since.count - before) as u64;
                }
                if open.since.count >= ROWS {
                    let row = (row + 1 - rows.start) as u32;
                    self.blocks.extend(open.cut(Position {
                        seq: block.seq,
                        row,
                    }));
                }
            }
        }
    }

    /// What was found, and how many records were late.
    fn finish(self) -> (Vec<GridBlock>, u64) {
        let Self {
            open, mut blocks, ..
        } = self;
        blocks.sort_by_key(|block| block.last_ts);
        let late = open.iter().map(|open| open.grid.late());
        (blocks, self.late + late.sum::<u64>())
    }
}

/// Reads blocks of grids in part, as [`dunlin_sync::buffer::FieldReader`] does those of the buffer.
pub(crate) struct GridReader<'a> {
    pub(crate) store: &'a GridStore,
    /// The fields wanted.
    pub(crate) fields: &'a Fields,
}

impl GridReader<'_> {
    /// The block numbered `seq`: the wanted fields as its columns.
    ///
    /// # Errors
    /// A text for people, when its records are gone or cannot be read now.
    pub(crate) fn block(&self, seq: u64) -> Result<Option<Block>, String> {
        let Some(block) = self.store.block(seq) else {
            return Ok(None);
        };
        let Some(wanted) = self.fields.get(&block.schema) else {
            return Ok(Some(block_of(block, seq, None)));
        };
        let mut all = self.store.rows(block)?;
        let columns = std::mem::take(&mut all.columns);
        let read = &self.store.fields[&block.schema];
        for (field, kind) in wanted {
            let place = read.iter().position(|(there, _)| there == field);
            let column = place.and_then(|place| columns.get(place)).cloned();
            all.columns
                .push(column.unwrap_or_else(|| Column::missing(*kind, all.ts.len())));
        }
        Ok(Some(block_of(block, seq, Some(all))))
    }

    /// As [`Self::block`], but only whose rows there are.
    #[cfg(feature = "learning")]
    pub(crate) fn outline(&self, seq: u64) -> Option<dunlin_sync::block::Outline> {
        let block = self.store.block(seq)?;
        let is_wanted = self.fields.contains_key(&block.schema);
        Some(dunlin_sync::block::Outline {
            first_ts: block.first_ts,
            last_ts: block.last_ts,
            runs: is_wanted.then_some(block.run).into_iter().collect(),
        })
    }
}

fn block_of(block: &GridBlock, seq: u64, rows: Option<Rows>) -> Block {
    let section = rows.map(|rows| Section {
        schema: block.schema,
        runs: vec![block.run],
        rows,
    });
    Block {
        seq,
        first_row: 0,
        first_ts: block.first_ts,
        last_ts: block.last_ts,
        sections: section.into_iter().collect(),
    }
}
