//! Small durable files: replaced whole or not at all, checked when read.
//!
//! Promise: after [`write`] has returned, a power cut leaves the new content; during it, the old one.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};

use crate::frame;

/// Larger files are not state files of ours.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// A state file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateFileError {
    /// Torn, altered or of another version: start without it.
    #[error("{}: {reason}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The operating system refuses to read it.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Its words.
        source: io::Error,
    },
}

/// Replaces the file at `path` by `value`.
///
/// # Errors
/// The operating system's; the old content is still there then.
pub fn write<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let bytes = frame::to_bytes(value).map_err(io::Error::other)?;
    let temporary = path.with_extension("new");
    let mut file = File::create(&temporary)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    sync_dir(path.parent().unwrap_or(Path::new(".")))
}

/// The value in the file at `path`; `None` if there is no such file.
///
/// # Errors
/// [`StateFileError`]
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StateFileError> {
    let corrupt = |reason: String| StateFileError::Corrupt {
        path: path.to_owned(),
        reason,
    };
    let bytes = match fs::metadata(path).and_then(|meta| {
        if meta.len() > FILE_BYTES_MAX {
            Ok(Vec::new())
        } else {
            fs::read(path)
        }
    }) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(StateFileError::Io {
                path: path.to_owned(),
                source,
            });
        }
    };
    frame::from_bytes(&bytes)
        .map(Some)
        .map_err(|e| corrupt(e.to_string()))
}

/// Makes the entries of a directory durable.
///
/// # Errors
/// The operating system's.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    let dir = if dir.as_os_str().is_empty() {
        Path::new(".")
    } else {
        dir
    };
    File::open(dir)?.sync_all()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_the_last_write_wins() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cursor");
        assert!(read::<u64>(&path).unwrap().is_none());
        write(&path, &7_u64).unwrap();
        write(&path, &8_u64).unwrap();
        assert_eq!(read::<u64>(&path).unwrap(), Some(8));
    }

    #[test]
    fn a_torn_file_is_reported_not_trusted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cursor");
        write(&path, &vec![1_u64; 100]).unwrap();
        let bytes = fs::read(&path).unwrap();
        for length in 0..bytes.len() {
            fs::write(&path, &bytes[..length]).unwrap();
            assert!(matches!(
                read::<Vec<u64>>(&path),
                Err(StateFileError::Corrupt { .. })
            ));
        }
    }

    #[test]
    fn an_abandoned_temporary_file_does_no_harm() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cursor");
        write(&path, &1_u64).unwrap();
        fs::write(path.with_extension("new"), b"half of").unwrap();
        assert_eq!(read::<u64>(&path).unwrap(), Some(1));
        write(&path, &2_u64).unwrap();
        assert_eq!(read::<u64>(&path).unwrap(), Some(2));
    }
}
