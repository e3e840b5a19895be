//! One part of the quarantine: a generation that is open only while it is read or written.
//!
//! Whatever a generation has read or written stays in memory nearly whole while it is open, whatever its
//! cache is told: parts that nobody reads are closed, and the newest is opened anew now and then.

use std::path::{Path, PathBuf};

use super::item::{decoded, item_id, item_key};
use crate::generation::{Entry, Generation, GenerationError, dir_bytes};

/// Key of the number of the first item of a part: numbers do not come again after a purge.
const FIRST_ITEM: &[u8] = b"n";

/// Bytes put after which the newest part is opened anew.
const ANEW_BYTES: u64 = 1 << 20;

/// Directory of the part `id` of the quarantine in `dir`.
pub(super) fn part_dir(dir: &Path, id: u64) -> PathBuf {
    dir.join(format!("{id:08}"))
}

/// What a part holds, or what is put into it.
#[derive(Clone, Copy, Default, Debug, PartialEq)]
pub(super) struct Counts {
    pub(super) items: u64,
    pub(super) records: u64,
}

pub(super) struct Part {
    pub(super) id: u64,
    dir: PathBuf,
    generation: Option<Generation>,
    /// Not known before they are asked for, nor after a put that may or may not be there.
    counts: Option<Counts>,
    /// Since it was opened.
    bytes_put: u64,
}

impl Part {
    /// Makes a new one in `dir`, for items from `first_item` on; durable when this returns.
    pub(super) fn create(dir: PathBuf, id: u64, first_item: u64) -> Result<Self, GenerationError> {
        let first_item = (FIRST_ITEM.to_vec(), first_item.to_be_bytes().to_vec());
        let generation = Generation::create(&dir, vec![first_item])?;
        Ok(Self {
            id,
            dir,
            generation: Some(generation),
            counts: Some(Counts::default()),
            bytes_put: 0,
        })
    }

    /// An existing one and one past its last item.
    pub(super) fn open(dir: PathBuf, id: u64) -> Result<(Self, u64), GenerationError> {
        let mut part = Self {
            id,
            dir,
            generation: None,
            counts: None,
            bytes_put: 0,
        };
        let generation = part.generation()?;
        let first_item = generation.get(FIRST_ITEM)?;
        let first_item = first_item.and_then(|bytes| bytes.as_ref().try_into().ok());
        let mut next_item = first_item.map_or(1, u64::from_be_bytes);
        generation.scan_back(b"q", |key, _| {
            next_item = next_item.max(item_id(key).map_or(0, |id| id + 1));
            false
        })?;
        Ok((part, next_item))
    }

    fn generation(&mut self) -> Result<&Generation, GenerationError> {
        let generation = if let Some(generation) = self.generation.take() {
            generation
        } else {
            let generation = Generation::open_existing(&self.dir)?;
            generation.settle()?;
            generation
        };
        Ok(self.generation.insert(generation))
    }

    /// Lets go of the memory it takes; the next use opens it again.
    pub(super) fn close(&mut self) {
        self.generation = None;
        self.bytes_put = 0;
    }

    /// Deletes it; whether its disk has come back. What went wrong is also told.
    pub(super) fn delete(mut self) -> bool {
        self.close();
        let deleted = Generation::delete(&self.dir);
        if let Err(error) = &deleted {
            let path = self.dir.display();
            tracing::warn!(%path, %error, "cannot delete a part of the quarantine");
        }
        deleted.is_ok()
    }

    #[cfg(test)]
    pub(super) fn is_open(&self) -> bool {
        self.generation.is_some()
    }

    /// Writes all `entries` or none; durable when this returns. `holds` says what they are.
    pub(super) fn put(
        &mut self,
        entries: Vec<Entry>,
        holds: Counts,
    ) -> Result<(), GenerationError> {
        let bytes = entries.iter().map(|(key, value)| key.len() + value.len());
        let bytes = bytes.sum::<usize>() as u64;
        let put = self.generation()?.put(entries);
        let counts = self.counts.take();
        put?;
        self.counts = counts.map(|before| Counts {
            items: before.items + holds.items,
            records: before.records + holds.records,
        });
        self.bytes_put += bytes;
        if self.bytes_put >= ANEW_BYTES {
            self.close();
        }
        Ok(())
    }

    /// Removes those of the items `ids` that it holds; returns how many these were.
    pub(super) fn remove(&mut self, ids: &[u64]) -> Result<u64, GenerationError> {
        let generation = self.generation()?;
        let (mut keys, mut items) = (Vec::new(), 0);
        for id in ids {
            let before = keys.len();
            generation.scan(&item_prefix(*id), |key, _| {
                keys.push(key.to_vec());
                true
            })?;
            items += u64::from(keys.len() > before);
        }
        if !keys.is_empty() {
            generation.remove(&keys)?;
            self.counts = None;
        }
        Ok(items)
    }

    /// Shows its items numbered `first` and above to `each`, in order, until that returns false; whether
    /// it never did.
    pub(super) fn visit_from(
        &mut self,
        first: u64,
        mut each: impl FnMut(u64, super::Item) -> bool,
    ) -> Result<bool, GenerationError> {
        let mut bytes: Vec<u8> = Vec::new();
        let (mut current, mut goes_on) = (None, true);
        let mut finish = |id: Option<u64>, bytes: &mut Vec<u8>| {
            let item = id.and_then(|id| decoded(id, bytes));
            bytes.clear();
            item.is_none_or(|(id, item)| each(id, item))
        };
        let first = item_key(first, 0);
        self.generation()?.scan_from(b"q", &first, |key, value| {
            let id = item_id(key);
            if current != id {
                goes_on = finish(current, &mut bytes);
                current = id;
            }
            bytes.extend_from_slice(value);
            goes_on
        })?;
        Ok(goes_on && finish(current, &mut bytes))
    }

    /// The item numbered `id`, if it is here and can be read.
    pub(super) fn get(&mut self, id: u64) -> Result<Option<super::Item>, GenerationError> {
        let mut bytes = Vec::new();
        self.generation()?.scan(&item_prefix(id), |_, value| {
            bytes.extend_from_slice(value);
            true
        })?;
        let found = (!bytes.is_empty()).then(|| decoded(id, &bytes)).flatten();
        Ok(found.map(|(_, item)| item))
    }

    /// What it holds. Reads all of it unless that is known.
    pub(super) fn holds(&mut self) -> Result<Counts, GenerationError> {
        if let Some(counts) = self.counts {
            return Ok(counts);
        }
        let mut counts = Counts::default();
        let mut last = None;
        self.generation()?.scan(b"q", |key, _| {
            let id = item_id(key);
            counts.items += u64::from(id != last);
            last = id;
            true
        })?;
        self.visit_from(0, |_, item| {
            counts.records += item.records;
            true
        })?;
        counts.records = counts.records.max(counts.items);
        self.counts = Some(counts);
        Ok(counts)
    }

    /// Bytes it takes on disk.
    pub(super) fn disk_bytes(&self) -> u64 {
        dir_bytes(&self.dir)
    }
}

fn item_prefix(id: u64) -> Vec<u8> {
    let mut prefix = vec![b'q'];
    prefix.extend_from_slice(&id.to_be_bytes());
    prefix
}
