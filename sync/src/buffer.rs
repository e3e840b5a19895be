//! The buffer: a row of generations, the newest written, the oldest drained and deleted whole.
//!
//! Constraints. A commit is durable in the sense of a power cut. Disk space comes back when a backlog
//! has drained. One damaged generation or block is set aside alone. Memory does not grow with the
//! backlog. Opening does not read the backlog.
//!
//! Format. `<dir>/<number>/` is one sled database with these keys, numbers big-endian:
//! `m` where it starts; `c s id`, `c t id` schemas, and the streams in its blocks; `c n` the number
//! of the next stream when it began; `b seq` a block, `b seq part` what of it goes beyond 8 KiB;
//! `f seq part` fingerprints of the publishes in the commit that ended before `seq`.
//! `<dir>/<number>/summary` says what a sealed generation holds, and how many rows of each stream;
//! without it, the generation is opened and asked. `<dir>/catalog` is the whole catalog (see
//! `catalog.rs`). `<dir>/corrections` shifts the clock of blocks;
//! `<dir>/corrections-copy` is the same once more, because without it timestamps would move back.
//!
//! Write. [`Buffer::commit`] puts blocks, new catalog entries and fingerprints into the newest
//! generation in one atomic, durable batch; names that make it too large go before it (see `commit.rs`). A generation
//! that fails is sealed as it was before the failing batch and a new one begins: the same blocks can be
//! committed again.
//!
//! Delete. A sealed generation goes when all of it lies before
//! `min(uploaded, start of the replay window)`, and nobody reads it any more
//! ([`Buffer::wanted_from`]); when space is short, before `uploaded`; under
//! [`WhenFull::DropOldest`], whatever it holds, counted. The newest one is sealed when it is full, or when
//! what is in it is too old (see `age.rs`).
//!
//! Read. An error of the device or the system is told to the reader, who tries again; only what stays
//! unreadable for `PATIENCE`, or is damaged beyond doubt, counts as gone: once, and with a reason.
//!
//! Locks, in this order: `inner`, `open`, `unreadable`, `shape`. None is held while a caller's code
//! runs; only `shape` is never held while the disk is waited for.
//!
//! Block numbers are dense, except that losing the newest generation skips `SEQ_SKIP` of them: a
//! number that may have been used, and marked as uploaded, is never used again.

mod age;
mod catalog;
mod census;
mod commit;
mod corrections;
mod declare;
mod fields;
mod found;
mod handles;
mod inside;
mod options;
mod parts;
mod query;
mod read;
mod recover;
mod reserve;
mod space;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeSet, HashSet, VecDeque},
    fs::File,
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, MutexGuard, RwLock, atomic::AtomicU64},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

pub(crate) use self::commit::fingerprint_entries;
pub use self::{
    census::RowCount,
    commit::CommitError,
    declare::{CatalogError, Declaration},
    fields::{FieldReader, Fields},
    options::{BufferOptions, OpenError, WhenFull},
    query::{Matrix, Order, Query, SplitFilter},
    space::SET_ASIDE_BYTES_MAX,
};
use self::{
    census::{Census, SealedCensus, Usages},
    corrections::Correction,
    handles::Handles,
    options::Limits,
    read::Unreadable,
};
use crate::{
    generation::{Entry, Generation},
    lock::unpoisoned,
    sample::{Catalog, StreamId},
};

/// More numbers than one generation can use up.
pub(crate) const SEQ_SKIP: u64 = 1 << 20;

/// What a generation holds. Half-open: `first_* <= x < next_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Extent {
    pub(crate) first_seq: u64,
    pub(crate) next_seq: u64,
    pub(crate) first_row: u64,
    pub(crate) next_row: u64,
    /// Last timestamp, as stored (before corrections); that of the generation before while empty.
    pub(crate) last_ts: Option<i64>,
}

impl Extent {
    pub(crate) const fn starting(seq: u64, row: u64, last_ts: Option<i64>) -> Self {
        Self {
            first_seq: seq,
            next_seq: seq,
            first_row: row,
            next_row: row,
            last_ts,
        }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.first_seq == self.next_seq
    }
}

pub(crate) struct Sealed {
    pub(crate) id: u64,
    pub(crate) extent: Extent,
    pub(crate) bytes: u64,
    pub(crate) census: SealedCensus,
}

pub(crate) struct Active {
    pub(crate) id: u64,
    pub(crate) extent: Extent,
    pub(crate) generation: Arc<Generation>,
    /// A put failed, so whatever it holds beyond `extent` does not count; or it was found damaged.
    pub(crate) failed: bool,
    /// Entries of fingerprints under `extent.next_seq`.
    pub(crate) fingerprint_parts: u32,
    /// Whose rows it holds.
    pub(crate) census: Census,
    /// Streams whose catalog entries it holds as they are now.
    pub(crate) named: HashSet<StreamId>,
}

pub(crate) struct Inner {
    pub(crate) sealed: VecDeque<Sealed>,
    pub(crate) active: Active,
    pub(crate) next_id: u64,
    /// Schemas that no commit has carried yet, as catalog entries.
    pub(crate) pending: Vec<Entry>,
    /// Streams declared, or with other tags, since the last commit.
    pub(crate) declared: BTreeSet<StreamId>,
    pub(crate) usages: Usages,
    /// See [`Buffer::keep_streams`].
    pub(crate) streams_kept: HashSet<String>,
    pub(crate) fingerprints: VecDeque<u64>,
    pub(crate) corrections: Vec<Correction>,
    pub(crate) uploaded_to: u64,
}

impl Inner {
    pub(crate) fn shift_ns(&self, seq: u64) -> i64 {
        corrections::shift_ns(&self.corrections, seq)
    }

    /// The last timestamp of `extent`, corrected.
    fn last_ts(&self, extent: &Extent) -> Option<i64> {
        // That of an empty one is the last timestamp before it, whose block need not be its neighbour.
        let mut before = self.sealed.iter().rev().map(|sealed| &sealed.extent);
        let before = before.find(|e| e.next_seq <= extent.first_seq && !e.is_empty());
        let next_seq = match before {
            Some(before) if extent.is_empty() => before.next_seq,
            _ => extent.next_seq,
        };
        let shift_ns = self.shift_ns(next_seq.saturating_sub(1));
        extent.last_ts.map(|ts| ts.saturating_add(shift_ns))
    }

    /// What the generations hold, oldest first.
    fn extents(&self) -> impl DoubleEndedIterator<Item = Extent> + '_ {
        let sealed = self.sealed.iter().map(|sealed| sealed.extent);
        sealed.chain([self.active.extent])
    }

    fn oldest_seq(&self) -> u64 {
        let oldest = self.sealed.front().map(|sealed| &sealed.extent);
        oldest.unwrap_or(&self.active.extent).first_seq
    }

    /// What is seen from outside.
    pub(crate) fn shape(&self) -> BufferShape {
        let extent = self.active.extent;
        let rows = |e: &Extent| e.next_row - e.first_row;
        BufferShape {
            generations: self.sealed.len() + 1,
            bytes: self.used_bytes(),
            oldest_seq: self.oldest_seq(),
            next_seq: extent.next_seq,
            rows: self.extents().map(|extent| rows(&extent)).sum(),
            rows_total: extent.next_row,
            newest_ts: self.last_ts(&extent),
        }
    }

    fn used_bytes(&self) -> u64 {
        let sealed: u64 = self.sealed.iter().map(|sealed| sealed.bytes).sum();
        sealed + self.active.generation.disk_bytes()
    }
}

/// Counters since the buffer was opened.
#[derive(Debug, Default)]
pub struct BufferStats {
    /// Rows committed.
    pub rows_committed: AtomicU64,
    /// Commits.
    pub commits: AtomicU64,
    /// Encoded bytes committed.
    pub bytes_committed: AtomicU64,
    /// Rows deleted before they were uploaded, because the buffer was full.
    pub rows_dropped: AtomicU64,
    /// Blocks that are lost: damaged, or unreadable for too long. Each counts once.
    pub blocks_corrupt: AtomicU64,
    /// Generations set aside, those at the opening included.
    pub generations_set_aside: AtomicU64,
    /// Rows in the generations set aside since the buffer was opened, uploaded or not.
    pub rows_set_aside: AtomicU64,
    /// 1 while commits fail for want of space.
    pub full: AtomicU64,
}

/// What a look at the buffer shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BufferShape {
    /// Generations, the newest included.
    pub generations: usize,
    /// Disk taken, bytes.
    pub bytes: u64,
    /// Oldest block.
    pub oldest_seq: u64,
    /// One past the newest block.
    pub next_seq: u64,
    /// Rows that are still here.
    pub rows: u64,
    /// Rows ever committed on this device.
    pub rows_total: u64,
    /// Newest timestamp, nanoseconds UTC.
    pub newest_ts: Option<i64>,
}

/// What opening found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// What was damaged and set aside, for people.
    pub set_aside: Vec<String>,
    /// The newest records may be among what was set aside: timestamps up to now may have been used.
    pub newest_lost: bool,
}

/// What the device cannot read for this long counts as damaged.
const PATIENCE: Duration = Duration::from_mins(10);

/// Keeps blocks safe. Shared by one writer and any number of readers.
pub struct Buffer {
    options: BufferOptions,
    limits: RwLock<Limits>,
    inner: Mutex<Inner>,
    /// `inner` seen from outside, as the last change has left it. Held for a copy at most: whoever only
    /// looks never waits for the disk.
    shape: Mutex<BufferShape>,
    /// Sealed generations that are open.
    open: Mutex<Handles>,
    /// Blocks known to be lost, generations that may soon be.
    unreadable: Mutex<Unreadable>,
    patience: Duration,
    catalog: RwLock<Arc<Catalog>>,
    committed: watch::Sender<u64>,
    /// First block that somebody still reads.
    wanted_from: AtomicU64,
    stats: BufferStats,
    /// Holds the directory against other processes.
    _lock: File,
}

/// The right to change what the buffer holds; shows the outcome to everybody when it is dropped.
pub(crate) struct Changing<'a> {
    inner: MutexGuard<'a, Inner>,
    shape: &'a Mutex<BufferShape>,
}

impl Deref for Changing<'_> {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.inner
    }
}

impl DerefMut for Changing<'_> {
    fn deref_mut(&mut self) -> &mut Inner {
        &mut self.inner
    }
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        *unpoisoned(self.shape.lock()) = self.inner.shape();
    }
}

impl Buffer {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        unpoisoned(self.inner.lock())
    }

    fn change(&self) -> Changing<'_> {
        Changing {
            inner: self.lock(),
            shape: &self.shape,
        }
    }

    /// Schemas and streams known now.
    pub fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&*unpoisoned(self.catalog.read()))
    }

    /// Counters.
    pub fn stats(&self) -> &BufferStats {
        &self.stats
    }

    /// Changes with every commit; holds one past the newest block.
    pub fn committed(&self) -> watch::Receiver<u64> {
        self.committed.subscribe()
    }

    /// Number of the oldest block.
    pub fn oldest_seq(&self) -> u64 {
        self.shape().oldest_seq
    }

    /// One past the number of the newest block.
    pub fn next_seq(&self) -> u64 {
        self.shape().next_seq
    }

    /// Sizes and positions.
    pub fn shape(&self) -> BufferShape {
        *unpoisoned(self.shape.lock())
    }

    /// Fingerprints of the publishes committed last, oldest first.
    pub fn fingerprints(&self) -> Vec<u64> {
        self.lock().fingerprints.iter().copied().collect()
    }

    /// Shifts the timestamps of all blocks `from_seq..` by `delta_ns` (nanoseconds), durably. The caller makes
    /// sure that they stay above those of the blocks before (see `agent`'s clock).
    ///
    /// # Errors
    /// The operating system's; nothing has changed then, and the same can be asked again.
    pub fn correct(&self, from_seq: u64, delta_ns: i64) -> std::io::Result<()> {
        let mut inner = self.change();
        let to_seq = inner.active.extent.next_seq;
        if from_seq >= to_seq || delta_ns == 0 {
            return Ok(());
        }
        let oldest = inner.oldest_seq();
        let mut corrections = inner.corrections.clone();
        corrections.retain(|correction| correction.to_seq > oldest);
        corrections.push(Correction {
            from_seq,
            to_seq,
            delta_ns,
        });
        corrections::write(&self.options.dir, &corrections)?;
        inner.corrections = corrections;
        inner.redate();
        Ok(())
    }
}
