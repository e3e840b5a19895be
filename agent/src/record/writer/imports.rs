//! How far each file is imported, so that a file that comes again stores nothing twice.
//!
//! A file is known by its content and the stream it goes into: a key of 128 bits. What is remembered is one past
//! the newest row that is committed, and which rows below were refused: they may fit another time, read
//! otherwise. The rows come in their order, each batch beginning where the one before ended. A batch that
//! begins elsewhere is refused: somebody else has gone on with the file meanwhile.
//!
//! Rows and notes do not lie in one database, so a note goes to a log before the commit, with the last timestamp
//! of the batch. Timestamps rise and a commit is all or nothing: after a cut the batch is committed if the
//! buffer's newest timestamp has reached it. That is settled at the start, before anything else is given a
//! timestamp, and before a correction of the clock moves those in the buffer.
//!
//! Bounded: [`FILES_MAX`] files are remembered, some 100 KiB on disk and up to 2 KiB more for each that had rows
//! refused; the one that grew least recently is forgotten first.

use std::{
    io,
    path::{Path, PathBuf},
};

use dunlin_sync::files::{
    state_file::{self, StateFileError},
    state_log::StateLog,
};
use serde::{Deserialize, Serialize};

use crate::base::ranges::Ranges;

/// Files remembered.
const FILES_MAX: usize = 4_096;
/// Format of both files.
const FORMAT: u8 = 2;
/// The log is settled when it is as long as this.
const LOG_BYTES_MAX: u64 = 256 << 10;

/// How far a file is imported.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// One past the newest row that was stored or refused.
    pub rows: u64,
    /// Rows below that were refused.
    pub refused: Ranges,
}

impl Imported {
    /// How far it is once it was read again up to row `at`, those in `refused` being refused.
    #[must_use]
    pub fn with(&self, at: u64, refused: &Ranges) -> Self {
        let below = refused.within(0, self.rows.min(at));
        let mut all = below.common(&self.refused);
        all.extend(&self.refused.within(at, u64::MAX));
        all.extend(&refused.within(self.rows, at));
        Self {
            rows: self.rows.max(at),
            refused: all,
        }
    }
}

/// How far a batch brings a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedRows {
    /// The file and the stream.
    pub key: u128,
    /// How far it was.
    pub from: Imported,
    /// How far it is with this batch.
    pub to: Imported,
}

/// A note in the log: what a commit is about to hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Intent {
    format: u8,
    key: u128,
    to: Imported,
    /// The last timestamp of its records.
    last_ts: i64,
}

pub(super) struct Imports {
    /// `None`: the notes cannot be read, and nothing may rely on them.
    files: Result<Files, String>,
}

struct Files {
    path: PathBuf,
    log: StateLog,
    /// Key and rows that are committed; what grew last is last.
    committed: Vec<(u128, Imported)>,
    /// With the next commit.
    pending: Vec<Intent>,
    /// The pending ones are in the log.
    is_logged: bool,
}

pub(super) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("state").join("imports")
}

impl Imports {
    /// As the files at `path` have it; `newest_ts` is the buffer's.
    pub(super) fn open(path: PathBuf, newest_ts: Option<i64>) -> Self {
        let files = Files::open(path, newest_ts).inspect_err(|why| {
            tracing::warn!(why, "files can be imported with --again only");
        });
        Self { files }
    }

    /// Rows of the file that are committed, or will be with the next commit.
    pub(super) fn rows(&self, key: u128) -> Result<Imported, String> {
        self.files
            .as_ref()
            .map(|files| files.rows(key))
            .map_err(Clone::clone)
    }

    /// Whether `rows` go on where the file is.
    pub(super) fn check(&self, rows: &ImportedRows) -> Result<(), String> {
        let at = self.rows(rows.key)?;
        if at != rows.from || rows.to.rows < at.rows || !rows.to.refused.is_bounded() {
            return Err(format!(
                "somebody else has imported the same file meanwhile, up to line {}: start again, and what is \
                 stored is passed over",
                at.rows
            ));
        }
        Ok(())
    }

    /// The next commit holds these, of which the newest record has `last_ts`.
    pub(super) fn add(&mut self, rows: ImportedRows, last_ts: i64) {
        if let Ok(files) = &mut self.files {
            files.is_logged = false;
            files.pending.push(Intent {
                format: FORMAT,
                key: rows.key,
                to: rows.to,
                last_ts,
            });
        }
    }

    /// Before the commit: afterwards it can be told whether it took place.
    pub(super) fn intend(&mut self) -> io::Result<()> {
        match &mut self.files {
            Ok(files) => files.intend(),
            Err(_) => Ok(()),
        }
    }

    /// The commit has taken place.
    pub(super) fn committed(&mut self) {
        if let Ok(files) = &mut self.files {
            files.is_logged = false;
            for intent in std::mem::take(&mut files.pending) {
                files.note(intent);
            }
        }
    }

    /// Makes what is committed independent of timestamps. Nothing may be pending.
    pub(super) fn settle(&mut self) -> io::Result<()> {
        match &mut self.files {
            Ok(files) => files.settle(),
            Err(_) => Ok(()),
        }
    }
}

impl Files {
    fn open(path: PathBuf, newest_ts: Option<i64>) -> Result<Self, String> {
        let committed = match state_file::read::<(u8, Vec<(u128, Imported)>)>(&path) {
            Ok(Some((FORMAT, files))) => files,
            Ok(None) => Vec::new(),
            Ok(Some((format, _))) => {
                return Err(format!("{}: format {format} is not known", path.display()));
            }
            // Whoever imports a file again stores it again: better than none at all.
            Err(error @ StateFileError::Corrupt { .. }) => {
                tracing::error!(%error, "which files were imported is not known any more");
                Vec::new()
            }
            Err(error) => return Err(error.to_string()),
        };
        let mut log_path = path.clone().into_os_string();
        log_path.push("-log");
        let log = StateLog::open::<Vec<Intent>>(Path::new(&log_path));
        let (log, entries) = log.map_err(|error| error.to_string())?;
        let mut files = Self {
            path,
            log,
            committed,
            pending: Vec::new(),
            is_logged: false,
        };
        for intent in entries.into_iter().flatten() {
            if intent.format != FORMAT {
                return Err(format!(
                    "{}-log: its format is not known",
                    files.path.display()
                ));
            }
            if newest_ts.is_some_and(|newest| newest >= intent.last_ts) {
                files.note(intent);
            }
        }
        files.settle().map_err(|error| error.to_string())?;
        Ok(files)
    }

    fn rows(&self, key: u128) -> Imported {
        let pending = self.pending.iter().rev().find(|other| other.key == key);
        let known = || self.committed.iter().rev().find(|(other, _)| *other == key);
        pending
            .map(|intent| &intent.to)
            .or_else(|| known().map(|(_, imported)| imported))
            .cloned()
            .unwrap_or_default()
    }

    fn note(&mut self, intent: Intent) {
        let known = self
            .committed
            .iter()
            .rposition(|(key, _)| *key == intent.key);
        let was = known.map(|at| self.committed.remove(at).1);
        let was = was.unwrap_or_default();
        // The log may tell again what is known already; rows rise, and what was refused becomes less.
        let is_new = intent.to.rows > was.rows
            || (intent.to.rows == was.rows && intent.to.refused.rows() <= was.refused.rows());
        let imported = if is_new { intent.to } else { was };
        self.committed.push((intent.key, imported));
        let surplus = self.committed.len().saturating_sub(FILES_MAX);
        self.committed.drain(..surplus);
    }

    fn intend(&mut self) -> io::Result<()> {
        if self.pending.is_empty() || self.is_logged {
            return Ok(());
        }
        if self.log.bytes() >= LOG_BYTES_MAX {
            self.settle()?;
        }
        self.log.append(&self.pending)?;
        self.is_logged = true;
        Ok(())
    }

    fn settle(&mut self) -> io::Result<()> {
        if self.log.bytes() == 0 {
            return Ok(());
        }
        state_file::write(&self.path, &(FORMAT, &self.committed))?;
        self.log.clear()
    }
}

#[cfg(test)]
mod tests;
