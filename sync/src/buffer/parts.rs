//! A block under its keys. One above [`BLOCK_BYTES_MAX`] (a single wide record) is several values of at
//! most that, so that none becomes a sled blob: a part that is full goes on in the next one. The
//! checksum is that of the whole block, so a missing part is damage of this block and of no other.

use crate::{
    block::builder::BLOCK_BYTES_MAX,
    generation::{Bytes, Entry, Generation, GenerationError},
};

/// Most bytes put at once into a generation that holds something. What sled has moved away from it
/// overwrites again as soon as the move is written, three segments later: within one put that is before
/// the device has been told to keep the move, and a power cut would leave neither. Putting a block makes
/// sled write some four times its bytes.
pub(super) const PUT_BYTES_MAX: u64 = 128 << 10;
/// Most parts of a block: what one put can hold.
const PARTS_MAX: u32 = 16;

pub(super) fn key(seq: u64, part: u32) -> Vec<u8> {
    let mut key = vec![b'b'];
    key.extend_from_slice(&seq.to_be_bytes());
    if part > 0 {
        key.extend_from_slice(&part.to_be_bytes());
    }
    key
}

pub(super) fn block_entries(seq: u64, stored: Vec<u8>) -> Vec<Entry> {
    if stored.len() <= BLOCK_BYTES_MAX {
        return vec![(key(seq, 0), stored)];
    }
    let parts = (0..).zip(stored.chunks(BLOCK_BYTES_MAX));
    parts
        .map(|(part, bytes)| (key(seq, part), bytes.to_vec()))
        .collect()
}

pub(super) fn number(key: &[u8], start: usize) -> Option<u64> {
    let bytes = key.get(start..start + 8)?.try_into().ok()?;
    Some(u64::from_be_bytes(bytes))
}

/// Whether an entry under `key` is where a block begins.
pub(super) fn is_first(key: &[u8]) -> bool {
    key.len() == 1 + size_of::<u64>()
}

/// The stored bytes of the block `seq`, joined as far as its parts are there.
pub(super) fn read(generation: &Generation, seq: u64) -> Result<Option<Bytes>, GenerationError> {
    let Some(first) = generation.get(&key(seq, 0))? else {
        return Ok(None);
    };
    if first.len() < BLOCK_BYTES_MAX {
        return Ok(Some(first));
    }
    let mut whole = first.to_vec();
    for part in 1..PARTS_MAX {
        let Some(bytes) = generation.get(&key(seq, part))? else {
            break;
        };
        whole.extend_from_slice(&bytes);
        if bytes.len() < BLOCK_BYTES_MAX {
            break;
        }
    }
    Ok(Some(whole.into()))
}
