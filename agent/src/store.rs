//! What lies in the data directory, opened together: buffer, quarantine, models, clock, upload
//! cursor.
//!
//! ```text
//! <data_dir>/format             the version of all this
//! <data_dir>/buffer/            generations of blocks, what was set aside
//! <data_dir>/quarantine/        what could not be decoded or delivered
//! <data_dir>/models/            versions of models
//! <data_dir>/state/clock        the clock's durable record
//! <data_dir>/state/identity     whose directory it is
//! <data_dir>/state/cursor.uploader
//! <data_dir>/dunlin.sock        the running agent's control socket
//! ```

mod directory;
mod hardware;
mod identity;
#[cfg(feature = "learning")]
mod models;

use std::{path::Path, sync::Arc};

use dunlin_sync::{
    buffer::{Buffer, BufferOptions, OpenError},
    cursor::Cursor,
    files::frame,
    quarantine::{Quarantine, QuarantineError},
};

pub use self::identity::{Identity, refuse_foreign};
#[cfg(feature = "learning")]
pub use self::models::{open_models, tell_damage};
pub(crate) use self::{
    directory::{check as check_format, unusable, usable},
    identity::{check as check_identity, read as read_identity},
};
use crate::{
    base::wall::wall_ns,
    config::settings::Settings,
    record::{
        clock::{Clock, EARLIEST_NS, Past, System},
        writer,
    },
};

/// Why the data directory cannot be used. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A newer version has written to it.
    #[error(
        "{}: written by a newer version of dunlin (format {format}, this one reads up to {known}): \
         upgrade dunlin; nothing in the directory was changed",
        path.display()
    )]
    Newer {
        /// What says so.
        path: std::path::PathBuf,
        /// Its format.
        format: u32,
        /// The newest that this version reads.
        known: u32,
    },
    /// It belongs to somebody else.
    #[error(
        "{}: permission denied: it belongs to user {owner}, and this is user {us}; run dunlin as \
         that user, or give the data directory to this one: chown -R {us} DATA_DIR",
        path.display()
    )]
    Unusable {
        /// What we may not use.
        path: std::path::PathBuf,
        /// Our user.
        us: u32,
        /// Whose it is.
        owner: u32,
    },
    /// It comes from another machine.
    #[error(
        "{}: another machine has written this data directory (machine id, board serial and network \
         cards all differ): if its disk was moved here, start once with --adopt-identity; if it is a \
         copy, give this device an empty data_dir, since two devices must not go on with one history",
        .0.display()
    )]
    OtherMachine(std::path::PathBuf),
    /// It cannot be written to.
    #[error(
        "{}: its file system is mounted read-only; mount it read-write (one with errors is mounted \
         so too: see dmesg), or choose another data_dir",
        .0.display()
    )]
    ReadOnly(std::path::PathBuf),
    /// The buffer.
    #[error(transparent)]
    Buffer(OpenError),
    /// The quarantine.
    #[error(transparent)]
    Quarantine(#[from] QuarantineError),
    /// The models.
    #[cfg(feature = "learning")]
    #[error(transparent)]
    Models(#[from] dunlin_models::registry::RegistryError),
}

impl StoreError {
    /// As [`OpenError`], with what to do.
    pub(crate) fn opening(error: OpenError) -> Self {
        match error {
            OpenError::Newer { path, format } => Self::Newer {
                path,
                format: format.into(),
                known: frame::FORMAT.into(),
            },
            OpenError::Io { path, source } => directory::unusable(&path, source),
            other => Self::Buffer(other),
        }
    }

    /// Trying again does not help until somebody changes something.
    pub const fn needs_operator(&self) -> bool {
        matches!(
            self,
            Self::Newer { .. } | Self::Unusable { .. } | Self::OtherMachine(_)
        )
    }
}

/// The parts of a data directory.
pub struct Store {
    /// Committed records.
    pub buffer: Arc<Buffer>,
    /// Everything else.
    pub quarantine: Arc<Quarantine>,
    /// Versions of models.
    #[cfg(feature = "learning")]
    pub models: Arc<dunlin_models::registry::Registry>,
    /// Gives timestamps.
    pub clock: Clock,
    /// Whose directory it is.
    pub identity: Identity,
}

/// Where the uploader keeps its cursor.
pub fn cursor_path(data_dir: &Path) -> std::path::PathBuf {
    data_dir.join("state").join("cursor.uploader")
}

pub(crate) fn buffer_options(settings: &Settings) -> BufferOptions {
    let buffer = &settings.buffer;
    BufferOptions {
        dir: settings.data_dir.join("buffer"),
        bytes_max: buffer.bytes_max,
        disk_free_bytes_min: buffer.disk_free_bytes_min,
        when_full: buffer.when_full,
        replay_bytes_max: buffer.replay_bytes_max,
        replay_age_ns_max: buffer
            .replay_age_s_max
            .map(|s| s.saturating_mul(1_000_000_000) as i64),
        fingerprints_max: writer::fingerprints_max(settings),
        seq_floor: 0,
    }
}

impl Store {
    /// Opens the data directory that `settings` name, made if need be. Blocks on the disk.
    ///
    /// # Errors
    /// [`StoreError`]. Damage is no error: it is set aside and logged.
    pub fn open(settings: &Settings) -> Result<Self, StoreError> {
        let data_dir = &settings.data_dir;
        directory::claim(data_dir)?;
        let found = identity::check(data_dir, Path::new("/"), settings.adopt_identity)?;
        // A damaged cursor is reported by the uploader; here it only cannot help.
        let cursor = Cursor::read(&cursor_path(data_dir)).ok().flatten();
        let seq_floor = cursor.map_or(0, |cursor| cursor.done().end());
        let (buffer, recovery) = Buffer::open(BufferOptions {
            seq_floor,
            ..buffer_options(settings)
        })
        .map_err(StoreError::opening)?;
        for what in &recovery.set_aside {
            tracing::error!(what, "damaged, set aside; everything else carries on");
        }
        // Until whoever answers says how far it is, it may be behind by any record that is there.
        #[cfg(feature = "learning")]
        if !settings.learn.recipes.is_empty() {
            buffer.wanted_from(0);
        }
        let identity = found.settle(settings, &buffer.catalog(), settings.adopt_identity);
        identity.save(data_dir);
        buffer.set_devices(identity.devices());
        let quarantine = Quarantine::open(
            &data_dir.join("quarantine"),
            settings.quarantine_bytes_max,
            wall_ns,
        )?;
        let past = Past {
            newest: buffer.shape().newest_ts,
            buffer_damaged: recovery.newest_lost,
            record: writer::load_clock(&writer::clock_path(data_dir), recovery.newest_lost),
        };
        if wall_ns() < EARLIEST_NS {
            tracing::warn!(
                "the wall clock shows a time before this program was made: timestamps go on from \
                 the newest record, unsynchronised, until it is set (dunlin doctor)"
            );
        }
        let clock = Clock::new(Box::new(System::default()), &settings.clock, &past);
        #[cfg(feature = "learning")]
        let models = open_models(data_dir)?;
        #[cfg(feature = "learning")]
        models.set_disk_bytes_max(settings.learn.bytes_max);
        Ok(Self {
            buffer: Arc::new(buffer),
            quarantine: Arc::new(quarantine),
            #[cfg(feature = "learning")]
            models: Arc::new(models),
            clock,
            identity,
        })
    }
}

#[cfg(all(test, feature = "learning"))]
mod tests;
