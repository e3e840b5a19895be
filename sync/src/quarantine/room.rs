//! Room: which part takes the next item, and what gives way to it.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use super::{
    Inner, Put, Quarantine, Unsaid,
    part::{Counts, Part, part_dir},
};
use crate::generation::GenerationError;

/// Generations the bound is divided into: a full quarantine forgets this share of it at once.
const GENERATIONS: u64 = 4;

/// Bytes put at once, and what one item goes beyond them.
pub(super) const PUT_BYTES_MAX: usize = 256 << 10;
/// sled writes whole segments of 512 KiB, and rewrites pages: a put may take this much disk and twice its bytes.
const HEADROOM_BYTES: u64 = 1 << 20;
/// What a new part takes before anything is in it.
const PART_NEW_BYTES: u64 = 1 << 20;

/// Least bound: below it there would be no room for one part beside what a put takes.
pub const BYTES_MAX_MIN: u64 = 4 << 20;

/// Shortest time between two lines about items that gave way.
const DROPPED_GAP: Duration = Duration::from_mins(1);

/// Damaged parts kept for people to look at.
const DAMAGED_MAX: usize = 4;

impl Quarantine {
    /// Most disk it may take, bytes.
    fn bytes_max(&self) -> u64 {
        self.bytes_max.load(Relaxed).max(BYTES_MAX_MIN)
    }

    /// Writes `put` into the last part, or a new one; where there is no room, the oldest items give way.
    pub(super) fn put(&self, inner: &mut Inner, put: &Put) -> Result<(), GenerationError> {
        let bytes = put.bytes();
        loop {
            let done = self
                .make_room(inner, bytes, true)
                .and_then(|()| self.put_into_last(inner, put));
            match done {
                // On a full disk the oldest items give way, or no bad publish could be acknowledged.
                Err(GenerationError::Full) if inner.parts.len() > 1 => {
                    self.forget_oldest(inner, "disk full");
                }
                other => return other,
            }
        }
    }

    /// Room for `bytes` more within the bound, as far as what is there can give way: what is damaged, parts
    /// whose items were all taken out, and, only if `may_drop`, the oldest items.
    pub(super) fn make_room(
        &self,
        inner: &mut Inner,
        bytes: u64,
        may_drop: bool,
    ) -> Result<(), GenerationError> {
        loop {
            let begins_part = self.is_last_full(inner);
            let new_part_bytes = if begins_part { PART_NEW_BYTES } else { 0 };
            let needed = 2 * bytes + HEADROOM_BYTES + new_part_bytes;
            if self.bytes() + needed <= self.bytes_max() || inner.parts.is_empty() {
                return Ok(());
            }
            if forget_damaged(&self.dir, 0) || self.forget_emptied(inner)? {
                continue;
            }
            if !may_drop {
                return Err(GenerationError::Full);
            }
            let gives_way = inner.parts.len() > usize::from(!begins_part);
            // One that stays on the disk would only be the first of all.
            if !gives_way || !self.forget_oldest(inner, "quarantine full (quarantine.bytes_max)") {
                return Ok(());
            }
        }
    }

    /// Deletes a part that has nothing in it any more; whether there was one.
    fn forget_emptied(&self, inner: &mut Inner) -> Result<bool, GenerationError> {
        let newest = inner.parts.len().saturating_sub(1);
        let mut emptied = None;
        for place in 0..inner.parts.len() {
            if inner.parts[place].disk_bytes() <= PART_NEW_BYTES {
                continue;
            }
            inner.close_others(place);
            if inner.parts[place].is_emptied() {
                emptied = Some(place);
                break;
            }
        }
        let Some(place) = emptied else {
            return Ok(false);
        };
        if place == newest {
            // It alone may know which numbers were used.
            self.begin(inner)?;
        }
        let part = inner.parts.remove(place);
        Ok(part.delete())
    }

    fn put_into_last(&self, inner: &mut Inner, put: &Put) -> Result<(), GenerationError> {
        if let Some(part) = inner.parts.last_mut().filter(|_| !inner.failed) {
            match part.ready() {
                Err(GenerationError::Damaged(why) | GenerationError::Unreadable(why)) => {
                    tracing::error!(
                        part = part.id,
                        why,
                        "part of the quarantine takes nothing more"
                    );
                    inner.failed = true;
                }
                // It may pass, and nothing was written.
                ready => ready?,
            }
        }
        if self.is_last_full(inner) {
            self.begin(inner)?;
        }
        let Some(part) = inner.parts.last_mut() else {
            return Ok(());
        };
        let done = part.put(put);
        // The same generation may not take anything any more.
        inner.failed = done.is_err();
        done
    }

    /// Whether the next item begins a part.
    fn is_last_full(&self, inner: &Inner) -> bool {
        let part_bytes = self.bytes_max() / GENERATIONS;
        let last = inner.parts.last().filter(|_| !inner.failed);
        last.is_none_or(|part| part.disk_bytes() >= part_bytes)
    }

    pub(super) fn begin(&self, inner: &mut Inner) -> Result<(), GenerationError> {
        let id = inner.next_part;
        let path = part_dir(&self.dir, id);
        let _leftover = fs::remove_dir_all(&path);
        let part = Part::create(path, id, inner.next_item)?;
        if let Some(before) = inner.parts.last_mut() {
            before.close();
        }
        inner.parts.push(part);
        inner.next_part = id + 1;
        inner.failed = false;
        Ok(())
    }

    /// Lets go of the oldest part, readable or not; whether its disk has come back.
    fn forget_oldest(&self, inner: &mut Inner, why: &str) -> bool {
        if inner.parts.is_empty() {
            return false;
        }
        let mut oldest = inner.parts.remove(0);
        let Counts { items, records } = oldest.counted();
        self.items_dropped.fetch_add(items, Relaxed);
        self.records_dropped.fetch_add(records, Relaxed);
        let unsaid = &mut inner.unsaid;
        unsaid.items += items;
        unsaid.records += records;
        let now = Instant::now();
        if unsaid.next.is_none_or(|next| next <= now) {
            let Unsaid { items, records, .. } = *unsaid;
            tracing::error!(
                items,
                records,
                why,
                "DROPPED: the oldest items in quarantine gave way to newer ones (said once a minute at most)"
            );
            *unsaid = Unsaid {
                next: Some(now + DROPPED_GAP),
                ..Unsaid::default()
            };
        }
        oldest.delete()
    }
}

/// Puts a damaged part where people can look at it, with a few others.
pub(super) fn set_aside(dir: &Path, path: &Path, why: &str) {
    tracing::error!(path = %path.display(), why, "part of the quarantine set aside");
    let target = path.with_extension("damaged");
    let _older = fs::remove_dir_all(&target);
    if let Err(error) = fs::rename(path, &target) {
        tracing::error!(path = %path.display(), %error, "cannot set it aside");
    }
    forget_damaged(dir, DAMAGED_MAX);
}

/// Removes damaged parts, the oldest first, until no more than `kept` are there; whether there were any.
fn forget_damaged(dir: &Path, kept: usize) -> bool {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut damaged: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "damaged"))
        .collect();
    damaged.sort_unstable();
    let mut any = false;
    for path in damaged.iter().rev().skip(kept) {
        any |= fs::remove_dir_all(path).is_ok();
    }
    any
}
