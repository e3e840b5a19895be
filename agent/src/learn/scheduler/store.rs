//! Open tasks on disk: a table, and a log of what has changed since it was written.
//!
//! Promises: a change costs what it holds, however many tasks are open; the table is written anew when the log
//! has grown beyond it. A power cut between the two does no harm, since the log ends where the table stands.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
};

use dunlin_models::registry::ModelKey;
use dunlin_sync::files::{
    state_file::{self, StateFileError},
    state_log::{self, StateLog},
};
use serde::{Deserialize, Serialize};

use crate::{
    config::settings::StatusWords,
    learn::scheduler::task::{Task, TaskKind, TaskState},
};

const TABLE: &str = "tasks";
const LOG: &str = "tasks-log";
/// The table is not written anew for less than this, bytes of log.
const LOG_BYTES_MIN: u64 = 64 << 10;
/// Bytes of log for each task in the table before that is written anew.
const LOG_BYTES_PER_TASK: u64 = 512;

/// A task as it lies on disk: under the configured word for what it is at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredTask {
    id: u64,
    key: ModelKey,
    kind: TaskKind,
    status: String,
    started_ns: i64,
    seed: u64,
    to_ts: i64,
    parent: Option<u64>,
    version: Option<u64>,
    query: String,
    reason: String,
}

impl StoredTask {
    pub(super) fn new(task: &Task, words: &StatusWords) -> Self {
        let task = task.clone();
        Self {
            status: task.state.word(words).to_owned(),
            id: task.id,
            key: task.key,
            kind: task.kind,
            started_ns: task.started_ns,
            seed: task.seed,
            to_ts: task.to_ts,
            parent: task.parent,
            version: task.version,
            query: task.query,
            reason: task.reason,
        }
    }

    pub(super) fn into_task(self, words: &StatusWords) -> Task {
        Task {
            state: TaskState::of_open(self.status, words),
            id: self.id,
            key: self.key,
            kind: self.kind,
            started_ns: self.started_ns,
            seed: self.seed,
            to_ts: self.to_ts,
            parent: self.parent,
            version: self.version,
            query: self.query,
            reason: self.reason,
        }
    }
}

/// What survives a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Table {
    pub(super) next_id: u64,
    /// Tasks that wait or work.
    pub(super) open: Vec<StoredTask>,
    /// Newest record that the last failed task of a line saw.
    pub(super) tried_to: HashMap<ModelKey, i64>,
}

/// One thing that has changed in the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum TaskChange {
    /// A task is open, and is like this now.
    Open(StoredTask),
    /// A task has come to its end.
    Closed(u64),
    /// Newest record that the last failed task of a line saw, if it failed.
    Tried(ModelKey, Option<i64>),
}

impl Table {
    /// Makes the change, as it was made when it was noted.
    fn apply(&mut self, change: TaskChange) {
        match change {
            TaskChange::Open(task) => {
                self.next_id = self.next_id.max(task.id);
                match self.open.iter_mut().find(|open| open.id == task.id) {
                    Some(open) => *open = task,
                    None => self.open.push(task),
                }
            }
            TaskChange::Closed(id) => self.open.retain(|open| open.id != id),
            TaskChange::Tried(key, Some(ts)) => drop(self.tried_to.insert(key, ts)),
            TaskChange::Tried(key, None) => drop(self.tried_to.remove(&key)),
        }
    }

    fn replay(mut self, log: Vec<Vec<TaskChange>>) -> Self {
        for change in log.into_iter().flatten() {
            self.apply(change);
        }
        self
    }
}

/// The files of the table.
pub(super) struct TasksFile {
    path: PathBuf,
    log: Option<StateLog>,
    /// Something could not be stored: the log lacks it.
    is_behind: bool,
}

impl TasksFile {
    /// Opens the files in `state_dir`, with the table as it was noted last. What cannot be read is forgotten.
    pub(super) fn open(state_dir: &Path) -> (Self, Table) {
        let path = state_dir.join(TABLE);
        let table = state_file::read(&path).unwrap_or_else(|error| {
            tracing::error!(%error, "open tasks are forgotten; the scan finds them again");
            None
        });
        let (log, changes) = match StateLog::open(&state_dir.join(LOG)) {
            Ok((log, changes)) => (Some(log), changes),
            Err(error) => {
                tracing::error!(%error, "open tasks are stored as a whole each time");
                // Found at a later start it would say what is not so any more.
                let log = state_dir.join(LOG);
                let _best_effort = fs::rename(&log, log.with_extension("damaged"));
                (None, Vec::new())
            }
        };
        let table: Table = table.unwrap_or_default();
        let file = Self {
            path,
            log,
            is_behind: false,
        };
        (file, table.replay(changes))
    }

    /// Stores `changes`, durably, which `open` tasks remain after; asks for the `table` with them only if that is
    /// to be written anew.
    pub(super) fn note(
        &mut self,
        changes: &Vec<TaskChange>,
        open: usize,
        table: &dyn Fn() -> Table,
    ) {
        let stored = self.store(changes, open, table);
        self.is_behind = stored.is_err();
        if let Err(error) = stored {
            tracing::warn!(path = %self.path.display(), %error, "cannot store the open tasks");
        }
    }

    fn store(
        &mut self,
        changes: &Vec<TaskChange>,
        open: usize,
        table: &dyn Fn() -> Table,
    ) -> io::Result<()> {
        let bytes_max = LOG_BYTES_MIN.max(open as u64 * LOG_BYTES_PER_TASK);
        if let Some(log) = self.log.as_mut().filter(|_| !self.is_behind) {
            // Before the table, so that replaying it onto that does no harm.
            log.append(changes)?;
            if log.bytes() < bytes_max {
                return Ok(());
            }
        }
        state_file::write(&self.path, &table())?;
        self.log.as_mut().map_or(Ok(()), StateLog::clear)
    }
}

/// Tasks that were open when an agent ended, by the lists in its `state_dir`.
///
/// # Errors
/// A list cannot be read.
pub fn open_tasks(state_dir: &Path) -> Result<Vec<StoredTask>, StateFileError> {
    let table: Option<Table> = state_file::read(&state_dir.join(TABLE))?;
    let log = state_log::peek(&state_dir.join(LOG))?;
    Ok(table.unwrap_or_default().replay(log).open)
}

#[cfg(test)]
mod tests;
