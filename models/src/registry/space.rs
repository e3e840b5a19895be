//! How much disk the models take, and what gives way where that would be too much.

use std::{collections::BTreeSet, path::Path, sync::atomic::Ordering, time::SystemTime};

use super::{
    LINE, MANIFEST, ModelKey, Registry, RegistryError, change::damaged_dir, disk, io_error,
    unpoisoned,
};

/// Something that may be deleted for something newer.
struct Spare {
    bytes: u64,
    what: What,
}

enum What {
    /// A directory among what was set aside.
    Damaged(String),
    Version(ModelKey, u64),
    /// All versions of a line.
    Line(ModelKey),
}

impl Registry {
    /// Disk taken by all there is here, what was set aside included, bytes; as of the last change.
    pub fn disk_bytes(&self) -> u64 {
        self.disk_bytes.load(Ordering::Relaxed)
    }

    /// What is added from now on may take it to so many bytes of disk; any number when it is opened.
    pub fn set_disk_bytes_max(&self, bytes: u64) {
        self.disk_bytes_max.store(bytes, Ordering::Relaxed);
    }

    /// Says of which lines the streams are gone. They are kept, since a stream may come back; but where there is
    /// no room for something new, they give way before it is refused.
    pub fn spare_lines(&self, keys: BTreeSet<ModelKey>) {
        *unpoisoned(&self.spare) = keys;
    }

    pub(super) fn measure(&self) -> u64 {
        let bytes = disk::bytes_under(&self.options.dir);
        self.disk_bytes.store(bytes, Ordering::Relaxed);
        bytes
    }

    /// Makes room for `bytes` more in the line `key`: what was set aside gives way first, then the oldest versions of all lines
    /// that are not the newest of their line, do not serve and would not be gone back to, then lines whose
    /// stream is gone. If that is not enough, nothing is deleted.
    ///
    /// # Errors
    /// [`RegistryError::Refused`], [`RegistryError::Io`]
    pub(super) fn make_room(&self, bytes: u64, key: &ModelKey) -> Result<(), RegistryError> {
        let bytes_max = self.disk_bytes_max.load(Ordering::Relaxed);
        let taken = self.measure();
        let mut too_many = taken.saturating_add(bytes).saturating_sub(bytes_max);
        if too_many == 0 {
            return Ok(());
        }
        let spares = self.spares(key)?;
        if spares.iter().map(|spare| spare.bytes).sum::<u64>() < too_many {
            return Err(RegistryError::Refused(format!(
                "models take {taken} bytes of the {bytes_max} that they may, too few of them can be spared, and \
                 {bytes} more do not fit; let fewer streams or recipes have a model, or raise learn.bytes_max"
            )));
        }
        for spare in spares {
            if too_many == 0 {
                break;
            }
            match spare.what {
                What::Damaged(name) => {
                    let dir = damaged_dir(&self.options).join(name);
                    disk::remove_dir(&dir).map_err(io_error(&dir))?;
                }
                What::Version(key, number) => {
                    let mut history = self.listed(&key, number)?;
                    self.remove_all(&mut history, &[number])?;
                }
                What::Line(key) => self.forget_line(&key)?,
            }
            too_many = too_many.saturating_sub(spare.bytes);
        }
        self.measure();
        Ok(())
    }

    /// What may give way to a version of `newcomer`, in the order in which it does.
    fn spares(&self, newcomer: &ModelKey) -> Result<Vec<Spare>, RegistryError> {
        let damaged = damaged_dir(&self.options);
        let mut spares = Vec::new();
        if damaged.is_dir() {
            for name in disk::names(&damaged).map_err(io_error(&damaged))? {
                spares.push(Spare {
                    bytes: disk::bytes_under(&damaged.join(&name)),
                    what: What::Damaged(name),
                });
            }
        }
        let mut gone = unpoisoned(&self.spare).clone();
        gone.remove(newcomer);
        let histories: Vec<_> = unpoisoned(&self.histories).open.values().cloned().collect();
        let (mut versions, mut whole) = (Vec::new(), Vec::new());
        for history in histories
            .iter()
            .filter(|history| !gone.contains(&history.key))
        {
            let newest = history.entries.keys().next_back().copied();
            for number in history.surplus(0) {
                // It may wait for its promotion, or serve by its status.
                if Some(number) == newest {
                    continue;
                }
                let dir = self.version_dir(&history.key, number);
                let written = std::fs::metadata(dir.join(MANIFEST)).and_then(|m| m.modified());
                let spare = Spare {
                    bytes: disk::bytes_under(&dir),
                    what: What::Version(history.key.clone(), number),
                };
                versions.push((written.unwrap_or(SystemTime::UNIX_EPOCH), spare));
            }
        }
        for key in histories.into_iter().map(|history| history.key) {
            if gone.contains(&key) {
                let dir = self.line_dir(&key);
                let spare = Spare {
                    bytes: disk::bytes_under(&dir),
                    what: What::Line(key),
                };
                whole.push((changed_at(&dir), spare));
            }
        }
        versions.sort_by_key(|(written, _)| *written);
        whole.sort_by_key(|(changed, _)| *changed);
        spares.extend(versions.into_iter().chain(whole).map(|(_, spare)| spare));
        Ok(spares)
    }

    /// Deletes the line that was changed longest ago of those whose stream is gone; whether there was one.
    pub(super) fn forget_a_spare_line(&self) -> Result<bool, RegistryError> {
        let gone = unpoisoned(&self.spare).clone();
        let there = gone.into_iter().filter(|key| self.history(key).is_some());
        let oldest = there.min_by_key(|key| changed_at(&self.line_dir(key)));
        oldest.map_or(Ok(false), |key| self.forget_line(&key).map(|()| true))
    }
}

/// When the state of the line in `dir` was written last.
fn changed_at(dir: &Path) -> SystemTime {
    let written = std::fs::metadata(dir.join(LINE)).and_then(|m| m.modified());
    written.unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests;
