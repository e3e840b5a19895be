//! Opening: what is there, what is whole, where to go on.

use std::{
    collections::VecDeque,
    fs::{self, File},
    path::Path,
    sync::{Arc, Mutex, RwLock, atomic::Ordering::Relaxed},
};

use rustix::fs::{FlockOperation, flock};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::{
    Active, Buffer, BufferOptions, BufferStats, Extent, Inner, OpenError, Recovery, SEQ_SKIP,
    Sealed,
    space::{first_entries, generation_dir, keep_reserve, set_aside, summary_path, with_reserve},
};
use crate::{
    codec, frame,
    generation::{Generation, GenerationError, dir_bytes},
    sample::{Catalog, Schema, Stream},
    state_file::{self, StateFileError},
};

impl Buffer {
    /// Opens the buffer in `options.dir`, made if need be. Reads the newest generation's edges and
    /// the summaries of the others; never the backlog.
    ///
    /// # Errors
    /// [`OpenError`]. Damage is no error: it is set aside and told in [`Recovery`].
    pub fn open(options: BufferOptions) -> Result<(Self, Recovery), OpenError> {
        let dir = options.dir.clone();
        let io = |source| OpenError::Io {
            path: dir.clone(),
            source,
        };
        fs::create_dir_all(&dir).map_err(io)?;
        let lock = File::create(dir.join("lock")).map_err(io)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| OpenError::InUse(dir.clone()))?;

        let mut recovery = Recovery::default();
        let ids = sweep(&dir).map_err(io)?;
        let next_id = ids.last().map_or(1, |id| id + 1);
        let mut found = Found::default();
        for (position, id) in ids.iter().enumerate() {
            let newest = position + 1 == ids.len();
            found
                .add(&dir, *id, newest, &mut recovery)
                .map_err(|error| match error {
                    GenerationError::Full => OpenError::Full(dir.clone()),
                    GenerationError::InUse => OpenError::InUse(dir.clone()),
                    GenerationError::Damaged(why) => io(std::io::Error::other(why)),
                })?;
        }
        found.clip_overlaps();
        found.check_floor(options.seq_floor, &mut recovery);

        let corrections = state_file::read(&dir.join("corrections")).unwrap_or_else(|error| {
            recovery.set_aside.push(error.to_string());
            if let StateFileError::Corrupt { path, reason } = &error {
                set_aside(&dir, path, reason);
            }
            None
        });
        let Found {
            sealed,
            newest,
            catalog,
            mut fingerprints,
        } = found;
        let surplus = fingerprints.len().saturating_sub(options.fingerprints_max);
        fingerprints.drain(..surplus);
        let (active, next_id) = if let Some(active) = newest {
            (active, next_id)
        } else {
            let floor = options.seq_floor;
            let active = begin(
                &dir,
                next_id,
                &sealed,
                &catalog,
                &fingerprints,
                &recovery,
                floor,
            );
            let active = active.map_err(|error| match error {
                GenerationError::Full => OpenError::Full(dir.clone()),
                other => io(std::io::Error::other(other.to_string())),
            })?;
            (active, next_id + 1)
        };
        keep_reserve(&dir);
        let stats = BufferStats::default();
        stats
            .generations_set_aside
            .store(recovery.set_aside.len() as u64, Relaxed);
        let committed = watch::Sender::new(active.extent.next_seq);
        let buffer = Self {
            options,
            inner: Mutex::new(Inner {
                sealed,
                active,
                next_id,
                pending: Vec::new(),
                fingerprints: fingerprints.into(),
                corrections: corrections.unwrap_or_default(),
                uploaded_to: 0,
            }),
            open: Mutex::new(Vec::new()),
            catalog: RwLock::new(Arc::new(catalog)),
            committed,
            stats,
            _lock: lock,
        };
        Ok((buffer, recovery))
    }
}

/// Removes what a power cut left of a deletion; returns the generations' numbers in order.
fn sweep(dir: &Path) -> std::io::Result<Vec<u64>> {
    let mut ids = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("trash-") {
            let _gone = fs::remove_dir_all(entry.path());
        } else if let Ok(id) = name.parse() {
            ids.push(id);
        }
    }
    ids.sort_unstable();
    Ok(ids)
}

/// The first generation, or the one after all others were sealed or set aside.
fn begin(
    dir: &Path,
    id: u64,
    sealed: &VecDeque<Sealed>,
    catalog: &Catalog,
    fingerprints: &[u64],
    recovery: &Recovery,
    seq_floor: u64,
) -> Result<Active, GenerationError> {
    let before = sealed
        .back()
        .map_or(Extent::starting(0, 0, None), |sealed| sealed.extent);
    let next_seq = if recovery.newest_lost {
        before.next_seq.max(seq_floor) + SEQ_SKIP
    } else {
        before.next_seq
    };
    let extent = Extent::starting(next_seq, before.next_row, before.last_ts);
    let entries = first_entries(&extent, catalog, fingerprints);
    let generation = Generation::create(&generation_dir(dir, id), entries)?;
    Ok(Active {
        id,
        extent,
        generation: Arc::new(generation),
        failed: false,
    })
}

#[derive(Default)]
struct Found {
    sealed: VecDeque<Sealed>,
    newest: Option<Active>,
    catalog: Catalog,
    fingerprints: Vec<u64>,
}

impl Found {
    fn add(
        &mut self,
        dir: &Path,
        id: u64,
        newest: bool,
        recovery: &mut Recovery,
    ) -> Result<(), GenerationError> {
        let path = generation_dir(dir, id);
        if !newest && let Ok(Some(extent)) = state_file::read::<Extent>(&summary_path(dir, id)) {
            self.sealed.push_back(Sealed {
                id,
                extent,
                bytes: dir_bytes(&path),
            });
            return Ok(());
        }
        match with_reserve(dir, || look_inside(&path)) {
            Ok(Some((generation, extent))) => {
                // A generation older than the newest is read for its catalog only if it has to be.
                self.read_catalog(&generation)?;
                self.read_fingerprints(&generation)?;
                if newest {
                    generation.settle()?;
                    let generation = Arc::new(generation);
                    self.newest = Some(Active {
                        id,
                        extent,
                        generation,
                        failed: false,
                    });
                } else {
                    self.sealed.push_back(Sealed {
                        id,
                        extent,
                        bytes: dir_bytes(&path),
                    });
                }
                Ok(())
            }
            Ok(None) => {
                // Its creation was cut short: nothing in it was ever acknowledged.
                let _gone = fs::remove_dir_all(&path);
                self.reopen_last(dir)
            }
            Err(GenerationError::Damaged(why)) => {
                recovery.set_aside.push(format!("generation {id}: {why}"));
                recovery.newest_lost |= newest;
                set_aside(dir, &path, &why);
                if newest {
                    self.reopen_last(dir)
                } else {
                    Ok(())
                }
            }
            Err(other) => Err(other),
        }
    }

    /// The newest generation is gone: the catalog comes from the one before, which stays sealed.
    fn reopen_last(&mut self, dir: &Path) -> Result<(), GenerationError> {
        let Some(last) = self.sealed.back() else {
            return Ok(());
        };
        if let Some((generation, _)) = look_inside(&generation_dir(dir, last.id))? {
            self.read_catalog(&generation)?;
            self.read_fingerprints(&generation)?;
        }
        Ok(())
    }

    fn read_catalog(&mut self, generation: &Generation) -> Result<(), GenerationError> {
        let mut catalog = Catalog::default();
        generation.scan(b"cs", |_, value| {
            let id = catalog.schemas.len() as u32;
            catalog
                .schemas
                .push(Arc::new(intact(value, "schema", id).unwrap_or_else(|| {
                    Schema {
                        id,
                        name: format!("damaged-{id}"),
                        tag_names: Vec::new(),
                        fields: Vec::new(),
                    }
                })));
            true
        })?;
        generation.scan(b"ct", |_, value| {
            let id = catalog.streams.len() as u32;
            catalog
                .streams
                .push(Arc::new(intact(value, "stream", id).unwrap_or_else(|| {
                    Stream {
                        id,
                        schema: u32::MAX,
                        name: format!("damaged-{id}"),
                        tags: Vec::new(),
                    }
                })));
            true
        })?;
        if catalog.streams.len() >= self.catalog.streams.len() {
            self.catalog = catalog;
        }
        Ok(())
    }

    fn read_fingerprints(&mut self, generation: &Generation) -> Result<(), GenerationError> {
        const NEEDED: usize = 1 << 16;
        let mut chunks: Vec<Vec<u64>> = Vec::new();
        let mut count = 0;
        generation.scan_back(b"f", |_, value| {
            let chunk: Vec<u64> = value
                .chunks_exact(8)
                .map(|bytes| {
                    bytes
                        .iter()
                        .rev()
                        .fold(0, |n, byte| n << 8 | u64::from(*byte))
                })
                .collect();
            count += chunk.len();
            chunks.push(chunk);
            count < NEEDED
        })?;
        self.fingerprints = chunks.into_iter().rev().flatten().collect();
        Ok(())
    }

    /// Blocks at and after the end of the newest generation were used once: it has lost its tail.
    fn check_floor(&mut self, seq_floor: u64, recovery: &mut Recovery) {
        let end = match (&self.newest, self.sealed.back()) {
            (Some(active), _) => active.extent.next_seq,
            (None, Some(sealed)) => sealed.extent.next_seq,
            (None, None) => 0,
        };
        if end >= seq_floor || recovery.newest_lost {
            return;
        }
        recovery.newest_lost = true;
        recovery
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

    /// A failed put may have left blocks that were committed again to the generation after.
    fn clip_overlaps(&mut self) {
        let mut next = self.newest.as_ref().map(|active| active.extent);
        for sealed in self.sealed.iter_mut().rev() {
            if let Some(next) = next
                && sealed.extent.next_seq > next.first_seq
            {
                sealed.extent.next_seq = next.first_seq.max(sealed.extent.first_seq);
                sealed.extent.next_row = next.first_row.max(sealed.extent.first_row);
            }
            next = Some(sealed.extent);
        }
    }
}

/// The catalog entry, or `None` where a place holder must keep the numbers after it right.
fn intact<T: DeserializeOwned>(value: &[u8], kind: &str, id: u32) -> Option<T> {
    frame::from_bytes(value)
        .inspect_err(|error| tracing::error!(kind, id, %error, "damaged entry in the catalog"))
        .ok()
}

/// Opens a generation and finds its extent; `None` if it was never completed.
fn look_inside(path: &Path) -> Result<Option<(Generation, Extent)>, GenerationError> {
    if !Generation::is_complete(path) {
        return Ok(None);
    }
    let generation = Generation::open(path)?;
    let start = generation.get(b"m")?;
    let start = start.ok_or_else(|| GenerationError::Damaged("its start is missing".into()))?;
    let mut extent: Extent = frame::from_bytes(&start)
        .map_err(|error| GenerationError::Damaged(format!("its start: {error}")))?;
    let mut skipped = 0;
    generation.scan_back(b"b", |key, value| {
        let seq = key
            .get(1..9)
            .and_then(|bytes| bytes.try_into().ok())
            .map(u64::from_be_bytes);
        let (Some(seq), Ok(header)) = (seq, codec::decode_header(value)) else {
            skipped += 1;
            return true;
        };
        extent.next_seq = seq + 1 + skipped;
        extent.next_row = header.first_row + u64::from(header.rows);
        extent.last_ts = Some(header.last_ts);
        false
    })?;
    Ok(Some((generation, extent)))
}
