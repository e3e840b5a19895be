//! What lies in the data directory, opened together: buffer, quarantine, models, clock, upload
//! cursor.
//!
//! ```text
//! <data_dir>/buffer/            generations of blocks, what was set aside
//! <data_dir>/quarantine/        what could not be decoded or delivered
//! <data_dir>/models/            versions of models
//! <data_dir>/state/clock        the clock's durable record
//! <data_dir>/state/cursor.uploader
//! <data_dir>/dunlin.sock        the running agent's control socket
//! ```

#[cfg(feature = "learning")]
mod models;

use std::{path::Path, sync::Arc, time::SystemTime};

use dunlin_sync::{
    buffer::{Buffer, BufferOptions, OpenError},
    cursor::Cursor,
    quarantine::{Quarantine, QuarantineError},
};

#[cfg(feature = "learning")]
pub use self::models::{open_models, tell_damage};
use crate::{
    clock::{Clock, Past, System},
    settings::Settings,
    writer,
};

/// Why the data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The buffer.
    #[error(transparent)]
    Buffer(#[from] OpenError),
    /// The quarantine.
    #[error(transparent)]
    Quarantine(#[from] QuarantineError),
    /// The models.
    #[cfg(feature = "learning")]
    #[error(transparent)]
    Models(#[from] dunlin_models::registry::RegistryError),
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
}

/// The wall clock, nanoseconds UTC; for people's eyes, never for records.
pub fn wall_ns() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
    })
}

/// Where the uploader keeps its cursor.
pub fn cursor_path(data_dir: &Path) -> std::path::PathBuf {
    data_dir.join("state").join("cursor.uploader")
}

impl Store {
    /// Opens the data directory that `settings` name, made if need be. Blocks on the disk.
    ///
    /// # Errors
    /// [`StoreError`]. Damage is no error: it is set aside and logged.
    pub fn open(settings: &Settings) -> Result<Self, StoreError> {
        let data_dir = &settings.data_dir;
        let buffer = &settings.buffer;
        // A damaged cursor is reported by the uploader; here it only cannot help.
        let cursor = Cursor::read(&cursor_path(data_dir)).ok().flatten();
        let seq_floor = cursor.map_or(0, |cursor| cursor.done().end());
        let (buffer, recovery) = Buffer::open(BufferOptions {
            dir: data_dir.join("buffer"),
            bytes_max: buffer.bytes_max,
            disk_free_bytes_min: buffer.disk_free_bytes_min,
            when_full: buffer.when_full,
            replay_bytes_max: buffer.replay_bytes_max,
            replay_age_ns_max: buffer
                .replay_age_s_max
                .map(|s| s.saturating_mul(1_000_000_000) as i64),
            fingerprints_max: writer::fingerprints_max(settings),
            seq_floor,
        })?;
        for what in &recovery.set_aside {
            tracing::error!(what, "damaged, set aside; everything else carries on");
        }
        let quarantine = Quarantine::open(
            &data_dir.join("quarantine"),
            settings.quarantine_bytes_max,
            wall_ns,
        )?;
        let past = Past {
            newest: buffer.shape().newest_ts,
            buffer_damaged: recovery.newest_lost,
            record: writer::load_clock(&writer::clock_path(data_dir)),
        };
        let clock = Clock::new(Box::new(System::default()), &settings.clock, &past);
        Ok(Self {
            buffer: Arc::new(buffer),
            quarantine: Arc::new(quarantine),
            #[cfg(feature = "learning")]
            models: Arc::new(open_models(data_dir)?),
            clock,
        })
    }
}
