//! Room: when a generation is sealed, deleted or set aside, and what happens at the bounds.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering::Relaxed},
};

use serde::{Deserialize, Serialize};

use super::{
    Active, Buffer, CommitError, Extent, Inner, Sealed, WhenFull,
    catalog::{NEXT_STREAM_KEY, schema_entries},
    census::{Census, SealedCensus},
    fingerprint_entries,
    parts::{self, PUT_BYTES_MAX},
    reserve::{keep_reserve, with_reserve},
};
use crate::{
    block::codec,
    files::{
        frame,
        state_file::{self, sync_dir},
    },
    generation::{Generation, GenerationError, dir_bytes},
    horizon::horizon,
    lock::unpoisoned,
};

const SET_ASIDE: &str = "set_aside";
/// What was set aside is kept for people to look at, up to this many.
const SET_ASIDE_MAX: usize = 16;
/// And up to this many bytes: two generations of the largest kind, at least.
pub const SET_ASIDE_BYTES_MAX: u64 = 64 << 20;
/// sled writes whole segments of 512 KiB and rewrites pages: a commit may take this much more disk.
const SLED_HEADROOM_BYTES: u64 = 1 << 20;
/// What a new generation takes before anything is in it.
pub(super) const NEW_GENERATION_BYTES: u64 = 1 << 20;
/// A smaller generation is not worth sealing to gain space.
const SEAL_BYTES_MIN: u64 = 768 << 10;

pub(super) fn generation_dir(dir: &Path, id: u64) -> PathBuf {
    dir.join(format!("{id:08}"))
}

pub(super) fn summary_path(dir: &Path, id: u64) -> PathBuf {
    generation_dir(dir, id).join("summary")
}

/// What is said of a sealed generation.
#[derive(Serialize, Deserialize)]
pub(super) struct Summary<C> {
    pub(super) extent: Extent,
    pub(super) census: C,
}

pub(super) fn write_summary(
    dir: &Path,
    id: u64,
    extent: &Extent,
    census: &SealedCensus,
) -> io::Result<()> {
    let summary = Summary {
        extent: *extent,
        census,
    };
    state_file::write(&summary_path(dir, id), &summary)
}

/// Makes a generation that begins at `extent`, with all schemas and the newest fingerprints.
pub(super) fn create(
    dir: &Path,
    id: u64,
    extent: Extent,
    catalog: &crate::sample::Catalog,
    fingerprints: &[u64],
) -> Result<Active, GenerationError> {
    let mut entries = vec![(vec![b'm'], frame::to_bytes(&extent).unwrap_or_default())];
    let schemas = catalog.schemas().iter();
    entries.extend(schemas.flat_map(|schema| schema_entries(schema)));
    let next_stream = frame::to_bytes(&catalog.next_stream()).unwrap_or_default();
    entries.push((NEXT_STREAM_KEY.to_vec(), next_stream));
    let prints = fingerprint_entries(extent.next_seq, 0, fingerprints);
    let fingerprint_parts = prints.len() as u32;
    entries.extend(prints);
    let path = generation_dir(dir, id);
    let generation = with_reserve(dir, || {
        let _leftover = fs::remove_dir_all(&path);
        Generation::create(&path, entries.clone())
    })?;
    Ok(Active {
        id,
        extent,
        generation: Arc::new(generation),
        failed: false,
        fingerprint_parts,
        census: Census::default(),
        named: HashSet::new(),
    })
}

/// Free disk for ordinary users, bytes; unknown counts as plenty.
pub(super) fn disk_free_bytes(dir: &Path) -> u64 {
    rustix::fs::statvfs(dir).map_or(u64::MAX, |stat| stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Disk taken by what was set aside in `dir`, bytes; at most [`SET_ASIDE_BYTES_MAX`].
pub(super) fn set_aside_bytes(dir: &Path) -> u64 {
    dir_bytes(&dir.join(SET_ASIDE))
}

/// Moves `path` to the directory of what was set aside, keeping a bounded number and size there.
pub(super) fn set_aside(dir: &Path, path: &Path, why: &str) {
    let aside = dir.join(SET_ASIDE);
    let _exists = fs::create_dir_all(&aside);
    let mut old: Vec<PathBuf> = fs::read_dir(&aside)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    old.sort_by_key(|path| fs::metadata(path).and_then(|meta| meta.modified()).ok());
    let mut count = old.len() + 1;
    let mut bytes = set_aside_bytes(dir) + dir_bytes(path);
    for path in &old {
        if count <= SET_ASIDE_MAX && bytes <= SET_ASIDE_BYTES_MAX {
            break;
        }
        tracing::warn!(path = %path.display(), "removing what was set aside longest ago");
        count -= 1;
        bytes = bytes.saturating_sub(dir_bytes(path));
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
    let moved = fs::rename(path, &place).and_then(|()| sync_dir(&aside));
    match moved.and_then(|()| sync_dir(dir)) {
        Ok(()) => tracing::error!(place = %place.display(), why, "set aside"),
        Err(error) => tracing::error!(path = %path.display(), why, %error, "cannot set aside"),
    }
}

impl Buffer {
    /// Disk taken by damaged parts that were set aside, bytes; at most [`SET_ASIDE_BYTES_MAX`].
    pub fn set_aside_bytes(&self) -> u64 {
        set_aside_bytes(&self.options.dir)
    }

    /// Room for `bytes` more, by trimming and by the policy.
    pub(super) fn make_room(&self, inner: &mut Inner, bytes: u64) -> Result<(), CommitError> {
        let limits = self.limits();
        loop {
            let used = inner.used_bytes();
            let mut needed = 2 * bytes + SLED_HEADROOM_BYTES;
            if self.is_rotation_due(inner, bytes) {
                needed += NEW_GENERATION_BYTES;
            }
            let free = disk_free_bytes(&self.options.dir);
            let disk_short = free < limits.disk_free_bytes_min.saturating_add(needed);
            if used + needed <= limits.bytes_max && !disk_short {
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
            } else if limits.when_full == WhenFull::DropOldest && !inner.sealed.is_empty() {
                self.drop_oldest(inner);
            } else if limits.when_full == WhenFull::DropOldest && worth_sealing {
                self.rotate(inner)?;
            } else if disk_short {
                return Err(CommitError::Full(format!(
                    "{free} bytes free on the disk, {} must stay free (buffer.disk_free_bytes_min)",
                    limits.disk_free_bytes_min
                )));
            } else {
                return Err(CommitError::Full(format!(
                    "{used} of {} bytes used (buffer.bytes_max), waiting for uploads",
                    limits.bytes_max
                )));
            }
        }
    }

    /// Whether a commit of so many bytes begins a generation.
    pub(super) fn is_rotation_due(&self, inner: &Inner, bytes: u64) -> bool {
        let active = &inner.active;
        let too_large = bytes > PUT_BYTES_MAX && !active.extent.is_empty();
        active.failed
            || too_large
            || active.generation.disk_bytes() >= self.limits().generation_bytes()
    }

    /// Seals the newest generation and begins another.
    pub(super) fn rotate(&self, inner: &mut Inner) -> Result<(), CommitError> {
        let dir = &self.options.dir;
        let failed = |error| match error {
            GenerationError::Full => CommitError::Full(GenerationError::Full.to_string()),
            other => CommitError::Failed(other.to_string()),
        };
        // The next generation does not begin with the streams that only this one knows; and when each stream
        // of this one was seen last is known from the file alone once it is gone.
        if let Err(error) = self.save_catalog(inner) {
            tracing::warn!(%error, "cannot store the catalog");
            return Err(failed(error));
        }
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
        let created = create(dir, *next_id, extent, &catalog, &fingerprints);
        let next = created.map_err(failed)?;
        // Without a summary the generation is asked when the buffer is next opened.
        let census = active.census.sealed();
        let summary = write_summary(dir, active.id, &active.extent, &census);
        if let Err(error) = summary {
            tracing::warn!(generation = active.id, %error, "cannot write the summary");
        }
        *next_id += 1;
        let sealed = std::mem::replace(active, next);
        // The new generation begins with every schema that was pending, and the file knows every stream.
        inner.pending.clear();
        inner.declared.clear();
        inner.sealed.push_back(Sealed {
            id: sealed.id,
            extent: sealed.extent,
            bytes: dir_bytes(&generation_dir(dir, sealed.id)),
            census,
        });
        let mut open = unpoisoned(self.open.lock());
        if sealed.failed {
            open.remember(sealed.id, &sealed.generation);
        } else {
            open.keep(sealed.id, &sealed.generation);
        }
        drop(open);
        keep_reserve(dir);
        Ok(())
    }

    /// A sealed generation, opened if need be. May be called with `inner` locked.
    pub(super) fn open_generation(&self, id: u64) -> Result<Arc<Generation>, GenerationError> {
        // Held while opening: two readers must not open the same database twice, nor one that is
        // being deleted.
        let mut open = unpoisoned(self.open.lock());
        if let Some(generation) = open.find(id) {
            return Ok(generation);
        }
        open.make_room();
        let generation = with_reserve(&self.options.dir, || {
            let generation = Generation::open_existing(&generation_dir(&self.options.dir, id))?;
            // sled takes an empty file for a new database.
            match generation.get(b"m")? {
                Some(_) => Ok(generation),
                None => Err(GenerationError::Damaged("its start is missing".into())),
            }
        })?;
        let generation = Arc::new(generation);
        open.keep(id, &generation);
        Ok(generation)
    }

    /// Closes sealed generations that nobody has read since the last call: each takes some MB of memory.
    pub fn close_unread(&self) {
        unpoisoned(self.open.lock()).close_unread();
    }

    /// Moves a damaged generation out of the way, unless that was done.
    pub(super) fn set_generation_aside(&self, id: u64, why: &str) {
        let mut inner = self.change();
        let Some(index) = inner.sealed.iter().position(|sealed| sealed.id == id) else {
            return;
        };
        let Some(sealed) = inner.sealed.remove(index) else {
            return;
        };
        inner.usages.remove(&sealed.census);
        let rows = sealed.extent.next_row - sealed.extent.first_row;
        let mut open = unpoisoned(self.open.lock());
        open.forget(id);
        set_aside(
            &self.options.dir,
            &generation_dir(&self.options.dir, id),
            why,
        );
        drop(open);
        tracing::error!(
            generation = id,
            rows,
            "rows set aside with their generation"
        );
        self.stats.generations_set_aside.fetch_add(1, Relaxed);
        self.stats.rows_set_aside.fetch_add(rows, Relaxed);
        unpoisoned(self.unreadable.lock()).forget_generation(id);
    }

    /// Says that everything before `seq` is uploaded; deletes what nobody needs any more.
    pub fn uploaded_to(&self, seq: u64) {
        let mut inner = self.change();
        inner.uploaded_to = inner.uploaded_to.max(seq);
        self.trim(&mut inner);
    }

    /// Deletes what nobody needs any more.
    pub(super) fn trim(&self, inner: &mut Inner) {
        let trim_to = horizon(inner.uploaded_to, self.replay_start(inner));
        while inner
            .sealed
            .front()
            .is_some_and(|sealed| sealed.extent.next_seq <= trim_to)
        {
            self.delete_oldest(inner);
        }
    }

    /// Says that somebody still reads the blocks from `seq` on: the replay window reaches back to them,
    /// however long it is. `u64::MAX`: nobody does.
    pub fn wanted_from(&self, seq: u64) {
        self.wanted_from.store(seq, Relaxed);
    }

    /// Whether somebody still reads a block before `seq`.
    pub(super) fn is_wanted_before(&self, seq: u64) -> bool {
        self.wanted_from.load(Relaxed) < seq
    }

    /// First block of the replay window.
    fn replay_start(&self, inner: &Inner) -> u64 {
        let limits = self.limits();
        let newest_ts = inner.last_ts(&inner.active.extent).unwrap_or(i64::MIN);
        let mut bytes = inner.active.generation.disk_bytes();
        for sealed in inner.sealed.iter().rev() {
            bytes += sealed.bytes;
            let age_ns =
                newest_ts.saturating_sub(inner.last_ts(&sealed.extent).unwrap_or(i64::MIN));
            let too_old = limits.replay_age_ns_max.is_some_and(|max| age_ns > max);
            if bytes > limits.replay_bytes_max || too_old {
                return sealed.extent.next_seq.min(self.wanted_from.load(Relaxed));
            }
        }
        0
    }

    fn drop_oldest(&self, inner: &mut Inner) {
        let Some(sealed) = inner.sealed.front() else {
            return;
        };
        let (id, extent) = (sealed.id, sealed.extent);
        let lost = extent.next_row - self.row_of_upload(inner.uploaded_to, id, &extent);
        tracing::error!(
            rows = lost,
            "buffer full: dropped the oldest records (buffer.when_full = \"drop_oldest\")"
        );
        self.stats.rows_dropped.fetch_add(lost, Relaxed);
        self.delete_oldest(inner);
    }

    /// Rows committed before the upload's position, which may lie in the generation `id`.
    fn row_of_upload(&self, uploaded_to: u64, id: u64, extent: &Extent) -> u64 {
        if uploaded_to <= extent.first_seq {
            return extent.first_row;
        }
        let Ok(generation) = self.open_generation(id) else {
            return extent.first_row;
        };
        let mut rest = uploaded_to..extent.next_seq;
        let header = rest.find_map(|seq| {
            let bytes = parts::read(&generation, seq).ok().flatten()?;
            codec::decode_header(&bytes).ok()
        });
        header.map_or(extent.next_row, |header| header.first_row)
    }

    fn delete_oldest(&self, inner: &mut Inner) {
        let Some(sealed) = inner.sealed.pop_front() else {
            return;
        };
        inner.usages.remove(&sealed.census);
        let dir = generation_dir(&self.options.dir, sealed.id);
        let mut open = unpoisoned(self.open.lock());
        open.forget(sealed.id);
        let deleted = Generation::delete(&dir);
        drop(open);
        if let Err(error) = deleted {
            tracing::warn!(generation = sealed.id, %error, "cannot delete a drained generation");
        }
        let mut unreadable = unpoisoned(self.unreadable.lock());
        unreadable.forget_below(sealed.extent.next_seq);
        unreadable.forget_generation(sealed.id);
    }

    /// Keeps the bytes of a block that is none, the first time.
    pub(super) fn set_block_aside(&self, seq: u64, stored: &[u8], why: &str) {
        let path = self.options.dir.join(format!("block-{seq}"));
        if self.lose_block(seq, why) && fs::write(&path, stored).is_ok() {
            set_aside(&self.options.dir, &path, why);
        }
    }
}

#[cfg(test)]
mod tests;
