//! Corrections of the clock: by how much the timestamps of blocks are later than stored.

use std::{io, path::Path};

use serde::{Deserialize, Serialize};

use crate::files::state_file;

/// Timestamps of blocks `from_seq <= seq < to_seq` are `delta_ns` later than stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Correction {
    pub(crate) from_seq: u64,
    pub(crate) to_seq: u64,
    pub(crate) delta_ns: i64,
}

/// How much later than stored the timestamps of block `seq` are, nanoseconds.
pub(super) fn shift_ns(corrections: &[Correction], seq: u64) -> i64 {
    let hits = corrections
        .iter()
        .filter(|c| c.from_seq <= seq && seq < c.to_seq);
    hits.fold(0, |shift, c| shift.saturating_add(c.delta_ns))
}

/// Writes the corrections, then their copy, which may lag behind.
pub(super) fn write(dir: &Path, corrections: &Vec<Correction>) -> io::Result<()> {
    state_file::write(&dir.join("corrections"), corrections)?;
    if let Err(error) = state_file::write(&dir.join("corrections-copy"), corrections) {
        tracing::warn!(%error, "cannot copy the corrections of the clock");
    }
    Ok(())
}
