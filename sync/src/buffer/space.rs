//! Room: when a generation is sealed, deleted or set aside, and what happens at the bounds.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering::Relaxed},
};

use super::{
    Active, Buffer, CommitError, Extent, Inner, OPEN_SEALED_MAX, Sealed, WhenFull,
    fingerprint_entries, schema_entry, stream_entry, unpoisoned,
};
use crate::{
    codec, frame,
    generation::{Entry, Generation, GenerationError, dir_bytes},
    state_file::{self, sync_dir},
};

/// Disk kept aside so that a full disk can still open a generation and drain it.
pub(super) const RESERVE_BYTES: u64 = 4 << 20;
/// What was set aside is kept for people to look at, up to this many.
const SET_ASIDE_MAX: usize = 16;
/// sled writes whole segments of 512 KiB and rewrites pages: a commit may take this much more disk.
const SLED_HEADROOM_BYTES: u64 = 1 << 20;
/// A smaller generation is not worth sealing to gain space.
const SEAL_BYTES_MIN: u64 = 768 << 10;

pub(super) fn generation_dir(dir: &Path, id: u64) -> PathBuf {
    dir.join(format!("{id:08}"))
}

pub(super) fn summary_path(dir: &Path, id: u64) -> PathBuf {
    generation_dir(dir, id).join("summary")
}

/// Entries every new generation begins with.
pub(super) fn first_entries(
    extent: &Extent,
    catalog: &crate::sample::Catalog,
    fingerprints: &[u64],
) -> Vec<Entry> {
    let mut entries = vec![(vec![b'm'], frame::to_bytes(extent).unwrap_or_default())];
    entries.extend(catalog.schemas.iter().map(|schema| schema_entry(schema)));
    entries.extend(catalog.streams.iter().map(|stream| stream_entry(stream)));
    entries.extend(fingerprint_entries(extent.next_seq, fingerprints));
    entries
}

/// Makes or refreshes the reserve; without room for it, goes without.
pub(super) fn keep_reserve(dir: &Path) {
    let path = dir.join("reserve");
    if fs::metadata(&path).is_ok_and(|meta| meta.len() == RESERVE_BYTES) {
        return;
    }
    let made = File::create(&path).and_then(|file| {
        let mode = rustix::fs::FallocateFlags::empty();
        rustix::fs::fallocate(&file, mode, 0, RESERVE_BYTES)?;
        file.sync_all()
    });
    if made.is_err() {
        let _gone = fs::remove_file(&path);
    }
}

/// Runs `call`; if the disk is full, gives up the reserve and runs it once more.
pub(super) fn with_reserve<T>(
    dir: &Path,
    call: impl Fn() -> Result<T, GenerationError>,
) -> Result<T, GenerationError> {
    match call() {
        Err(GenerationError::Full) => {
            tracing::warn!("disk full: giving up the reserve to go on");
            let _gone = fs::remove_file(dir.join("reserve"));
            call()
        }
        other => other,
    }
}

/// Free disk for ordinary users, bytes; unknown counts as plenty.
fn disk_free_bytes(dir: &Path) -> u64 {
    rustix::fs::statvfs(dir).map_or(u64::MAX, |stat| stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Deletes a directory so that a power cut leaves all of it or a leftover that opening sweeps.
fn delete_dir(parent: &Path, dir: &Path, id: u64) -> std::io::Result<()> {
    let trash = parent.join(format!("trash-{id}"));
    fs::rename(dir, &trash)?;
    sync_dir(parent)?;
    fs::remove_dir_all(&trash)
}

/// Moves `path` to the directory of what was set aside, keeping a bounded number there.
pub(super) fn set_aside(dir: &Path, path: &Path, why: &str) {
    let aside = dir.join("set_aside");
    let _exists = fs::create_dir_all(&aside);
    let mut old: Vec<PathBuf> = fs::read_dir(&aside)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    old.sort_by_key(|path| fs::metadata(path).and_then(|meta| meta.modified()).ok());
    for path in old
        .iter()
        .take((old.len() + 1).saturating_sub(SET_ASIDE_MAX))
    {
        tracing::warn!(path = %path.display(), "removing what was set aside longest ago");
        let _gone = fs::remove_dir_all(path).or_else(|_| fs::remove_file(path));
    }
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let free = |n: &u32| !aside.join(format!("{name}-{n}")).exists();
    let place = aside.join(format!(
        "{name}-{}",
        (0..u32::MAX).find(free).unwrap_or_default()
    ));
    match fs::rename(path, &place).and_then(|()| sync_dir(dir)) {
        Ok(()) => tracing::error!(place = %place.display(), why, "set aside"),
        Err(error) => tracing::error!(path = %path.display(), why, %error, "cannot set aside"),
    }
}

impl Buffer {
    /// Room for `bytes` more, by trimming and by the policy.
    pub(super) fn make_room(&self, inner: &mut Inner, bytes: u64) -> Result<(), CommitError> {
        let options = &self.options;
        let needed = 2 * bytes + SLED_HEADROOM_BYTES;
        loop {
            let used = inner.used_bytes();
            let free = disk_free_bytes(&options.dir);
            let disk_short = free < options.disk_free_bytes_min.saturating_add(needed);
            if used + needed <= options.bytes_max && !disk_short {
                return Ok(());
            }
            let oldest_uploaded = inner
                .sealed
                .front()
                .is_some_and(|s| s.extent.next_seq <= inner.uploaded_to);
            let active = &inner.active;
            let worth_sealing = active.generation.disk_bytes() >= SEAL_BYTES_MIN
                && !active.extent.is_empty()
                && inner.sealed.is_empty();
            if oldest_uploaded {
                // The replay window yields before new records are refused.
                self.delete_oldest(inner);
            } else if worth_sealing && active.extent.next_seq <= inner.uploaded_to {
                self.rotate(inner)?;
            } else if options.when_full == WhenFull::DropOldest && !inner.sealed.is_empty() {
                self.drop_oldest(inner);
            } else if options.when_full == WhenFull::DropOldest && worth_sealing {
                self.rotate(inner)?;
            } else if disk_short {
                return Err(CommitError::Full(format!(
                    "{free} bytes free on the disk, {} must stay free (buffer.disk_free_bytes_min)",
                    options.disk_free_bytes_min
                )));
            } else {
                return Err(CommitError::Full(format!(
                    "{used} of {} bytes used (buffer.bytes_max), waiting for uploads",
                    options.bytes_max
                )));
            }
        }
    }

    /// Seals the newest generation and begins another.
    pub(super) fn rotate(&self, inner: &mut Inner) -> Result<(), CommitError> {
        let dir = &self.options.dir;
        let Inner {
            active,
            next_id,
            fingerprints,
            ..
        } = &mut *inner;
        let extent = Extent::starting(
            active.extent.next_seq,
            active.extent.next_row,
            active.extent.last_ts,
        );
        let fingerprints: Vec<u64> = fingerprints.iter().copied().collect();
        let catalog = self.catalog();
        let path = generation_dir(dir, *next_id);
        let created = with_reserve(dir, || {
            let _leftover = fs::remove_dir_all(&path);
            Generation::create(&path, first_entries(&extent, &catalog, &fingerprints))
        });
        let generation = created.map_err(|error| match error {
            GenerationError::Full => CommitError::Full(error.to_string()),
            other => CommitError::Failed(other.to_string()),
        })?;
        // Without a summary the generation is asked when the buffer is next opened.
        let summary = state_file::write(&summary_path(dir, active.id), &active.extent);
        if let Err(error) = summary {
            tracing::warn!(generation = active.id, %error, "cannot write the summary");
        }
        let id = *next_id;
        *next_id += 1;
        let sealed = std::mem::replace(
            active,
            Active {
                id,
                extent,
                generation: Arc::new(generation),
                failed: false,
            },
        );
        // The catalog just written holds everything that was pending.
        inner.pending.clear();
        inner.sealed.push_back(Sealed {
            id: sealed.id,
            extent: sealed.extent,
            bytes: dir_bytes(&generation_dir(dir, sealed.id)),
        });
        if !sealed.failed {
            self.keep_open(sealed.id, sealed.generation);
        }
        keep_reserve(dir);
        Ok(())
    }

    fn keep_open(&self, id: u64, generation: Arc<Generation>) {
        let mut open = unpoisoned(self.open.lock());
        open.retain(|(other, _)| *other != id);
        open.push((id, generation));
        let surplus = open.len().saturating_sub(OPEN_SEALED_MAX);
        open.drain(..surplus);
    }

    /// A sealed generation, opened if need be; `None` if it is gone or was set aside just now.
    pub(super) fn open_sealed(&self, id: u64) -> Result<Option<Arc<Generation>>, String> {
        // Held while opening: two readers must not open the same database twice.
        let mut open = unpoisoned(self.open.lock());
        if let Some(index) = open.iter().position(|(other, _)| *other == id) {
            let entry = open.remove(index);
            let generation = Arc::clone(&entry.1);
            open.push(entry);
            return Ok(Some(generation));
        }
        let path = generation_dir(&self.options.dir, id);
        if !path.exists() {
            return Ok(None);
        }
        let surplus = (open.len() + 1).saturating_sub(OPEN_SEALED_MAX);
        open.drain(..surplus);
        match with_reserve(&self.options.dir, || Generation::open(&path)) {
            Ok(generation) => {
                let generation = Arc::new(generation);
                open.push((id, Arc::clone(&generation)));
                Ok(Some(generation))
            }
            Err(GenerationError::Damaged(why)) => {
                drop(open);
                self.stats.generations_set_aside.fetch_add(1, Relaxed);
                set_aside(&self.options.dir, &path, &why);
                self.lock().sealed.retain(|sealed| sealed.id != id);
                Ok(None)
            }
            Err(error @ (GenerationError::Full | GenerationError::InUse)) => {
                Err(format!("generation {id}: {error}"))
            }
        }
    }

    /// Says that everything before `seq` is uploaded; deletes what nobody needs any more.
    pub fn uploaded_to(&self, seq: u64) {
        let mut inner = self.lock();
        inner.uploaded_to = inner.uploaded_to.max(seq);
        let horizon = inner.uploaded_to.min(self.replay_start(&inner));
        while inner
            .sealed
            .front()
            .is_some_and(|sealed| sealed.extent.next_seq <= horizon)
        {
            self.delete_oldest(&mut inner);
        }
    }

    /// First block of the replay window.
    fn replay_start(&self, inner: &Inner) -> u64 {
        let newest_ts = inner.active.extent.last_ts.unwrap_or(i64::MIN);
        let mut bytes = inner.active.generation.disk_bytes();
        for sealed in inner.sealed.iter().rev() {
            bytes += sealed.bytes;
            let age_ns = newest_ts.saturating_sub(sealed.extent.last_ts.unwrap_or(i64::MIN));
            let too_old = self
                .options
                .replay_age_ns_max
                .is_some_and(|max| age_ns > max);
            if bytes > self.options.replay_bytes_max || too_old {
                return sealed.extent.next_seq;
            }
        }
        0
    }

    fn drop_oldest(&self, inner: &mut Inner) {
        let Some(sealed) = inner.sealed.front() else {
            return;
        };
        let (id, extent) = (sealed.id, sealed.extent);
        let lost = if inner.uploaded_to <= extent.first_seq {
            extent.next_row - extent.first_row
        } else {
            let generation = self.open_sealed_quietly(id);
            let header = generation
                .and_then(|g| g.get(&super::block_key(inner.uploaded_to)).ok().flatten())
                .and_then(|bytes| codec::decode_header(&bytes).ok());
            extent.next_row - header.map_or(extent.first_row, |header| header.first_row)
        };
        tracing::error!(
            rows = lost,
            "buffer full: dropped the oldest records (buffer.when_full = \"drop_oldest\")"
        );
        self.stats.rows_dropped.fetch_add(lost, Relaxed);
        self.delete_oldest(inner);
    }

    fn open_sealed_quietly(&self, id: u64) -> Option<Arc<Generation>> {
        let open = unpoisoned(self.open.lock());
        if let Some((_, generation)) = open.iter().find(|(other, _)| *other == id) {
            return Some(Arc::clone(generation));
        }
        Generation::open(&generation_dir(&self.options.dir, id))
            .ok()
            .map(Arc::new)
    }

    fn delete_oldest(&self, inner: &mut Inner) {
        let Some(sealed) = inner.sealed.pop_front() else {
            return;
        };
        unpoisoned(self.open.lock()).retain(|(id, _)| *id != sealed.id);
        let dir = generation_dir(&self.options.dir, sealed.id);
        if let Err(error) = delete_dir(&self.options.dir, &dir, sealed.id) {
            tracing::warn!(generation = sealed.id, %error, "cannot delete a drained generation");
        }
    }

    pub(super) fn set_block_aside(&self, seq: u64, stored: &[u8], why: &str) {
        let path = self.options.dir.join(format!("block-{seq}"));
        let known = self
            .options
            .dir
            .join("set_aside")
            .join(format!("block-{seq}-0"));
        if known.exists() {
            return;
        }
        self.stats.blocks_corrupt.fetch_add(1, Relaxed);
        if fs::write(&path, stored).is_ok() {
            set_aside(&self.options.dir, &path, why);
        }
    }
}
