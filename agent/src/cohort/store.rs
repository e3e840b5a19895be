//! Where the rows of a cohort are: in the buffer as they came, or in grids made of them.

use std::sync::Arc;

use dunlin_sync::{
    block::{Block, Outline},
    buffer::{Buffer, FieldReader, Fields},
    sample::TimeRange,
};

use crate::grid::{GridReader, GridStore};

/// Blocks of rows by rising numbers.
pub(super) enum RowStore {
    /// The records.
    Records(Arc<Buffer>),
    /// Rows made of them.
    Grid(GridStore),
}

/// Reads blocks one after the other.
pub(super) enum RowReader<'a> {
    Records(FieldReader<'a>),
    Grid(GridReader<'a>),
}

impl RowStore {
    /// A reader of `fields` alone.
    pub(super) fn reader<'a>(&'a self, fields: &'a Fields) -> RowReader<'a> {
        match self {
            Self::Records(buffer) => RowReader::Records(buffer.read_fields(fields)),
            Self::Grid(store) => RowReader::Grid(GridReader { store, fields }),
        }
    }

    /// Numbers of the blocks that may hold rows of `range`: `first..end`.
    pub(super) fn blocks_within(&self, range: TimeRange) -> Result<(u64, u64), String> {
        match self {
            Self::Records(buffer) => buffer.blocks_within(range),
            Self::Grid(store) => Ok((1, store.end())),
        }
    }

    pub(super) fn next_stored(&self, seq: u64) -> u64 {
        match self {
            Self::Records(buffer) => buffer.next_stored(seq),
            Self::Grid(_) => seq + 1,
        }
    }

    pub(super) fn previous_stored(&self, seq: u64) -> u64 {
        match self {
            Self::Records(buffer) => buffer.previous_stored(seq),
            Self::Grid(_) => seq.saturating_sub(1),
        }
    }

    /// What is before is gone.
    pub(super) fn oldest_seq(&self) -> u64 {
        match self {
            Self::Records(buffer) => buffer.oldest_seq(),
            Self::Grid(_) => 1,
        }
    }

    /// Records that are in no row because they came too late.
    pub(super) fn late(&self) -> u64 {
        match self {
            Self::Records(_) => 0,
            Self::Grid(store) => store.late(),
        }
    }
}

impl RowReader<'_> {
    /// The block numbered `seq`; `None` if it is gone or lost.
    ///
    /// # Errors
    /// A text for people, when it cannot be read now.
    pub(super) fn block(&mut self, seq: u64) -> Result<Option<Block>, String> {
        match self {
            Self::Records(reader) => reader.block(seq),
            Self::Grid(reader) => reader.block(seq),
        }
    }

    /// As [`Self::block`], but only whose rows there are.
    ///
    /// # Errors
    /// As [`Self::block`].
    pub(super) fn outline(&mut self, seq: u64) -> Result<Option<Outline>, String> {
        match self {
            Self::Records(reader) => reader.outline(seq),
            Self::Grid(reader) => Ok(reader.outline(seq)),
        }
    }
}
