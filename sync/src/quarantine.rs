//! What could not be decoded or delivered, with the reason, for people to look at and send again.
//!
//! Promises: what [`Quarantine::add`] has returned survives a power cut; disk is bounded, the oldest
//! items giving way, counted; a damaged part is set aside and the rest carries on.
//!
//! Kept like the buffer, in a few small generations. An item is a framed value cut into parts below
//! sled's blob size under the keys `q id part`.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use serde::{Deserialize, Serialize};

use crate::{
    frame,
    generation::{Entry, Generation, GenerationError, dir_bytes},
    uploader::{RejectedRow, RejectedRows},
};

/// Bytes of one part of an item; larger values would become sled blobs.
const PART_BYTES_MAX: usize = 6 * 1024;
/// Bytes of a payload kept; a longer one is cut and cannot be sent again.
pub const PAYLOAD_BYTES_MAX: usize = 256 * 1024;
/// Generations the bound is divided into: a full quarantine forgets this share of it at once.
const GENERATIONS: u64 = 4;

/// Reason given to rows that the upstream will never take.
pub const REASON_UPSTREAM: &str = "upstream_rejected";

/// What is in quarantine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Content {
    /// A publish as it came.
    Publish {
        /// Its topic.
        topic: Vec<u8>,
        /// Its payload, or the beginning of it.
        payload: Vec<u8>,
        /// Length of the payload as sent; more than there is: it was cut.
        payload_bytes: u64,
    },
    /// A committed row.
    Row(RejectedRow),
}

/// Something put into quarantine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// When, nanoseconds UTC by the wall clock.
    pub at_ns: i64,
    /// Stable short name of the reason.
    pub reason: String,
    /// What exactly is wrong.
    pub detail: String,
    /// Records it held, at least 1.
    pub records: u64,
    /// The thing itself.
    pub content: Content,
}

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
}

/// The quarantine of one device.
pub struct Quarantine {
    dir: PathBuf,
    bytes_max: u64,
    inner: Mutex<Inner>,
    /// Items that gave way to newer ones since the start.
    pub items_purged: AtomicU64,
    clock_ns: fn() -> i64,
}

fn item_key(id: u64, part: u32) -> Vec<u8> {
    let mut key = vec![b'q'];
    key.extend_from_slice(&id.to_be_bytes());
    key.extend_from_slice(&part.to_be_bytes());
    key
}

fn item_id(key: &[u8]) -> Option<u64> {
    key.get(1..9)
        .and_then(|id| id.try_into().ok())
        .map(u64::from_be_bytes)
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
        fs::create_dir_all(dir).map_err(|e| failed(e.to_string()))?;
        let entries = fs::read_dir(dir).map_err(|e| failed(e.to_string()))?;
        let names = entries.flatten().map(|entry| entry.file_name());
        let mut ids: Vec<u64> = names
            .filter_map(|n| n.to_string_lossy().parse().ok())
            .collect();
        ids.sort_unstable();
        let mut inner = Inner {
            parts: Vec::new(),
            next_item: 1,
        };
        for id in ids {
            let path = dir.join(format!("{id:08}"));
            if !Generation::is_complete(&path).map_err(|e| failed(e.to_string()))? {
                let _cut_short = fs::remove_dir_all(&path);
                continue;
            }
            match Generation::open(&path) {
                Ok(generation) => inner.parts.push(Part { id, generation }),
                Err(GenerationError::InUse) => return Err(QuarantineError::InUse),
                Err(error) => {
                    tracing::error!(path = %path.display(), %error, "part of the quarantine set aside");
                    let _set_aside = fs::rename(&path, path.with_extension("damaged"));
                }
            }
        }
        for part in &inner.parts {
            let newest = part.generation.scan_back(b"q", |key, _| {
                inner.next_item = inner.next_item.max(item_id(key).map_or(0, |id| id + 1));
                false
            });
            newest.map_err(|e| failed(e.to_string()))?;
        }
        let items_purged = AtomicU64::new(0);
        let quarantine = Self {
            dir: dir.to_owned(),
            bytes_max,
            inner: Mutex::new(inner),
            items_purged,
            clock_ns,
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

    /// Puts items into quarantine, durably.
    ///
    /// # Errors
    /// [`QuarantineError`]; nothing was put there, or all of it will be seen twice at worst.
    pub fn add(&self, items: &[Item]) -> Result<(), QuarantineError> {
        if items.is_empty() {
            return Ok(());
        }
        let mut inner = self.lock();
        let part_bytes = self.bytes_max / GENERATIONS;
        let full = inner
            .parts
            .last()
            .is_none_or(|p| p.generation.disk_bytes() >= part_bytes);
        if full {
            self.rotate(&mut inner)?;
        }
        let mut entries: Vec<Entry> = Vec::new();
        for (offset, item) in items.iter().enumerate() {
            let bytes = frame::to_bytes(item).map_err(|error| QuarantineError::Failed {
                path: self.dir.clone(),
                reason: error.to_string(),
            })?;
            for (part, chunk) in bytes.chunks(PART_BYTES_MAX).enumerate() {
                let id = inner.next_item + offset as u64;
                entries.push((item_key(id, part as u32), chunk.to_vec()));
            }
        }
        let Some(part) = inner.parts.last() else {
            return Ok(());
        };
        match part.generation.put(entries) {
            Ok(()) => {
                inner.next_item += items.len() as u64;
                Ok(())
            }
            Err(error) => {
                // The same generation may not take anything any more: begin another next time.
                inner.next_item += items.len() as u64;
                let rotated = self.rotate(&mut inner);
                rotated.and(Err(self.error(&error)))
            }
        }
    }

    fn rotate(&self, inner: &mut Inner) -> Result<(), QuarantineError> {
        let id = inner.parts.last().map_or(1, |part| part.id + 1);
        let path = self.dir.join(format!("{id:08}"));
        let _leftover = fs::remove_dir_all(&path);
        let generation =
            Generation::create(&path, Vec::new()).map_err(|error| self.error(&error))?;
        inner.parts.push(Part { id, generation });
        while inner.parts.len() as u64 > GENERATIONS {
            let oldest = inner.parts.remove(0);
            let items = count(&oldest.generation);
            self.items_purged.fetch_add(items, Relaxed);
            tracing::warn!(
                items,
                "quarantine full: the oldest items give way (quarantine.bytes_max)"
            );
            self.delete(oldest);
        }
        Ok(())
    }

    fn delete(&self, part: Part) {
        let path = self.dir.join(format!("{:08}", part.id));
        drop(part);
        if let Err(error) = fs::remove_dir_all(&path) {
            tracing::warn!(path = %path.display(), %error, "cannot delete a part of the quarantine");
        }
    }

    /// Shows `each` item, oldest first, until it returns false. One item is in memory at a time.
    /// Nothing can be added meanwhile.
    ///
    /// # Errors
    /// [`QuarantineError`] if the disk refuses.
    pub fn visit(&self, mut each: impl FnMut(u64, Item) -> bool) -> Result<(), QuarantineError> {
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
            let scanned = part.generation.scan(b"q", |key, value| {
                let id = item_id(key);
                if current != id {
                    go_on = finish(current, &mut bytes);
                    current = id;
                }
                bytes.extend_from_slice(value);
                go_on
            });
            scanned.map_err(|error| self.error(&error))?;
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
        self.visit(|id, item| {
            if id > after && items.len() < items_max {
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
            scanned.map_err(|error| self.error(&error))?;
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
                scanned.map_err(|error| self.error(&error))?;
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
        let next_id = parts.last().map_or(1, |part| part.id + 1);
        for part in parts {
            items += count(&part.generation);
            self.delete(part);
        }
        let path = self.dir.join(format!("{next_id:08}"));
        let generation =
            Generation::create(&path, Vec::new()).map_err(|error| self.error(&error))?;
        inner.parts.push(Part {
            id: next_id,
            generation,
        });
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

    /// Disk it takes.
    pub fn bytes(&self) -> u64 {
        dir_bytes(&self.dir)
    }
}

fn decoded(id: u64, bytes: &[u8]) -> Option<(u64, Item)> {
    let item = frame::from_bytes(bytes);
    item.inspect_err(|error| tracing::error!(id, %error, "an item in quarantine is damaged"))
        .ok()
        .map(|item| (id, item))
}

fn count(generation: &Generation) -> u64 {
    let mut ids = 0;
    let mut last = None;
    let _damaged = generation.scan(b"q", |key, _| {
        let id = item_id(key);
        ids += u64::from(id != last);
        last = id;
        true
    });
    ids
}

impl RejectedRows for Quarantine {
    fn reject(&self, rows: Vec<RejectedRow>) -> Result<(), String> {
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
        self.add(&items).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn item(text: &str, payload_bytes: usize) -> Item {
        Item {
            at_ns: 5,
            reason: "not_json".into(),
            detail: text.into(),
            records: 1,
            content: Content::Publish {
                topic: b"a/b".to_vec(),
                payload: vec![7; payload_bytes],
                payload_bytes: payload_bytes as u64,
            },
        }
    }

    fn open(dir: &Path) -> Quarantine {
        Quarantine::open(dir, 8 << 20, || 1).unwrap()
    }

    #[test]
    fn items_survive_reopening_whatever_their_size() {
        let dir = tempfile::tempdir().unwrap();
        let quarantine = open(dir.path());
        let items = vec![item("small", 3), item("large", 200_000), item("empty", 0)];
        quarantine.add(&items).unwrap();
        drop(quarantine);
        let quarantine = open(dir.path());
        let found = quarantine.list(0, 10).unwrap();
        assert_eq!(
            found
                .iter()
                .map(|(_, item)| item.clone())
                .collect::<Vec<_>>(),
            items
        );
        assert_eq!(quarantine.get(2).unwrap(), Some(items[1].clone()));
        assert_eq!(quarantine.list(1, 1).unwrap(), vec![(2, items[1].clone())]);
        quarantine.add(&items[..1]).unwrap();
        assert_eq!(quarantine.list(3, 10).unwrap().len(), 1);
        assert_eq!(quarantine.remove(&[2, 3, 99]).unwrap(), 2);
        assert_eq!(quarantine.len(), 2);
        assert_eq!(quarantine.purge().unwrap(), 2);
        assert!(quarantine.is_empty());
    }

    #[test]
    fn a_full_quarantine_forgets_the_oldest_and_counts_them() {
        let dir = tempfile::tempdir().unwrap();
        let quarantine = open(dir.path());
        for round in 0..60 {
            let items: Vec<Item> = (0..10)
                .map(|n| item(&format!("{}", round * 10 + n), 30_000))
                .collect();
            quarantine.add(&items).unwrap();
        }
        let purged = quarantine.items_purged.load(Relaxed);
        assert!(purged > 0);
        assert_eq!(quarantine.len() + purged, 600);
        let newest = quarantine.list(0, 1_000).unwrap();
        assert_eq!(newest.last().unwrap().1.detail, "599");
        assert!(quarantine.bytes() < 40 << 20);
    }

    #[test]
    fn a_rejected_row_comes_back_as_what_it_was() {
        use crate::{
            sample::{FieldType, Split, Timestamp, Value},
            uploader::NamedValue,
        };
        let dir = tempfile::tempdir().unwrap();
        let row = RejectedRow {
            stream_id: 3,
            stream: "s/x".into(),
            tags: vec![("device".into(), "d".into())],
            ts: Timestamp(9),
            split: Split {
                is_train: true,
                fold: 2,
            },
            source_ts: Some(4),
            values: vec![NamedValue {
                name: "a".into(),
                kind: FieldType::F64,
                value: Value::F64(f64::INFINITY),
            }],
            reason: "out of range".into(),
        };
        let quarantine = open(dir.path());
        quarantine.reject(vec![row.clone()]).unwrap();
        assert_eq!(
            quarantine.get(1).unwrap().unwrap().content,
            Content::Row(row)
        );
    }
}
