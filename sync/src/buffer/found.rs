//! What opening finds in the directory, piece by piece.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    path::Path,
    sync::Arc,
    thread,
    time::Duration,
};

use super::{
    Active, Extent, Recovery, SEQ_SKIP, Sealed,
    catalog::{self, Names, read_names, schema_entries},
    census::{Census, SealedCensus, Usages},
    corrections::{self, Correction},
    inside::{look_at_everything, look_inside},
    reserve::with_reserve,
    space::{Summary, generation_dir, set_aside, summary_path, write_summary},
};
use crate::{
    files::state_file::{self, StateFileError},
    generation::{Entry, Generation, GenerationError, dir_bytes, from_io},
    sample::{Catalog, Schema, SchemaId, Stream, StreamId},
};

/// A failing device is given this many tries, this far apart, before a generation is set aside.
const READ_TRIES: u32 = 10;
const READ_PAUSE: Duration = Duration::from_millis(500);

/// Whether the device has failed to give a file that may be whole.
fn is_unreadable(error: &StateFileError) -> bool {
    let StateFileError::Io { source, .. } = error else {
        return false;
    };
    let errno = source.raw_os_error().map(io::Error::from_raw_os_error);
    errno.is_some_and(|error| matches!(from_io(error), GenerationError::Unreadable(_)))
}

#[derive(Default)]
pub(super) struct Found {
    pub(super) ids: Vec<u64>,
    pub(super) sealed: VecDeque<Sealed>,
    /// Sealed generations without a summary.
    asked: Vec<u64>,
    pub(super) newest: Option<Active>,
    schemas_of_newest: BTreeMap<SchemaId, Schema>,
    pub(super) names: Names,
    /// The file of the catalog is there and whole.
    pub(super) has_catalog: bool,
    pub(super) fingerprints: Vec<u64>,
    pub(super) recovery: Recovery,
    pub(super) generations_set_aside: u64,
}

impl Found {
    pub(super) fn read_corrections(
        &mut self,
        dir: &Path,
    ) -> Result<Vec<Correction>, StateFileError> {
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
            if let Err(error) = corrections::write(dir, &whole) {
                tracing::warn!(%error, "cannot repair the corrections of the clock");
            }
        }
        Ok(file.or(copy).unwrap_or_default())
    }

    pub(super) fn read_catalog(&mut self, dir: &Path) -> Result<(), StateFileError> {
        let mut tries = 0;
        let error = loop {
            match catalog::read_file(dir) {
                Ok(names) => {
                    self.has_catalog = names.is_some();
                    self.names = names.unwrap_or_default();
                    return Ok(());
                }
                // What a failing device does not give is gathered from the generations, too.
                Err(error) if is_unreadable(&error) && tries < READ_TRIES => {
                    tries += 1;
                    thread::sleep(READ_PAUSE);
                }
                Err(error) => break error,
            }
        };
        if !matches!(error, StateFileError::Corrupt { .. }) && !is_unreadable(&error) {
            return Err(error);
        }
        let why = error.to_string();
        set_aside(dir, &catalog::file_path(dir), &why);
        self.recovery.set_aside.push(why);
        Ok(())
    }

    pub(super) fn look(&mut self, dir: &Path) -> Result<(), GenerationError> {
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
        self.schemas_of_newest.clone_from(&inside.names.schemas);
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
    pub(super) fn join(&mut self) {
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
    pub(super) fn summarise(&mut self, dir: &Path) -> Result<(), GenerationError> {
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
    pub(super) fn usages(&self, corrections: &[Correction]) -> Usages {
        let mut usages = Usages::default();
        for sealed in &self.sealed {
            usages.add_all(&sealed.census, sealed.extent.last_ts.unwrap_or(i64::MIN));
        }
        let mut newest_ts = self.sealed.back().and_then(|sealed| sealed.extent.last_ts);
        if let Some(active) = &self.newest {
            newest_ts = active.extent.last_ts;
            usages.add_all(&active.census.sealed(), newest_ts.unwrap_or(i64::MIN));
        }
        let end = self.newest.as_ref().map(|active| active.extent.next_seq);
        let end = end.or(self.sealed.back().map(|sealed| sealed.extent.next_seq));
        let shift_ns = corrections::shift_ns(corrections, end.unwrap_or(0).saturating_sub(1));
        let newest_ts = newest_ts.map(|ts| ts.saturating_add(shift_ns));
        for stream in self.names.streams.keys() {
            // Nobody has noted it: as if it had been seen just now.
            if let Some(last_ts) = self.names.last_ts.get(stream).copied().or(newest_ts) {
                usages.seen(*stream, last_ts);
            }
        }
        usages
    }

    /// Schemas that the newest generation lacks, as catalog entries: a cut came after the file of the catalog was
    /// replaced and before the generation that begins with them was there.
    pub(super) fn lacking_schemas(&self, catalog: &Catalog) -> Vec<Entry> {
        let schemas = catalog.schemas().iter();
        let lacking = schemas.filter(|schema| {
            self.newest.is_some() && self.schemas_of_newest.get(&schema.id) != Some(&***schema)
        });
        lacking.flat_map(|schema| schema_entries(schema)).collect()
    }

    /// Removes streams of which the buffer holds nothing and whose name another one has taken since: they were
    /// forgotten, and a cut came before the file of the catalog knew.
    pub(super) fn forget_doubles(catalog: &mut Catalog, usages: &mut Usages) {
        let is_double = |stream: &Stream| {
            let named = catalog.stream_named(&stream.name);
            named.is_some_and(|named| named.id != stream.id)
        };
        let doubles = catalog.streams().filter(|stream| is_double(stream));
        let ids: Vec<StreamId> = doubles.map(|stream| stream.id).collect();
        for id in ids {
            if usages.get(id).generations == 0 {
                catalog.remove_stream(id);
                usages.forget(id);
            }
        }
    }

    /// Blocks at and after the end of the newest generation were used once: it has lost its tail.
    pub(super) fn check_floor(&mut self, seq_floor: u64) {
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
