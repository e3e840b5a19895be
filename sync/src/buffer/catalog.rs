//! The catalog: schemas and streams by number, in memory whole, on disk twice.
//!
//! A generation holds all schemas, and the streams whose rows are in its own blocks: written before or with
//! the block that is the first to name a stream, so a generation can be read by itself, and none begins with
//! more than the schemas. The file `catalog` holds everything that is known, streams without a row included,
//! and when each was seen last: replaced as a whole, durably, before a generation begins. So what the file
//! does not know yet is in the newest generation, which opening reads anyway; if the file is damaged or
//! missing, all generations are asked, and only streams of which the buffer holds nothing are forgotten.
//!
//! Format of the file: frames (see [`crate::files::frame`]), the length of each before it in four bytes, lowest
//! first: [`Head`], the schemas by number, the streams as [`CatalogFile`].

use std::{
    collections::{BTreeMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Buffer, CommitError, Inner, parts::PUT_BYTES_MAX, reserve::with_reserve};
use crate::{
    block::codec::BlockBody,
    files::{
        frame,
        state_file::{self, StateFileError},
    },
    generation::{Entry, Generation, GenerationError, from_io},
    lock::unpoisoned,
    sample::{Catalog, Schema, SchemaId, Stream, StreamId, naming::Devices},
};

/// Bytes of a catalog entry under one key; sled would write larger values to separate files.
const CATALOG_BYTES_MAX: usize = 6 * 1024;
/// Bytes of the key of a thing, or of the first part of it.
const KEY_BYTES: usize = 6;
/// Numbers of schemas beyond this are damage.
const SCHEMAS_MAX: u32 = 1 << 16;

/// A thing of the catalog as one entry, or as several in order of key.
fn catalog_entries<T: Serialize>(kind: u8, id: u32, value: &T) -> Vec<Entry> {
    // Names and types always encode; an empty value would be reported as corrupt when read.
    let bytes = frame::to_bytes(value).unwrap_or_default();
    let parts = bytes.chunks(CATALOG_BYTES_MAX).enumerate();
    let entries = parts.map(|(part, bytes)| {
        let mut key = vec![b'c', kind];
        key.extend_from_slice(&id.to_be_bytes());
        if part > 0 {
            key.extend_from_slice(&(part as u32).to_be_bytes());
        }
        (key, bytes.to_vec())
    });
    entries.collect()
}

/// The key that holds the number of the next new stream.
pub(super) const NEXT_STREAM_KEY: &[u8; 2] = b"cn";

/// Larger files are no catalog of ours.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// What the file of the catalog begins with.
#[derive(Serialize, Deserialize)]
struct Head {
    next_stream: StreamId,
    schemas: u64,
    streams: u64,
}

/// A stream in the file of the catalog.
#[derive(Serialize, Deserialize)]
struct CatalogFile<S> {
    /// No record of it is later, nanoseconds UTC; nothing if there never was one.
    last_ts: Option<i64>,
    stream: S,
}

pub(super) fn file_path(dir: &Path) -> PathBuf {
    dir.join("catalog")
}

/// Replaces the file of the catalog durably.
pub(super) fn write_file(
    dir: &Path,
    catalog: &Catalog,
    last_ts: impl Fn(StreamId) -> Option<i64>,
) -> io::Result<()> {
    let mut bytes = Vec::new();
    let head = Head {
        next_stream: catalog.next_stream(),
        schemas: catalog.schemas().len() as u64,
        streams: catalog.streams().len() as u64,
    };
    frame::append(&mut bytes, &head)?;
    for schema in catalog.schemas() {
        frame::append(&mut bytes, &**schema)?;
    }
    for stream in catalog.streams() {
        let (stream, last_ts) = (&**stream, last_ts(stream.id));
        frame::append(&mut bytes, &CatalogFile { last_ts, stream })?;
    }
    state_file::write_bytes(&file_path(dir), &bytes)
}

/// What the file of the catalog holds; `None` if there is none.
pub(super) fn read_file(dir: &Path) -> Result<Option<Names>, StateFileError> {
    let path = file_path(dir);
    let failed = |source| StateFileError::Io {
        path: path.clone(),
        source,
    };
    let corrupt = |reason: String| StateFileError::Corrupt {
        path: path.clone(),
        reason,
    };
    match fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
        Ok(meta) if meta.len() > FILE_BYTES_MAX => {
            return Err(corrupt(format!("{} bytes", meta.len())));
        }
        Ok(_) => {}
    }
    let bytes = fs::read(&path).map_err(failed)?;
    let mut rest = &bytes[..];
    let mut next = || {
        let (frame, behind) = frame::split_first(rest).ok_or("it is cut short")?;
        rest = behind;
        Ok(frame)
    };
    let first = next().map_err(|why: &str| corrupt(why.into()))?;
    if let Some(format) = frame::newer(first) {
        return Err(StateFileError::Newer { path, format });
    }
    let mut read = || -> Result<Names, String> {
        let text = |error: frame::FrameError| error.to_string();
        let head: Head = frame::from_bytes(first).map_err(text)?;
        let mut names = Names {
            next_stream: head.next_stream,
            ..Names::default()
        };
        for id in 0..head.schemas {
            let schema: Schema = frame::from_bytes(next()?).map_err(text)?;
            if u64::from(schema.id) != id {
                return Err(format!("schema {} in the place of {id}", schema.id));
            }
            names.schemas.insert(schema.id, schema);
        }
        for _ in 0..head.streams {
            let kept: CatalogFile<Stream> = frame::from_bytes(next()?).map_err(text)?;
            if let Some(last_ts) = kept.last_ts {
                names.last_ts.insert(kept.stream.id, last_ts);
            }
            names.streams.insert(kept.stream.id, kept.stream);
        }
        Ok(names)
    };
    let names = read().map_err(corrupt)?;
    Ok(Some(names))
}

/// Schemas and streams as they are found on disk, by number.
#[derive(Default)]
pub(super) struct Names {
    pub(super) schemas: BTreeMap<SchemaId, Schema>,
    pub(super) streams: BTreeMap<StreamId, Stream>,
    /// When a stream was seen last, as far as the file knows, nanoseconds UTC.
    pub(super) last_ts: BTreeMap<StreamId, i64>,
    /// Lowest number that no stream has had.
    pub(super) next_stream: StreamId,
}

impl Names {
    pub(super) fn extend(&mut self, newer: Self) {
        for (id, schema) in newer.schemas {
            // Fields and tags are only ever appended; of two that have as many, the later one counts: types
            // of fields without a value may differ.
            let size = |schema: &Schema| schema.fields.len() + schema.tag_names.len();
            let known = self.schemas.get(&id);
            if known.is_none_or(|known| size(known) <= size(&schema)) {
                self.schemas.insert(id, schema);
            }
        }
        self.streams.extend(newer.streams);
        self.next_stream = self.next_stream.max(newer.next_stream);
    }

    /// Takes over what `older` holds and this does not.
    pub(super) fn fill_in(&mut self, older: Self) {
        let newer = std::mem::replace(self, older);
        let last_ts = newer.last_ts.clone();
        self.extend(newer);
        self.last_ts.extend(last_ts);
    }

    /// The catalog; a place holder keeps the place of a schema that is damaged or missing.
    pub(super) fn into_catalog(mut self) -> Catalog {
        let mut catalog = Catalog::default();
        self.schemas.retain(|id, _| *id < SCHEMAS_MAX);
        let end = self.schemas.keys().next_back().map_or(0, |last| last + 1);
        for id in 0..end {
            let schema = self.schemas.remove(&id).unwrap_or_else(|| {
                tracing::error!(id, "a schema is missing in the catalog");
                Schema {
                    id,
                    name: format!("damaged-{id}"),
                    tag_names: Vec::new(),
                    fields: Vec::new(),
                    origins: Vec::new(),
                }
            });
            catalog.put_schema(Arc::new(schema));
        }
        for stream in self.streams.into_values() {
            catalog.put_stream(Arc::new(stream));
        }
        catalog.reserve_streams_below(self.next_stream);
        catalog
    }
}

pub(super) fn schema_entries(schema: &Schema) -> Vec<Entry> {
    catalog_entries(b's', schema.id, schema)
}

pub(super) fn stream_entries(stream: &Stream) -> Vec<Entry> {
    catalog_entries(b't', stream.id, stream)
}

impl Buffer {
    /// The stream called `name` under `schema`, made if needed. One that is known takes on other `tags`,
    /// and remembers those it was declared with. Durable with the next commit.
    pub fn declare_stream(&self, schema: SchemaId, name: &str, tags: &[String]) -> Arc<Stream> {
        let mut inner = self.lock();
        let catalog = self.catalog();
        let known = catalog.stream_named(name);
        if let Some(known) = known.filter(|known| known.tags == tags) {
            return Arc::clone(known);
        }
        let first_tags = known.map(|known| known.naming_tags().to_vec());
        let stream = Arc::new(Stream {
            id: known.map_or(catalog.next_stream(), |known| known.id),
            schema: known.map_or(schema, |known| known.schema),
            name: name.to_owned(),
            tags: tags.to_vec(),
            first_tags: first_tags.filter(|first| first != tags),
        });
        drop(catalog);
        inner.declared.insert(stream.id);
        self.change_catalog(|catalog| catalog.put_stream(Arc::clone(&stream)));
        stream
    }

    /// Catalog entries of the streams that were declared since the last commit, and of those in `blocks` that
    /// the newest generation lacks.
    pub(super) fn names_of(
        &self,
        inner: &Inner,
        blocks: &[BlockBody],
    ) -> Result<Vec<Entry>, CommitError> {
        let runs = blocks.iter().flat_map(|block| &block.runs);
        let mut lacking = inner.declared.clone();
        lacking.extend(
            runs.map(|run| run.stream)
                .filter(|stream| !inner.active.named.contains(stream)),
        );
        let catalog = self.catalog();
        let mut entries = Vec::new();
        for id in lacking {
            let stream = catalog.stream(id).ok_or(CommitError::Unnamed(id))?;
            entries.extend(stream_entries(stream));
        }
        Ok(entries)
    }

    /// Says whose streams are meant by names without a mark.
    pub fn set_devices(&self, devices: Devices) {
        self.change_catalog(|catalog| catalog.devices = Some(Arc::new(devices)));
    }

    /// Changes the catalog; the caller holds `inner`. Whoever looks at it as it was goes on doing so.
    pub(super) fn change_catalog(&self, change: impl FnOnce(&mut Catalog)) {
        change(Arc::make_mut(&mut *unpoisoned(self.catalog.write())));
    }

    /// Stores the catalog at once unless the newest generation and the file know all of it: what only sealed
    /// generations know goes with them.
    pub(super) fn replace_catalog(&self, is_stored: bool) {
        let inner = self.lock();
        if !is_stored && let Err(error) = self.save_catalog(&inner) {
            tracing::warn!(%error, "cannot store the catalog; it is tried again with the next generation");
        }
    }

    /// Stores the whole catalog.
    pub(super) fn save_catalog(&self, inner: &Inner) -> Result<(), GenerationError> {
        let (dir, catalog, usages) = (&self.options.dir, self.catalog(), &inner.usages);
        let last_ts = |stream| usages.get(stream).last_ts;
        with_reserve(dir, || write_file(dir, &catalog, last_ts).map_err(from_io))
    }
}

/// Bytes that entries take.
pub(super) fn bytes_of(entries: &[Entry]) -> usize {
    let bytes = entries.iter().map(|(key, value)| key.len() + value.len());
    bytes.sum()
}

/// Puts catalog entries, no more at once than is safe in a generation that holds something: without the
/// block that needs them they do no harm. Each thing whole: a cut must not leave the beginning of one version
/// with the end of another.
pub(super) fn put_parts(
    generation: &Generation,
    entries: Vec<Entry>,
) -> Result<(), GenerationError> {
    let (mut part, mut bytes) = (Vec::new(), 0);
    for (key, value) in entries {
        if bytes as u64 > PUT_BYTES_MAX / 2 && key.len() == KEY_BYTES {
            generation.put(std::mem::take(&mut part))?;
            bytes = 0;
        }
        bytes += key.len() + value.len();
        part.push((key, value));
    }
    if part.is_empty() {
        return Ok(());
    }
    generation.put(part)
}

/// The catalog entries that a generation holds, and which streams those are of.
pub(super) fn read_names(
    generation: &Generation,
) -> Result<(Names, HashSet<StreamId>), GenerationError> {
    let (schemas, _) = read_kind(generation, *b"cs")?;
    let (streams, end) = read_kind(generation, *b"ct")?;
    let next = generation.get(NEXT_STREAM_KEY)?;
    let next = next.and_then(|next| frame::from_bytes(&next).ok());
    let named = streams.keys().copied().collect();
    let names = Names {
        schemas,
        streams,
        next_stream: end.max(next.unwrap_or_default()),
        ..Names::default()
    };
    Ok((names, named))
}

/// Everything of one kind among the entries, by number, without what is damaged; and one past the highest
/// number.
fn read_kind<T: DeserializeOwned>(
    generation: &Generation,
    kind: [u8; 2],
) -> Result<(BTreeMap<u32, T>, u32), GenerationError> {
    let mut stored: Vec<(u32, Vec<u8>)> = Vec::new();
    generation.scan(&kind, |key, value| {
        let id = key.get(2..6).and_then(|id| id.try_into().ok());
        match (id.map(u32::from_be_bytes), stored.last_mut()) {
            (Some(id), Some((last, bytes))) if *last == id => bytes.extend_from_slice(value),
            (Some(id), _) => stored.push((id, value.to_vec())),
            (None, _) => {}
        }
        true
    })?;
    let end = stored.last().map_or(0, |(id, _)| id.saturating_add(1));
    let mut things = BTreeMap::new();
    for (id, bytes) in stored {
        if let Some(format) = frame::newer(&bytes) {
            return Err(GenerationError::Newer(format));
        }
        match frame::from_bytes(&bytes) {
            Ok(thing) => drop(things.insert(id, thing)),
            Err(error) => tracing::error!(id, %error, "damaged entry in the catalog"),
        }
    }
    Ok((things, end))
}
