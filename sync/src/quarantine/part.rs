//! One part of the quarantine: a generation that is open only while it is used.
//!
//! Whatever a generation has read or written stays in memory nearly whole while it is open, whatever its
//! cache is told: parts that nobody uses are closed, and the newest is opened anew now and then.

use std::{
    ops::Range,
    path::{Path, PathBuf},
};

use super::{
    Put,
    item::{Item, decoded, item_id, item_key},
};
use crate::generation::{Generation, GenerationError, dir_bytes};

/// Key of the number of the first item of a part: numbers do not come again after a purge.
const FIRST_ITEM: &[u8] = b"n";

/// Bytes put after which the newest part is opened anew.
const ANEW_BYTES: u64 = 1 << 20;

/// Directory of the part `id` of the quarantine in `dir`.
pub(super) fn part_dir(dir: &Path, id: u64) -> PathBuf {
    dir.join(format!("{id:08}"))
}

/// How much a part.counted.
#[derive(Clone, Copy, Default, Debug, PartialEq)]
pub(super) struct Counts {
    pub(super) items: u64,
    pub(super) records: u64,
}

pub(super) struct Part {
    pub(super) id: u64,
    dir: PathBuf,
    /// Of the items that may be in it.
    numbers: Range<u64>,
    generation: Option<Generation>,
    /// sled has written nothing that is not durable since it was opened.
    is_settled: bool,
    /// What is known to be in it, and whether that is all.
    counts: Counts,
    is_counted: bool,
    /// Since it was opened.
    bytes_put: u64,
}

impl Part {
    /// Makes a new one in `dir`, for items from `first_item` on; durable when this returns.
    pub(super) fn create(dir: PathBuf, id: u64, first_item: u64) -> Result<Self, GenerationError> {
        let key = (FIRST_ITEM.to_vec(), first_item.to_be_bytes().to_vec());
        let generation = Generation::create(&dir, vec![key])?;
        Ok(Self {
            id,
            dir,
            numbers: first_item..first_item,
            generation: Some(generation),
            is_settled: true,
            counts: Counts::default(),
            is_counted: true,
            bytes_put: 0,
        })
    }

    /// An existing one.
    pub(super) fn open(dir: PathBuf, id: u64) -> Result<Self, GenerationError> {
        let mut part = Self {
            id,
            dir,
            numbers: 1..1,
            generation: None,
            is_settled: false,
            counts: Counts::default(),
            is_counted: false,
            bytes_put: 0,
        };
        let generation = part.generation()?;
        let first = generation.get(FIRST_ITEM)?;
        let first = first.and_then(|bytes| bytes.as_ref().try_into().ok());
        let first = first.map_or(1, u64::from_be_bytes);
        let mut end = first;
        generation.scan_back(b"q", |key, _| {
            end = end.max(item_id(key).map_or(0, |id| id + 1));
            false
        })?;
        part.numbers = first..end;
        Ok(part)
    }

    /// One past its last item.
    pub(super) fn next_item(&self) -> u64 {
        self.numbers.end
    }

    /// Whether items of these numbers may be in it.
    pub(super) fn may_hold(&self, numbers: &Range<u64>) -> bool {
        self.numbers.start < numbers.end && numbers.start < self.numbers.end
    }

    fn generation(&mut self) -> Result<&Generation, GenerationError> {
        let generation = match self.generation.take() {
            Some(generation) => Ok(generation),
            None => Generation::open_existing(&self.dir),
        };
        Ok(self.generation.insert(generation?))
    }

    /// Opens it and makes durable what sled has written to do so: needed before anything is put or removed.
    pub(super) fn ready(&mut self) -> Result<(), GenerationError> {
        if self.generation.is_none() || !self.is_settled {
            self.generation()?.settle()?;
            self.is_settled = true;
        }
        Ok(())
    }

    /// Lets go of the memory it takes; the next use opens it again.
    pub(super) fn close(&mut self) {
        self.generation = None;
        self.is_settled = false;
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

    /// Writes all of `put` or nothing; durable when this returns. After an error it may turn up later: write
    /// it to another part.
    pub(super) fn put(&mut self, put: &Put) -> Result<(), GenerationError> {
        self.ready()?;
        self.numbers.end = self.numbers.end.max(put.numbers.end);
        if let Err(error) = self.generation()?.put(put.entries.clone()) {
            // What is only in memory must not be counted.
            self.close();
            self.is_counted = false;
            return Err(error);
        }
        self.counts.items += put.numbers.end - put.numbers.start;
        self.counts.records += put.records;
        self.bytes_put += put.bytes();
        if self.bytes_put >= ANEW_BYTES {
            self.close();
        }
        Ok(())
    }

    /// Removes those of the items `ids` that it holds and that can be read; returns how many these were.
    pub(super) fn remove(&mut self, ids: &[u64]) -> Result<u64, GenerationError> {
        self.ready()?;
        let numbers = self.numbers.clone();
        let generation = self.generation()?;
        let (mut keys, mut items) = (Vec::new(), 0);
        for id in ids.iter().filter(|id| numbers.contains(id)) {
            let mut found = Vec::new();
            let scanned = generation.scan(&item_prefix(*id), |key, _| {
                found.push(key.to_vec());
                true
            });
            if let Err(error) = scanned {
                tracing::error!(id, %error, "an item in quarantine is damaged");
                continue;
            }
            items += u64::from(!found.is_empty());
            keys.append(&mut found);
        }
        if !keys.is_empty() {
            self.is_counted = false;
            self.counts.items = self.counts.items.saturating_sub(items);
            self.counts.records = self.counts.records.min(self.counts.items);
            self.generation()?.remove(&keys)?;
        }
        Ok(items)
    }

    /// Shows its items numbered `first` and above to `each`, in order, until that returns false; whether
    /// it never did. Before an error it shows what can be read.
    pub(super) fn visit_from(
        &mut self,
        first: u64,
        mut each: impl FnMut(u64, Item) -> bool,
    ) -> Result<bool, GenerationError> {
        let mut bytes: Vec<u8> = Vec::new();
        let (mut current, mut goes_on) = (None, true);
        let mut finish = |id: Option<u64>, bytes: &mut Vec<u8>| {
            let item = id.and_then(|id| decoded(id, bytes));
            bytes.clear();
            item.is_none_or(|(id, item)| each(id, item))
        };
        let first = item_key(first, 0);
        let scanned = self.generation()?.scan_from(b"q", &first, |key, value| {
            let id = item_id(key);
            if current != id {
                goes_on = finish(current, &mut bytes);
                current = id;
            }
            bytes.extend_from_slice(value);
            goes_on
        });
        goes_on = goes_on && finish(current, &mut bytes);
        // What was read stays in memory: the next put closes it.
        self.bytes_put = ANEW_BYTES;
        scanned.map(|()| goes_on)
    }

    /// The item numbered `id`, if it is here and can be read.
    pub(super) fn get(&mut self, id: u64) -> Result<Option<Item>, GenerationError> {
        let mut bytes = Vec::new();
        self.generation()?.scan(&item_prefix(id), |_, value| {
            bytes.extend_from_slice(value);
            true
        })?;
        let found = (!bytes.is_empty()).then(|| decoded(id, &bytes)).flatten();
        Ok(found.map(|(_, item)| item))
    }

    /// What it holds. Reads all of it unless that is known. If it cannot be read, what is known.
    pub(super) fn counted(&mut self) -> Counts {
        if self.is_counted {
            return self.counts;
        }
        let mut found = Counts::default();
        let read = self.count(&mut found);
        found.records = found.records.max(found.items);
        if let Err(error) = read {
            tracing::error!(part = self.id, %error, "cannot count what is in a part of the quarantine");
            self.counts.items = self.counts.items.max(found.items);
            self.counts.records = self.counts.records.max(found.records);
        } else {
            self.is_counted = true;
            self.counts = found;
        }
        self.counts
    }

    fn count(&mut self, found: &mut Counts) -> Result<(), GenerationError> {
        let mut last = None;
        self.generation()?.scan(b"q", |key, _| {
            let id = item_id(key);
            found.items += u64::from(id != last);
            last = id;
            true
        })?;
        self.visit_from(0, |_, item| {
            found.records += item.records;
            true
        })?;
        Ok(())
    }

    /// Whether it is known that nothing is left in it.
    pub(super) fn is_emptied(&mut self) -> bool {
        self.counted().items == 0 && self.is_counted
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
