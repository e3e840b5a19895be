//! Durable small files: a position, a high-water mark, a catalog.
//!
//! Promises: after [`write`](fn@write) has returned, a power cut leaves the new content; during it, the old or
//! the new, never a mixture. [`read`] tells an absent file from a damaged one.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};

use crate::files::frame;

/// Larger files are no state files of ours.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// A state file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateFileError {
    /// The file is there but cannot be read.
    #[error("cannot read {}: {source}; check the disk and the file's owner", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Intact, and of a format that this version does not know: leave it alone.
    #[error(
        "{} was written by a newer version of dunlin (format {format}, this one reads up to {}): \
         upgrade dunlin",
        path.display(),
        frame::FORMAT
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format, newer than this version reads.
        format: u8,
    },
    /// Torn or damaged.
    #[error("{} is damaged: {reason}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// Replaces the file at `path` with `value`, durably; creates its directory if that is missing.
/// Only one writer a path at a time.
///
/// # Errors
/// What the system said; the old content is still there then.
pub fn write<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let bytes = frame::to_bytes(value).map_err(io::Error::other)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    write_bytes(path, &bytes)
}

/// Replaces the file at `path` with `bytes`, as [`write`](fn@write) does.
pub(crate) fn write_bytes(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    create_dir(directory)?;
    let temporary = temporary_beside(path);
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&temporary, path)?;
    sync_dir(directory)
}

/// Makes the directory `dir` and those above it where they are missing, durably.
///
/// # Errors
/// What the system said.
pub fn create_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let above = match dir.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        _ => Path::new("."),
    };
    create_dir(above)?;
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    sync_dir(above)
}

/// Makes the entries of a directory durable.
///
/// # Errors
/// What the system said.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// The content of the file at `path`; `None` if there is no such file.
///
/// # Errors
/// [`StateFileError::Corrupt`] if it is torn, damaged or too large; [`StateFileError::Newer`];
/// [`StateFileError::Io`] if it cannot be read.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StateFileError> {
    let io_error = |source| StateFileError::Io {
        path: path.to_owned(),
        source,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error(error)),
    };
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(io_error)?;
    if let Some(format) = frame::newer(&bytes) {
        return Err(StateFileError::Newer {
            path: path.to_owned(),
            format,
        });
    }
    match frame::from_bytes(&bytes) {
        Ok(value) => Ok(Some(value)),
        Err(error) => Err(StateFileError::Corrupt {
            path: path.to_owned(),
            reason: error.to_string(),
        }),
    }
}

/// Whether the file at `path` is one that this version can read, whatever it holds.
///
/// # Errors
/// As for [`read`], except that its content may be anything.
pub fn look(path: &Path) -> Result<(), StateFileError> {
    match read::<()>(path) {
        Err(error @ (StateFileError::Newer { .. } | StateFileError::Io { .. })) => Err(error),
        _ => Ok(()),
    }
}

/// Ends the name of a file that is not whole yet.
const TEMPORARY: &str = "new";

fn temporary_beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().map(OsString::from).unwrap_or_default();
    name.push(".");
    name.push(TEMPORARY);
    path.with_file_name(name)
}

/// The path as given to [`write`](fn@write), of a file that may not be whole yet.
pub fn stored_as(path: &Path) -> PathBuf {
    match path.extension() {
        Some(extension) if extension == TEMPORARY => path.with_extension(""),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests;
