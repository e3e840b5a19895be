//! The rows of grids as blocks, made of the buffer's records whenever they are read.
//!
//! Each block is what some blocks of the buffer give, stream by stream. What is kept of it is the state of
//! each of these grids before the first record: from there the same rows come again.

use std::{
    collections::{BTreeSet, HashMap},
    ops::Range,
    sync::Arc,
};

use dunlin_sync::{
    block::{Block, Run, Section, StreamRun},
    buffer::{Buffer, Fields},
    rows::{Column, Rows},
    sample::{Schema, SchemaId, Stream, StreamId, TimeRange, Timestamp},
};

use super::{
    GridSpec,
    resampler::{Arrival, GridRows, Resampler},
};

/// Fewest rows of a block.
const ROWS_MIN: usize = 4_096;
/// And fewest for each cell of the states that are kept with it, so that these are few bytes a row.
const ROWS_PER_CELL: usize = 4;

/// Most cells that are made at once.
const CELLS_MAX: usize = 1 << 24;
/// Newest blocks of the buffer searched for how far sources are ahead.
const NEWEST_BLOCKS_MAX: u64 = 64;

/// A stream with the schema that its records have.
pub(crate) type GridStream = (Arc<Stream>, Arc<Schema>);

/// What some blocks of the buffer give.
struct GridBlock {
    /// The earliest time in it, and the latest in it and in those before, nanoseconds UTC.
    first_ts: i64,
    last_ts: i64,
    /// Blocks of the buffer.
    source: Range<u64>,
    /// Of the streams that have rows in it, in order of their schemas.
    runs: Vec<GridRun>,
}

/// One stream's rows in a block.
struct GridRun {
    schema: SchemaId,
    run: Run,
    /// The grid before the first record.
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
    /// Numbered from 1.
    blocks: Vec<GridBlock>,
    arrived_to: i64,
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
        let newest = newest.min(wanted.arrived_to);
        let memory_steps = (spec.memory_ns() / spec.every_ns) as u64;
        let enough = wanted.last.saturating_add(memory_steps);
        let steps = i64::try_from(enough).unwrap_or(i64::MAX);
        let mut span_ns = steps.saturating_mul(spec.every_ns);
        let ahead_ns = if wanted.from == i64::MIN {
            0
        } else {
            ahead_ns(buffer, streams)?
        };
        loop {
            let rows_from = newest.saturating_sub(span_ns).max(wanted.from);
            // They came before they were measured, by our clock.
            let arrived_from = rows_from.saturating_sub(ahead_ns);
            let range = TimeRange {
                from: Timestamp(arrived_from.saturating_sub(spec.memory_ns())),
                to: Timestamp(wanted.arrived_to),
            };
            let (first, end) = buffer.blocks_within(range)?;
            let is_all = first <= buffer.oldest_seq() || rows_from == wanted.from;
            let mut scan = Scan::new(buffer, spec, streams, &fields);
            scan.run(first..end, wanted, tell)?;
            if is_all || scan.open.iter().all(|open| open.rows >= enough) {
                let late = scan.open.iter().map(|open| open.grid.late()).sum();
                return Ok(Self {
                    buffer: Arc::clone(buffer),
                    blocks: scan.blocks,
                    fields,
                    arrived_to: wanted.arrived_to,
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

    /// The rows of some runs of a block, as the records give them now.
    fn rows(&self, block: &GridBlock, wanted: &[&GridRun]) -> Result<Vec<Rows>, String> {
        let schemas: BTreeSet<SchemaId> = wanted.iter().map(|run| run.schema).collect();
        let fields = self.fields.iter().filter(|(id, _)| schemas.contains(id));
        let fields: Fields = fields.map(|(id, fields)| (*id, fields.clone())).collect();
        let places = wanted.iter().enumerate();
        let places: HashMap<StreamId, usize> =
            places.map(|(place, run)| (run.run.stream, place)).collect();
        let mut made: Vec<(Resampler, GridRows)> = wanted
            .iter()
            .map(|run| (run.state.clone(), GridRows::keeping(run.state.fields())))
            .collect();
        let mut reader = self.buffer.read_fields(&fields).with_source_times();
        let mut seq = block.source.start;
        while seq < block.source.end {
            let stored = reader.block(seq)?.ok_or_else(|| gone(seq))?;
            for run in stored.runs() {
                if let Some(place) = places.get(&run.stream) {
                    let (grid, out) = &mut made[*place];
                    feed(grid, run, self.arrived_to, out);
                }
            }
            seq = self.buffer.next_stored(seq);
        }
        let rows = made.into_iter().zip(wanted).map(|((_, out), run)| {
            let rows = out.rows.filter(|rows| rows.len() == run.run.rows as usize);
            rows.ok_or_else(|| gone(block.source.start))
        });
        rows.collect()
    }
}

/// How far the clocks of sources are ahead of ours, nanoseconds: the most among the newest records.
fn ahead_ns(buffer: &Buffer, streams: &[GridStream]) -> Result<i64, String> {
    let fields: Fields = streams
        .iter()
        .map(|(_, schema)| (schema.id, Vec::new()))
        .collect();
    let mut reader = buffer.read_fields(&fields).with_source_times();
    let (mut seq, mut ahead_ns) = (buffer.next_seq(), 0);
    for _ in 0..NEWEST_BLOCKS_MAX {
        if seq <= buffer.oldest_seq() {
            break;
        }
        seq = buffer.previous_stored(seq);
        for section in reader.block(seq)?.iter().flat_map(|block| &block.sections) {
            let times = section.rows.ts.iter().zip(&section.rows.source_ts);
            let ahead = times.filter_map(|(ts, measured)| Some((*measured)?.saturating_sub(*ts)));
            ahead_ns = ahead.fold(ahead_ns, i64::max);
        }
    }
    Ok(ahead_ns)
}

fn gone(seq: u64) -> String {
    format!("block {seq} was trimmed or lost since it was looked at; ask again")
}

/// Has a grid take the records of a run that arrived up to `arrived_to`.
fn feed(grid: &mut Resampler, run: StreamRun<'_>, arrived_to: i64, out: &mut GridRows) {
    let StreamRun { section, rows, .. } = run;
    let columns = section.rows.columns.iter();
    let columns: Vec<Option<&Column>> = columns.map(|(_, column)| Some(column)).collect();
    for row in rows {
        let arrival = Arrival::of(&section.rows, row);
        if arrival.ts > arrived_to {
            break;
        }
        grid.push(arrival, &columns, row, out);
    }
}

/// The grid of one stream while its records are passed.
struct OpenGrid {
    schema: SchemaId,
    stream: StreamId,
    grid: Resampler,
    /// Rows since the start of the block that is gathered.
    since: GridRows,
    /// The grid at that start.
    state: Resampler,
    /// Rows in all that are early enough.
    rows: u64,
}

/// One pass over the records.
struct Scan<'a> {
    buffer: &'a Buffer,
    fields: &'a Fields,
    /// In order of their schemas.
    open: Vec<OpenGrid>,
    places: HashMap<StreamId, usize>,
    /// Columns of the widest of them.
    width: usize,
    /// Where the block begins that is gathered, and the rows in it.
    start: u64,
    rows: usize,
    blocks: Vec<GridBlock>,
}

impl<'a> Scan<'a> {
    fn new(
        buffer: &'a Buffer,
        spec: &GridSpec,
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
                rows: 0,
            }
        });
        let mut open: Vec<OpenGrid> = open.collect();
        open.sort_by_key(|open| (open.schema, open.stream));
        let places = open.iter().enumerate();
        Self {
            places: places.map(|(place, open)| (open.stream, place)).collect(),
            width: fields.values().map(Vec::len).max().unwrap_or(0).max(1),
            buffer,
            fields,
            open,
            start: 0,
            rows: 0,
            blocks: Vec::new(),
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
        self.start = seq;
        while seq < range.end {
            tell(seq - range.start, range.end - range.start)?;
            let block = reader.block(seq)?;
            let next = self.buffer.next_stored(seq);
            if let Some(block) = block {
                self.take(&block, wanted);
                if self.rows.saturating_mul(self.width) > CELLS_MAX {
                    let rows = self.rows;
                    return Err(E::from(format!(
                        "the records of one block give {rows} rows: make the steps of the grid longer, or \
                         hold values for less (`fill_ms_max`)"
                    )));
                }
                if self.rows >= ROWS_MIN && self.rows >= ROWS_PER_CELL * self.cells() {
                    self.cut(next, next);
                }
            } else {
                // Nobody knows whose records were in it.
                self.open.iter_mut().for_each(|open| open.grid.forget());
                self.cut(seq, next);
            }
            seq = next;
        }
        self.cut(range.end, range.end);
        Ok(())
    }

    fn cells(&self) -> usize {
        self.open.iter().map(|open| open.grid.cells()).sum()
    }

    fn take(&mut self, block: &Block, wanted: &StoreWanted) {
        for run in block.runs() {
            let Some(place) = self.places.get(&run.stream) else {
                continue;
            };
            let open = &mut self.open[*place];
            let before = open.since.count;
            feed(&mut open.grid, run, wanted.arrived_to, &mut open.since);
            let added = open.since.count - before;
            self.rows += added;
            if open.since.last_ts <= wanted.to {
                open.rows += added as u64;
            }
        }
    }

    /// What is gathered up to the buffer's block `end` becomes a block; the next one begins at `next`.
    fn cut(&mut self, end: u64, next: u64) {
        let source = self.start..end;
        (self.start, self.rows) = (next, 0);
        let latest = self.blocks.last().map_or(i64::MIN, |block| block.last_ts);
        let mut block = GridBlock {
            first_ts: i64::MAX,
            last_ts: latest,
            source,
            runs: Vec::new(),
        };
        for open in &mut self.open {
            let since = std::mem::take(&mut open.since);
            let state = std::mem::replace(&mut open.state, open.grid.clone());
            if since.count > 0 {
                block.first_ts = block.first_ts.min(since.first_ts);
                block.last_ts = block.last_ts.max(since.last_ts);
                block.runs.push(GridRun {
                    schema: open.schema,
                    run: Run {
                        stream: open.stream,
                        rows: since.count as u32,
                    },
                    state,
                });
            }
        }
        if !block.runs.is_empty() {
            self.blocks.push(block);
        }
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
        let runs = block.runs.iter();
        let wanted: Vec<&GridRun> = runs
            .filter(|run| self.fields.contains_key(&run.schema))
            .collect();
        let rows = self.store.rows(block, &wanted)?;
        let mut sections: Vec<Section> = Vec::new();
        for (run, rows) in wanted.iter().zip(rows) {
            let fields = &self.fields[&run.schema];
            if sections
                .last()
                .is_none_or(|section| section.schema != run.schema)
            {
                let mut empty = Rows::default();
                for (_, kind) in fields {
                    empty.columns.push(Column::empty(*kind));
                }
                sections.push(Section {
                    schema: run.schema,
                    runs: Vec::new(),
                    rows: empty,
                });
            }
            if let Some(section) = sections.last_mut() {
                section.runs.push(run.run);
                self.append(run.schema, &rows, &mut section.rows);
            }
        }
        Ok(Some(Block {
            seq,
            first_row: 0,
            first_ts: block.first_ts,
            last_ts: block.last_ts,
            sections,
        }))
    }

    /// Appends the wanted columns of some rows.
    fn append(&self, schema: SchemaId, rows: &Rows, to: &mut Rows) {
        let read = &self.store.fields[&schema];
        for (at, (field, kind)) in self.fields[&schema].iter().enumerate() {
            let place = read.iter().position(|(there, _)| there == field);
            let missing = Column::missing(*kind, rows.len());
            let column = place.and_then(|place| rows.columns.get(place));
            to.columns[at].extend_from(column.unwrap_or(&missing), 0..rows.len());
        }
        to.ts.extend_from_slice(&rows.ts);
        to.is_train.extend_from_slice(&rows.is_train);
        to.fold.extend_from_slice(&rows.fold);
    }

    /// As [`Self::block`], but only whose rows there are. The last time is that of all blocks so far.
    #[cfg(feature = "learning")]
    pub(crate) fn outline(&self, seq: u64) -> Option<dunlin_sync::block::Outline> {
        let block = self.store.block(seq)?;
        let runs = block.runs.iter();
        let runs = runs.filter(|run| self.fields.contains_key(&run.schema));
        Some(dunlin_sync::block::Outline {
            first_ts: block.first_ts,
            last_ts: block.last_ts,
            runs: runs.map(|run| run.run).collect(),
        })
    }
}
