//! One bounded sled database: the only file that names sled.
//!
//! Promises, all in the sense of a power cut: what [`Generation::put`] has returned is on the device;
//! a generation that [`Generation::create`] has returned exists. sled's `flush` alone promises
//! neither (it starts write-back and waits for no device), so every put is followed by `sync_data`
//! on a second handle to the same file. sled may panic on a damaged file and when it is closed on a
//! failing disk: every call is guarded, and a panic becomes [`GenerationError::Damaged`]. An error of
//! the device or of the system is told from damage: it may pass, and what is there may be whole.
//!
//! Values stay below 16 KiB, at which sled would write tree nodes to separate blob files.

use std::{
    fs::{self, File},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::io::Errno;

use crate::files::state_file::{self, sync_dir};

/// What the caller does next.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GenerationError {
    /// No space on the disk: free some, try again with a new generation.
    #[error("no space left on the disk")]
    Full,
    /// Not readable: set this generation aside.
    #[error("damaged: {0}")]
    Damaged(String),
    /// The device reports an error: try again later; if it stays, the same as damaged.
    #[error("the disk cannot be read: {0}")]
    Unreadable(String),
    /// The system refuses for now (permissions, too many open files, read-only): try again later.
    #[error("refused by the system: {0}")]
    Refused(String),
    /// Another process has it open.
    #[error("in use by another process")]
    InUse,
    /// Something in it has a format of a newer version: no damage.
    #[error("written by a newer version of dunlin (format {0}): upgrade dunlin")]
    Newer(u8),
}

/// sled's page cache for one generation. Blocks are written once and read once or twice.
const CACHE_BYTES: u64 = 4 << 20;

/// Name of the file that marks a finished creation.
const COMPLETE: &str = "complete";

const LOCK_WAIT_MAX: Duration = Duration::from_secs(2);
const LOCK_RETRY: Duration = Duration::from_millis(10);

/// Beginning of the name of a directory whose deletion has begun.
pub(crate) const TRASH: &str = "trash-";

/// One sled database in a directory of its own.
pub(crate) struct Generation {
    dir: PathBuf,
    /// Held until dropped.
    db: Option<sled::Db>,
    file: File,
    /// What the next reads say instead, for tests.
    #[cfg(test)]
    pub(crate) read_fault: std::sync::Mutex<Option<fn() -> GenerationError>>,
    /// What was put, for tests.
    #[cfg(test)]
    pub(crate) puts: std::sync::Mutex<Vec<Put>>,
}

impl Drop for Generation {
    fn drop(&mut self) {
        // sled unwraps an fsync here.
        let db = self.db.take();
        let closed = guarded(|| {
            drop(db);
            Ok(())
        });
        if let Err(error) = closed {
            tracing::error!(dir = %self.dir.display(), %error, "closing a generation");
        }
    }
}

/// A stored value, shared with sled's page cache.
pub(crate) type Bytes = sled::IVec;

/// The keys of a put, and bytes of what each holds.
#[cfg(test)]
pub(crate) type Put = Vec<(Vec<u8>, usize)>;

/// A key and what it holds.
pub(crate) type Entry = (Vec<u8>, Vec<u8>);

impl Generation {
    /// Makes a new one with `entries` in it; durable when this returns.
    pub(crate) fn create(dir: &Path, entries: Vec<Entry>) -> Result<Self, GenerationError> {
        fs::create_dir_all(dir).map_err(from_io)?;
        let generation = Self::open(dir)?;
        generation.put(entries)?;
        generation.settle()?;
        Self::mark_complete(dir).map_err(from_io)?;
        Ok(generation)
    }

    /// Says durably that [`Self::create`] was done with `dir`.
    pub(crate) fn mark_complete(dir: &Path) -> io::Result<()> {
        state_file::write(&dir.join(COMPLETE), &())
    }

    /// Whether [`Self::create`] ever returned for `dir`. Without this mark, nothing in it was ever
    /// acknowledged; with it, an empty database is a damaged one.
    pub(crate) fn is_complete(dir: &Path) -> Result<bool, GenerationError> {
        dir.join(COMPLETE).try_exists().map_err(from_io)
    }

    /// Opens an existing one.
    pub(crate) fn open(dir: &Path) -> Result<Self, GenerationError> {
        forget_unfinished(dir).map_err(from_io)?;
        read_through(&dir.join("db")).map_err(from_io)?;
        let config = sled::Config::new()
            .path(dir)
            .cache_capacity(CACHE_BYTES)
            // Commits flush by themselves; a timer would only wear the flash.
            .flush_every_ms(None);
        let db = open_unlocked(&config)?;
        let file = File::open(dir.join("db")).map_err(from_io)?;
        Ok(Self {
            dir: dir.to_owned(),
            db: Some(db),
            file,
            #[cfg(test)]
            read_fault: std::sync::Mutex::default(),
            #[cfg(test)]
            puts: std::sync::Mutex::default(),
        })
    }

    /// Opens one that must have been made: what is missing is damage.
    pub(crate) fn open_existing(dir: &Path) -> Result<Self, GenerationError> {
        // sled would make what it does not find.
        fs::metadata(dir.join("db")).map_err(from_io)?;
        Self::open(dir)
    }

    fn db(&self) -> &sled::Db {
        self.db.as_ref().expect("held until dropped")
    }

    /// Deletes the generation in `dir`, which nobody has open, so that a power cut leaves all of it
    /// or a directory called `trash-..` beside it, for the next start to sweep.
    pub(crate) fn delete(dir: &Path) -> io::Result<()> {
        let name = dir.file_name().unwrap_or_default().to_string_lossy();
        let trash = dir.with_file_name(format!("{TRASH}{name}"));
        fs::rename(dir, &trash)?;
        sync_dir(dir.parent().unwrap_or(dir))?;
        fs::remove_dir_all(&trash)
    }

    /// Makes everything sled has put into the directory durable, names included. Needed before the
    /// first put after opening: sled may just have written files that only the page cache knows.
    pub(crate) fn settle(&self) -> Result<(), GenerationError> {
        guarded(|| self.db().flush())?;
        for entry in fs::read_dir(&self.dir).map_err(from_io)? {
            let path = entry.map_err(from_io)?.path();
            match File::open(&path).and_then(|file| file.sync_all()) {
                // sled removes its own temporary files meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other.map_err(from_io)?,
            }
        }
        sync_dir(&self.dir).map_err(from_io)?;
        sync_dir(self.dir.parent().unwrap_or(&self.dir)).map_err(from_io)
    }

    /// Writes all entries or none; durable when this returns.
    ///
    /// After an error the entries may or may not turn up later: write them to another generation.
    pub(crate) fn put(&self, entries: Vec<Entry>) -> Result<(), GenerationError> {
        #[cfg(test)]
        if let Ok(mut puts) = self.puts.lock() {
            let entries = entries.iter();
            puts.push(
                entries
                    .map(|(key, value)| (key.clone(), value.len()))
                    .collect(),
            );
        }
        let mut batch = sled::Batch::default();
        for (key, value) in entries {
            debug_assert!(
                value.len() < 16 << 10,
                "a value of {} bytes becomes a blob",
                value.len()
            );
            batch.insert(key, value);
        }
        guarded(|| self.db().apply_batch(batch))?;
        guarded(|| self.db().flush())?;
        self.file.sync_data().map_err(from_io)
    }

    /// Removes keys; durable when this returns.
    pub(crate) fn remove(&self, keys: &[Vec<u8>]) -> Result<(), GenerationError> {
        let mut batch = sled::Batch::default();
        for key in keys {
            batch.remove(key.as_slice());
        }
        guarded(|| self.db().apply_batch(batch))?;
        guarded(|| self.db().flush())?;
        self.file.sync_data().map_err(from_io)
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, GenerationError> {
        #[cfg(test)]
        if let Ok(Some(fault)) = self.read_fault.lock().as_deref() {
            return Err(fault());
        }
        guarded(|| self.db().get(key))
    }

    /// All entries whose key starts with `prefix`, in order, until `visit` returns false.
    pub(crate) fn scan(
        &self,
        prefix: &[u8],
        visit: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), GenerationError> {
        self.scan_from(prefix, prefix, visit)
    }

    /// As [`Self::scan`], from the key `first` on, without reading those before.
    pub(crate) fn scan_from(
        &self,
        prefix: &[u8],
        first: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), GenerationError> {
        guarded(|| {
            for entry in self.db().range(first..) {
                let (key, value) = entry?;
                if !key.starts_with(prefix) || !visit(&key, &value) {
                    break;
                }
            }
            Ok(())
        })
    }

    /// As [`Self::scan`], from the last entry to the first.
    pub(crate) fn scan_back(
        &self,
        prefix: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), GenerationError> {
        guarded(|| {
            for entry in self.db().scan_prefix(prefix).rev() {
                let (key, value) = entry?;
                if !visit(&key, &value) {
                    break;
                }
            }
            Ok(())
        })
    }

    /// Bytes it takes on disk.
    pub(crate) fn disk_bytes(&self) -> u64 {
        self.db().size_on_disk().unwrap_or_default()
    }
}

/// Opens, waiting a moment for the lock: a database closed just now may still be held by sled's own
/// writing threads.
fn open_unlocked(config: &sled::Config) -> Result<sled::Db, GenerationError> {
    let deadline = Instant::now() + LOCK_WAIT_MAX;
    loop {
        match guarded(|| config.open()) {
            Err(GenerationError::InUse) if Instant::now() < deadline => sleep(LOCK_RETRY),
            other => return other,
        }
    }
}

/// Bytes of all files below `dir`.
pub(crate) fn dir_bytes(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else {
        return 0;
    };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => dir_bytes(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

/// Removes what a process left that was killed while it opened the database in `dir`: sled 0.34.7 takes an
/// unfinished snapshot for the newest one, and the whole database for damaged. The one before is still there.
fn forget_unfinished(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            tracing::debug!(path = %path.display(), "removing an unfinished snapshot");
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Reads all of a file. sled takes a segment that it cannot read while opening for the end of its log
/// and drops what follows: a failing device must be found out before. sled's own reading comes from
/// the page cache then.
fn read_through(path: &Path) -> io::Result<()> {
    match File::open(path) {
        Ok(mut file) => io::copy(&mut file, &mut io::sink()).map(drop),
        // About to be made.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn guarded<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T, GenerationError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(sled::Error::Io(error))) => Err(from_io(error)),
        Ok(Err(error)) => Err(GenerationError::Damaged(error.to_string())),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
            let text = text.unwrap_or_else(|| "sled panicked".into());
            Err(if text.contains("No space left") {
                GenerationError::Full
            } else {
                GenerationError::Damaged(text)
            })
        }
    }
}

// By value: it is the function given to `map_err`.
#[allow(clippy::needless_pass_by_value)]
pub(crate) fn from_io(error: io::Error) -> GenerationError {
    let text = error.to_string();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => GenerationError::Full,
        io::ErrorKind::WouldBlock => GenerationError::InUse,
        // sled wraps a failed lock in a text of its own.
        _ if text.contains("could not acquire lock") => GenerationError::InUse,
        _ if text.contains("No space left") => GenerationError::Full,
        // Something is missing or of the wrong kind, and will be tomorrow.
        io::ErrorKind::NotFound
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::InvalidInput => GenerationError::Damaged(text),
        _ => match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::IO | Errno::BADMSG | Errno::UCLEAN | Errno::ILSEQ | Errno::REMOTEIO) => {
                GenerationError::Unreadable(text)
            }
            Some(_) => GenerationError::Refused(text),
            None => GenerationError::Damaged(text),
        },
    }
}

#[cfg(test)]
mod tests;
