//! Bounds of the buffer, and why it cannot be opened.

use std::path::PathBuf;

use super::Buffer;
use crate::lock::unpoisoned;

/// What happens to new records when the buffer is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// Commits fail with [`CommitError::Full`](super::CommitError::Full) until space comes back.
    Block,
    /// The oldest generation is deleted, its records that were not uploaded counted as dropped.
    DropOldest,
}

/// Bounds of the buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BufferOptions {
    /// Directory of its own.
    pub dir: PathBuf,
    /// Most disk it may take, bytes.
    pub bytes_max: u64,
    /// Free disk below which it counts as full, bytes.
    pub disk_free_bytes_min: u64,
    /// Policy at either bound.
    pub when_full: WhenFull,
    /// Uploaded blocks kept for training, bytes.
    pub replay_bytes_max: u64,
    /// Uploaded blocks kept for training, nanoseconds before the newest record.
    pub replay_age_ns_max: Option<i64>,
    /// Fingerprints of publishes kept for recognising redelivery.
    pub fingerprints_max: usize,
    /// Numbers below this were used once, whatever the buffer still knows (from the upload cursor).
    pub seq_floor: u64,
}

impl BufferOptions {
    /// Sensible bounds for a buffer of `bytes_max` in `dir`.
    pub fn new(dir: impl Into<PathBuf>, bytes_max: u64) -> Self {
        Self {
            dir: dir.into(),
            bytes_max,
            disk_free_bytes_min: 0,
            when_full: WhenFull::Block,
            replay_bytes_max: bytes_max / 2,
            replay_age_ns_max: None,
            fingerprints_max: 8192,
            seq_floor: 0,
        }
    }

    pub(super) fn limits(&self) -> Limits {
        Limits {
            bytes_max: self.bytes_max,
            disk_free_bytes_min: self.disk_free_bytes_min,
            when_full: self.when_full,
            replay_bytes_max: self.replay_bytes_max,
            replay_age_ns_max: self.replay_age_ns_max,
        }
    }
}

/// Those of [`BufferOptions`] that may change while the buffer is open.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) bytes_max: u64,
    pub(super) disk_free_bytes_min: u64,
    pub(super) when_full: WhenFull,
    pub(super) replay_bytes_max: u64,
    pub(super) replay_age_ns_max: Option<i64>,
}

impl Limits {
    /// Size at which a generation is sealed: an eighth of the bound, 1 to 16 MiB. What of the newest is in
    /// memory does not keep to [`crate::generation`]'s cache: nearly all of it is.
    pub(super) fn generation_bytes(&self) -> u64 {
        (self.bytes_max / 8).clamp(1 << 20, 16 << 20)
    }
}

/// Why the buffer cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds the directory.
    #[error(
        "{}: another process is using this buffer: an agent, perhaps one that starts or stops, or a command; \
         try again in a moment, or stop it",
        .0.display()
    )]
    InUse(PathBuf),
    /// Not even the reserve is enough.
    #[error("{}: no space left on the disk; free some and start again", .0.display())]
    Full(PathBuf),
    /// Something in it has a format of a newer version. Nothing was changed.
    #[error(
        "{}: written by a newer version of dunlin (format {format}, this one reads up to {}): \
         upgrade dunlin; nothing in it was changed",
        path.display(),
        crate::files::frame::FORMAT
    )]
    Newer {
        /// The directory or file.
        path: PathBuf,
        /// Its format, newer than this version reads.
        format: u8,
    },
    /// The directory cannot be used.
    #[error("{}: {source}", path.display())]
    Io {
        /// The directory or file.
        path: PathBuf,
        /// The operating system's words.
        source: std::io::Error,
    },
}

impl Buffer {
    /// Goes on within the bounds that `options` has; its directory and the rest stay as they were. A
    /// smaller buffer is reached as its content goes upstream.
    pub fn set_limits(&self, options: &BufferOptions) {
        *unpoisoned(self.limits.write()) = options.limits();
    }

    pub(super) fn limits(&self) -> Limits {
        *unpoisoned(self.limits.read())
    }
}
