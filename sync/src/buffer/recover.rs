//! Opening: what is there, what is whole, where to go on.

use std::sync::Arc;
use std::{
    collections::VecDeque,
    fs::{self, File},
    io,
    path::Path,
    sync::{
        Mutex, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use rustix::fs::{FlockOperation, flock};
use tokio::sync::watch;

use super::{
    Active, Buffer, BufferOptions, BufferStats, Correction, Extent, Inner, OpenError, PATIENCE,
    Recovery, SEQ_SKIP, Sealed,
    catalog::read_catalog,
    handles::Handles,
    parts,
    read::Unreadable,
    space::{create, generation_dir, keep_reserve, set_aside, summary_path, with_reserve},
};
use crate::{
    codec, frame,
    generation::{Generation, GenerationError, TRASH, dir_bytes},
    sample::Catalog,
    state_file::{self, StateFileError},
};

/// A failing device is given this many tries, this far apart, before a generation is set aside.
const READ_TRIES: u32 = 10;
const READ_PAUSE: Duration = Duration::from_millis(500);
const LOCK_WAIT_MAX: Duration = Duration::from_secs(2);
const LOCK_RETRY: Duration = Duration::from_millis(10);

impl Buffer {
    /// Opens the buffer in `options.dir`, made if need be. Reads the newest generation and the
    /// summaries of the others; never the backlog.
    ///
    /// # Errors
    /// [`OpenError`]. Damage is no error: it is set aside and told in [`Recovery`].
    pub fn open(options: BufferOptions) -> Result<(Self, Recovery), OpenError> {
        let dir = options.dir.clone();
        let io = |source| OpenError::Io {
            path: dir.clone(),
            source,
        };
        let generation_error = |error| match error {
            GenerationError::Full => OpenError::Full(dir.clone()),
            GenerationError::InUse => OpenError::InUse(dir.clone()),
            GenerationError::Newer(format) => OpenError::Newer {
                path: dir.clone(),
                format,
            },
            other => io(io::Error::other(other.to_string())),
        };
        state_file::create_dir(&dir).map_err(io)?;
        let lock = File::create(dir.join("lock")).map_err(io)?;
        hold(&lock).map_err(|_| OpenError::InUse(dir.clone()))?;

        let mut found = Found::default();
        let corrections = found.read_corrections(&dir);
        let corrections = corrections.map_err(|error| match error {
            StateFileError::Newer { path, format } => OpenError::Newer { path, format },
            StateFileError::Io { path, source } => OpenError::Io { path, source },
            other @ StateFileError::Corrupt { .. } => io(io::Error::other(other.to_string())),
        })?;
        // Numbers that were corrected were in use.
        let corrected_to = corrections.iter().map(|correction| correction.to_seq).max();
        let seq_floor = options.seq_floor.max(corrected_to.unwrap_or(0));
        let mut next_id = 1;
        for id in sweep(&dir).map_err(io)? {
            next_id = next_id.max(id + 1);
            if is_complete(&dir, id).map_err(generation_error)? {
                found.ids.push(id);
            }
        }
        found.look(&dir).map_err(generation_error)?;
        found.join();
        found.summarise(&dir);
        found.check_floor(seq_floor);

        let Found {
            sealed,
            newest,
            catalog,
            mut fingerprints,
            recovery,
            generations_set_aside,
            ..
        } = found;
        let surplus = fingerprints.len().saturating_sub(options.fingerprints_max);
        fingerprints.drain(..surplus);
        let active = if let Some(active) = newest {
            active
        } else {
            let extent = beginning(&sealed, &recovery, seq_floor);
            let active = create(&dir, next_id, extent, &catalog, &fingerprints);
            next_id += 1;
            active.map_err(generation_error)?
        };
        keep_reserve(&dir);
        let stats = BufferStats::default();
        let committed = watch::Sender::new(active.extent.next_seq);
        stats
            .generations_set_aside
            .store(generations_set_aside, Relaxed);
        let inner = Inner {
            sealed,
            active,
            next_id,
            pending: Vec::new(),
            fingerprints: fingerprints.into(),
            corrections,
            uploaded_to: 0,
        };
        let buffer = Self {
            limits: RwLock::new(options.limits()),
            options,
            shape: Mutex::new(inner.shape()),
            inner: Mutex::new(inner),
            open: Mutex::new(Handles::default()),
            unreadable: Mutex::new(Unreadable::default()),
            wanted_from: AtomicU64::new(u64::MAX),
            patience: PATIENCE,
            catalog: RwLock::new(Arc::new(catalog)),
            committed,
            stats,
            _lock: lock,
        };
        Ok((buffer, recovery))
    }
}

/// Takes the lock on the directory. A reader of the process before, or of a buffer closed just now,
/// may hold it a moment longer.
fn hold(lock: &File) -> rustix::io::Result<()> {
    let mut waited = Duration::ZERO;
    loop {
        match flock(lock, FlockOperation::NonBlockingLockExclusive) {
            Err(_) if waited < LOCK_WAIT_MAX => {
                thread::sleep(LOCK_RETRY);
                waited += LOCK_RETRY;
            }
            other => return other,
        }
    }
}

/// Removes what a power cut left of a deletion; returns the generations' numbers in order.
fn sweep(dir: &Path) -> io::Result<Vec<u64>> {
    let mut ids = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(TRASH) {
            let _gone = fs::remove_dir_all(entry.path());
        } else if let Ok(id) = name.parse()
            && generation_dir(dir, id) == entry.path()
        {
            ids.push(id);
        }
    }
    ids.sort_unstable();
    Ok(ids)
}

/// Whether a generation was ever finished. One that was not has nothing that was acknowledged, and is
/// removed.
fn is_complete(dir: &Path, id: u64) -> Result<bool, GenerationError> {
    let path = generation_dir(dir, id);
    if Generation::is_complete(&path)? {
        return Ok(true);
    }
    // The mark alone may be lost.
    let has_blocks = || {
        let mut blocks = false;
        Generation::open_existing(&path)?.scan(b"b", |_, _| {
            blocks = true;
            false
        })?;
        Ok(blocks)
    };
    let complete = summary_path(dir, id).exists()
        || match with_reserve(dir, has_blocks) {
            Ok(has_blocks) => has_blocks,
            Err(GenerationError::Damaged(_)) => false,
            Err(other) => return Err(other),
        };
    if complete {
        tracing::warn!(generation = id, "its mark was missing");
        if let Err(error) = Generation::mark_complete(&path) {
            tracing::warn!(generation = id, %error, "cannot mark it");
        }
    } else {
        let _gone = fs::remove_dir_all(&path);
    }
    Ok(complete)
}

/// Where the first generation begins, or the one after all others were sealed or set aside.
fn beginning(sealed: &VecDeque<Sealed>, recovery: &Recovery, seq_floor: u64) -> Extent {
    let before = sealed
        .back()
        .map_or(Extent::starting(0, 0, None), |sealed| sealed.extent);
    let next_seq = if recovery.newest_lost {
        before.next_seq.max(seq_floor) + SEQ_SKIP
    } else {
        before.next_seq
    };
    Extent::starting(next_seq, before.next_row, before.last_ts)
}

/// Writes the corrections, then their copy, which may lag behind.
pub(super) fn write_corrections(dir: &Path, corrections: &Vec<Correction>) -> io::Result<()> {
    state_file::write(&dir.join("corrections"), corrections)?;
    if let Err(error) = state_file::write(&dir.join("corrections-copy"), corrections) {
        tracing::warn!(%error, "cannot copy the corrections of the clock");
    }
    Ok(())
}

#[derive(Default)]
struct Found {
    ids: Vec<u64>,
    sealed: VecDeque<Sealed>,
    /// Sealed generations without a summary.
    asked: Vec<u64>,
    newest: Option<Active>,
    catalog: Catalog,
    fingerprints: Vec<u64>,
    recovery: Recovery,
    generations_set_aside: u64,
}

/// What one generation says of itself.
struct Inside {
    generation: Generation,
    extent: Extent,
    catalog: Catalog,
    fingerprints: Vec<u64>,
    fingerprint_parts: u32,
}

impl Found {
    fn read_corrections(&mut self, dir: &Path) -> Result<Vec<Correction>, StateFileError> {
        let mut read = |name: &str| {
            let path = dir.join(name);
            let error = match state_file::read::<Vec<Correction>>(&path) {
                Err(error @ StateFileError::Corrupt { .. }) => error.to_string(),
                other => return other,
            };
            set_aside(dir, &path, &error);
            self.recovery.set_aside.push(error);
            Ok(None)
        };
        let (file, copy) = (read("corrections")?, read("corrections-copy")?);
        if file != copy {
            let whole = file.as_ref().or(copy.as_ref()).cloned().unwrap_or_default();
            if let Err(error) = write_corrections(dir, &whole) {
                tracing::warn!(%error, "cannot repair the corrections of the clock");
            }
        }
        Ok(file.or(copy).unwrap_or_default())
    }

    fn look(&mut self, dir: &Path) -> Result<(), GenerationError> {
        let ids = std::mem::take(&mut self.ids);
        for (position, id) in ids.iter().enumerate() {
            let path = generation_dir(dir, *id);
            let summary = summary_path(dir, *id);
            // One with a summary is never written again: the summary would not hold any more.
            if position + 1 == ids.len() && !summary.exists() {
                self.look_at_newest(dir, *id)?;
                continue;
            }
            let extent = match state_file::read::<Extent>(&summary) {
                Ok(Some(extent)) => Some(extent),
                Err(StateFileError::Newer { format, .. }) => {
                    return Err(GenerationError::Newer(format));
                }
                _ => {
                    let extent =
                        self.ask(dir, *id, |path| look_inside(path).map(|(_, extent)| extent))?;
                    self.asked.push(*id);
                    extent
                }
            };
            self.sealed.extend(extent.map(|extent| Sealed {
                id: *id,
                extent,
                bytes: dir_bytes(&path),
            }));
        }
        if self.newest.is_none() {
            self.find_catalog(dir)?;
        }
        Ok(())
    }

    /// What `look` says of generation `id`, which is set aside if it is damaged.
    fn ask<T>(
        &mut self,
        dir: &Path,
        id: u64,
        look: impl Fn(&Path) -> Result<T, GenerationError>,
    ) -> Result<Option<T>, GenerationError> {
        let path = generation_dir(dir, id);
        let mut tries = 0;
        let why = loop {
            match with_reserve(dir, || look(&path)) {
                Ok(answer) => return Ok(Some(answer)),
                Err(GenerationError::Unreadable(_)) if tries < READ_TRIES => {
                    tries += 1;
                    thread::sleep(READ_PAUSE);
                }
                Err(GenerationError::Damaged(why) | GenerationError::Unreadable(why)) => break why,
                Err(other) => return Err(other),
            }
        };
        self.recovery
            .set_aside
            .push(format!("generation {id}: {why}"));
        self.generations_set_aside += 1;
        set_aside(dir, &path, &why);
        Ok(None)
    }

    fn look_at_newest(&mut self, dir: &Path, id: u64) -> Result<(), GenerationError> {
        let Some(inside) = self.ask(dir, id, |path| {
            let inside = look_at_everything(path)?;
            inside.generation.settle()?;
            Ok(inside)
        })?
        else {
            self.recovery.newest_lost = true;
            return Ok(());
        };
        self.catalog = inside.catalog;
        self.fingerprints = inside.fingerprints;
        self.newest = Some(Active {
            id,
            extent: inside.extent,
            generation: Arc::new(inside.generation),
            failed: false,
            fingerprint_parts: inside.fingerprint_parts,
        });
        Ok(())
    }

    /// Nothing can be written to: the catalog comes from the last generation, which stays sealed. One
    /// without a catalog is of no use: nobody knows whose its records are.
    fn find_catalog(&mut self, dir: &Path) -> Result<(), GenerationError> {
        while let Some(last) = self.sealed.back() {
            if let Some(inside) = self.ask(dir, last.id, look_at_everything)? {
                self.catalog = inside.catalog;
                self.fingerprints = inside.fingerprints;
                break;
            }
            self.recovery.newest_lost = true;
            self.sealed.pop_back();
        }
        Ok(())
    }

    /// A generation ends where the next one begins: a failed put may have left blocks that were
    /// committed again, and damage may have cut off the end.
    fn join(&mut self) {
        let newest = self.newest.as_ref();
        let mut next = newest.map(|active| (active.id, active.extent));
        for sealed in self.sealed.iter_mut().rev() {
            let extent = &mut sealed.extent;
            if let Some((next_id, next)) = next {
                if extent.next_seq > next.first_seq {
                    extent.next_seq = next.first_seq.max(extent.first_seq);
                    extent.next_row = next.first_row.max(extent.first_row);
                } else if next.first_row > extent.next_row
                    && next_id == sealed.id + 1
                    && self.asked.contains(&sealed.id)
                {
                    extent.next_row = next.first_row;
                    if next.first_seq - extent.next_seq < SEQ_SKIP {
                        extent.next_seq = next.first_seq;
                    }
                }
            }
            next = Some((sealed.id, *extent));
        }
    }

    /// So that nobody need be asked the next time.
    fn summarise(&self, dir: &Path) {
        for sealed in &self.sealed {
            if self.asked.contains(&sealed.id)
                && let Err(error) = state_file::write(&summary_path(dir, sealed.id), &sealed.extent)
            {
                tracing::warn!(generation = sealed.id, %error, "cannot write the summary");
            }
        }
    }

    /// Blocks at and after the end of the newest generation were used once: it has lost its tail.
    fn check_floor(&mut self, seq_floor: u64) {
        let end = match (&self.newest, self.sealed.back()) {
            (Some(active), _) => active.extent.next_seq,
            (None, Some(sealed)) => sealed.extent.next_seq,
            (None, None) => 0,
        };
        if end >= seq_floor || self.recovery.newest_lost {
            return;
        }
        self.recovery.newest_lost = true;
        self.recovery
            .set_aside
            .push(format!("blocks {end} to {} are gone", seq_floor - 1));
        if let Some(active) = self.newest.take() {
            let bytes = active.generation.disk_bytes();
            self.sealed.push_back(Sealed {
                id: active.id,
                extent: active.extent,
                bytes,
            });
        }
    }
}

/// Opens a generation and finds its edges.
fn look_inside(path: &Path) -> Result<(Generation, Extent), GenerationError> {
    let generation = Generation::open_existing(path)?;
    let start = generation.get(b"m")?;
    let start = start.ok_or_else(|| GenerationError::Damaged("its start is missing".into()))?;
    if let Some(format) = frame::newer(&start) {
        return Err(GenerationError::Newer(format));
    }
    let (mut newer, mut failed) = (None, None);
    let mut extent: Extent = frame::from_bytes(&start)
        .map_err(|error| GenerationError::Damaged(format!("its start: {error}")))?;
    generation.scan_back(b"b", |key, value| {
        // The number of a block that cannot be read was used all the same.
        if let Some(seq) = number(key, 1) {
            extent.next_seq = extent.next_seq.max(seq + 1);
        }
        if !parts::is_first(key) {
            return true;
        }
        let stored = number(key, 1).map(|seq| parts::read(&generation, seq));
        let stored = match stored {
            Some(Ok(Some(stored))) => stored,
            Some(Err(error)) => {
                failed = Some(error);
                return false;
            }
            None | Some(Ok(None)) => value.into(),
        };
        let Ok(header) = codec::decode_header(&stored) else {
            newer = frame::newer(&stored);
            return newer.is_none();
        };
        extent.next_row = header.first_row + u64::from(header.rows);
        extent.last_ts = Some(header.last_ts);
        false
    })?;
    match (newer, failed) {
        (Some(format), _) => Err(GenerationError::Newer(format)),
        (None, Some(error)) => Err(error),
        (None, None) => Ok((generation, extent)),
    }
}

fn look_at_everything(path: &Path) -> Result<Inside, GenerationError> {
    let (generation, extent) = look_inside(path)?;
    let catalog = read_catalog(&generation)?;
    let (fingerprints, fingerprint_parts) = read_fingerprints(&generation, extent.next_seq)?;
    Ok(Inside {
        generation,
        extent,
        catalog,
        fingerprints,
        fingerprint_parts,
    })
}

/// The newest fingerprints, oldest first, and how many entries there are under `next_seq`.
fn read_fingerprints(
    generation: &Generation,
    next_seq: u64,
) -> Result<(Vec<u64>, u32), GenerationError> {
    const NEEDED: usize = 1 << 16;
    let mut chunks: Vec<Vec<u64>> = Vec::new();
    let (mut count, mut parts) = (0, 0);
    generation.scan_back(b"f", |key, value| {
        parts += u32::from(number(key, 1) == Some(next_seq));
        let numbers = value
            .chunks_exact(8)
            .filter_map(|bytes| bytes.try_into().ok());
        let chunk: Vec<u64> = numbers.map(u64::from_le_bytes).collect();
        count += chunk.len();
        chunks.push(chunk);
        count < NEEDED
    })?;
    Ok((chunks.into_iter().rev().flatten().collect(), parts))
}

/// The number at `start` in a key.
fn number(key: &[u8], start: usize) -> Option<u64> {
    let bytes = key.get(start..start + 8)?.try_into().ok()?;
    Some(u64::from_be_bytes(bytes))
}
