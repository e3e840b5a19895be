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

use crate::learn::scheduler::task::Task;

/// Name of the table.
const TABLE: &str = "tasks";
/// Name of the log.
const LOG: &str = "tasks-log";
/// The table is not written anew for less than this, bytes of log.
const LOG_BYTES_MIN: u64 = 64 << 10;
/// Bytes of log for each task in the table before that is written anew.
const LOG_BYTES_PER_TASK: u64 = 512;

/// What survives a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::learn) struct Table {
    pub(in crate::learn) next_id: u64,
    /// Tasks that wait or work.
    pub(in crate::learn) open: Vec<Task>,
    /// Newest record that the last failed task of a line saw.
    pub(in crate::learn) tried_to: HashMap<ModelKey, i64>,
}

/// One thing that has changed in the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::learn) enum Change {
    /// A task is open, and is like this now.
    Open(Task),
    /// A task has come to its end.
    Closed(u64),
    /// Newest record that the last failed task of a line saw, if it failed.
    Tried(ModelKey, Option<i64>),
}

impl Table {
    /// Makes the change, as it was made when it was noted.
    fn apply(&mut self, change: Change) {
        match change {
            Change::Open(task) => {
                self.next_id = self.next_id.max(task.id);
                match self.open.iter_mut().find(|open| open.id == task.id) {
                    Some(open) => *open = task,
                    None => self.open.push(task),
                }
            }
            Change::Closed(id) => self.open.retain(|open| open.id != id),
            Change::Tried(key, Some(ts)) => drop(self.tried_to.insert(key, ts)),
            Change::Tried(key, None) => drop(self.tried_to.remove(&key)),
        }
    }

    fn replay(mut self, log: Vec<Vec<Change>>) -> Self {
        for change in log.into_iter().flatten() {
            self.apply(change);
        }
        self
    }
}

/// The files of the table.
pub(in crate::learn) struct TasksFile {
    path: PathBuf,
    log: Option<StateLog>,
    /// Something could not be stored: the log lacks it.
    is_behind: bool,
}

impl TasksFile {
    /// Opens the files in `state_dir`, with the table as it was noted last. What cannot be read is forgotten.
    pub(in crate::learn) fn open(state_dir: &Path) -> (Self, Table) {
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

    /// Stores what has changed in `table`, durably.
    pub(in crate::learn) fn note(&mut self, table: &Table, changes: &Vec<Change>) {
        let stored = self.store(table, changes);
        self.is_behind = stored.is_err();
        if let Err(error) = stored {
            tracing::warn!(path = %self.path.display(), %error, "cannot store the open tasks");
        }
    }

    fn store(&mut self, table: &Table, changes: &Vec<Change>) -> io::Result<()> {
        let bytes_max = LOG_BYTES_MIN.max(table.open.len() as u64 * LOG_BYTES_PER_TASK);
        if let Some(log) = self.log.as_mut().filter(|_| !self.is_behind) {
            // Before the table, so that replaying it onto that does no harm.
            log.append(changes)?;
            if log.bytes() < bytes_max {
                return Ok(());
            }
        }
        state_file::write(&self.path, table)?;
        self.log.as_mut().map_or(Ok(()), StateLog::clear)
    }
}

/// Tasks that were open when an agent ended, by the lists in its `state_dir`.
///
/// # Errors
/// A list cannot be read.
pub fn open_tasks(state_dir: &Path) -> Result<Vec<Task>, StateFileError> {
    let table: Option<Table> = state_file::read(&state_dir.join(TABLE))?;
    let log = state_log::peek(&state_dir.join(LOG))?;
    Ok(table.unwrap_or_default().replay(log).open)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;
    use crate::learn::tests::task;

    fn change(table: &mut Table, file: &mut TasksFile, change: Change) {
        table.apply(change.clone());
        file.note(table, &vec![change]);
    }

    fn bytes(dir: &Path) -> u64 {
        let size = |name| fs::metadata(dir.join(name)).map_or(0, |meta| meta.len());
        size(TABLE) + size(LOG)
    }

    #[test]
    fn thousands_of_tasks_come_and_go_for_what_each_of_them_takes() {
        let dir = tempfile::tempdir().unwrap();
        let (mut file, mut table) = TasksFile::open(dir.path());
        let mut rewritten = 0;
        for id in 1..=2_000 {
            let before = fs::metadata(dir.path().join(TABLE)).map_or(0, |meta| meta.len());
            let opened = Change::Open(task(id, "queued"));
            change(&mut table, &mut file, opened);
            let after = fs::metadata(dir.path().join(TABLE)).map_or(0, |meta| meta.len());
            rewritten += if after == before { 0 } else { after };
        }
        let once = bytes(dir.path());
        assert!(rewritten < 8 * once, "{rewritten} bytes for {once}");
        for id in 1..=1_990 {
            change(&mut table, &mut file, Change::Closed(id));
        }
        let key = table.open[0].key.clone();
        change(&mut table, &mut file, Change::Tried(key, Some(7)));
        assert!(bytes(dir.path()) < 3 * once);
        drop(file);
        let (_, again) = TasksFile::open(dir.path());
        assert_eq!(again, table);
        assert_eq!(open_tasks(dir.path()).unwrap(), table.open);
    }

    #[test]
    fn a_cut_between_table_and_log_does_no_harm_and_either_alone_is_of_use() {
        let dir = tempfile::tempdir().unwrap();
        let (mut file, mut table) = TasksFile::open(dir.path());
        for id in 1..=3 {
            let opened = Change::Open(task(id, "queued"));
            change(&mut table, &mut file, opened);
        }
        change(&mut table, &mut file, Change::Closed(2));
        // The table was written, and the log not cleared yet.
        state_file::write(&dir.path().join(TABLE), &table).unwrap();
        assert_eq!(TasksFile::open(dir.path()).1, table);
        fs::write(dir.path().join(TABLE), "rubbish").unwrap();
        assert_eq!(TasksFile::open(dir.path()).1, table);
        // As an older version leaves it.
        state_file::write(&dir.path().join(TABLE), &table).unwrap();
        fs::remove_file(dir.path().join(LOG)).unwrap();
        assert_eq!(TasksFile::open(dir.path()).1, table);
    }
}
