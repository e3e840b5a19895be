//! Which records are read next.
//!
//! Promises: blocks are read in order; what was let go, or lost, before it was read is counted.

use std::sync::atomic::Ordering::Relaxed;

use dunlin_sync::{
    block::Block,
    buffer::{Buffer, BufferShape},
};

use crate::learn::LearnStats;

/// A place in the buffer.
pub(super) struct Reader {
    next_seq: u64,
    /// Rows committed before that block, of whatever streams.
    next_row: u64,
    /// Rows of which it is counted whether they were missed.
    counted_to: u64,
    /// Records are missing before the next block.
    is_behind_hole: bool,
    /// Timestamp of the last record read, nanoseconds UTC.
    read_to: i64,
}

impl Reader {
    /// A reader of what is committed after a buffer had this `shape`.
    pub(super) fn behind(buffer: &Buffer, shape: &BufferShape) -> Self {
        let next_row = buffer.rows_before(shape.next_seq);
        Self {
            next_seq: shape.next_seq,
            next_row,
            counted_to: next_row,
            is_behind_hole: false,
            read_to: shape.newest_ts.unwrap_or(i64::MIN),
        }
    }

    /// Timestamp of the last record read, nanoseconds UTC.
    pub(super) fn read_to(&self) -> i64 {
        self.read_to
    }

    /// Rows passed since the buffer began, of whatever streams.
    pub(super) fn rows_passed(&self) -> u64 {
        self.next_row
    }

    /// Whether something is to be read before the block numbered `end`.
    pub(super) fn is_before(&self, end: u64) -> bool {
        self.next_seq < end
    }

    /// Passes blocks that are gone.
    pub(super) fn skip_gone(&mut self, buffer: &Buffer) {
        let oldest = buffer.oldest_seq();
        self.is_behind_hole |= self.next_seq < oldest;
        self.next_seq = self.next_seq.max(oldest);
    }

    /// Whether records are missing before the block read last.
    pub(super) fn take_hole(&mut self) -> bool {
        std::mem::take(&mut self.is_behind_hole)
    }

    /// Passes everything before the block numbered `end`, unread: nobody answers it.
    pub(super) fn skip_to(&mut self, buffer: &Buffer, end: u64) {
        self.next_seq = end;
        self.next_row = buffer.rows_before(end);
        let last = buffer.times(end - 1).ok().flatten();
        self.read_to = last.map_or(self.read_to, |(_, last_ts)| last_ts);
    }

    /// Reads a block and passes it; `None` if it is gone or lost.
    ///
    /// # Errors
    /// A text for people if it cannot be read now; it is not passed.
    pub(super) fn read(
        &mut self,
        buffer: &Buffer,
        stats: &LearnStats,
    ) -> Result<Option<Block>, String> {
        let block = buffer.read_block(self.next_seq)?;
        // The rows of the next one tell how many are lost with one that is gone.
        if let Some(block) = &block {
            // What is read again was counted before.
            count_missed(stats, self.next_row.max(self.counted_to), block.first_row);
            self.next_row = block.first_row + block.rows();
            self.counted_to = self.counted_to.max(self.next_row);
            self.read_to = self.read_to.max(block.last_ts);
        }
        self.is_behind_hole |= block.is_none();
        self.next_seq = buffer.next_stored(self.next_seq);
        Ok(block)
    }

    /// Has a block read again that was not taken whole.
    pub(super) fn again(&mut self, block: &Block) {
        (self.next_seq, self.next_row) = (block.seq, block.first_row);
    }

    /// Goes back to what is later than `ts`, nanoseconds UTC, for a predictor that has not answered it.
    /// Those that have pass it over.
    ///
    /// # Errors
    /// A text for people if the place cannot be found now.
    pub(super) fn rewind(&mut self, buffer: &Buffer, ts: i64) -> Result<(), String> {
        let oldest = buffer.oldest_seq();
        let seq = buffer.locate(ts, oldest)?;
        // The block before may reach beyond.
        let seq = buffer.previous_stored(seq).max(oldest);
        if seq < self.next_seq {
            self.next_seq = seq;
            self.next_row = buffer.rows_before(seq);
        }
        Ok(())
    }

    /// Says what is still to be read, so that it is not let go while there is room; nothing unless
    /// somebody `is_answering`.
    pub(super) fn want(&self, buffer: &Buffer, is_answering: bool) {
        buffer.wanted_from(if is_answering {
            self.next_seq
        } else {
            u64::MAX
        });
    }
}

/// Counts rows that were let go, or lost, before they were read: those between two numbers.
pub(super) fn count_missed(stats: &LearnStats, expected: u64, found: u64) {
    let missed = found.saturating_sub(expected);
    if missed > 0 {
        stats.missed.fetch_add(missed, Relaxed);
        tracing::warn!(records = missed, "let go before they were answered");
    }
}
