//! Opening: what is there, what is whole, where to go on.

use std::{
    collections::{BTreeSet, HashSet, VecDeque},
    fs::{self, File},
    io,
    path::Path,
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use rustix::fs::{FlockOperation, flock};
use tokio::sync::watch;

use super::{
    Buffer, BufferOptions, BufferStats, Extent, Inner, OpenError, PATIENCE, Recovery, SEQ_SKIP,
    Sealed,
    found::Found,
    handles::Handles,
    read::Unreadable,
    reserve::{keep_reserve, with_reserve},
    space::{create, generation_dir, summary_path},
};
use crate::{
    files::state_file::{self, StateFileError},
    generation::{Generation, GenerationError, TRASH},
    sample::StreamId,
};

const LOCK_WAIT_MAX: Duration = Duration::from_secs(2);
const LOCK_RETRY: Duration = Duration::from_millis(10);
/// More streams than one generation makes known.
const STREAM_SKIP: StreamId = 1 << 16;

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
        let mut usages = found.usages(&corrections);

        let mut catalog = std::mem::take(&mut found.names).into_catalog();
        let pending = found.lacking_schemas(&catalog);
        let Found {
            sealed,
            newest,
            has_catalog,
            mut fingerprints,
            recovery,
            generations_set_aside,
            ..
        } = found;
        Found::forget_doubles(&mut catalog, &mut usages);
        // Whoever's rows they are: nobody else may take them for his, should a name be damaged.
        catalog.reserve_streams_below(usages.end());
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
        let mut inner = Inner {
            sealed,
            active,
            next_id,
            pending,
            declared: BTreeSet::new(),
            usages,
            streams_kept: HashSet::new(),
            fingerprints: fingerprints.into(),
            corrections,
            uploaded_to: 0,
        };
        inner.redate();
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
