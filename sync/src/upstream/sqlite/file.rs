//! The file behind an open database: whether it is still the one that its path names.

use std::{
    ffi::OsString,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

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
