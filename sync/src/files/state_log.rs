//! Durable small facts that are added one by one: an append-only file of frames.
//!
//! Promises: what [`StateLog::append`] has returned survives a power cut, all of it or none; whatever a cut left
//! behind the last whole frame is cut off. Whoever keeps a state as a file and a log of what has changed since
//! writes the file anew when the log has grown, then clears the log: replaying it once more must do no harm.
//!
//! Format: frames (see [`crate::files::frame`]), the length of each before it in four bytes, lowest first.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};

use crate::files::{
    frame,
    state_file::{StateFileError, create_dir, sync_dir},
};

/// Larger files are no logs of ours.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// An append-only file. Only one writer a path at a time.
#[derive(Debug)]
pub struct StateLog {
    file: File,
    /// Bytes of whole frames.
    bytes: u64,
}

impl StateLog {
    /// Opens the log at `path`, made if need be, and what is in it, oldest first. Each entry is a list that was
    /// appended at once.
    ///
    /// # Errors
    /// [`StateFileError`] if it is of a newer version or cannot be read. Damage is no error: what comes before it
    /// is there, the rest is cut off and logged.
    pub fn open<T: DeserializeOwned>(path: &Path) -> Result<(Self, Vec<T>), StateFileError> {
        let failed = |source| StateFileError::Io {
            path: path.to_owned(),
            source,
        };
        let (bytes, values) = read(path)?;
        let (whole, values) = (values.1, values.0);
        if whole < bytes {
            let lost = bytes - whole;
            tracing::warn!(path = %path.display(), lost, "cut off behind the last whole entry");
        }
        let directory = path.parent().unwrap_or(Path::new("."));
        let open = || {
            create_dir(directory)?;
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(path)?;
            file.set_len(whole)?;
            file.sync_all()?;
            sync_dir(directory)?;
            Ok(file)
        };
        let file = open().map_err(failed)?;
        Ok((Self { file, bytes: whole }, values))
    }

    /// Bytes of its whole frames.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds `values`, durably.
    ///
    /// # Errors
    /// What the system said; nothing was added then.
    pub fn append<T: Serialize>(&mut self, values: &T) -> io::Result<()> {
        let mut bytes = Vec::new();
        frame::append(&mut bytes, values)?;
        // Where the last whole frame ends: over what an attempt that failed has left.
        self.file.write_all_at(&bytes, self.bytes)?;
        self.file.sync_data()?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Forgets everything in it.
    ///
    /// # Errors
    /// What the system said.
    pub fn clear(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.bytes = 0;
        self.file.sync_all()
    }
}

/// What is in the log at `path` now, without opening it for writing.
///
/// # Errors
/// As [`StateLog::open`].
pub fn peek<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, StateFileError> {
    Ok(read(path)?.1.0)
}

/// Bytes of the file, what is in it, and bytes of whole frames.
fn read<T: DeserializeOwned>(path: &Path) -> Result<(u64, (Vec<T>, u64)), StateFileError> {
    let failed = |source| StateFileError::Io {
        path: path.to_owned(),
        source,
    };
    let bytes = match std::fs::metadata(path) {
        Ok(meta) if meta.len() > FILE_BYTES_MAX => {
            return Err(failed(io::ErrorKind::FileTooLarge.into()));
        }
        Ok(_) => std::fs::read(path).map_err(failed)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(failed(error)),
    };
    let (mut values, mut rest) = (Vec::new(), &bytes[..]);
    while let Some((frame, behind)) = frame::split_first(rest) {
        if let Some(format) = frame::newer(frame) {
            let path: PathBuf = path.to_owned();
            return Err(StateFileError::Newer { path, format });
        }
        let Ok(value) = frame::from_bytes(frame) else {
            break;
        };
        values.push(value);
        rest = behind;
    }
    let whole = (bytes.len() - rest.len()) as u64;
    Ok((bytes.len() as u64, (values, whole)))
}

#[cfg(test)]
mod tests;
