//! What one generation says of itself.

use std::{collections::HashSet, path::Path};

use super::{
    Extent,
    catalog::{Names, read_names},
    census::Census,
    parts,
};
use crate::{
    block::codec,
    files::frame,
    generation::{Generation, GenerationError},
    sample::StreamId,
};

/// Everything it says.
pub(super) struct Inside {
    pub(super) generation: Generation,
    pub(super) extent: Extent,
    pub(super) names: Names,
    pub(super) named: HashSet<StreamId>,
    pub(super) fingerprints: Vec<u64>,
    pub(super) fingerprint_parts: u32,
    pub(super) census: Census,
}

/// Opens a generation and finds its edges.
pub(super) fn look_inside(path: &Path) -> Result<(Generation, Extent), GenerationError> {
    let generation = Generation::open_existing(path)?;
    let start = generation.get(b"m")?;
    let start = start.ok_or_else(|| GenerationError::Damaged("its start is missing".into()))?;
    if let Some(format) = frame::newer(&start) {
        return Err(GenerationError::Newer(format));
    }
    let (mut newer, mut failed) = (None, None);
    let mut extent: Extent = frame::from_bytes(&start)
        .map_err(|error| GenerationError::Damaged(format!("its start: {error}")))?;
    generation.scan_back(b"b", |key, value| {
        // The number of a block that cannot be read was used all the same.
        if let Some(seq) = parts::number(key, 1) {
            extent.next_seq = extent.next_seq.max(seq + 1);
        }
        if !parts::is_first(key) {
            return true;
        }
        let stored = parts::number(key, 1).map(|seq| parts::read(&generation, seq));
        let stored = match stored {
            Some(Ok(Some(stored))) => stored,
            Some(Err(error)) => {
                failed = Some(error);
                return false;
            }
            None | Some(Ok(None)) => value.into(),
        };
        let Ok(header) = codec::decode_header(&stored) else {
            newer = frame::newer(&stored);
            return newer.is_none();
        };
        extent.next_row = header.first_row + u64::from(header.rows);
        extent.last_ts = Some(header.last_ts);
        false
    })?;
    match (newer, failed) {
        (Some(format), _) => Err(GenerationError::Newer(format)),
        (None, Some(error)) => Err(error),
        (None, None) => Ok((generation, extent)),
    }
}

/// Opens a generation and reads all but its blocks' columns.
pub(super) fn look_at_everything(path: &Path) -> Result<Inside, GenerationError> {
    let (generation, extent) = look_inside(path)?;
    let (names, named) = read_names(&generation)?;
    let census = Census::take(&generation, &extent)?;
    let (fingerprints, fingerprint_parts) = read_fingerprints(&generation, extent.next_seq)?;
    Ok(Inside {
        generation,
        extent,
        names,
        named,
        fingerprints,
        fingerprint_parts,
        census,
    })
}

/// The newest fingerprints, oldest first, and how many entries there are under `next_seq`.
fn read_fingerprints(
    generation: &Generation,
    next_seq: u64,
) -> Result<(Vec<u64>, u32), GenerationError> {
    const NEEDED: usize = 1 << 16;
    let mut chunks: Vec<Vec<u64>> = Vec::new();
    let (mut count, mut parts) = (0, 0);
    generation.scan_back(b"f", |key, value| {
        parts += u32::from(parts::number(key, 1) == Some(next_seq));
        let numbers = value
            .chunks_exact(8)
            .filter_map(|bytes| bytes.try_into().ok());
        let chunk: Vec<u64> = numbers.map(u64::from_le_bytes).collect();
        count += chunk.len();
        chunks.push(chunk);
        count < NEEDED
    })?;
    Ok((chunks.into_iter().rev().flatten().collect(), parts))
}
