//! Up to where blocks may be deleted.
//!
//! `trim < horizon = min(cursor, replay_start)`: a block goes only when the upstream has it and no
//! training wants it any more. Everything that deletes uploaded blocks asks here, and nothing else
//! decides.

/// The first block (by `seq`) that must stay, given the first that some stream's upload still needs
/// (see `Cursor::position`) and the first inside the learner's replay window.
pub const fn horizon(cursor: u64, replay_start: u64) -> u64 {
    if cursor < replay_start {
        cursor
    } else {
        replay_start
    }
}

#[cfg(test)]
mod tests;
