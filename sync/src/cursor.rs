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
    interval_set::IntervalSet,
    sample::StreamId,
    state_file::{self, StateFileError},
};

/// Position of one reader (the uploader) in the row of blocks, for every stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    done: IntervalSet,
    rows_done: u64,
    held: BTreeMap<StreamId, u64>,
    taken_below: u64,
}

impl Cursor {
    /// The cursor saved at `path`; `None` if there is none.
    ///
    /// # Errors
    /// [`StateFileError`] if the file is damaged or unreadable. Starting anew is safe then: rows
    /// uploaded twice change nothing.
    pub fn read(path: &Path) -> Result<Option<Self>, StateFileError> {
        state_file::read(path)
    }

    /// Saves it durably at `path`.
    ///
    /// # Errors
    /// What the system said.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        state_file::write(path, self)
    }

    /// Blocks that need no reading any more, but for the streams in [`Cursor::held`].
    pub const fn done(&self) -> &IntervalSet {
        &self.done
    }

    /// Rows uploaded or rejected so far, over the life of this cursor; rows sent twice count twice.
    pub const fn rows_done(&self) -> u64 {
        self.rows_done
    }

    /// Streams that stand further back than the rest: rows of the stream in blocks from this `seq`
    /// on are not upstream, because it refuses just that stream and somebody must repair it.
    pub const fn held(&self) -> &BTreeMap<StreamId, u64> {
        &self.held
    }

    /// First block not done: every block with `seq < low_watermark()` is.
    pub fn low_watermark(&self) -> u64 {
        self.done.first_missing()
    }

    /// Position of one stream: all its rows in blocks with `seq < position_of(stream)` are settled.
    pub fn position_of(&self, stream: StreamId) -> u64 {
        let low = self.low_watermark();
        self.held.get(&stream).map_or(low, |seq| low.min(*seq))
    }

    /// The smallest position of any stream: no upload needs a block with `seq < position()`.
    pub fn position(&self) -> u64 {
        let held = self.held.values().copied().min();
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
        for seq in self.held.values_mut() {
            *seq = oldest.max(*seq);
        }
    }

    /// Rows of `stream` in blocks from `seq` on are not upstream.
    pub fn hold(&mut self, stream: StreamId, seq: u64) {
        let held = self.held.entry(stream).or_insert(seq);
        *held = seq.min(*held);
    }

    /// The rows of a held stream with `blocks.start <= seq < blocks.end` are upstream now, `rows` of
    /// them. Moves the stream only if that leaves no gap behind it.
    pub fn advance_held(&mut self, stream: StreamId, blocks: &Range<u64>, rows: u64) {
        self.rows_done += rows;
        if let Some(seq) = self.held.get_mut(&stream)
            && blocks.contains(seq)
        {
            *seq = blocks.end;
        }
    }

    /// `stream` has caught up and stands with the rest again.
    pub fn release(&mut self, stream: StreamId) {
        self.held.remove(&stream);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn positions_follow_the_done_blocks() {
        let mut cursor = Cursor::default();
        assert_eq!(cursor.position(), 0);
        cursor.advance(5..8, 30);
        assert_eq!((cursor.low_watermark(), cursor.done().end()), (0, 8));
        cursor.advance(0..5, 50);
        assert_eq!((cursor.position(), cursor.rows_done()), (8, 80));
    }

    #[test]
    fn a_held_stream_keeps_its_own_position_and_the_trim_back() {
        let mut cursor = Cursor::default();
        cursor.advance(0..10, 100);
        cursor.hold(3, 6);
        cursor.hold(3, 8);
        assert_eq!((cursor.position_of(3), cursor.position_of(4)), (6, 10));
        assert_eq!(cursor.position(), 6);
        cursor.advance_held(3, &(7..9), 1);
        assert_eq!(cursor.position_of(3), 6, "block 6 would be skipped");
        cursor.advance_held(3, &(6..9), 3);
        assert_eq!(cursor.position(), 9);
        cursor.release(3);
        assert_eq!((cursor.position(), cursor.rows_done()), (10, 104));
        // Newest first: a stream can be held in front of the low watermark.
        cursor.hold(1, 50);
        assert_eq!(cursor.position_of(1), 10);
    }

    #[test]
    fn dropped_blocks_hold_nothing_back() {
        let mut cursor = Cursor::default();
        cursor.hold(1, 2);
        cursor.forget_below(7);
        assert_eq!((cursor.position(), cursor.position_of(1)), (7, 7));
    }

    #[test]
    fn survives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state/cursor.uploader");
        assert_eq!(Cursor::read(&path).unwrap(), None);
        let mut cursor = Cursor::default();
        cursor.advance(0..10, 100);
        cursor.advance(20..30, 100);
        cursor.hold(3, 6);
        cursor.set_taken_below(99);
        cursor.write(&path).unwrap();
        assert_eq!(Cursor::read(&path).unwrap(), Some(cursor));
    }
}
