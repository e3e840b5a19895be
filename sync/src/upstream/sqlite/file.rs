//! The file behind an open database: how it is opened, whether it is still the one that its path names.

use std::{
    ffi::OsString,
    fs::File,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant, SystemTime},
};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::files::umask;

/// How long to wait before trying again what `SQLite` does not wait for itself.
const RETRY_EVERY: Duration = Duration::from_millis(10);

/// The file at `path`, made if missing, for others to read. What is committed to it is on the disk.
pub(crate) fn open(path: &Path, busy_max: Duration) -> rusqlite::Result<Connection> {
    // What is in its way SQLite says itself.
    if let Ok(file) = File::options().write(true).create_new(true).open(path) {
        let _ours_alone = umask::open_to_others(&file);
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(busy_max)?;
    connection.set_prepared_statement_cache_capacity(64);
    keep_wal(&connection, busy_max)?;
    // Whoever is answered counts on it, after a power cut too.
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update_and_check(None, "journal_size_limit", 16 << 20, |_| Ok(()))?;
    Ok(connection)
}

/// A file system without shared memory refuses WAL and keeps its journal: slower, as safe.
///
/// Of several who open a new file at once one turns it to WAL; the others are told at once that it is busy: for
/// whoever writes this one pragma does not wait (`findings/sqlite-turning-to-wal-does-not-wait.sh`).
fn keep_wal(connection: &Connection, busy_max: Duration) -> rusqlite::Result<()> {
    let begun = Instant::now();
    loop {
        match connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(())) {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && begun.elapsed() < busy_max =>
            {
                thread::sleep(RETRY_EVERY);
            }
            result => return result,
        }
    }
}

/// A file, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    /// Where the file system knows: the inode of a file that is gone is soon another's.
    created: Option<SystemTime>,
}

/// The file at `path`; `None` if there is none.
pub(super) fn identity(path: &Path) -> Option<Identity> {
    let metadata = std::fs::metadata(path).ok()?;
    Some(Identity {
        device: metadata.dev(),
        inode: metadata.ino(),
        created: metadata.created().ok(),
    })
}

/// What `SQLite` calls the file beside `path`: `suffix` is `-wal` or `-shm`.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// The files of an open database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Files {
    database: Option<Identity>,
    wal: Option<Identity>,
}

impl Files {
    /// As they are at `path` now.
    pub(crate) fn at(path: &Path) -> Self {
        Self {
            database: identity(path),
            wal: identity(&beside(path, "-wal")),
        }
    }

    /// The database itself.
    pub(super) fn identity(&self) -> Option<Identity> {
        self.database
    }

    /// Whether the database is still at `path`.
    pub(crate) fn are_at(&self, path: &Path) -> bool {
        self.database.is_some() && identity(path) == self.database
    }

    /// Takes away the journal that a database which is gone has left at `path`: `SQLite` would take it
    /// for that of the database that is there now, and damage it. One of somebody else stays.
    pub(super) fn remove_journal(&self, path: &Path) -> std::io::Result<()> {
        let wal = beside(path, "-wal");
        if self.wal.is_none() || identity(&wal) != self.wal {
            return Ok(());
        }
        for file in [wal, beside(path, "-shm")] {
            match std::fs::remove_file(&file) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}
