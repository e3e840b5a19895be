//! Writing: what one commit puts into the newest generation, together and in which order.
//!
//! Blocks, fingerprints and the names they need are one batch. Into a generation that holds blocks no more
//! than [`PUT_BYTES_MAX`] goes at once: more blocks begin a generation of their own, which takes any batch,
//! and names that do not fit beside the blocks go before them, in parts.

use std::sync::atomic::Ordering::Relaxed;

use super::{
    Buffer, Inner,
    catalog::{bytes_of, put_parts},
    parts::{self, PUT_BYTES_MAX},
};
use crate::{
    block::codec::BlockBody,
    generation::{Entry, GenerationError},
    sample::StreamId,
};

/// Bytes of fingerprints in one entry.
const FINGERPRINT_BYTES_MAX: usize = 4096;

/// Why nothing was committed. The same blocks may be committed again.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// No room: try again when something has been uploaded or space has been freed.
    #[error("buffer full: {0}")]
    Full(String),
    /// The newest generation failed; the next commit begins another.
    #[error("commit failed: {0}")]
    Failed(String),
    /// Blocks of a stream that the catalog lacks: its rows would belong to nobody. Declare it first.
    #[error("the catalog lacks stream {0}, of which there are records to commit")]
    Unnamed(StreamId),
}

/// Fingerprints of the commit that ended before `next_seq`, `first_part` entries of which are there.
pub(crate) fn fingerprint_entries(
    next_seq: u64,
    first_part: u32,
    fingerprints: &[u64],
) -> Vec<Entry> {
    let chunks = fingerprints.chunks(FINGERPRINT_BYTES_MAX / 8);
    let entries = (first_part..).zip(chunks).map(|(part, chunk)| {
        let mut key = vec![b'f'];
        key.extend_from_slice(&next_seq.to_be_bytes());
        key.extend_from_slice(&part.to_be_bytes());
        (
            key,
            chunk
                .iter()
                .flat_map(|fingerprint| fingerprint.to_le_bytes())
                .collect(),
        )
    });
    entries.collect()
}

impl Inner {
    /// Notes whose rows the newest generation holds now, with the blocks from `first_seq` on.
    fn count(&mut self, first_seq: u64, blocks: &[BlockBody]) {
        let Self { active, usages, .. } = self;
        for (seq, block) in (first_seq..).zip(blocks) {
            for run in &block.runs {
                let is_first = !active.census.has(run.stream);
                usages.add(run.stream, run.rows.into(), is_first, block.last_ts);
                active.named.insert(run.stream);
            }
            active.census.add(seq, &block.runs, block.last_ts);
        }
    }
}

impl Buffer {
    /// Makes the blocks durable, all or none, with the fingerprints of the publishes they came from.
    /// Returns one past the number of the last block. More than 128 KiB of blocks begin a generation of
    /// their own.
    ///
    /// # Errors
    /// [`CommitError`]; nothing of it counts, and the blocks can be committed again.
    pub fn commit(&self, blocks: &[BlockBody], fingerprints: &[u64]) -> Result<u64, CommitError> {
        let mut inner = self.change();
        let bytes: usize = blocks.iter().map(BlockBody::encoded_bytes).sum();
        let rest_bytes = (bytes + fingerprints.len() * 8 + bytes_of(&inner.pending)) as u64;
        let names_bytes = bytes_of(&self.names_of(&inner, blocks)?) as u64;
        let room = self.make_room(&mut inner, rest_bytes + names_bytes);
        self.stats.full.store(u64::from(room.is_err()), Relaxed);
        room?;
        if self.is_rotation_due(&inner, rest_bytes) {
            let rotated = self.rotate(&mut inner);
            let is_full = matches!(rotated, Err(CommitError::Full(_)));
            self.stats.full.store(u64::from(is_full), Relaxed);
            rotated?;
        }
        // A generation may have been begun, which knows no names.
        let names = self.names_of(&inner, blocks)?;
        let put_bytes = rest_bytes + bytes_of(&names) as u64;
        let too_many = put_bytes > PUT_BYTES_MAX && !inner.active.extent.is_empty();
        let mut entries = inner.pending.clone();
        entries.extend(names);
        // Schemas first: a stream must never be found without its own.
        let before = if too_many {
            std::mem::take(&mut entries)
        } else {
            Vec::new()
        };
        let mut extent = inner.active.extent;
        for block in blocks {
            let stored = block.stored(extent.next_row);
            let stored = stored.map_err(|e| CommitError::Failed(e.to_string()))?;
            entries.extend(parts::block_entries(extent.next_seq, stored));
            extent.next_seq += 1;
            extent.next_row += u64::from(block.rows);
            extent.last_ts = Some(block.last_ts);
        }
        // A commit without blocks adds to the fingerprints of the one before.
        let parts_before = match blocks {
            [] => inner.active.fingerprint_parts,
            _ => 0,
        };
        let prints = fingerprint_entries(extent.next_seq, parts_before, fingerprints);
        let fingerprint_parts = parts_before + prints.len() as u32;
        entries.extend(prints);
        let generation = &inner.active.generation;
        if let Err(error) = put_parts(generation, before).and_then(|()| generation.put(entries)) {
            inner.active.failed = true;
            return Err(match error {
                GenerationError::Full => {
                    self.stats.full.store(1, Relaxed);
                    CommitError::Full(error.to_string())
                }
                other => CommitError::Failed(other.to_string()),
            });
        }
        inner.pending.clear();
        let declared = std::mem::take(&mut inner.declared);
        inner.active.named.extend(declared);
        let first_seq = inner.active.extent.next_seq;
        inner.count(first_seq, blocks);
        inner.active.fingerprint_parts = fingerprint_parts;
        let rows = extent.next_row - inner.active.extent.next_row;
        inner.active.extent = extent;
        inner.fingerprints.extend(fingerprints);
        let surplus = inner
            .fingerprints
            .len()
            .saturating_sub(self.options.fingerprints_max);
        inner.fingerprints.drain(..surplus);
        drop(inner);

        self.stats.commits.fetch_add(1, Relaxed);
        self.stats.rows_committed.fetch_add(rows, Relaxed);
        self.stats.bytes_committed.fetch_add(bytes as u64, Relaxed);
        self.committed.send_replace(extent.next_seq);
        Ok(extent.next_seq)
    }
}
