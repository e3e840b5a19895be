//! What has been uploaded: one durable position per reader and stream.
//!
//! For every stream `s`, with `position(s)` as below and blocks numbered by `seq`:
//!
//! - `position(s) <= low_watermark() <= done.end() <= next_seq` of the buffer;
//! - every row of `s` in a block with `seq < position(s)` is upstream, or in quarantine, or was
//!   dropped by name before it could be read;
//! - a block is deleted only if `seq < position()`, which is `<= position(s)` for every `s`.
//!
//! A position per stream written out would cost a thousand writes a batch. Almost all streams stand
//! at the same place, so only those that stand further back are named ([`Cursor::held`]).

use std::{collections::BTreeMap, io, ops::Range, path::Path};

use serde::{Deserialize, Serialize};

use crate::{
    files::state_file::{self, StateFileError},
    interval_set::IntervalSet,
    sample::StreamId,
};

/// Format of the saved cursor; the first one had no number and no rows of held streams.
const FORMAT: u32 = 2;

/// Where a stream stands that the upstream refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Its rows in blocks from this number on are not upstream.
    pub seq: u64,
    /// How many of these have been passed by.
    pub rows: u64,
}

/// Position of one reader (the uploader) in the row of blocks, for every stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    done: IntervalSet,
    rows_done: u64,
    held: BTreeMap<StreamId, Held>,
    taken_below: u64,
}

/// A cursor as the first format has it.
#[derive(Deserialize)]
struct First {
    done: IntervalSet,
    rows_done: u64,
    held: BTreeMap<StreamId, u64>,
    taken_below: u64,
}

impl From<First> for Cursor {
    fn from(first: First) -> Self {
        let held = first.held.into_iter();
        Self {
            done: first.done,
            rows_done: first.rows_done,
            held: held.map(|(id, seq)| (id, Held { seq, rows: 0 })).collect(),
            taken_below: first.taken_below,
        }
    }
}

impl Cursor {
    /// The cursor saved at `path`; `None` if there is none.
    ///
    /// # Errors
    /// [`StateFileError`] if the file is damaged or unreadable. Starting anew is safe then: rows
    /// uploaded twice change nothing.
    pub fn read(path: &Path) -> Result<Option<Self>, StateFileError> {
        match state_file::read::<(u32, Self)>(path) {
            Ok(Some((FORMAT, cursor))) => Ok(Some(cursor)),
            Ok(None) => Ok(None),
            Ok(Some(_)) | Err(StateFileError::Corrupt { .. }) => {
                let first = state_file::read::<First>(path)?;
                Ok(first.map(Self::from))
            }
            Err(error) => Err(error),
        }
    }

    /// Saves it durably at `path`.
    ///
    /// # Errors
    /// What the system said.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        state_file::write(path, &(FORMAT, self))
    }

    /// Blocks that need no reading any more, but for the streams in [`Cursor::held`].
    pub const fn done(&self) -> &IntervalSet {
        &self.done
    }

    /// Rows uploaded or rejected so far, over the life of this cursor; rows sent twice count twice.
    pub const fn rows_done(&self) -> u64 {
        self.rows_done
    }

    /// Streams that stand further back than the rest, because the upstream refuses just them and
    /// somebody must repair it.
    pub const fn held(&self) -> &BTreeMap<StreamId, Held> {
        &self.held
    }

    /// Rows of held streams that have been passed by.
    pub fn rows_held(&self) -> u64 {
        let rows = self.held.values().map(|held| held.rows);
        rows.fold(0, u64::saturating_add)
    }

    /// First block not done: every block with `seq < low_watermark()` is.
    pub fn low_watermark(&self) -> u64 {
        self.done.first_missing()
    }

    /// Position of one stream: all its rows in blocks with `seq < position_of(stream)` are settled.
    pub fn position_of(&self, stream: StreamId) -> u64 {
        let low = self.low_watermark();
        self.held.get(&stream).map_or(low, |held| low.min(held.seq))
    }

    /// The smallest position of any stream: no upload needs a block with `seq < position()`.
    pub fn position(&self) -> u64 {
        let held = self.held.values().map(|held| held.seq).min();
        self.low_watermark().min(held.unwrap_or(u64::MAX))
    }

    /// Every block that this reader may ever have read has `seq < taken_below()`, even after a crash.
    pub const fn taken_below(&self) -> u64 {
        self.taken_below
    }

    /// Sets [`Cursor::taken_below`].
    pub const fn set_taken_below(&mut self, seq: u64) {
        self.taken_below = seq;
    }

    /// Marks `blocks` as done, with `rows` uploaded or rejected from them.
    pub fn advance(&mut self, blocks: Range<u64>, rows: u64) {
        self.done.insert(blocks);
        self.rows_done += rows;
    }

    /// Blocks with `seq < oldest` are gone (trimmed or dropped): nobody waits for them.
    pub fn forget_below(&mut self, oldest: u64) {
        self.done.insert(0..oldest);
        for held in self.held.values_mut() {
            held.seq = oldest.max(held.seq);
        }
    }

    /// `rows` rows of `stream` in blocks from `seq` on have been passed by: they are not upstream.
    pub fn hold(&mut self, stream: StreamId, seq: u64, rows: u64) {
        let held = self.held.entry(stream).or_insert(Held { seq, rows: 0 });
        held.seq = seq.min(held.seq);
        held.rows = held.rows.saturating_add(rows);
    }

    /// The rows of a held stream with `blocks.start <= seq < blocks.end` are upstream now, `rows` of
    /// them. Moves the stream only if that leaves no gap behind it.
    pub fn advance_held(&mut self, stream: StreamId, blocks: &Range<u64>, rows: u64) {
        self.rows_done += rows;
        if let Some(held) = self.held.get_mut(&stream)
            && blocks.contains(&held.seq)
        {
            held.seq = blocks.end;
            held.rows = held.rows.saturating_sub(rows);
        }
    }

    /// `stream` has caught up and stands with the rest again.
    pub fn release(&mut self, stream: StreamId) {
        self.held.remove(&stream);
    }
}

#[cfg(test)]
mod tests;
