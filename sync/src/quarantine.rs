//! What could not be decoded or delivered, with the reason, for people to look at and send again.
//!
//! Promises: what [`Quarantine::add`] has returned survives a power cut; disk is bounded, the oldest
//! items giving way, counted; a damaged part is set aside and the rest carries on.
//!
//! Kept like the buffer, in a few small generations. An item is a framed value cut into parts below
//! sled's blob size under the keys `q id part`.

mod item;
mod notices;
mod room;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

pub use self::{
    item::{Content, Item, PAYLOAD_BYTES_MAX},
    notices::{Notice, Notices},
    room::BYTES_MAX_MIN,
};
use self::{
    item::{count, decoded, item_id, item_key},
    room::{PUT_BYTES_MAX, set_aside},
};
use crate::{
    files::{frame, state_file},
    generation::{Entry, Generation, GenerationError, TRASH, dir_bytes},
    uploader::{RejectError, RejectedRow, RejectedRows},
};

/// Bytes of one part of an item; larger values would become sled blobs.
const PART_BYTES_MAX: usize = 6 * 1024;
/// Key of the number of the first item of a part: numbers do not come again after a purge.
const FIRST_ITEM: &[u8] = b"n";

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

struct Part {
    id: u64,
    generation: Generation,
}

struct Inner {
    /// Oldest first; the last one is written.
    parts: Vec<Part>,
    next_item: u64,
    next_part: u64,
    /// The last part takes nothing any more.
    failed: bool,
    unsaid: Unsaid,
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
        for (position, id) in ids.iter().enumerate() {
            let path = part_dir(dir, *id);
            if !Generation::is_complete(&path).map_err(|e| failed(e.to_string()))? {
                let _cut_short = fs::remove_dir_all(&path);
                continue;
            }
            match open_part(&path, position + 1 == ids.len()) {
                Ok((generation, next_item)) => {
                    inner.next_item = inner.next_item.max(next_item);
                    inner.parts.push(Part {
                        id: *id,
                        generation,
                    });
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
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// A part that turns out damaged hides its items, and no others.
    fn unless_damaged(
        &self,
        part: &Part,
        scanned: Result<(), GenerationError>,
    ) -> Result<(), QuarantineError> {
        match scanned {
            Err(GenerationError::Damaged(why)) => {
                tracing::error!(part = part.id, why, "part of the quarantine is damaged");
                Ok(())
            }
            other => other.map_err(|error| self.error(&error)),
        }
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
        let mut puts: Vec<Vec<Entry>> = Vec::new();
        let (mut bytes_all, mut bytes_of_put) = (0, PUT_BYTES_MAX);
        for (id, item) in (inner.next_item..).zip(items) {
            let bytes = frame::to_bytes(item).map_err(|error| QuarantineError::Failed {
                path: self.dir.clone(),
                reason: error.to_string(),
            })?;
            if bytes_of_put >= PUT_BYTES_MAX {
                puts.push(Vec::new());
                bytes_of_put = 0;
            }
            if let Some(put) = puts.last_mut() {
                let chunks = bytes.chunks(PART_BYTES_MAX).enumerate();
                put.extend(chunks.map(|(part, chunk)| (item_key(id, part as u32), chunk.to_vec())));
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
            puts.try_for_each(|entries| self.put(&mut inner, entries))
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
        let first = item_key(after.saturating_add(1), 0);
        let inner = self.lock();
        let mut go_on = true;
        for part in &inner.parts {
            let mut bytes: Vec<u8> = Vec::new();
            let mut current = None;
            let mut finish = |id: Option<u64>, bytes: &mut Vec<u8>| {
                let item = id.and_then(|id| decoded(id, bytes));
                bytes.clear();
                item.is_none_or(|(id, item)| each(id, item))
            };
            let scanned = part.generation.scan_from(b"q", &first, |key, value| {
                let id = item_id(key);
                if current != id {
                    go_on = finish(current, &mut bytes);
                    current = id;
                }
                bytes.extend_from_slice(value);
                go_on
            });
            self.unless_damaged(part, scanned)?;
            go_on = go_on && finish(current, &mut bytes);
            if !go_on {
                break;
            }
        }
        Ok(())
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
        let mut prefix = vec![b'q'];
        prefix.extend_from_slice(&id.to_be_bytes());
        for part in &self.lock().parts {
            let mut bytes = Vec::new();
            let scanned = part.generation.scan(&prefix, |_, value| {
                bytes.extend_from_slice(value);
                true
            });
            self.unless_damaged(part, scanned)?;
            if !bytes.is_empty() {
                return Ok(decoded(id, &bytes).map(|(_, item)| item));
            }
        }
        Ok(None)
    }

    /// Removes items; returns how many there were.
    ///
    /// # Errors
    /// [`QuarantineError`] if the disk refuses.
    pub fn remove(&self, ids: &[u64]) -> Result<u64, QuarantineError> {
        let inner = self.lock();
        let mut removed = 0;
        for part in &inner.parts {
            let mut keys = Vec::new();
            for id in ids {
                let mut prefix = vec![b'q'];
                prefix.extend_from_slice(&id.to_be_bytes());
                let before = keys.len();
                let scanned = part.generation.scan(&prefix, |key, _| {
                    keys.push(key.to_vec());
                    true
                });
                self.unless_damaged(part, scanned)?;
                removed += u64::from(keys.len() > before);
            }
            if !keys.is_empty() {
                part.generation
                    .remove(&keys)
                    .map_err(|error| self.error(&error))?;
            }
        }
        Ok(removed)
    }

    /// Empties it, disk included; returns how many items there were.
    ///
    /// # Errors
    /// [`QuarantineError`] if the disk refuses.
    pub fn purge(&self) -> Result<u64, QuarantineError> {
        let mut inner = self.lock();
        let mut items = 0;
        let parts = std::mem::take(&mut inner.parts);
        for part in parts {
            items += count(&part.generation);
            self.delete(part);
        }
        let begun = self.begin(&mut inner);
        begun.map_err(|error| self.error(&error))?;
        Ok(items)
    }

    /// Items in it. Reads all keys: not for every second.
    pub fn len(&self) -> u64 {
        self.lock()
            .parts
            .iter()
            .map(|part| count(&part.generation))
            .sum()
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

fn part_dir(dir: &Path, id: u64) -> PathBuf {
    dir.join(format!("{id:08}"))
}

/// A part and one past its last item, ready to be written if it is the newest.
fn open_part(path: &Path, newest: bool) -> Result<(Generation, u64), GenerationError> {
    let generation = Generation::open_existing(path)?;
    if newest {
        generation.settle()?;
    }
    let first_item = generation.get(FIRST_ITEM)?;
    let first_item = first_item.and_then(|bytes| bytes.as_ref().try_into().ok());
    let mut next_item = first_item.map_or(1, u64::from_be_bytes);
    generation.scan_back(b"q", |key, _| {
        next_item = next_item.max(item_id(key).map_or(0, |id| id + 1));
        false
    })?;
    Ok((generation, next_item))
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
        let mut notices = self.notices.lock().unwrap_or_else(PoisonError::into_inner);
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
