//! A cohort: which rows there are, read from the buffer chunk by chunk.

use std::{
    collections::HashMap,
    ops::Range,
    sync::{Arc, Mutex},
};

use dunlin_models::data::{Columns, DataError, Lineage, Rows, Source};
use dunlin_sync::{
    block::Block,
    buffer::Fields,
    lock::unpoisoned,
    rows,
    sample::{Catalog, Field, Schema, SchemaId, Stream},
};

use super::{
    labels::{self, Labels},
    select::{Span, span_at},
    store::{RowReader, RowStore},
};

/// Where a row is: its block, and its place in the stream's run there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) seq: u64,
    pub(super) row: u32,
}

/// Consecutive rows of a stream that are read together.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    /// Place of the stream.
    pub(super) stream: usize,
    /// The first row, which is of the lead if there is one.
    pub(super) start: Position,
    pub(super) lead: usize,
    /// Rows, the lead included.
    pub(super) rows: usize,
    /// Whether a window may end anywhere in it.
    pub(super) counts: bool,
    /// The last value of each feature before `start`, where missing ones are filled in.
    pub(super) fill: Option<Box<[f32]>>,
}

/// One stream's part.
#[derive(Clone, Debug)]
pub(super) struct CohortPart {
    pub(super) stream: Arc<Stream>,
    pub(super) name: Arc<str>,
    pub(super) spans: Vec<Span>,
    /// Rows that count.
    pub(super) rows: u64,
}

/// How many rows a stream has in a cohort.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StreamRows {
    /// The stream.
    pub stream: String,
    /// Rows that count.
    pub rows: u64,
}

/// A data set as its query found it when it was resolved. Memory: a few bytes a block, one or two bits
/// a row where rows were chosen one by one.
pub struct Cohort {
    pub(super) store: RowStore,
    pub(super) columns: Columns,
    pub(super) lineage: Lineage,
    /// Features in order, then the label, for each schema.
    pub(super) fields: Fields,
    pub(super) labels: Option<Labels>,
    pub(super) parts: Vec<CohortPart>,
    pub(super) chunks: Vec<Chunk>,
    /// The block read last: the next chunk mostly begins where this one has ended.
    pub(super) last_block: Mutex<Option<Arc<Block>>>,
}

impl Cohort {
    /// How many rows each stream has, by name; those without any too.
    pub fn streams(&self) -> Vec<StreamRows> {
        let parts = self.parts.iter();
        let rows = parts.map(|part| StreamRows {
            stream: part.name.to_string(),
            rows: part.rows,
        });
        rows.collect()
    }

    /// Records that are in no row because their step of the grid was over when they came.
    pub fn late(&self) -> u64 {
        self.store.late()
    }

    /// The schema of the cohort's rows with their own types: features, then the label.
    ///
    /// # Errors
    /// A text for people, if the streams are of different kinds.
    pub(crate) fn schema(&self, catalog: &Catalog) -> Result<Arc<Schema>, String> {
        let schema_of = |id: &SchemaId| {
            let schema = catalog.schema(*id)?;
            let fields = self.fields[id].iter().map(|(field, kind)| Field {
                name: schema.fields[*field].name.clone(),
                kind: *kind,
            });
            Some(Schema {
                id: 0,
                name: schema.name.clone(),
                tag_names: schema.tag_names.clone(),
                fields: fields.collect(),
                origins: Vec::new(),
            })
        };
        let mut schemas = self.fields.keys().filter_map(schema_of);
        let first = schemas.next().ok_or("there is no stream")?;
        for other in schemas {
            if other.tag_names != first.tag_names || other.fields != first.fields {
                return Err(format!(
                    "{} and {} have different tags or types; take streams of one kind",
                    first.name, other.name
                ));
            }
        }
        Ok(Arc::new(first))
    }

    /// Gives every row that counts to `each`, with its own types: blocks follow one another in time, in
    /// a block the streams. `tell` hears how many blocks of how many are done.
    pub(crate) fn each<E: From<String>>(
        &self,
        mut tell: impl FnMut(u64, u64) -> Result<(), E>,
        mut each: impl FnMut(&Stream, &rows::Rows) -> Result<(), E>,
    ) -> Result<(), E> {
        let spans = || self.parts.iter().flat_map(|part| &part.spans);
        let first = spans().map(|span| span.first).min().unwrap_or(1);
        let last = spans().map(|span| span.last).max().unwrap_or(0);
        let parts = self.parts.iter().map(|part| (part.stream.id, part));
        let parts: HashMap<_, _> = parts.collect();
        let mut reader = self.store.reader(&self.fields);
        let mut seq = first;
        while seq <= last {
            tell(seq - first, last + 1 - first)?;
            let block = reader.block(seq)?;
            let is_wanted = |part: &CohortPart| span_at(&part.spans, seq).is_some();
            if block.is_none() && self.parts.iter().any(is_wanted) {
                return Err(gone(seq).into());
            }
            for section in block.iter().flat_map(|block| &block.sections) {
                let mut start = 0;
                for run in &section.runs {
                    let end = start + run.rows as usize;
                    if let Some(part) = parts.get(&run.stream)
                        && let Some(span) = span_at(&part.spans, seq)
                    {
                        let mut wanted = rows::Rows::default();
                        let rows = end - start;
                        let counted = span.taken.and(&span.counted, rows);
                        for rows in counted.iter().flat_map(|bits| bits.stretches(0..rows)) {
                            wanted.extend_from(&section.rows, start + rows.start..start + rows.end);
                        }
                        each(&part.stream, &wanted)?;
                    }
                    start = end;
                }
            }
            seq = self.store.next_stored(seq);
        }
        Ok(())
    }

    fn rows_of(&self, chunk: &Chunk) -> Result<Rows, DataError> {
        let part = &self.parts[chunk.stream];
        let width = self.columns.features.len();
        let mut out = Rows {
            stream: Arc::clone(&part.name),
            lead: chunk.lead,
            ..Rows::default()
        };
        out.ts.reserve_exact(chunk.rows);
        out.values.reserve_exact(chunk.rows * width);
        let mut reader = self.store.reader(&self.fields);
        let from = part
            .spans
            .partition_point(|span| span.last < chunk.start.seq);
        'spans: for span in &part.spans[from..] {
            let mut seq = span.first.max(chunk.start.seq);
            while seq <= span.last {
                if out.len() == chunk.rows {
                    break 'spans;
                }
                let block = self.block(&mut reader, seq).map_err(DataError)?;
                let section = block
                    .sections
                    .iter()
                    .find(|s| s.schema == part.stream.schema);
                if let Some(section) = section {
                    let mut start = 0;
                    for run in &section.runs {
                        let end = start + run.rows as usize;
                        if run.stream == part.stream.id {
                            self.append(&section.rows, start..end, span, seq, chunk, &mut out);
                        }
                        start = end;
                    }
                }
                seq = self.store.next_stored(seq);
            }
        }
        if out.len() != chunk.rows {
            return Err(DataError(format!(
                "{} of {} rows of {} are left since the cohort was resolved; resolve it again",
                out.len(),
                chunk.rows,
                part.name
            )));
        }
        if out.ends.iter().all(|ends| *ends) {
            out.ends.clear();
        }
        if let Some(fill) = &chunk.fill {
            let mut last = fill.clone();
            for row in out.values.chunks_exact_mut(width.max(1)) {
                filled(row, &mut last);
            }
        }
        Ok(out)
    }

    fn block(&self, reader: &mut RowReader<'_>, seq: u64) -> Result<Arc<Block>, String> {
        let last = || unpoisoned(self.last_block.lock());
        if let Some(block) = last().as_ref().filter(|block| block.seq == seq) {
            return Ok(Arc::clone(block));
        }
        let block = Arc::new(reader.block(seq)?.ok_or_else(|| gone(seq))?);
        *last() = Some(Arc::clone(&block));
        Ok(block)
    }

    /// Appends the rows `range` of a block that are taken, as far as they belong to the chunk.
    fn append(
        &self,
        rows: &rows::Rows,
        range: Range<usize>,
        span: &Span,
        seq: u64,
        chunk: &Chunk,
        out: &mut Rows,
    ) {
        let before = if seq == chunk.start.seq {
            chunk.start.row as usize
        } else {
            0
        };
        let mut room = chunk.rows - out.len();
        let mut stretches = Vec::new();
        for stretch in span.taken.stretches(before..range.len()) {
            let end = stretch.end.min(stretch.start + room);
            room -= end - stretch.start;
            stretches.push(range.start + stretch.start..range.start + end);
            if room == 0 {
                break;
            }
        }
        let (width, first) = (self.columns.features.len(), out.values.len());
        let added: usize = stretches.iter().map(Range::len).sum();
        out.values.resize(first + added * width, f32::NAN);
        for (feature, column) in rows.columns.iter().take(width) {
            let mut cells = out.values[first..].iter_mut().skip(feature).step_by(width);
            for stretch in &stretches {
                labels::numbers(column, stretch.clone(), &mut cells);
            }
        }
        for stretch in stretches {
            out.ts.extend_from_slice(&rows.ts[stretch.clone()]);
            out.is_train
                .extend_from_slice(&rows.is_train[stretch.clone()]);
            let places = stretch.start - range.start..stretch.end - range.start;
            out.ends.extend(places.map(|place| span.counted.has(place)));
            if let (Some(labels), Some(column)) = (&self.labels, rows.columns.get(width)) {
                out.label.extend(stretch.map(|row| labels.of(column, row)));
            }
        }
    }
}

fn gone(seq: u64) -> String {
    format!("block {seq} was trimmed or lost since the cohort was resolved; resolve it again")
}

/// Puts the last values in the place of missing ones, and keeps those that are there.
pub(super) fn filled(row: &mut [f32], last: &mut [f32]) {
    for (value, last) in row.iter_mut().zip(last) {
        if value.is_finite() {
            *last = *value;
        } else {
            *value = *last;
        }
    }
}

impl Source for Cohort {
    fn columns(&self) -> &Columns {
        &self.columns
    }

    fn chunks(&self) -> usize {
        self.chunks.len()
    }

    fn read(&self, index: usize) -> Result<Arc<Rows>, DataError> {
        let chunk = self.chunks.get(index);
        let chunk = chunk.ok_or_else(|| DataError(format!("there is no chunk {index}")))?;
        self.rows_of(chunk).map(Arc::new)
    }

    fn lineage(&self) -> &Lineage {
        &self.lineage
    }
}
