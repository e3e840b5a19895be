//! One bounded sled database: the only file that names sled.
//!
//! Promises, all in the sense of a power cut: what [`Generation::put`] has returned is on the device;
//! a generation that [`Generation::create`] has returned exists. sled's `flush` alone promises
//! neither (it starts write-back and waits for no device), so every put is followed by `sync_data`
//! on a second handle to the same file. sled may panic on a damaged file: every call that reads
//! disk is guarded, and a panic becomes [`GenerationError::Damaged`].
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

use crate::state_file::{self, sync_dir};

/// What the caller does next.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GenerationError {
    /// No space on the disk: free some, try again with a new generation.
    #[error("no space left on the disk")]
    Full,
    /// Not readable: set this generation aside.
    #[error("damaged: {0}")]
    Damaged(String),
    /// Another process has it open.
    #[error("in use by another process")]
    InUse,
}

/// sled's page cache for one generation. Blocks are written once and read once or twice.
const CACHE_BYTES: u64 = 4 << 20;

/// Name of the file that marks a finished creation.
const COMPLETE: &str = "complete";

const LOCK_WAIT_MAX: Duration = Duration::from_secs(2);
const LOCK_RETRY: Duration = Duration::from_millis(10);

/// One sled database in a directory of its own.
pub(crate) struct Generation {
    dir: PathBuf,
    db: sled::Db,
    file: File,
}

/// A stored value, shared with sled's page cache.
pub(crate) type Bytes = sled::IVec;

/// A key and what it holds.
pub(crate) type Entry = (Vec<u8>, Vec<u8>);

impl Generation {
    /// Makes a new one with `entries` in it; durable when this returns.
    pub(crate) fn create(dir: &Path, entries: Vec<Entry>) -> Result<Self, GenerationError> {
        fs::create_dir_all(dir).map_err(from_io)?;
        let generation = Self::open(dir)?;
        generation.put(entries)?;
        generation.settle()?;
        state_file::write(&dir.join(COMPLETE), &()).map_err(from_io)?;
        Ok(generation)
    }

    /// Whether [`Self::create`] ever returned for `dir`. Without this mark, nothing in it was ever
    /// acknowledged; with it, an empty database is a damaged one.
    pub(crate) fn is_complete(dir: &Path) -> bool {
        dir.join(COMPLETE).exists()
    }

    /// Opens an existing one.
    pub(crate) fn open(dir: &Path) -> Result<Self, GenerationError> {
        let config = sled::Config::new()
            .path(dir)
            .cache_capacity(CACHE_BYTES)
            // Commits flush by themselves; a timer would only wear the flash.
            .flush_every_ms(None);
        let db = open_unlocked(&config)?;
        let file = File::open(dir.join("db")).map_err(from_io)?;
        Ok(Self {
            dir: dir.to_owned(),
            db,
            file,
        })
    }

    /// Makes everything sled has put into the directory durable, names included. Needed before the
    /// first put after opening: sled may just have written files that only the page cache knows.
    pub(crate) fn settle(&self) -> Result<(), GenerationError> {
        guarded(|| self.db.flush())?;
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
        let mut batch = sled::Batch::default();
        for (key, value) in entries {
            debug_assert!(
                value.len() < 16 << 10,
                "a value of {} bytes becomes a blob",
                value.len()
            );
            batch.insert(key, value);
        }
        guarded(|| self.db.apply_batch(batch))?;
        guarded(|| self.db.flush())?;
        self.file.sync_data().map_err(from_io)
    }

    /// Removes keys; durable when this returns.
    pub(crate) fn remove(&self, keys: &[Vec<u8>]) -> Result<(), GenerationError> {
        let mut batch = sled::Batch::default();
        for key in keys {
            batch.remove(key.as_slice());
        }
        guarded(|| self.db.apply_batch(batch))?;
        guarded(|| self.db.flush())?;
        self.file.sync_data().map_err(from_io)
    }

    /// The value under `key`.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, GenerationError> {
        guarded(|| self.db.get(key))
    }

    /// All entries whose key starts with `prefix`, in order, until `visit` returns false.
    pub(crate) fn scan(
        &self,
        prefix: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), GenerationError> {
        guarded(AssertUnwindSafe(|| {
            for entry in self.db.scan_prefix(prefix) {
                let (key, value) = entry?;
                if !visit(&key, &value) {
                    break;
                }
            }
            Ok(())
        }))
    }

    /// As [`Self::scan`], from the last entry to the first.
    pub(crate) fn scan_back(
        &self,
        prefix: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), GenerationError> {
        guarded(AssertUnwindSafe(|| {
            for entry in self.db.scan_prefix(prefix).rev() {
                let (key, value) = entry?;
                if !visit(&key, &value) {
                    break;
                }
            }
            Ok(())
        }))
    }

    /// Bytes it takes on disk.
    pub(crate) fn disk_bytes(&self) -> u64 {
        self.db.size_on_disk().unwrap_or_default()
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

fn guarded<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T, GenerationError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(sled::Error::Io(error))) => Err(from_io(error)),
        Ok(Err(error)) => Err(GenerationError::Damaged(error.to_string())),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
            Err(GenerationError::Damaged(
                text.unwrap_or_else(|| "sled panicked".into()),
            ))
        }
    }
}

// By value: it is the function given to `map_err`.
#[allow(clippy::needless_pass_by_value)]
fn from_io(error: io::Error) -> GenerationError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => GenerationError::Full,
        io::ErrorKind::WouldBlock => GenerationError::InUse,
        // sled wraps a failed lock in a text of its own.
        _ if error.to_string().contains("could not acquire lock") => GenerationError::InUse,
        _ if error.to_string().contains("No space left") => GenerationError::Full,
        _ => GenerationError::Damaged(error.to_string()),
    }
}
