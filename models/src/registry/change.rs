//! Changes: each is durable when it returns, and whole or not there after a power cut.

use std::{
    path::{Path, PathBuf},
    sync::atomic::Ordering,
};

use super::{
    LINE, LINE_BEFORE, MANIFEST, MODEL, ModelKey, NAME_BYTES_MAX, NewVersion, Registry,
    RegistryError, RegistryOptions, STATE_BYTES_MAX, STATUS_BYTES_MAX, VERSIONS_MAX_LEAST, Version,
    disk, history::ModelHistory, io_error, sealed, unpoisoned,
};
use crate::artifact::Artifact;

/// What is set aside at most; the oldest gives way.
const DAMAGED_MAX: usize = 16;

impl Registry {
    /// Adds a version to its line, which is made if need be; it does not serve by that, unless
    /// somebody accepts its status. The oldest version that is not needed gives way where there are
    /// too many, or where they take too much disk.
    ///
    /// # Errors
    /// [`RegistryError::Refused`] if a name, a status or the artifact is too long, there are too
    /// many lines, or too little disk is allowed; [`RegistryError::Artifact`]; [`RegistryError::Io`]
    pub fn add(
        &self,
        key: &ModelKey,
        artifact: &Artifact,
        new: NewVersion,
    ) -> Result<Version, RegistryError> {
        check_key(key)?;
        check_status(&new.status)?;
        let bytes = artifact.to_bytes()?;
        self.check_length(bytes.len())?;
        let _writing = unpoisoned(&self.writing);
        let mut history = self.history_to_change(key)?;
        // One more will come.
        self.shrink(&mut history, self.versions_max() - 1)?;
        self.make_room(bytes.len() as u64, key)?;
        // Some of it may have given way to itself.
        let mut history = self.history_to_change(key)?;
        let number = history.next_number;
        let version = Version {
            key: key.clone(),
            number,
            status: new.status,
            is_current: false,
            kind: artifact.kind.clone(),
            parent: new.parent,
            created_ns: new.created_ns,
            seed: new.seed,
            lineage: new.lineage,
            evaluations: new.evaluations.finite(),
            decision: new.decision.map(crate::judging::gate::Decision::finite),
            artifact_bytes: bytes.len() as u64,
            sha256: sealed::sha256(&bytes),
        };
        let manifest = sealed::seal(&version).map_err(RegistryError::Refused)?;
        if manifest.len() as u64 > STATE_BYTES_MAX {
            let what = format!("a manifest of {} bytes is too long", manifest.len());
            return Err(RegistryError::Refused(what));
        }
        let dir = self.version_dir(key, number);
        history.add(number, &version.status);
        let added = write_version(&dir, &bytes, &manifest).and_then(|()| self.store(history));
        if added.is_err() {
            // Whatever stays is swept at the next open.
            let _best_effort = disk::remove_dir(&dir);
        }
        self.measure();
        added.map(|()| version)
    }

    /// Adds a version made elsewhere: the bytes of a safetensors file, hostile until checked.
    ///
    /// # Errors
    /// As for [`Self::add`].
    pub fn import(
        &self,
        key: &ModelKey,
        bytes: &[u8],
        new: NewVersion,
    ) -> Result<Version, RegistryError> {
        self.check_length(bytes.len())?;
        self.add(key, &Artifact::from_bytes(bytes)?, new)
    }

    /// Version `number` serves from now on, with the status `promoted`; what served until now gets
    /// the status `replaced` and can be gone back to.
    ///
    /// # Errors
    /// [`RegistryError::Unknown`]; [`RegistryError::Damaged`] if its hash is wrong: it is set aside,
    /// and nothing else changes; [`RegistryError::Refused`]; [`RegistryError::Io`]
    pub fn promote(
        &self,
        key: &ModelKey,
        number: u64,
        promoted: &str,
        replaced: &str,
    ) -> Result<Version, RegistryError> {
        check_status(promoted)?;
        check_status(replaced)?;
        let mut version = self.sound(key, number)?;
        let _writing = unpoisoned(&self.writing);
        let mut history = self.listed(key, number)?;
        history.promote(number, promoted, replaced);
        self.store(history)?;
        promoted.clone_into(&mut version.status);
        version.is_current = true;
        Ok(version)
    }

    /// The version that served before serves again, with the status of the one that served, which
    /// gets the status `rolled_back`. Versions rolled back earlier are not gone back to.
    ///
    /// # Errors
    /// [`RegistryError::Unknown`]; [`RegistryError::Refused`] if none served before;
    /// [`RegistryError::Io`]
    pub fn rollback(&self, key: &ModelKey, rolled_back: &str) -> Result<Version, RegistryError> {
        check_status(rolled_back)?;
        let nothing = || {
            RegistryError::Refused(format!(
                "no version of {key} served before the current one; promote another one instead"
            ))
        };
        loop {
            let history = self.history(key);
            let history = history.ok_or_else(|| {
                RegistryError::Unknown(format!("there is no model of recipe and stream {key}"))
            })?;
            let target = history.rollback_target().ok_or_else(nothing)?;
            // A damaged one is set aside, and the one before it is the target.
            let mut version = match self.sound(key, target) {
                Err(RegistryError::Damaged(_) | RegistryError::Unknown(_)) => continue,
                found => found?,
            };
            let _writing = unpoisoned(&self.writing);
            let mut history = self.listed(key, target)?;
            if history.rollback_target() != Some(target) {
                continue;
            }
            history.roll_back(rolled_back).ok_or_else(nothing)?;
            if let Some(entry) = history.entries.get(&target) {
                version.status.clone_from(&entry.status);
            }
            self.store(history)?;
            version.is_current = true;
            return Ok(version);
        }
    }

    /// Gives a version another status.
    ///
    /// # Errors
    /// [`RegistryError::Unknown`], [`RegistryError::Refused`], [`RegistryError::Io`]
    pub fn set_status(
        &self,
        key: &ModelKey,
        number: u64,
        status: &str,
    ) -> Result<(), RegistryError> {
        check_status(status)?;
        let _writing = unpoisoned(&self.writing);
        let mut history = self.listed(key, number)?;
        history.set_status(number, status);
        self.store(history)
    }

    /// Deletes a version.
    ///
    /// # Errors
    /// [`RegistryError::Refused`] if it serves or a rollback would go to it;
    /// [`RegistryError::Unknown`]; [`RegistryError::Io`]
    pub fn remove(&self, key: &ModelKey, number: u64) -> Result<(), RegistryError> {
        let _writing = unpoisoned(&self.writing);
        let mut history = self.listed(key, number)?;
        if history.is_protected(number) {
            return Err(RegistryError::Refused(format!(
                "version {number} of {key} serves, or a rollback would go to it; promote others first"
            )));
        }
        self.remove_all(&mut history, &[number])
    }

    /// Deletes the oldest versions of a line until `keep` are left, but neither the current one nor
    /// the one that a rollback would go to. Returns the numbers deleted.
    ///
    /// # Errors
    /// [`RegistryError::Io`]
    pub fn prune(&self, key: &ModelKey, keep: usize) -> Result<Vec<u64>, RegistryError> {
        let _writing = unpoisoned(&self.writing);
        let Some(mut history) = self.history(key) else {
            return Ok(Vec::new());
        };
        self.shrink(&mut history, keep)
    }

    /// Deletes a line with all its versions. If the line is made again, its numbers begin again.
    ///
    /// # Errors
    /// [`RegistryError::Io`]
    pub fn forget(&self, key: &ModelKey) -> Result<(), RegistryError> {
        let _writing = unpoisoned(&self.writing);
        if self.history(key).is_some() {
            self.forget_line(key)?;
            self.measure();
        }
        Ok(())
    }

    /// As [`Self::forget`]; the caller holds `writing`.
    pub(super) fn forget_line(&self, key: &ModelKey) -> Result<(), RegistryError> {
        let dir = self.line_dir(key);
        let gone = dir.with_extension(super::recover::GONE);
        // At once, so that no half of it is found later.
        disk::remove_dir(&gone).map_err(io_error(&gone))?;
        disk::rename(&dir, &gone).map_err(io_error(&dir))?;
        unpoisoned(&self.histories).open.remove(key);
        self.changes.fetch_add(1, Ordering::Release);
        disk::sync_dir(&self.lines_dir()).map_err(io_error(&dir))?;
        disk::remove_dir(&gone).map_err(io_error(&gone))
    }

    /// A version whose hash is right.
    fn sound(&self, key: &ModelKey, number: u64) -> Result<Version, RegistryError> {
        let version = self.version(key, number)?;
        self.bytes(&version)?;
        Ok(version)
    }

    fn versions_max(&self) -> usize {
        self.options.versions_max.max(VERSIONS_MAX_LEAST)
    }

    fn check_length(&self, bytes: usize) -> Result<(), RegistryError> {
        let bytes_max = self.options.artifact_bytes_max;
        if bytes as u64 > bytes_max {
            return Err(RegistryError::Refused(format!(
                "a model of {bytes} bytes is too large; the most are {bytes_max}"
            )));
        }
        Ok(())
    }

    fn history_to_change(&self, key: &ModelKey) -> Result<ModelHistory, RegistryError> {
        let count = {
            let histories = unpoisoned(&self.histories);
            if let Some(history) = histories.open.get(key) {
                return Ok(history.clone());
            }
            if let Some(why) = histories.closed.get(&key.directory_name()) {
                return Err(RegistryError::Refused(why.clone()));
            }
            histories.open.len() + histories.closed.len()
        };
        if count >= self.options.keys_max && !self.forget_a_spare_line()? {
            return Err(RegistryError::Refused(format!(
                "there are {count} lines of models, the most there may be; let fewer streams or \
                 recipes have a model"
            )));
        }
        Ok(ModelHistory::new(key.clone()))
    }

    fn shrink(&self, history: &mut ModelHistory, keep: usize) -> Result<Vec<u64>, RegistryError> {
        let surplus = history.surplus(keep);
        self.remove_all(history, &surplus)?;
        Ok(surplus)
    }

    pub(super) fn remove_all(
        &self,
        history: &mut ModelHistory,
        numbers: &[u64],
    ) -> Result<(), RegistryError> {
        if numbers.is_empty() {
            return Ok(());
        }
        for number in numbers {
            history.lose(*number);
        }
        self.store(history.clone())?;
        for number in numbers {
            let dir = self.version_dir(&history.key, *number);
            disk::remove_dir(&dir).map_err(io_error(&dir))?;
        }
        self.measure();
        Ok(())
    }

    /// Makes the state of a line durable, then true.
    pub(super) fn store(&self, history: ModelHistory) -> Result<(), RegistryError> {
        let dir = self.line_dir(&history.key);
        let bytes = sealed::seal(&history).map_err(RegistryError::Refused)?;
        let path = dir.join(LINE);
        disk::create_dir(&dir)
            .and_then(|()| disk::write_keeping(&path, &dir.join(LINE_BEFORE), &bytes))
            .map_err(io_error(&path))?;
        self.adopt(history);
        Ok(())
    }

    pub(super) fn adopt(&self, history: ModelHistory) {
        let key = history.key.clone();
        unpoisoned(&self.histories).open.insert(key, history);
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// Sets a damaged version aside, as far as the disk lets it; it is gone from the line in any
    /// case.
    pub(super) fn discard(&self, mut history: ModelHistory, number: u64, what: &str) {
        self.report(Some(&history.key), Some(number), what.to_owned());
        self.move_aside(&self.version_dir(&history.key, number));
        history.lose(number);
        if self.store(history.clone()).is_err() {
            // Found again at the next open, if the disk still does not work.
            self.adopt(history);
        }
    }

    /// Moves a directory out of the way, as far as the disk lets it.
    pub(super) fn move_aside(&self, dir: &Path) {
        let _best_effort = self.try_move_aside(dir);
    }

    fn try_move_aside(&self, dir: &Path) -> std::io::Result<()> {
        let Some(name) = dir.exists().then(|| dir.file_name()).flatten() else {
            return Ok(());
        };
        let damaged = damaged_dir(&self.options);
        disk::create_dir(&damaged)?;
        let mut names = disk::names(&damaged)?;
        let last = names
            .iter()
            .filter_map(|name| name.split_once('-')?.0.parse::<u64>().ok());
        let next = last.max().map_or(1, |last| last.saturating_add(1));
        names.truncate((names.len() + 1).saturating_sub(DAMAGED_MAX));
        for oldest in names {
            disk::remove_dir(&damaged.join(oldest))?;
        }
        let line = dir.parent().and_then(Path::file_name).unwrap_or_default();
        let (line, name) = (line.to_string_lossy(), name.to_string_lossy());
        disk::rename(dir, &damaged.join(format!("{next:010}-{line}-{name}")))?;
        disk::sync_dir(&damaged)?;
        disk::sync_dir(dir.parent().unwrap_or(Path::new(".")))
    }
}

/// Where damaged versions are kept for people to look at.
pub(super) fn damaged_dir(options: &RegistryOptions) -> PathBuf {
    options.dir.join("damaged")
}

fn write_version(dir: &Path, model: &[u8], manifest: &[u8]) -> Result<(), RegistryError> {
    disk::remove_dir(dir)
        .and_then(|()| disk::create_dir(dir))
        .and_then(|()| disk::write(&dir.join(MODEL), model))
        .and_then(|()| disk::write(&dir.join(MANIFEST), manifest))
        .map_err(io_error(dir))
}

fn check_key(key: &ModelKey) -> Result<(), RegistryError> {
    for name in [&key.recipe, &key.stream] {
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(RegistryError::Refused(format!(
                "a recipe or stream has a name of {} bytes; 1 to {NAME_BYTES_MAX} are allowed",
                name.len()
            )));
        }
    }
    Ok(())
}

fn check_status(status: &str) -> Result<(), RegistryError> {
    let fits = (1..=STATUS_BYTES_MAX).contains(&status.len());
    if fits && !status.chars().any(char::is_control) {
        return Ok(());
    }
    Err(RegistryError::Refused(format!(
        "{status:?} is no status; use a word of at most {STATUS_BYTES_MAX} bytes"
    )))
}
