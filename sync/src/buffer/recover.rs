//! Opening: what is there, what is whole, where to go on.

use std::sync::Arc;
use std::{
    collections::{BTreeSet, HashSet, VecDeque},
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
    catalog::{self, Names, read_names},
    census::{Census, SealedCensus, Usages},
    handles::Handles,
    inside::{look_at_everything, look_inside},
    read::Unreadable,
    space::{
        Summary, create, generation_dir, keep_reserve, set_aside, summary_path, with_reserve,
        write_summary,
    },
};
use crate::{
    generation::{Generation, GenerationError, TRASH, dir_bytes},
    sample::StreamId,
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
        let file_error = |error| match error {
            StateFileError::Newer { path, format } => OpenError::Newer { path, format },
            StateFileError::Io { path, source } => OpenError::Io { path, source },
            other @ StateFileError::Corrupt { .. } => io(io::Error::other(other.to_string())),
        };
        let corrections = found.read_corrections(&dir).map_err(file_error)?;
        found.read_catalog(&dir).map_err(file_error)?;
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
        found.summarise(&dir).map_err(generation_error)?;
        found.check_floor(seq_floor);
        let usages = found.usages();

        let Found {
            sealed,
            newest,
            names,
            has_catalog,
            mut fingerprints,
            recovery,
            generations_set_aside,
            ..
        } = found;
        let mut catalog = names.into_catalog();
        if recovery.newest_lost {
            // Numbers given out since the last generation began may be known upstream.
            let next_stream = catalog.next_stream();
            catalog.reserve_streams_below(next_stream.saturating_add(STREAM_SKIP));
        }
        let surplus = fingerprints.len().saturating_sub(options.fingerprints_max);
        fingerprints.drain(..surplus);
        let is_stored = has_catalog && newest.is_some();
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
            declared: BTreeSet::new(),
            catalog_changed: true,
            usages,
            streams_kept: HashSet::new(),
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
        buffer.replace_catalog(is_stored);
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

/// More streams than one generation makes known.
const STREAM_SKIP: StreamId = 1 << 16;

#[derive(Default)]
struct Found {
    ids: Vec<u64>,
    sealed: VecDeque<Sealed>,
    /// Sealed generations without a summary.
    asked: Vec<u64>,
    newest: Option<Active>,
    names: Names,
    /// The file of the catalog is there and whole.
    has_catalog: bool,
    fingerprints: Vec<u64>,
    recovery: Recovery,
    generations_set_aside: u64,
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

    fn read_catalog(&mut self, dir: &Path) -> Result<(), StateFileError> {
        match catalog::read_file(dir) {
            Ok(names) => {
                self.has_catalog = names.is_some();
                self.names = names.unwrap_or_default();
            }
            Err(error @ StateFileError::Corrupt { .. }) => {
                let why = error.to_string();
                set_aside(dir, &catalog::file_path(dir), &why);
                self.recovery.set_aside.push(why);
            }
            Err(other) => return Err(other),
        }
        Ok(())
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
            let (extent, census) = match state_file::read::<Summary<SealedCensus>>(&summary) {
                Ok(Some(Summary { extent, census })) => (Some(extent), census),
                Err(StateFileError::Newer { format, .. }) => {
                    return Err(GenerationError::Newer(format));
                }
                // Absent, damaged, or of the first format, which counted nothing.
                _ => {
                    let extent =
                        self.ask(dir, *id, |path| look_inside(path).map(|(_, extent)| extent))?;
                    self.asked.push(*id);
                    (extent, SealedCensus::default())
                }
            };
            self.sealed.extend(extent.map(|extent| Sealed {
                id: *id,
                extent,
                bytes: dir_bytes(&path),
                census,
            }));
        }
        if self.newest.is_none() {
            self.look_at_last(dir)?;
        }
        if !self.has_catalog {
            self.gather_names(dir)?;
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
        let (extent, generation) = (inside.extent, inside.generation);
        self.names.extend(inside.names);
        self.fingerprints = inside.fingerprints;
        self.newest = Some(Active {
            id,
            extent,
            generation: Arc::new(generation),
            failed: false,
            fingerprint_parts: inside.fingerprint_parts,
            census: inside.census,
            named: inside.named,
        });
        Ok(())
    }

    /// Nothing can be written to: names and fingerprints come from the last generation, which stays sealed.
    /// One that cannot be opened is of no use: nobody knows whose its records are.
    fn look_at_last(&mut self, dir: &Path) -> Result<(), GenerationError> {
        while let Some(last) = self.sealed.back() {
            if let Some(inside) = self.ask(dir, last.id, look_at_everything)? {
                self.names.fill_in(inside.names);
                self.fingerprints = inside.fingerprints;
                break;
            }
            self.recovery.newest_lost = true;
            self.sealed.pop_back();
        }
        Ok(())
    }

    /// Without its file, the catalog is what all generations name.
    fn gather_names(&mut self, dir: &Path) -> Result<(), GenerationError> {
        let newest_first: Vec<u64> = self.sealed.iter().rev().map(|sealed| sealed.id).collect();
        for id in newest_first {
            let names = self.ask(dir, id, |path| {
                read_names(&Generation::open_existing(path)?).map(|(names, _)| names)
            })?;
            match names {
                Some(names) => self.names.fill_in(names),
                None => self.sealed.retain(|sealed| sealed.id != id),
            }
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

    /// Counts what is in the generations that were asked, so that none need be asked the next time.
    fn summarise(&mut self, dir: &Path) -> Result<(), GenerationError> {
        for id in std::mem::take(&mut self.asked) {
            let Some(extent) = self.extent_of(id) else {
                continue;
            };
            let census = self.ask(dir, id, |path| {
                Census::take(&Generation::open_existing(path)?, &extent)
            })?;
            let Some(census) = census.map(|census| census.sealed()) else {
                self.sealed.retain(|sealed| sealed.id != id);
                continue;
            };
            if let Err(error) = write_summary(dir, id, &extent, &census) {
                tracing::warn!(generation = id, %error, "cannot write the summary");
            }
            let mut sealed = self.sealed.iter_mut();
            if let Some(sealed) = sealed.find(|sealed| sealed.id == id) {
                sealed.census = census;
            }
        }
        Ok(())
    }

    fn extent_of(&self, id: u64) -> Option<Extent> {
        let sealed = self.sealed.iter().find(|sealed| sealed.id == id);
        sealed.map(|sealed| sealed.extent)
    }

    /// What the generations hold of each stream, and when the others were seen last.
    fn usages(&self) -> Usages {
        let mut usages = Usages::default();
        for sealed in &self.sealed {
            usages.add_all(&sealed.census, sealed.extent.last_ts.unwrap_or(i64::MIN));
        }
        let mut newest_ts = self.sealed.back().and_then(|sealed| sealed.extent.last_ts);
        if let Some(active) = &self.newest {
            newest_ts = active.extent.last_ts;
            usages.add_all(&active.census.sealed(), newest_ts.unwrap_or(i64::MIN));
        }
        for stream in self.names.streams.keys() {
            // Nobody has noted it: as if it had been seen just now.
            if let Some(last_ts) = self.names.last_ts.get(stream).copied().or(newest_ts) {
                usages.seen(*stream, last_ts);
            }
        }
        usages
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
                census: active.census.sealed(),
            });
        }
    }
}
