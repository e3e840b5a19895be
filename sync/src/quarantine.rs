//! What could not be decoded or delivered, with the reason, for people to look at and send again.
//!
//! Promises: what [`Quarantine::add`] has returned survives a power cut; disk is bounded, the oldest
//! items giving way, counted; a damaged part is set aside and the rest carries on.
//!
//! Kept like the buffer, in a few small generations. An item is a framed value cut into chunks below
//! sled's blob size under the keys `q id chunk`.

mod item;
mod notices;
mod part;
mod room;

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use self::{
    item::item_key,
    part::{Part, part_dir},
    room::{PUT_BYTES_MAX, set_aside},
};
pub use self::{
    item::{Content, Item, KeptPublish, Missing, PAYLOAD_BYTES_MAX},
    notices::{Notice, Notices},
    room::BYTES_MAX_MIN,
};
use crate::{
    files::{frame, state_file},
    generation::{Entry, Generation, GenerationError, TRASH, dir_bytes},
    lock::unpoisoned,
    uploader::{RejectError, RejectedRow, RejectedRows},
};

/// Bytes of one chunk of an item; larger values would become sled blobs.
const CHUNK_BYTES_MAX: usize = 6 * 1024;

/// Reason given to rows that the upstream will never take.
pub const REASON_UPSTREAM: &str = "upstream_rejected";

/// Why nothing was put into quarantine.
#[derive(Debug, thiserror::Error)]
pub enum QuarantineError {
    /// No space on the disk: try again later.
    #[error("quarantine: no space left on the disk")]
    Full,
    /// The directory cannot be used.
    #[error("quarantine {}: {reason}", path.display())]
    Failed {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Another process holds it.
    #[error("quarantine: in use by another process; stop it first")]
    InUse,
}

/// Items that are written at once.
struct Put {
    numbers: Range<u64>,
    records: u64,
    entries: Vec<Entry>,
}

impl Put {
    fn bytes(&self) -> u64 {
        let entries = self.entries.iter();
        let bytes = entries.map(|(key, value)| key.len() + value.len());
        bytes.sum::<usize>() as u64
    }
}

struct Inner {
    /// Oldest first; the last one is written. Open are at most that one and the one that was read last.
    parts: Vec<Part>,
    next_item: u64,
    next_part: u64,
    /// The last part takes nothing any more.
    failed: bool,
    unsaid: Unsaid,
}

impl Inner {
    /// Closes all parts but the one at `place` and the newest.
    fn close_others(&mut self, place: usize) {
        let newest = self.parts.len().saturating_sub(1);
        let others = self.parts.iter_mut().enumerate();
        for (_, part) in others.filter(|(at, _)| *at != place && *at != newest) {
            part.close();
        }
    }
}

/// What gave way and has not been said yet.
#[derive(Clone, Copy, Default)]
struct Unsaid {
    items: u64,
    records: u64,
    /// Nothing is said before.
    next: Option<Instant>,
}

/// The quarantine of one device.
pub struct Quarantine {
    dir: PathBuf,
    bytes_max: AtomicU64,
    inner: Mutex<Inner>,
    /// Items that gave way to newer ones since the start.
    pub items_dropped: AtomicU64,
    /// Records in these.
    pub records_dropped: AtomicU64,
    clock_ns: fn() -> i64,
    /// Of rows that the upstream will never take.
    notices: Mutex<Notices>,
}

impl Quarantine {
    /// Opens the quarantine in `dir`, made if need be. `clock_ns` is the wall clock, for people's
    /// eyes only.
    ///
    /// # Errors
    /// [`QuarantineError`] if the directory cannot be used at all.
    pub fn open(
        dir: &Path,
        bytes_max: u64,
        clock_ns: fn() -> i64,
    ) -> Result<Self, QuarantineError> {
        let failed = |reason: String| QuarantineError::Failed {
            path: dir.to_owned(),
            reason,
        };
        state_file::create_dir(dir).map_err(|e| failed(e.to_string()))?;
        let entries = fs::read_dir(dir).map_err(|e| failed(e.to_string()))?;
        let mut ids: Vec<u64> = Vec::new();
        for path in entries.flatten().map(|entry| entry.path()) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with(TRASH) {
                let _gone = fs::remove_dir_all(&path);
            }
            ids.extend(name.parse::<u64>());
        }
        ids.sort_unstable();
        let mut inner = Inner {
            parts: Vec::new(),
            next_item: 1,
            next_part: ids.last().map_or(1, |id| id + 1),
            failed: false,
            unsaid: Unsaid::default(),
        };
        for id in &ids {
            let path = part_dir(dir, *id);
            if !Generation::is_complete(&path).map_err(|e| failed(e.to_string()))? {
                let _cut_short = fs::remove_dir_all(&path);
                continue;
            }
            match Part::open(path.clone(), *id) {
                Ok(part) => {
                    inner.next_item = inner.next_item.max(part.next_item());
                    if let Some(before) = inner.parts.last_mut() {
                        before.close();
                    }
                    inner.parts.push(part);
                }
                Err(GenerationError::Damaged(why) | GenerationError::Unreadable(why)) => {
                    set_aside(dir, &path, &why);
                }
                Err(GenerationError::Full) => return Err(QuarantineError::Full),
                Err(GenerationError::InUse) => return Err(QuarantineError::InUse),
                Err(error) => return Err(failed(error.to_string())),
            }
        }
        let quarantine = Self {
            dir: dir.to_owned(),
            bytes_max: AtomicU64::new(bytes_max),
            inner: Mutex::new(inner),
            items_dropped: AtomicU64::new(0),
            records_dropped: AtomicU64::new(0),
            clock_ns,
            notices: Mutex::default(),
        };
        Ok(quarantine)
    }

    // Parts are only pushed and removed whole, so a panic elsewhere leaves them usable.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        unpoisoned(self.inner.lock())
    }

    fn error(&self, error: &GenerationError) -> QuarantineError {
        match error {
            GenerationError::Full => QuarantineError::Full,
            GenerationError::InUse => QuarantineError::InUse,
            other => QuarantineError::Failed {
                path: self.dir.clone(),
                reason: other.to_string(),
            },
        }
    }

    /// Shows every part that may hold items of these numbers to `look`, oldest first, until it returns
    /// false. One that turns out damaged hides its items, and no others.
    fn look_through(
        &self,
        inner: &mut Inner,
        numbers: Range<u64>,
        mut look: impl FnMut(&mut Part) -> Result<bool, GenerationError>,
    ) -> Result<(), QuarantineError> {
        for place in 0..inner.parts.len() {
            if !inner.parts[place].may_hold(&numbers) {
                continue;
            }
            inner.close_others(place);
            let part = &mut inner.parts[place];
            match look(part) {
                Ok(true) => {}
                Ok(false) => break,
                Err(GenerationError::Damaged(why)) => {
                    tracing::error!(part = part.id, why, "part of the quarantine is damaged");
                }
                Err(error) => return Err(self.error(&error)),
            }
        }
        Ok(())
    }

    /// Puts items into quarantine, durably; where there is no room, the oldest items give way.
    ///
    /// # Errors
    /// [`QuarantineError`]; nothing was put there, or all of it will be seen twice at worst.
    pub fn add(&self, items: &[Item]) -> Result<(), QuarantineError> {
        self.add_or_full(items, true)
    }

    /// As [`Self::add`]; if `may_drop` is false, nothing gives way.
    fn add_or_full(&self, items: &[Item], may_drop: bool) -> Result<(), QuarantineError> {
        // Whoever has nothing to put there need not wait for those who look at what is.
        if items.is_empty() {
            return Ok(());
        }
        let mut inner = self.lock();
        let mut puts: Vec<Put> = Vec::new();
        let (mut bytes_all, mut bytes_of_put) = (0, PUT_BYTES_MAX);
        for (id, item) in (inner.next_item..).zip(items) {
            let bytes = frame::to_bytes(item).map_err(|error| QuarantineError::Failed {
                path: self.dir.clone(),
                reason: error.to_string(),
            })?;
            if bytes_of_put >= PUT_BYTES_MAX {
                puts.push(Put {
                    numbers: id..id,
                    records: 0,
                    entries: Vec::new(),
                });
                bytes_of_put = 0;
            }
            if let Some(put) = puts.last_mut() {
                let chunks = bytes.chunks(CHUNK_BYTES_MAX).enumerate();
                let entries = chunks.map(|(n, chunk)| (item_key(id, n as u32), chunk.to_vec()));
                put.entries.extend(entries);
                put.numbers.end = id + 1;
                put.records += item.records;
            }
            bytes_of_put += bytes.len();
            bytes_all += bytes.len() as u64;
        }
        // All or nothing, or what is refused would be put there again and again.
        let room = if may_drop {
            Ok(())
        } else {
            self.make_room(&mut inner, bytes_all, false)
        };
        let done = room.and_then(|()| {
            let mut puts = puts.iter();
            puts.try_for_each(|put| self.put(&mut inner, put))
        });
        inner.next_item += items.len() as u64;
        done.map_err(|error| self.error(&error))
    }

    /// Most disk it may take from now on, bytes; 4 MiB at least.
    pub fn set_bytes_max(&self, bytes_max: u64) {
        self.bytes_max.store(bytes_max, Relaxed);
    }

    /// Shows `each` item, oldest first, until it returns false. One item is in memory at a time.
    /// Nothing can be added meanwhile.
    ///
    /// # Errors
    /// [`QuarantineError`] if the disk refuses.
    pub fn visit(&self, each: impl FnMut(u64, Item) -> bool) -> Result<(), QuarantineError> {
        self.visit_after(0, each)
    }

    /// As [`Self::visit`], items numbered above `after` alone; reads no others.
    fn visit_after(
        &self,
        after: u64,
        mut each: impl FnMut(u64, Item) -> bool,
    ) -> Result<(), QuarantineError> {
        let first = after.saturating_add(1);
        self.look_through(&mut self.lock(), first..u64::MAX, |part| {
            part.visit_from(first, &mut each)
        })
    }

    /// The items numbered above `after`, oldest first, at most `items_max` of them.
    ///
    /// # Errors
    /// [`QuarantineError`] if the disk refuses.
    pub fn list(&self, after: u64, items_max: usize) -> Result<Vec<(u64, Item)>, QuarantineError> {
        let mut items = Vec::new();
        self.visit_after(after, |id, item| {
            if items.len() < items_max {
                items.push((id, item));
            }
            items.len() < items_max
        })?;
        Ok(items)
    }

    /// The item numbered `id`.
    ///
    /// # Errors
    /// [`QuarantineError`] if the disk refuses.
    pub fn get(&self, id: u64) -> Result<Option<Item>, QuarantineError> {
        let mut found = None;
        self.look_through(&mut self.lock(), id..id.saturating_add(1), |part| {
            found = part.get(id)?;
            Ok(found.is_none())
        })?;
        Ok(found)
    }

    /// Removes items; returns how many there were.
    ///
    /// # Errors
    /// [`QuarantineError`] if the disk refuses.
    pub fn remove(&self, ids: &[u64]) -> Result<u64, QuarantineError> {
        let first = ids.iter().min().copied().unwrap_or(0);
        let end = ids.iter().max().map_or(0, |id| id.saturating_add(1));
        let (mut removed, mut failed) = (0, None);
        self.look_through(&mut self.lock(), first..end, |part| {
            match part.remove(ids) {
                Ok(items) => removed += items,
                // Not to be passed over: the items are still there.
                Err(error) => failed = Some(error),
            }
            Ok(failed.is_none())
        })?;
        match failed {
            Some(error) => Err(self.error(&error)),
            None => Ok(removed),
        }
    }

    /// Empties it, disk included; returns how many items there were.
    ///
    /// # Errors
    /// [`QuarantineError`] if the disk refuses.
    pub fn purge(&self) -> Result<u64, QuarantineError> {
        let mut inner = self.lock();
        let mut items = 0;
        let parts = std::mem::take(&mut inner.parts);
        for mut part in parts {
            items += part.counted().items;
            part.delete();
        }
        let begun = self.begin(&mut inner);
        begun.map_err(|error| self.error(&error))?;
        Ok(items)
    }

    /// Items in it, as far as they can be read. Reads all of them the first time.
    pub fn len(&self) -> u64 {
        let mut inner = self.lock();
        let mut items = 0;
        for place in 0..inner.parts.len() {
            inner.close_others(place);
            items += inner.parts[place].counted().items;
        }
        items
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Disk it takes, bytes, damaged parts included.
    pub fn bytes(&self) -> u64 {
        dir_bytes(&self.dir)
    }
}

impl RejectedRows for Quarantine {
    fn reject(&self, rows: Vec<RejectedRow>) -> Result<(), RejectError> {
        let at_ns = (self.clock_ns)();
        let items: Vec<Item> = rows
            .into_iter()
            .map(|row| Item {
                at_ns,
                reason: REASON_UPSTREAM.into(),
                detail: row.reason.clone(),
                records: 1,
                content: Content::Row(row),
            })
            .collect();
        // The buffer has these rows still: nothing need give way to them.
        let added = self.add_or_full(&items, false);
        added.map_err(|error| match error {
            QuarantineError::Full => RejectError::Full,
            other => RejectError::Failed(other.to_string()),
        })?;
        let now = Instant::now();
        let mut notices = unpoisoned(self.notices.lock());
        for item in &items {
            let Content::Row(row) = &item.content else {
                continue;
            };
            notices.note(
                &Notice {
                    rule: row.stream.split('/').next().unwrap_or_default(),
                    of: &row.stream,
                    reason: &item.reason,
                    detail: &item.detail,
                    advice: "see what the upstream says; then: dunlin quarantine retry --all",
                    records: item.records,
                },
                now,
            );
        }
        notices.sum_up(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
