//! Opening: what the last process left is looked through, swept and mended.

use std::{
    fs::{File, TryLockError},
    io,
    path::Path,
    sync::{Mutex, atomic::AtomicU64},
    thread::sleep,
    time::{Duration, Instant},
};

use super::{
    Content, Flaw, LINE, LINE_BEFORE, MANIFEST, Registry, RegistryError, RegistryOptions,
    STATE_BYTES_MAX, SealError, disk, history::ModelHistory, io_error, key::is_directory_name,
    read_manifest, sealed, unpoisoned, version_name,
};

/// Ending of a line's directory that is being deleted.
pub(super) const GONE: &str = "gone";

/// A process that is ending may hold the lock for a moment.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(2);
const LOCK_RETRY: Duration = Duration::from_millis(10);

/// A line's state as found on disk.
enum HistoryFound {
    Whole(ModelHistory),
    Absent,
    Damaged(String),
    /// Written by another version of this program: none of our business.
    Foreign(String),
}

impl Registry {
    /// Opens the registry, made if need be. Damage is no error: see [`Self::take_damage`].
    ///
    /// # Errors
    /// [`RegistryError::InUse`] if another process has it open; [`RegistryError::Io`]
    pub fn open(options: RegistryOptions) -> Result<Self, RegistryError> {
        let dir = options.dir.clone();
        let lines_dir = dir.join("lines");
        disk::create_dir(&lines_dir).map_err(io_error(&lines_dir))?;
        let path = dir.join("lock");
        let lock = File::create(&path).map_err(io_error(&path))?;
        hold(&lock).map_err(|error| match error {
            TryLockError::WouldBlock => RegistryError::InUse(dir.clone()),
            TryLockError::Error(error) => io_error(&path)(error),
        })?;
        let registry = Self {
            options,
            histories: Mutex::default(),
            writing: Mutex::new(()),
            damage: Mutex::new(Vec::new()),
            damaged: AtomicU64::new(0),
            changes: AtomicU64::new(0),
            disk_bytes: AtomicU64::new(0),
            disk_bytes_max: AtomicU64::new(u64::MAX),
            spare: Mutex::default(),
            _lock: lock,
        };
        for name in disk::names(&lines_dir).map_err(io_error(&lines_dir))? {
            let line_dir = lines_dir.join(&name);
            let ending = format!(".{GONE}");
            let is_ours = is_directory_name(name.strip_suffix(&ending).unwrap_or(&name));
            if !is_ours || !line_dir.is_dir() {
                continue;
            }
            if let Err(error) = registry.recover_line(&name, &line_dir) {
                registry.report(None, None, error.to_string());
                let why = format!("its directory cannot be used: {error}");
                unpoisoned(&registry.histories).closed.insert(name, why);
            }
        }
        registry.measure();
        Ok(registry)
    }

    /// Takes in the line in `dir`, called `name`.
    fn recover_line(&self, name: &str, dir: &Path) -> Result<(), RegistryError> {
        if name.ends_with(GONE) {
            return disk::remove_dir(dir).map_err(io_error(dir));
        }
        let history = match read_history(&dir.join(LINE), name)? {
            HistoryFound::Whole(history) => history,
            HistoryFound::Foreign(why) => {
                self.report(None, None, format!("{}: {why}", dir.display()));
                let why = format!("{}: {why}; use that version", dir.display());
                unpoisoned(&self.histories)
                    .closed
                    .insert(name.to_owned(), why);
                return Ok(());
            }
            HistoryFound::Damaged(what) => {
                let key = without_state(name, dir)?;
                let key = key.as_ref().map(|history| history.key.clone());
                let what = format!("{LINE} is damaged, mended from what else there is: {what}");
                self.report(key.as_ref(), None, what);
                return self.mend(name, dir);
            }
            HistoryFound::Absent => return self.mend(name, dir),
        };
        self.settle(history, dir, false)
    }

    /// Takes in a line whose state cannot be read.
    fn mend(&self, name: &str, dir: &Path) -> Result<(), RegistryError> {
        let Some(history) = without_state(name, dir)? else {
            // Nothing in it can be read: its key is not even known.
            let is_unfinished = disk::names(dir).map_err(io_error(dir))?.iter().all(|name| {
                name.ends_with(disk::UNFINISHED) || !dir.join(name).join(MANIFEST).exists()
            });
            if is_unfinished && !dir.join(LINE).exists() {
                return disk::remove_dir(dir).map_err(io_error(dir));
            }
            let what = format!("{}: nothing in it can be read; set aside", dir.display());
            self.report(None, None, what);
            self.move_aside(dir);
            return Ok(());
        };
        // Or it would become the copy.
        disk::remove_file(&dir.join(LINE)).map_err(io_error(dir))?;
        self.settle(history, dir, true)
    }

    /// Brings a line and its directory together: what a cut left over is swept, a version that it kept
    /// out taken in, what is damaged or missing lost. Stored if that changed it, or `is_mended`.
    fn settle(
        &self,
        mut history: ModelHistory,
        dir: &Path,
        is_mended: bool,
    ) -> Result<(), RegistryError> {
        let found = history.clone();
        let there = numbers(dir)?;
        sweep_unfinished(dir)?;
        for number in &there {
            if !history.entries.contains_key(number) {
                self.settle_unlisted(&mut history, dir, *number)?;
            }
        }
        self.lose_missing(&mut history, &there);
        self.lose_damaged_current(&mut history, dir)?;
        let is_changed = is_mended || history != found;
        if is_changed && self.store(history.clone()).is_ok() {
            return Ok(());
        }
        // A full disk must not keep models from serving: mended again at the next open.
        self.adopt(history);
        Ok(())
    }

    /// A version that only the disk knows: it was being removed or written, or is whole and new.
    fn settle_unlisted(
        &self,
        history: &mut ModelHistory,
        dir: &Path,
        number: u64,
    ) -> Result<(), RegistryError> {
        let version_dir = dir.join(version_name(number));
        let was_removed = number < history.next_number;
        if was_removed || !version_dir.join(MANIFEST).exists() {
            return disk::remove_dir(&version_dir).map_err(io_error(&version_dir));
        }
        match read_manifest(&version_dir.join(MANIFEST)) {
            Ok(version) => history.add(number, &version.status),
            Err(Flaw::Other(error)) => return Err(error),
            Err(Flaw::Damaged(what)) => {
                self.report(Some(&history.key), Some(number), what);
                self.move_aside(&version_dir);
                history.lose(number);
            }
        }
        Ok(())
    }

    /// Loses the versions that are not among those `there`.
    fn lose_missing(&self, history: &mut ModelHistory, there: &[u64]) {
        let listed: Vec<u64> = history.entries.keys().copied().collect();
        for number in listed.iter().filter(|number| !there.contains(number)) {
            let what = "its directory is missing".to_owned();
            self.report(Some(&history.key), Some(*number), what);
            history.lose(*number);
        }
    }

    /// What serves must be sound; the rest is looked at when it is asked for.
    fn lose_damaged_current(
        &self,
        history: &mut ModelHistory,
        dir: &Path,
    ) -> Result<(), RegistryError> {
        while let Some(number) = history.current {
            match self.manifest(history, number) {
                Ok(_) => break,
                Err(Flaw::Other(error)) => return Err(error),
                Err(Flaw::Damaged(what)) => {
                    self.report(Some(&history.key), Some(number), what);
                    self.move_aside(&dir.join(version_name(number)));
                    history.lose(number);
                }
            }
        }
        Ok(())
    }
}

/// Deletes files of the line itself that were never whole.
fn sweep_unfinished(dir: &Path) -> Result<(), RegistryError> {
    for name in disk::names(dir).map_err(io_error(dir))? {
        let path = dir.join(&name);
        if name.ends_with(disk::UNFINISHED) && path.is_file() {
            disk::remove_file(&path).map_err(io_error(&path))?;
        }
    }
    Ok(())
}

/// The state before, or one made from the manifests.
fn without_state(name: &str, dir: &Path) -> Result<Option<ModelHistory>, RegistryError> {
    if let HistoryFound::Whole(history) = read_history(&dir.join(LINE_BEFORE), name)? {
        return Ok(Some(history));
    }
    let mut made: Option<ModelHistory> = None;
    for number in numbers(dir)? {
        match read_manifest(&dir.join(version_name(number)).join(MANIFEST)) {
            Ok(version) if version.key.directory_name() == name => {
                let history = made.get_or_insert_with(|| ModelHistory::new(version.key.clone()));
                history.add(number, &version.status);
                if version.decision.is_some_and(|decision| decision.promoted) {
                    history.promote(number, &version.status, &version.status);
                }
            }
            Ok(_) | Err(Flaw::Damaged(_)) => {}
            Err(Flaw::Other(error)) => return Err(error),
        }
    }
    Ok(made)
}

/// Numbers of the versions that have a directory, rising.
fn numbers(dir: &Path) -> Result<Vec<u64>, RegistryError> {
    let names = disk::names(dir).map_err(io_error(dir))?;
    let numbers = names.iter().filter_map(|name| {
        let number = name.parse().ok()?;
        (number > 0 && version_name(number) == *name && dir.join(name).is_dir()).then_some(number)
    });
    let mut numbers: Vec<u64> = numbers.collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn read_history(path: &Path, name: &str) -> Result<HistoryFound, RegistryError> {
    let bytes = match disk::read(path, STATE_BYTES_MAX).map_err(io_error(path))? {
        Content::Whole(bytes) => bytes,
        Content::Absent => return Ok(HistoryFound::Absent),
        Content::TooLong => return Ok(HistoryFound::Damaged("it is far too long".into())),
    };
    Ok(match sealed::unseal::<ModelHistory>(&bytes) {
        Ok(history) if history.key.directory_name() != name => {
            HistoryFound::Damaged(format!("it is that of {}", history.key))
        }
        Ok(history) if !history.is_sound() => HistoryFound::Damaged("it contradicts itself".into()),
        Ok(history) => HistoryFound::Whole(history),
        Err(SealError::Damaged(what)) => HistoryFound::Damaged(what),
        Err(error @ SealError::Format(_)) => HistoryFound::Foreign(error.to_string()),
    })
}

fn hold(lock: &File) -> Result<(), TryLockError> {
    let deadline = Instant::now() + LOCK_WAIT_MAX;
    loop {
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => sleep(LOCK_RETRY),
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}
