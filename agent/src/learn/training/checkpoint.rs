//! Checkpoints of tasks under way, a file each.
//!
//! Promises: a checkpoint is durable once it is saved, and comes back to its own task alone; those of tasks that
//! nobody knows any more are swept.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use dunlin_sync::files::state_file;
use serde::{Deserialize, Serialize};

use crate::learn::scheduler::task::Task;

/// How the names of the files begin.
const PREFIX: &str = "checkpoint-";

/// Where one task keeps its checkpoint.
pub(in crate::learn) struct Checkpoint {
    path: PathBuf,
    task: u64,
    seed: u64,
}

/// A checkpoint as it lies on disk.
#[derive(Serialize, Deserialize)]
struct StoredCheckpoint {
    task: u64,
    seed: u64,
    checkpoint: Vec<u8>,
}

impl Checkpoint {
    /// That of `task`, in `state_dir`; there may be none yet.
    pub(in crate::learn) fn new(state_dir: &Path, task: &Task) -> Self {
        Self {
            path: state_dir.join(format!("{PREFIX}{}", task.id)),
            task: task.id,
            seed: task.seed,
        }
    }

    /// Keeps it, durably.
    ///
    /// # Errors
    /// What the system says, with the path.
    pub(super) fn save(&self, checkpoint: &[u8]) -> Result<(), String> {
        let kept = StoredCheckpoint {
            task: self.task,
            seed: self.seed,
            checkpoint: checkpoint.to_vec(),
        };
        state_file::write(&self.path, &kept)
            .map_err(|error| format!("{}: {error}", self.path.display()))
    }

    /// What this very task has kept, if anything.
    pub(super) fn load(&self) -> Option<Vec<u8>> {
        let kept: Option<StoredCheckpoint> = state_file::read(&self.path).unwrap_or_else(|error| {
            tracing::warn!(%error, "training begins anew without its checkpoint");
            None
        });
        // Numbers begin anew where the list of tasks was lost; a seed is drawn for each.
        kept.filter(|kept| (kept.task, kept.seed) == (self.task, self.seed))
            .map(|kept| kept.checkpoint)
    }

    pub(in crate::learn) fn remove(&self) {
        // There may never have been one; otherwise the next sweep tries again.
        let _left = fs::remove_file(&self.path);
    }
}

/// Deletes the checkpoints in `state_dir` of all tasks but those that are `open`: left by a cut, or stored by a
/// worker that was given up while it did.
pub(in crate::learn) fn sweep(state_dir: &Path, open: &[Task]) {
    let open = open.iter();
    let wanted: HashSet<PathBuf> = open
        .map(|task| Checkpoint::new(state_dir, task).path)
        .collect();
    for entry in fs::read_dir(state_dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_checkpoint = name.to_str().is_some_and(|name| name.starts_with(PREFIX));
        // One that is being stored has a name of its own until it is whole.
        let of = state_file::stored_as(&entry.path());
        if is_checkpoint && !wanted.contains(&of) {
            // The next sweep tries again.
            let _left = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests;
