//! Versions of models on disk: weights, what is known of them, and which one serves.
//!
//! Promises: weights are durable before a manifest names them, the manifest before the line's state
//! does; a power cut at any point leaves the state before a change or the one after it; what a cut
//! left over is swept at the next open. A damaged version stops nothing else: it is set aside and
//! told, and the version that served before serves again. Everything is bounded. One process at a
//! time; in it, any number of threads.
//!
//! ```text
//! <dir>/lock
//! <dir>/lines/<line>/line.json       pointer, history, statuses: the only file that is rewritten
//! <dir>/lines/<line>/line.old.json   the state before, in case that one is damaged
//! <dir>/lines/<line>/<number>/model.safetensors
//! <dir>/lines/<line>/<number>/manifest.json
//! <dir>/damaged/                     what was set aside, the newest few
//! ```
//!
//! Add: weights, manifest, `line.json`. Found at open with a manifest but not in `line.json`: added,
//! if its number was not used yet; otherwise it was being removed. Promote, roll back, change a
//! status: `line.json` alone. Remove: `line.json`, then the files.
//!
//! Statuses are the caller's words. The registry compares them, and hands a status on: after a
//! rollback, the version that serves again has the status of the one that served.

mod change;
mod disk;
mod history;
mod key;
mod recover;
mod sealed;
mod space;
mod version;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use self::{disk::Content, history::ModelHistory, sealed::SealError};
pub use self::{
    key::{ModelKey, NAME_BYTES_MAX},
    version::{Evaluations, NewVersion, Version},
};
use crate::artifact::{Artifact, ArtifactError};

/// Status of a version that may serve, unless configured otherwise.
pub const AVAILABLE: &str = "available";
/// Status of a version that the gate did not let pass, or that it has not seen yet.
pub const CANDIDATE: &str = "candidate";
/// Status of a version that served until another was promoted.
pub const RETIRED: &str = "retired";
/// Status of a version that was taken back.
pub const ROLLED_BACK: &str = "rolled_back";
/// Status of a version that came from a file.
pub const IMPORTED: &str = "imported";

/// Longest status, bytes.
pub const STATUS_BYTES_MAX: usize = 64;
/// Most bytes of an artifact, unless set otherwise.
pub const ARTIFACT_BYTES_MAX: u64 = 32 << 20;
/// Fewest versions a line must have room for: one that serves, one to go back to, a new one.
const VERSIONS_MAX_LEAST: usize = 3;
/// Longest manifest or state of a line.
const STATE_BYTES_MAX: u64 = 16 << 20;
/// Reports of damage kept until somebody takes them.
const DAMAGE_MAX: usize = 64;

const LINE: &str = "line.json";
const LINE_BEFORE: &str = "line.old.json";
const MODEL: &str = "model.safetensors";
const MANIFEST: &str = "manifest.json";

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Another process has it open.
    #[error("{} is in use by another process; stop it, or ask it through its agent", .0.display())]
    InUse(PathBuf),
    /// There is no such line or version.
    #[error("{0}")]
    Unknown(String),
    /// It cannot be done as asked; asking again will not help.
    #[error("{0}")]
    Refused(String),
    /// The version is damaged. It has been set aside; ask for the current one again.
    #[error("{0}")]
    Damaged(String),
    /// The bytes are no artifact that this program can use.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// The disk; it may work later.
    #[error("{}: {source}; check the disk and the file's owner", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Where the registry is, and its bounds.
#[derive(Clone, Debug)]
pub struct RegistryOptions {
    /// Directory, made if need be.
    pub dir: PathBuf,
    /// Most bytes of an artifact.
    pub artifact_bytes_max: u64,
    /// Most versions of a line, at least 3; the oldest that is not needed gives way.
    pub versions_max: usize,
    /// Most lines.
    pub keys_max: usize,
}

impl RegistryOptions {
    /// The usual bounds: 32 MiB an artifact, 64 versions a line, 16,384 lines.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            artifact_bytes_max: ARTIFACT_BYTES_MAX,
            versions_max: 64,
            keys_max: 16_384,
        }
    }
}

/// Something that was found damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Which line, if that is known.
    pub key: Option<ModelKey>,
    /// Which version of it, if it is one.
    pub number: Option<u64>,
    /// What is wrong, and what became of it.
    pub what: String,
}

/// Keeps models. Shared by whoever trains, serves and asks.
pub struct Registry {
    options: RegistryOptions,
    /// Held for moments only, never while the disk is busy.
    histories: Mutex<Histories>,
    /// Held while the disk changes.
    writing: Mutex<()>,
    damage: Mutex<Vec<Damage>>,
    damaged: AtomicU64,
    changes: AtomicU64,
    /// Disk taken, as of the last change.
    disk_bytes: AtomicU64,
    disk_bytes_max: AtomicU64,
    /// See [`Registry::spare_lines`].
    spare: Mutex<BTreeSet<ModelKey>>,
    _lock: File,
}

/// What there is, as the disk has it.
#[derive(Debug, Default)]
struct Histories {
    open: BTreeMap<ModelKey, ModelHistory>,
    /// Directories that are left alone, by name, each with the reason.
    closed: BTreeMap<String, String>,
}

/// Why a version cannot be read.
enum Flaw {
    Damaged(String),
    Other(RegistryError),
}

impl From<Flaw> for RegistryError {
    fn from(flaw: Flaw) -> Self {
        match flaw {
            Flaw::Damaged(what) => Self::Damaged(what),
            Flaw::Other(error) => error,
        }
    }
}

fn unpoisoned<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> RegistryError {
    let path = path.to_owned();
    |source| RegistryError::Io { path, source }
}

impl Registry {
    /// Rises whenever a version is added, promoted, rolled back, removed, lost, or its status
    /// changes: whoever serves need not look before.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// What was found damaged since this was asked last; the oldest of too many are forgotten.
    pub fn take_damage(&self) -> Vec<Damage> {
        std::mem::take(&mut unpoisoned(&self.damage))
    }

    /// Versions and lines found damaged since the registry was opened.
    pub fn damaged(&self) -> u64 {
        self.damaged.load(Ordering::Relaxed)
    }

    /// All lines there are, by recipe and stream.
    pub fn keys(&self) -> Vec<ModelKey> {
        unpoisoned(&self.histories).open.keys().cloned().collect()
    }

    /// Number of the version that the line's pointer names. Does not touch the disk.
    pub fn current_number(&self, key: &ModelKey) -> Option<u64> {
        unpoisoned(&self.histories).open.get(key)?.current
    }

    /// Number of the version to serve for somebody who accepts `statuses`: among several, the one
    /// whose status was set last. Does not touch the disk.
    pub fn number_among(&self, key: &ModelKey, statuses: &[String]) -> Option<u64> {
        unpoisoned(&self.histories).open.get(key)?.among(statuses)
    }

    /// The version that the line's pointer names.
    ///
    /// # Errors
    /// [`RegistryError::Io`]
    pub fn current(&self, key: &ModelKey) -> Result<Option<Version>, RegistryError> {
        self.first_sound(key, || self.current_number(key))
    }

    /// The version that [`Self::number_among`] names.
    ///
    /// # Errors
    /// [`RegistryError::Io`]
    pub fn current_among(
        &self,
        key: &ModelKey,
        statuses: &[String],
    ) -> Result<Option<Version>, RegistryError> {
        self.first_sound(key, || self.number_among(key, statuses))
    }

    /// What `number` names, until it names a sound one.
    fn first_sound(
        &self,
        key: &ModelKey,
        number: impl Fn() -> Option<u64>,
    ) -> Result<Option<Version>, RegistryError> {
        loop {
            let Some(number) = number() else {
                return Ok(None);
            };
            match self.version(key, number) {
                // Set aside or removed: there is one less.
                Err(RegistryError::Damaged(_) | RegistryError::Unknown(_)) => {}
                found => return found.map(Some),
            }
        }
    }

    /// Version `number` of a line.
    ///
    /// # Errors
    /// [`RegistryError::Unknown`]; [`RegistryError::Damaged`] if it had to be set aside just now;
    /// [`RegistryError::Io`]
    pub fn version(&self, key: &ModelKey, number: u64) -> Result<Version, RegistryError> {
        let history = self.listed(key, number)?;
        match self.manifest(&history, number) {
            Ok(version) => Ok(version),
            Err(Flaw::Other(error)) => Err(error),
            // Perhaps only removed since.
            Err(Flaw::Damaged(_)) => self.look_again(key, number, |_| Ok(())).map(|(v, ())| v),
        }
    }

    /// The sound versions of a line, oldest first; none of a line that there is not.
    ///
    /// # Errors
    /// [`RegistryError::Io`]
    pub fn versions(&self, key: &ModelKey) -> Result<Vec<Version>, RegistryError> {
        let history = self.history(key);
        let numbers = history.iter().flat_map(|history| history.entries.keys());
        let mut versions = Vec::new();
        for number in numbers {
            match self.version(key, *number) {
                Err(RegistryError::Damaged(_) | RegistryError::Unknown(_)) => {}
                found => versions.push(found?),
            }
        }
        Ok(versions)
    }

    /// The model itself, its hash checked.
    ///
    /// # Errors
    /// [`RegistryError::Damaged`] if it had to be set aside: the pointer names another one now;
    /// [`RegistryError::Unknown`] if it has been removed; [`RegistryError::Artifact`] if it was
    /// written by another version of this program; [`RegistryError::Io`]
    pub fn load(&self, version: &Version) -> Result<Artifact, RegistryError> {
        Ok(Artifact::from_bytes(&self.bytes(version)?)?)
    }

    /// The model's safetensors file, its hash checked: what [`Self::import`] takes elsewhere.
    ///
    /// # Errors
    /// As for [`Self::load`].
    pub fn bytes(&self, version: &Version) -> Result<Vec<u8>, RegistryError> {
        let (key, number) = (&version.key, version.number);
        self.listed(key, number)?;
        match self.artifact_bytes(version) {
            Ok(bytes) => Ok(bytes),
            Err(Flaw::Other(error)) => Err(error),
            Err(Flaw::Damaged(_)) => {
                let read = |version: &Version| self.artifact_bytes(version);
                self.look_again(key, number, read).map(|(_, bytes)| bytes)
            }
        }
    }

    /// Reads a version while nobody changes it, and sets it aside if it is damaged.
    fn look_again<T>(
        &self,
        key: &ModelKey,
        number: u64,
        read: impl FnOnce(&Version) -> Result<T, Flaw>,
    ) -> Result<(Version, T), RegistryError> {
        let _writing = unpoisoned(&self.writing);
        let history = self.listed(key, number)?;
        let found = self.manifest(&history, number);
        match found.and_then(|version| read(&version).map(|more| (version, more))) {
            Ok(found) => Ok(found),
            Err(Flaw::Other(error)) => Err(error),
            Err(Flaw::Damaged(what)) => {
                self.discard(history, number, &what);
                let what = format!("version {number} of {key} is damaged and set aside: {what}");
                Err(RegistryError::Damaged(what))
            }
        }
    }

    fn history(&self, key: &ModelKey) -> Option<ModelHistory> {
        unpoisoned(&self.histories).open.get(key).cloned()
    }

    /// The line of `key`, which must have a version `number`.
    fn listed(&self, key: &ModelKey, number: u64) -> Result<ModelHistory, RegistryError> {
        let history = self.history(key).ok_or_else(|| {
            RegistryError::Unknown(format!("there is no model of recipe and stream {key}"))
        })?;
        if history.entries.contains_key(&number) {
            return Ok(history);
        }
        let numbers: Vec<_> = history.entries.keys().map(ToString::to_string).collect();
        Err(RegistryError::Unknown(format!(
            "{key} has no version {number}; it has {}",
            if numbers.is_empty() {
                "none".into()
            } else {
                numbers.join(", ")
            }
        )))
    }

    fn line_dir(&self, key: &ModelKey) -> PathBuf {
        self.lines_dir().join(key.directory_name())
    }

    fn lines_dir(&self) -> PathBuf {
        self.options.dir.join("lines")
    }

    fn version_dir(&self, key: &ModelKey, number: u64) -> PathBuf {
        self.line_dir(key).join(version_name(number))
    }

    /// What the manifest of a version says, with the line's word on what changes.
    fn manifest(&self, history: &ModelHistory, number: u64) -> Result<Version, Flaw> {
        let dir = self.version_dir(&history.key, number);
        let mut version = read_manifest(&dir.join(MANIFEST))?;
        if version.key != history.key || version.number != number {
            let (key, other) = (&version.key, version.number);
            let what = format!("its manifest is that of version {other} of {key}");
            return Err(Flaw::Damaged(what));
        }
        let model = dir.join(MODEL);
        let bytes = match std::fs::metadata(&model) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Flaw::Damaged(format!("{MODEL} is missing")));
            }
            Err(error) => return Err(Flaw::Other(io_error(&model)(error))),
        };
        if bytes != version.artifact_bytes {
            let expected = version.artifact_bytes;
            return Err(Flaw::Damaged(format!(
                "{MODEL} has {bytes} bytes in place of {expected}"
            )));
        }
        if let Some(entry) = history.entries.get(&number) {
            version.status.clone_from(&entry.status);
        }
        version.is_current = history.current == Some(number);
        Ok(version)
    }

    fn artifact_bytes(&self, version: &Version) -> Result<Vec<u8>, Flaw> {
        let path = self.version_dir(&version.key, version.number).join(MODEL);
        let read = disk::read(&path, version.artifact_bytes);
        match read.map_err(|error| Flaw::Other(io_error(&path)(error)))? {
            Content::Whole(bytes) if sealed::sha256(&bytes) == version.sha256 => Ok(bytes),
            Content::Absent => Err(Flaw::Damaged(format!("{MODEL} is missing"))),
            _ => Err(Flaw::Damaged(format!("{MODEL} is not what its hash says"))),
        }
    }

    /// Remembers damage for whoever asks.
    fn report(&self, key: Option<&ModelKey>, number: Option<u64>, what: String) {
        self.damaged.fetch_add(1, Ordering::Relaxed);
        let mut damage = unpoisoned(&self.damage);
        if damage.len() >= DAMAGE_MAX {
            damage.remove(0);
        }
        damage.push(Damage {
            key: key.cloned(),
            number,
            what,
        });
    }
}

fn version_name(number: u64) -> String {
    format!("{number:010}")
}

fn read_manifest(path: &Path) -> Result<Version, Flaw> {
    let read = disk::read(path, STATE_BYTES_MAX);
    match read.map_err(|error| Flaw::Other(io_error(path)(error)))? {
        Content::Whole(bytes) => sealed::unseal(&bytes)
            .map_err(|error: SealError| Flaw::Damaged(format!("{MANIFEST}: {error}"))),
        Content::Absent => Err(Flaw::Damaged(format!("{MANIFEST} is missing"))),
        Content::TooLong => Err(Flaw::Damaged(format!("{MANIFEST} is far too long"))),
    }
}
