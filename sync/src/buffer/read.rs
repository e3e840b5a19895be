//! Reading blocks back by number, and what is done about those that cannot be read.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Instant,
};

use super::{Buffer, Extent, parts};
use crate::{
    block::{Block, codec},
    generation::{Bytes, Generation, GenerationError},
    interval_set::IntervalSet,
    lock::unpoisoned,
};

#[derive(Default)]
pub(super) struct Unreadable {
    /// Blocks given up, counted and told.
    lost: IntervalSet,
    /// Generation -> the first block in it (none: the generation itself) at which the device failed,
    /// and when.
    failing: HashMap<u64, (Option<u64>, Instant)>,
}

impl Unreadable {
    pub(super) fn forget_below(&mut self, seq: u64) {
        self.lost.remove(0..seq);
    }

    /// Forgets the troubles of a generation that is gone.
    pub(super) fn forget_generation(&mut self, id: u64) {
        self.failing.remove(&id);
    }
}

impl Buffer {
    /// The block numbered `seq`, timestamps (nanoseconds UTC) corrected; `None` if it was trimmed or is
    /// lost. A lost one is counted, set aside where its bytes can be read, and reported, once.
    ///
    /// # Errors
    /// A text for people, when the disk refuses: the block may be there, try again later.
    pub fn read_block(&self, seq: u64) -> Result<Option<Block>, String> {
        let Some((stored, shift_ns)) = self.stored(seq)? else {
            return Ok(None);
        };
        match codec::decode(seq, &stored, shift_ns) {
            Ok(block) => Ok(Some(block)),
            Err(error) => {
                self.set_block_aside(seq, &stored, &error.to_string());
                Ok(None)
            }
        }
    }

    /// Rows committed before the block `seq`; a block that is gone or unreadable counts as the next
    /// readable one.
    pub fn rows_before(&self, seq: u64) -> u64 {
        let mut seq = seq;
        loop {
            if let Some(row) = self.row_at_edge(seq) {
                return row;
            }
            match self.stored(seq) {
                Ok(stored) => {
                    let header = stored.and_then(|(b, _)| codec::decode_header(&b).ok());
                    if let Some(header) = header {
                        return header.first_row;
                    }
                    seq = self.next_stored(seq);
                }
                // Nor will the blocks after it say anything now.
                Err(_) => seq = self.end_of_generation(seq),
            }
        }
    }

    /// The row at which `seq` starts, where that is known without reading a block.
    fn row_at_edge(&self, seq: u64) -> Option<u64> {
        let inner = self.lock();
        let active = inner.active.extent;
        if seq >= active.next_seq {
            return Some(active.next_row);
        }
        let later = inner.extents().find(|extent| seq < extent.next_seq);
        later
            .filter(|extent| seq <= extent.first_seq)
            .map(|extent| extent.first_row)
    }

    fn end_of_generation(&self, seq: u64) -> u64 {
        let inner = self.lock();
        let after = inner.extents().find(|extent| seq < extent.next_seq);
        after.map_or(seq.saturating_add(1), |extent| extent.next_seq)
    }

    /// Number of the first block at or after `from_seq` whose first timestamp is at least `ts`
    /// (nanoseconds UTC, corrected); one past the newest block if there is none.
    ///
    /// # Errors
    /// A text for people, when the disk refuses.
    pub fn locate(&self, ts: i64, from_seq: u64) -> Result<u64, String> {
        let (mut low, mut high) = (from_seq.max(self.oldest_seq()), self.next_seq());
        while low < high {
            let middle = low + (high - low) / 2;
            // An unreadable or skipped block takes the place of the next readable one.
            let mut probe = middle;
            let header = loop {
                if probe >= high {
                    break None;
                }
                if let Some((bytes, shift)) = self.stored(probe)?
                    && let Ok(header) = codec::decode_header(&bytes)
                {
                    break Some(header.first_ts.saturating_add(shift));
                }
                probe = self.next_stored(probe);
            };
            match header {
                Some(first_ts) if first_ts < ts => low = probe + 1,
                _ => high = middle,
            }
        }
        Ok(low)
    }

    /// First and last timestamp of block `seq`, nanoseconds UTC, corrected; `None` if it is gone or unreadable.
    ///
    /// # Errors
    /// A text for people, when the disk refuses.
    pub fn times(&self, seq: u64) -> Result<Option<(i64, i64)>, String> {
        Ok(self.stored(seq)?.and_then(|(bytes, shift_ns)| {
            let header = codec::decode_header(&bytes).ok()?;
            let shifted = |ts: i64| ts.saturating_add(shift_ns);
            Some((shifted(header.first_ts), shifted(header.last_ts)))
        }))
    }

    /// The next number after `seq` that may hold a block: skips what was never written.
    pub fn next_stored(&self, seq: u64) -> u64 {
        let next = seq.saturating_add(1);
        let inner = self.lock();
        let later = inner.extents().find(|extent| next < extent.next_seq);
        later.map_or(next, |extent| next.max(extent.first_seq))
    }

    /// The stored bytes of block `seq` and the correction of its clock, nanoseconds.
    pub(super) fn stored(&self, seq: u64) -> Result<Option<(Bytes, i64)>, String> {
        self.stored_keeping(seq, &mut None)
    }

    /// As [`Self::stored`]; leaves the generation in `held`. Readers of many blocks keep it from one to
    /// the next, so that others who read elsewhere do not close it.
    pub(super) fn stored_keeping(
        &self,
        seq: u64,
        held: &mut Option<Arc<Generation>>,
    ) -> Result<Option<(Bytes, i64)>, String> {
        let (active, id, shift_ns) = {
            let inner = self.lock();
            let shift_ns = inner.shift_ns(seq);
            let inside = |e: &Extent| e.first_seq <= seq && seq < e.next_seq;
            let active = &inner.active;
            if inside(&active.extent) {
                (Some(Arc::clone(&active.generation)), active.id, shift_ns)
            } else {
                let found = inner.sealed.partition_point(|s| s.extent.next_seq <= seq);
                match inner.sealed.get(found).filter(|s| inside(&s.extent)) {
                    Some(sealed) => (None, sealed.id, shift_ns),
                    None => return Ok(None),
                }
            }
        };
        let is_active = active.is_some();
        let generation = match active {
            Some(generation) => generation,
            None => match self.open_sealed(id)? {
                Some(generation) => generation,
                None => return Ok(None),
            },
        };
        match parts::read(held.insert(generation), seq) {
            Ok(Some(bytes)) => {
                self.recovered(id, Some(seq));
                Ok(Some((bytes, shift_ns)))
            }
            Ok(None) => {
                self.lose_block(seq, "it is missing from its generation");
                Ok(None)
            }
            Err(GenerationError::Damaged(why)) => {
                if is_active {
                    self.seal_soon(id);
                }
                self.lose_block(seq, &why);
                Ok(None)
            }
            Err(GenerationError::Unreadable(why)) if self.is_beyond_patience(id, Some(seq)) => {
                self.lose_block(seq, &why);
                Ok(None)
            }
            Err(error) => Err(format!("generation {id}, block {seq}: {error}")),
        }
    }

    /// A damaged database takes no more blocks.
    fn seal_soon(&self, id: u64) {
        let mut inner = self.lock();
        if inner.active.id == id {
            inner.active.failed = true;
        }
    }

    /// A sealed generation, opened if need be; `None` if it is gone or was set aside just now.
    fn open_sealed(&self, id: u64) -> Result<Option<Arc<Generation>>, String> {
        match self.open_generation(id) {
            Ok(generation) => {
                self.recovered(id, None);
                return Ok(Some(generation));
            }
            Err(GenerationError::Damaged(why)) => self.set_generation_aside(id, &why),
            Err(GenerationError::Unreadable(why)) if self.is_beyond_patience(id, None) => {
                self.set_generation_aside(id, &why);
            }
            Err(error) => return Err(format!("generation {id}: {error}")),
        }
        Ok(None)
    }

    /// Counts, logs and remembers that block `seq` is lost; false if that is known.
    pub(super) fn lose_block(&self, seq: u64, why: &str) -> bool {
        let mut unreadable = unpoisoned(self.unreadable.lock());
        if unreadable.lost.contains(seq) {
            return false;
        }
        unreadable.lost.insert(seq..seq + 1);
        drop(unreadable);
        self.stats.blocks_corrupt.fetch_add(1, Relaxed);
        tracing::error!(block = seq, why, "a block is lost");
        true
    }

    /// Whether block `seq` was given up.
    pub(super) fn is_lost(&self, seq: u64) -> bool {
        unpoisoned(self.unreadable.lock()).lost.contains(seq)
    }

    /// Whether the device has failed here, in block `seq` of a generation or in opening it, for so
    /// long that nobody need try again.
    fn is_beyond_patience(&self, id: u64, seq: Option<u64>) -> bool {
        let mut unreadable = unpoisoned(self.unreadable.lock());
        let since = unreadable.failing.entry(id);
        let (_, since) = since.or_insert_with(|| (seq, Instant::now()));
        since.elapsed() >= self.patience
    }

    /// What failed first can be read again.
    fn recovered(&self, id: u64, seq: Option<u64>) {
        let mut unreadable = unpoisoned(self.unreadable.lock());
        let failed = unreadable.failing.get(&id);
        if failed.is_some_and(|(first, _)| *first == seq) {
            unreadable.failing.remove(&id);
        }
    }
}
