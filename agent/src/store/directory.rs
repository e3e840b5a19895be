//! The data directory itself: one we may use, of a format that this version reads.
//!
//! Promises: looked at before anything in it is opened; what a newer version has written is neither
//! read as damage nor changed.
//!
//! `<data_dir>/format` is one line of text, `dunlin 2`: the number rises when an older version could
//! not use, or would spoil, what is in the directory. Each file has a format of its own besides.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use dunlin_sync::{
    buffer::OpenError,
    files::{
        frame,
        state_file::{self, StateFileError},
    },
};

use super::StoreError;
use crate::{
    base::owner,
    record::{
        clock::{ClockRecord, ClockRecordError},
        writer,
    },
};

/// What this version writes, and the newest that it reads. A directory of an older format is taken
/// over: marked with this one before anything else in it changes, so that no older version that was
/// started by mistake reads what it does not know.
const FORMAT: u32 = 2;
const MARKER: &str = "format";
const WORD: &str = "dunlin ";

/// Makes `data_dir` where it is missing, and marks it.
///
/// # Errors
/// [`StoreError::Newer`], [`StoreError::Unusable`] or [`StoreError::ReadOnly`].
pub(super) fn claim(data_dir: &Path) -> Result<(), StoreError> {
    let failed = |error| unusable(data_dir, error);
    state_file::create_dir(data_dir).map_err(failed)?;
    usable(data_dir)?;
    if !check(data_dir)?
        && let Err(error) = mark(data_dir)
    {
        // A full disk must not keep what is in the directory from being uploaded.
        tracing::warn!(%error, "the data directory cannot be marked with its format");
    }
    Ok(())
}

/// Refuses what a newer version has written; whether the directory is marked with this format.
///
/// # Errors
/// [`StoreError::Newer`]; [`StoreError::Unusable`] if the marker cannot be read.
pub(crate) fn check(data_dir: &Path) -> Result<bool, StoreError> {
    let path = data_dir.join(MARKER);
    let mut text = String::new();
    let marker = File::open(&path).and_then(|file| file.take(64).read_to_string(&mut text));
    let marked = match marker {
        Ok(_) => match text.trim_end().strip_prefix(WORD).map(str::parse::<u32>) {
            Some(Ok(format)) if format > FORMAT => return Err(newer(path, format, FORMAT)),
            Some(Ok(format)) => format == FORMAT,
            _ => {
                tracing::error!(path = %path.display(), "damaged; written anew");
                false
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) if error.kind() == io::ErrorKind::InvalidData => false,
        Err(error) => return Err(unusable(&path, error)),
    };
    state(&data_dir.join("state"))?;
    clock(&writer::clock_path(data_dir))?;
    Ok(marked)
}

fn newer(path: PathBuf, format: u32, known: u32) -> StoreError {
    StoreError::Newer {
        path,
        format,
        known,
    }
}

/// Each small file in `dir`: whoever reads it could only take it for damage and begin anew.
fn state(dir: &Path) -> Result<(), StoreError> {
    for path in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = path.path();
        let mut first = [0];
        let read = File::open(&path).and_then(|mut file| file.read_exact(&mut first));
        if read.is_ok()
            && first[0] > frame::FORMAT
            && let Err(StateFileError::Newer { path, format }) = state_file::look(&path)
        {
            return Err(newer(path, format.into(), frame::FORMAT.into()));
        }
    }
    Ok(())
}

/// The clock's record has a format inside its frame.
fn clock(path: &Path) -> Result<(), StoreError> {
    let bytes: Option<Vec<u8>> = state_file::read(path).ok().flatten();
    match bytes.map(|bytes| ClockRecord::from_bytes(&bytes)) {
        Some(Err(ClockRecordError::Format(format))) if format > ClockRecord::FORMAT => {
            Err(newer(path.to_owned(), format, ClockRecord::FORMAT))
        }
        _ => Ok(()),
    }
}

fn mark(data_dir: &Path) -> io::Result<()> {
    let temporary = data_dir.join(format!("{MARKER}.new"));
    let mut file = File::create(&temporary)?;
    file.write_all(format!("{WORD}{FORMAT}\n").as_bytes())?;
    file.sync_all()?;
    drop(file);
    fs::rename(&temporary, data_dir.join(MARKER))?;
    state_file::sync_dir(data_dir)
}

/// Refuses a directory that holds anything that we may not use. One that is not there is none of those.
///
/// # Errors
/// [`StoreError::Unusable`]
pub(crate) fn usable(data_dir: &Path) -> Result<(), StoreError> {
    if let Err(error) = fs::symlink_metadata(data_dir)
        && error.kind() == io::ErrorKind::PermissionDenied
    {
        return Err(unusable(data_dir, error));
    }
    match owner::denied(data_dir) {
        Some(path) => Err(unusable(&path, io::ErrorKind::PermissionDenied.into())),
        None => Ok(()),
    }
}

/// What to do about a directory or file that the system keeps from us.
pub(crate) fn unusable(path: &Path, error: io::Error) -> StoreError {
    let path = path.to_owned();
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            let us = rustix::process::geteuid().as_raw();
            let owner = path
                .ancestors()
                .find_map(|path| path.metadata().ok())
                .map_or(us, |meta| meta.uid());
            StoreError::Unusable { path, us, owner }
        }
        io::ErrorKind::ReadOnlyFilesystem => StoreError::ReadOnly(path),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            StoreError::Buffer(OpenError::Full(path))
        }
        _ => StoreError::Buffer(OpenError::Io {
            path,
            source: error,
        }),
    }
}

#[cfg(test)]
mod tests;
