//! Reading back: one stream's records as columns of `f32`, straight from the packed columns.

use std::{sync::Arc, thread::ScopedJoinHandle};

use super::{Buffer, fields::columns_of};
use crate::{
    block::codec::{self, FieldColumns},
    generation::Generation,
    sample::{FieldType, SchemaId, StreamId, TimeRange, Timestamp},
};

/// Fewer blocks are not worth a thread.
const BLOCKS_PER_THREAD_MIN: u64 = 64;
/// Most room made for rows before they are read, bytes of all threads together.
const RESERVED_BYTES_MAX: usize = 32 << 20;

/// Which half of the data is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SplitFilter {
    /// Both halves.
    #[default]
    All,
    /// Training records.
    Train,
    /// Validation records.
    Validation,
    /// Records of one fold.
    Fold(u8),
    /// Records of every fold but one.
    NotFold(u8),
}

impl SplitFilter {
    fn takes(self, is_train: bool, fold: u8) -> bool {
        match self {
            Self::All => true,
            Self::Train => is_train,
            Self::Validation => !is_train,
            Self::Fold(wanted) => fold == wanted,
            Self::NotFold(unwanted) => fold != unwanted,
        }
    }
}

/// Order of the rows returned, and the end from which [`Query::rows_max`] counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Oldest first.
    #[default]
    OldestFirst,
    /// Newest first.
    NewestFirst,
}

/// Which records to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The stream.
    pub stream: StreamId,
    /// Positions of the wanted fields in the stream's schema. What columns beside one hold of its values
    /// comes with it.
    pub fields: Vec<usize>,
    /// Time range, nanoseconds UTC, both ends included.
    pub range: TimeRange,
    /// Split wanted.
    pub split: SplitFilter,
    /// Order of the rows returned, and the end from which `rows_max` counts.
    pub order: Order,
    /// Most rows, counted in `order`.
    pub rows_max: Option<usize>,
}

impl Query {
    /// Everything there is of `fields` of `stream`, oldest first.
    pub fn all(stream: StreamId, fields: Vec<usize>) -> Self {
        Self {
            stream,
            fields,
            range: TimeRange::ALL,
            split: SplitFilter::All,
            order: Order::OldestFirst,
            rows_max: None,
        }
    }

    /// The last `rows` records of `stream`, newest first.
    pub fn last(stream: StreamId, fields: Vec<usize>, rows: usize) -> Self {
        let newest = Self {
            order: Order::NewestFirst,
            ..Self::all(stream, fields)
        };
        Self {
            rows_max: Some(rows),
            ..newest
        }
    }
}

/// Records as columns: `ts.len()` rows; `columns[i]` is the i-th wanted field, NaN where missing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matrix {
    /// Timestamps, nanoseconds UTC.
    pub ts: Vec<i64>,
    /// One vector a wanted field, each as long as `ts`.
    pub columns: Vec<Vec<f32>>,
}

impl Matrix {
    fn empty(columns: usize) -> Self {
        Self {
            ts: Vec::new(),
            columns: vec![Vec::new(); columns],
        }
    }

    /// The parts one after the other.
    fn joined(parts: Vec<Self>) -> Self {
        let rows: usize = parts.iter().map(|part| part.ts.len()).sum();
        let mut parts = parts.into_iter();
        let mut all = parts.next().unwrap_or_default();
        all.reserve(rows);
        for part in parts {
            all.ts.extend_from_slice(&part.ts);
            for (column, more) in all.columns.iter_mut().zip(&part.columns) {
                column.extend_from_slice(more);
            }
        }
        all
    }

    /// Room for `rows` in all.
    fn reserve(&mut self, rows: usize) {
        let more = rows.saturating_sub(self.ts.len());
        self.ts.reserve_exact(more);
        self.columns
            .iter_mut()
            .for_each(|column| column.reserve_exact(more));
    }

    fn truncate(&mut self, rows: usize) {
        self.ts.truncate(rows);
        self.columns
            .iter_mut()
            .for_each(|column| column.truncate(rows));
    }

    fn reverse_from(&mut self, start: usize) {
        self.ts[start..].reverse();
        self.columns
            .iter_mut()
            .for_each(|column| column[start..].reverse());
    }

    /// Keeps the rows from `start` on for which `keep` says so.
    fn retain_from(&mut self, start: usize, keep: &[bool]) {
        let mut kept = start;
        for (offset, keep) in keep.iter().enumerate() {
            if *keep {
                self.ts[kept] = self.ts[start + offset];
                for column in &mut self.columns {
                    column[kept] = column[start + offset];
                }
                kept += 1;
            }
        }
        self.truncate(kept);
    }
}

/// One query being answered.
struct Reading<'a> {
    buffer: &'a Buffer,
    query: &'a Query,
    schema: SchemaId,
    fields: &'a [FieldColumns],
    threads: usize,
}

impl Reading<'_> {
    fn oldest_first(&self, first: u64, end: u64) -> Result<Matrix, String> {
        let rows_max = self.query.rows_max.unwrap_or(usize::MAX);
        let mut matrix = Matrix::empty(self.query.fields.len());
        let (mut seq, mut held) = (first, None);
        while seq < end && matrix.ts.len() < rows_max {
            let before = matrix.ts.len();
            self.append(seq, &mut held, &mut matrix)?;
            if before == 0 && !matrix.ts.is_empty() {
                // As many rows in every block as in this one, and growing stops copying; no more than
                // that, for it is a guess, and a small device has no room for a wrong one.
                let blocks = usize::try_from(end - seq).unwrap_or(usize::MAX);
                let row_bytes = 8 + 4 * matrix.columns.len();
                let room = RESERVED_BYTES_MAX / self.threads / row_bytes;
                let rows = matrix.ts.len().saturating_mul(blocks);
                matrix.reserve(rows.min(room).min(rows_max));
            }
            seq = self.buffer.next_stored(seq);
        }
        matrix.truncate(rows_max);
        Ok(matrix)
    }

    fn newest_first(&self, first: u64, end: u64) -> Result<Matrix, String> {
        let rows_max = self.query.rows_max.unwrap_or(usize::MAX);
        let mut matrix = Matrix::empty(self.query.fields.len());
        let (mut seq, mut held) = (end, None);
        while seq > first && matrix.ts.len() < rows_max {
            seq = self.buffer.previous_stored(seq);
            if seq < first {
                break;
            }
            let start = matrix.ts.len();
            self.append(seq, &mut held, &mut matrix)?;
            matrix.reverse_from(start);
        }
        matrix.truncate(rows_max);
        Ok(matrix)
    }

    /// Appends what is wanted of block `seq`, oldest row first.
    fn append(
        &self,
        seq: u64,
        held: &mut Option<Arc<Generation>>,
        matrix: &mut Matrix,
    ) -> Result<(), String> {
        let Some((stored, shift_ns)) = self.buffer.stored_keeping(seq, held)? else {
            return Ok(());
        };
        let (start, query) = (matrix.ts.len(), self.query);
        let part = match codec::project(
            &stored,
            self.schema,
            query.stream,
            self.fields,
            shift_ns,
            &mut matrix.columns,
        ) {
            Ok(None) => return Ok(()),
            Ok(Some(part)) => part,
            Err(error) => {
                matrix.truncate(start);
                self.buffer
                    .set_block_aside(seq, &stored, &error.to_string());
                return Ok(());
            }
        };
        matrix.ts.extend_from_slice(&part.ts);
        let inside = |ts: Option<&i64>| ts.is_some_and(|ts| query.range.contains(Timestamp(*ts)));
        if query.split != SplitFilter::All || !inside(part.ts.first()) || !inside(part.ts.last()) {
            let rows = part.ts.iter().zip(&part.is_train).enumerate();
            let wanted = rows.map(|(row, (ts, is_train))| {
                let fold = part.fold.get(row).copied().unwrap_or_default();
                query.range.contains(Timestamp(*ts)) && query.split.takes(*is_train, fold)
            });
            matrix.retain_from(start, &wanted.collect::<Vec<bool>>());
        }
        Ok(())
    }
}

impl Buffer {
    /// The records that `query` names. Unreadable blocks are set aside and left out. A long read of
    /// everything uses all cores.
    ///
    /// # Errors
    /// A text for people, when the disk refuses or the stream is unknown.
    pub fn matrix(&self, query: &Query) -> Result<Matrix, String> {
        let catalog = self.catalog();
        let stream = catalog.stream(query.stream);
        let schema = stream
            .ok_or_else(|| format!("no stream number {}", query.stream))?
            .schema;
        // As numbers, whatever they are held as.
        let kind = FieldType::F32;
        let wanted = query.fields.iter();
        let fields: Vec<FieldColumns> = wanted
            .map(|field| columns_of(catalog.schema(schema), *field, kind))
            .collect();
        let (first, end) = self.blocks_within(query.range)?;
        let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
        let threads = match query.rows_max {
            Some(_) => 1,
            None => threads.min(end.saturating_sub(first) / BLOCKS_PER_THREAD_MIN),
        };
        let threads = threads.max(1);
        let reading = Reading {
            buffer: self,
            query,
            schema,
            fields: &fields,
            threads: threads as usize,
        };
        if query.order == Order::NewestFirst {
            return reading.newest_first(first, end);
        }
        if threads == 1 {
            return reading.oldest_first(first, end);
        }
        let share = (end - first).div_ceil(threads);
        let parts = std::thread::scope(|scope| {
            let reading = &reading;
            let spawn = |thread: u64| {
                let from = first + thread * share;
                scope.spawn(move || reading.oldest_first(from, end.min(from + share)))
            };
            let workers: Vec<_> = (0..threads).map(spawn).collect();
            let ends = workers.into_iter().map(ScopedJoinHandle::join);
            ends.map(|end| end.unwrap_or_else(|_| Err("a reader panicked".into())))
                .collect::<Result<Vec<Matrix>, String>>()
        })?;
        Ok(Matrix::joined(parts))
    }

    /// Numbers of the blocks that may hold records of `range`: `first..end`.
    ///
    /// # Errors
    /// A text for people, when the disk refuses.
    pub fn blocks_within(&self, range: TimeRange) -> Result<(u64, u64), String> {
        let oldest = self.oldest_seq();
        let first = if range.from == Timestamp::MIN {
            oldest
        } else {
            // The block before the first that starts inside may reach into the range.
            let inside = self.locate(range.from.0, oldest)?;
            self.previous_stored(inside).max(oldest)
        };
        let end = match range.to.0.checked_add(1) {
            Some(after) if range.to != Timestamp::MAX => self.locate(after, first)?,
            _ => self.next_seq(),
        };
        Ok((first, end))
    }

    /// The number before `seq` that may hold a block: skips what was never written.
    pub fn previous_stored(&self, seq: u64) -> u64 {
        let inner = self.lock();
        let mut earlier = inner.extents().rev();
        let earlier = earlier.find(|extent| extent.first_seq < seq && !extent.is_empty());
        earlier.map_or(seq.saturating_sub(1), |extent| {
            (seq - 1).min(extent.next_seq - 1)
        })
    }
}
