//! Reading back: one stream's records as columns of `f32`, straight from the packed columns.

use super::Buffer;
use crate::{
    codec,
    sample::{StreamId, TimeRange, Timestamp},
};

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
    /// Positions of the wanted fields in the stream's schema.
    pub fields: Vec<usize>,
    /// Time range, both ends included.
    pub range: TimeRange,
    /// Split wanted.
    pub split: SplitFilter,
    /// Order.
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

impl Buffer {
    /// The records that `query` names. Unreadable blocks are set aside and left out.
    ///
    /// # Errors
    /// A text for people, when the disk refuses or the stream is unknown.
    pub fn matrix(&self, query: &Query) -> Result<Matrix, String> {
        let catalog = self.catalog();
        let stream = catalog.stream(query.stream);
        let schema = stream
            .ok_or_else(|| format!("no stream number {}", query.stream))?
            .schema;
        let rows_max = query.rows_max.unwrap_or(usize::MAX);
        let mut matrix = Matrix {
            ts: Vec::new(),
            columns: vec![Vec::new(); query.fields.len()],
        };

        let (first, end) = self.blocks_within(query.range)?;
        let newest_first = query.order == Order::NewestFirst;
        let mut seq = if newest_first { end } else { first };
        loop {
            if matrix.ts.len() >= rows_max
                || (newest_first && seq <= first)
                || (!newest_first && seq >= end)
            {
                break;
            }
            if newest_first {
                seq = self.previous_stored(seq);
                if seq < first {
                    break;
                }
            }
            if let Some((stored, shift_ns)) = self.stored(seq)? {
                let start = matrix.ts.len();
                let columns = &mut matrix.columns;
                match codec::project(
                    &stored,
                    schema,
                    query.stream,
                    &query.fields,
                    shift_ns,
                    columns,
                ) {
                    Ok(None) => {}
                    Ok(Some(part)) => {
                        matrix.ts.extend_from_slice(&part.ts);
                        let inside = part.ts.first().zip(part.ts.last()).is_some_and(|(a, b)| {
                            query.range.contains(Timestamp(*a))
                                && query.range.contains(Timestamp(*b))
                        });
                        if !inside || query.split != SplitFilter::All {
                            let rows = part.ts.iter().zip(&part.is_train).enumerate();
                            let keep: Vec<bool> = rows
                                .map(|(row, (ts, is_train))| {
                                    let fold = part.fold.get(row).copied().unwrap_or_default();
                                    query.range.contains(Timestamp(*ts))
                                        && query.split.takes(*is_train, fold)
                                })
                                .collect();
                            matrix.retain_from(start, &keep);
                        }
                        if newest_first {
                            matrix.reverse_from(start);
                        }
                    }
                    Err(error) => {
                        matrix.truncate(start);
                        self.set_block_aside(seq, &stored, &error.to_string());
                    }
                }
            }
            if !newest_first {
                seq = self.next_stored(seq);
            }
        }
        matrix.truncate(rows_max);
        Ok(matrix)
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
