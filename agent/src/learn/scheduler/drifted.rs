//! Lines in which drift was noticed and no task has looked into it yet.
//!
//! Promises: what was noticed survives a restart, in a file of its own; what cannot be stored is known
//! until the agent ends, and told.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use dunlin_models::registry::ModelKey;
use dunlin_sync::{files::state_file, lock::unpoisoned};

const FILE: &str = "drifted";

pub(in crate::learn) struct Drifted {
    path: PathBuf,
    lines: Mutex<BTreeSet<ModelKey>>,
    /// Differs whenever more was noticed.
    notes: AtomicU64,
}

impl Drifted {
    /// What was known when the agent ended.
    pub(in crate::learn) fn open(state_dir: &Path) -> Self {
        let path = state_dir.join(FILE);
        let lines = state_file::read(&path).unwrap_or_else(|error| {
            tracing::warn!(%error, "drift noticed before is forgotten");
            None
        });
        Self {
            path,
            lines: Mutex::new(lines.unwrap_or_default()),
            notes: AtomicU64::new(0),
        }
    }

    pub(in crate::learn) fn note(&self, key: &ModelKey) {
        let mut lines = self.lock();
        if lines.insert(key.clone()) {
            self.store(&lines);
            self.notes.fetch_add(1, Relaxed);
        }
    }

    /// Differs whenever more was noticed.
    pub(in crate::learn) fn notes(&self) -> u64 {
        self.notes.load(Relaxed)
    }

    pub(in crate::learn) fn has(&self, key: &ModelKey) -> bool {
        self.lock().contains(key)
    }

    pub(in crate::learn) fn forget(&self, key: &ModelKey) {
        let mut lines = self.lock();
        if lines.remove(key) {
            self.store(&lines);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<ModelKey>> {
        unpoisoned(self.lines.lock())
    }

    fn store(&self, lines: &BTreeSet<ModelKey>) {
        if let Err(error) = state_file::write(&self.path, lines) {
            let path = self.path.display();
            tracing::warn!(%path, %error, "cannot store in which lines drift was noticed");
        }
    }
}

#[cfg(test)]
mod tests;
