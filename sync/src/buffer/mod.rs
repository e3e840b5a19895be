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
//! generation in one atomic, durable batch; entries that make it too large go before it. A generation
//! that fails is sealed as it was before the failing batch and a new one begins: the same blocks can be
//! committed again.
//!
//! Delete. A sealed generation goes when all of it lies before
//! `min(uploaded, start of the replay window)`, and nobody reads it any more
//! ([`Buffer::wanted_from`]); when space is short, before `uploaded`; under
//! [`WhenFull::DropOldest`], whatever it holds, counted.
//!
//! Read. An error of the device or the system is told to the reader, who tries again; only what stays
//! unreadable for [`PATIENCE`], or is damaged beyond doubt, counts as gone: once, and with a reason.
//!
//! Locks, in this order: `inner`, `open`, `unreadable`, `shape`. None is held while a caller's code
//! runs; only `shape` is never held while the disk is waited for.
//!
//! Block numbers are dense, except that losing the newest generation skips [`SEQ_SKIP`] of them: a
//! number that may have been used, and marked as uploaded, is never used again.

mod catalog;
#[cfg(test)]
mod catalog_tests;
mod census;
#[cfg(test)]
mod fault_tests;
mod fields;
mod handles;
mod inside;
mod parts;
mod query;
mod read;
mod recover;
mod space;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod wide_tests;

use std::{
    collections::{BTreeSet, HashSet, VecDeque},
    fs::File,
    ops::{Deref, DerefMut},
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

pub use self::{
    catalog::CatalogError,
    census::RowCount,
    fields::{FieldReader, Fields},
    query::{Matrix, Order, Query, SplitFilter},
    space::SET_ASIDE_BYTES_MAX,
};
use self::{
    catalog::{bytes_of, put_parts},
    census::{Census, SealedCensus, Usages},
    handles::Handles,
    read::Unreadable,
    space::PUT_BYTES_MAX,
};
use crate::{
    codec::BlockBody,
    generation::{Entry, Generation, GenerationError},
    sample::{Catalog, StreamId},
};

/// More numbers than one generation can use up.
pub(crate) const SEQ_SKIP: u64 = 1 << 20;

/// What happens to new records when the buffer is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// Commits fail with [`CommitError::Full`] until space comes back.
    Block,
    /// The oldest generation is deleted, its records that were not uploaded counted as dropped.
    DropOldest,
}

/// Bounds of the buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BufferOptions {
    /// Directory of its own.
    pub dir: PathBuf,
    /// Most disk it may take, bytes.
    pub bytes_max: u64,
    /// Free disk below which it counts as full, bytes.
    pub disk_free_bytes_min: u64,
    /// Policy at either bound.
    pub when_full: WhenFull,
    /// Uploaded blocks kept for training, bytes.
    pub replay_bytes_max: u64,
    /// Uploaded blocks kept for training, nanoseconds before the newest record.
    pub replay_age_ns_max: Option<i64>,
    /// Fingerprints of publishes kept for recognising redelivery.
    pub fingerprints_max: usize,
    /// Numbers below this were used once, whatever the buffer still knows (from the upload cursor).
    pub seq_floor: u64,
}

impl BufferOptions {
    /// Sensible bounds for a buffer of `bytes_max` in `dir`.
    pub fn new(dir: impl Into<PathBuf>, bytes_max: u64) -> Self {
        Self {
            dir: dir.into(),
            bytes_max,
            disk_free_bytes_min: 0,
            when_full: WhenFull::Block,
            replay_bytes_max: bytes_max / 2,
            replay_age_ns_max: None,
            fingerprints_max: 8192,
            seq_floor: 0,
        }
    }

    fn limits(&self) -> Limits {
        Limits {
            bytes_max: self.bytes_max,
            disk_free_bytes_min: self.disk_free_bytes_min,
            when_full: self.when_full,
            replay_bytes_max: self.replay_bytes_max,
            replay_age_ns_max: self.replay_age_ns_max,
        }
    }
}

/// Those of [`BufferOptions`] that may change while the buffer is open.
#[derive(Clone, Copy, Debug)]
struct Limits {
    bytes_max: u64,
    disk_free_bytes_min: u64,
    when_full: WhenFull,
    replay_bytes_max: u64,
    replay_age_ns_max: Option<i64>,
}

impl Limits {
    /// Size at which a generation is sealed: an eighth of the bound, 1 to 32 MiB.
    fn generation_bytes(&self) -> u64 {
        (self.bytes_max / 8).clamp(1 << 20, 32 << 20)
    }
}

/// Why the buffer cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds the directory.
    #[error("{}: another process is using this buffer; stop it first", .0.display())]
    InUse(PathBuf),
    /// Not even the reserve is enough.
    #[error("{}: no space left on the disk; free some and start again", .0.display())]
    Full(PathBuf),
    /// Something in it has a format of a newer version. Nothing was changed.
    #[error(
        "{}: written by a newer version of dunlin (format {format}, this one reads up to {}): \
         upgrade dunlin; nothing in it was changed",
        path.display(),
        crate::frame::FORMAT
    )]
    Newer {
        /// The directory or file.
        path: PathBuf,
        /// The format.
        format: u8,
    },
    /// The directory cannot be used.
    #[error("{}: {source}", path.display())]
    Io {
        /// The directory or file.
        path: PathBuf,
        /// The operating system's words.
        source: std::io::Error,
    },
}

/// Why nothing was committed. The same blocks may be committed again.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// No room: try again when something has been uploaded or space has been freed.
    #[error("buffer full: {0}")]
    Full(String),
    /// The newest generation failed; the next commit begins another.
    #[error("commit failed: {0}")]
    Failed(String),
}

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

/// Timestamps of blocks `from_seq <= seq < to_seq` are `delta_ns` later than stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Correction {
    pub(crate) from_seq: u64,
    pub(crate) to_seq: u64,
    pub(crate) delta_ns: i64,
}

pub(crate) struct Inner {
    pub(crate) sealed: VecDeque<Sealed>,
    pub(crate) active: Active,
    pub(crate) next_id: u64,
    /// Schemas that no commit has carried yet, as catalog entries.
    pub(crate) pending: Vec<Entry>,
    /// Streams declared, or with other tags, since the last commit.
    pub(crate) declared: BTreeSet<StreamId>,
    /// The file of the catalog lacks something.
    pub(crate) catalog_changed: bool,
    pub(crate) usages: Usages,
    /// See [`Buffer::keep_streams`].
    pub(crate) streams_kept: HashSet<String>,
    pub(crate) fingerprints: VecDeque<u64>,
    pub(crate) corrections: Vec<Correction>,
    pub(crate) uploaded_to: u64,
}

impl Inner {
    pub(crate) fn shift_ns(&self, seq: u64) -> i64 {
        let hits = self
            .corrections
            .iter()
            .filter(|c| c.from_seq <= seq && seq < c.to_seq);
        hits.fold(0, |shift, c| shift.saturating_add(c.delta_ns))
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

    /// Notes whose rows the newest generation holds now.
    fn count(&mut self, blocks: &[BlockBody]) {
        let Self { active, usages, .. } = self;
        for block in blocks {
            for run in &block.runs {
                let is_first = !active.census.has(run.stream);
                usages.add(run.stream, run.rows.into(), is_first, block.last_ts);
                active.named.insert(run.stream);
            }
            active.census.add(&block.runs);
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
    /// Generations set aside.
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

/// Bytes of fingerprints in one entry.
const FINGERPRINT_BYTES_MAX: usize = 4096;
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

fn unpoisoned<T>(result: Result<T, PoisonError<T>>) -> T {
    // Every critical section leaves its data consistent at each step; see `commit`.
    result.unwrap_or_else(PoisonError::into_inner)
}

impl Buffer {
    /// Goes on within the bounds that `options` has; its directory and the rest stay as they were. A
    /// smaller buffer is reached as its content goes upstream.
    pub fn set_limits(&self, options: &BufferOptions) {
        *unpoisoned(self.limits.write()) = options.limits();
    }

    fn limits(&self) -> Limits {
        *unpoisoned(self.limits.read())
    }
}

/// Fingerprints of the commit that ended before `next_seq`, `first_part` entries of which are there.
pub(crate) fn fingerprint_entries(
    next_seq: u64,
    first_part: u32,
    fingerprints: &[u64],
) -> Vec<Entry> {
    let chunks = fingerprints.chunks(FINGERPRINT_BYTES_MAX / 8);
    let entries = (first_part..).zip(chunks).map(|(part, chunk)| {
        let mut key = vec![b'f'];
        key.extend_from_slice(&next_seq.to_be_bytes());
        key.extend_from_slice(&part.to_be_bytes());
        (
            key,
            chunk
                .iter()
                .flat_map(|fingerprint| fingerprint.to_le_bytes())
                .collect(),
        )
    });
    entries.collect()
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

    /// Makes the blocks durable, all or none, with the fingerprints of the publishes they came from.
    /// Returns one past the number of the last block. More than 128 KiB begin a generation of their own.
    ///
    /// # Errors
    /// [`CommitError`]; the blocks can be committed again.
    pub fn commit(&self, blocks: &[BlockBody], fingerprints: &[u64]) -> Result<u64, CommitError> {
        let mut inner = self.change();
        let bytes: usize = blocks.iter().map(BlockBody::encoded_bytes).sum();
        let names = self.names_of(&inner, blocks);
        let put_bytes =
            (bytes + fingerprints.len() * 8 + bytes_of(&inner.pending) + bytes_of(&names)) as u64;
        let room = self.make_room(&mut inner, put_bytes);
        self.stats.full.store(u64::from(room.is_err()), Relaxed);
        room?;
        let rest_bytes = put_bytes - bytes_of(&names) as u64;
        if self.is_rotation_due(&inner, rest_bytes) {
            self.rotate(&mut inner)?;
        }
        // Making room may have begun a generation, too.
        let names = self.names_of(&inner, blocks);
        let too_many = names.len() > 1 && rest_bytes + bytes_of(&names) as u64 > PUT_BYTES_MAX;
        let mut entries = inner.pending.clone();
        entries.extend(names);
        // Schemas first: a stream must never be found without its own.
        let before = if too_many {
            std::mem::take(&mut entries)
        } else {
            Vec::new()
        };
        let mut extent = inner.active.extent;
        for block in blocks {
            let stored = block.stored(extent.next_row);
            let stored = stored.map_err(|e| CommitError::Failed(e.to_string()))?;
            entries.extend(parts::block_entries(extent.next_seq, stored));
            extent.next_seq += 1;
            extent.next_row += u64::from(block.rows);
            extent.last_ts = Some(block.last_ts);
        }
        // A commit without blocks adds to the fingerprints of the one before.
        let parts_before = match blocks {
            [] => inner.active.fingerprint_parts,
            _ => 0,
        };
        let prints = fingerprint_entries(extent.next_seq, parts_before, fingerprints);
        let fingerprint_parts = parts_before + prints.len() as u32;
        entries.extend(prints);
        let generation = &inner.active.generation;
        if let Err(error) = put_parts(generation, before).and_then(|()| generation.put(entries)) {
            inner.active.failed = true;
            return Err(match error {
                GenerationError::Full => {
                    self.stats.full.store(1, Relaxed);
                    CommitError::Full(error.to_string())
                }
                other => CommitError::Failed(other.to_string()),
            });
        }
        inner.pending.clear();
        let declared = std::mem::take(&mut inner.declared);
        inner.active.named.extend(declared);
        inner.count(blocks);
        inner.active.fingerprint_parts = fingerprint_parts;
        let rows = extent.next_row - inner.active.extent.next_row;
        inner.active.extent = extent;
        inner.fingerprints.extend(fingerprints);
        let surplus = inner
            .fingerprints
            .len()
            .saturating_sub(self.options.fingerprints_max);
        inner.fingerprints.drain(..surplus);
        drop(inner);

        self.stats.commits.fetch_add(1, Relaxed);
        self.stats.rows_committed.fetch_add(rows, Relaxed);
        self.stats.bytes_committed.fetch_add(bytes as u64, Relaxed);
        self.committed.send_replace(extent.next_seq);
        Ok(extent.next_seq)
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
        recover::write_corrections(&self.options.dir, &corrections)?;
        inner.corrections = corrections;
        Ok(())
    }
}
