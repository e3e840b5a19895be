//! The catalog: schemas and streams by number, in memory whole, on disk in every generation.

use std::sync::Arc;

use serde::{Serialize, de::DeserializeOwned};

use super::{Buffer, unpoisoned};
use crate::{
    frame,
    generation::{Entry, Generation, GenerationError},
    sample::{Catalog, Field, Schema, SchemaId, Stream, StreamId},
};

/// Bytes of a catalog entry under one key; sled would write larger values to separate files.
const CATALOG_BYTES_MAX: usize = 6 * 1024;
/// Numbers missing in a row in an intact catalog; more are damage.
const CATALOG_HOLE_MAX: usize = 1 << 16;

/// A stream that cannot be added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    /// A field is already held as another type.
    #[error("field {field} is held as {held}, not {asked}")]
    TypeHeld {
        /// The field.
        field: String,
        /// The type it is held as.
        held: &'static str,
        /// The type asked for.
        asked: &'static str,
    },
}

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

pub(super) fn schema_entries(schema: &Schema) -> Vec<Entry> {
    catalog_entries(b's', schema.id, schema)
}

pub(super) fn stream_entries(stream: &Stream) -> Vec<Entry> {
    catalog_entries(b't', stream.id, stream)
}

impl Buffer {
    /// The schema called `name` with at least `tag_names` and `fields`, made or lengthened as needed.
    /// Durable with the next commit.
    ///
    /// # Errors
    /// [`CatalogError`] if it exists with a field of another type.
    pub fn declare_schema(
        &self,
        name: &str,
        tag_names: &[String],
        fields: &[Field],
    ) -> Result<Arc<Schema>, CatalogError> {
        let mut inner = self.lock();
        let catalog = self.catalog();
        let known = catalog.schema_named(name);
        let mut schema = known.map_or_else(
            || Schema {
                id: catalog.schemas.len() as SchemaId,
                name: name.to_owned(),
                tag_names: Vec::new(),
                fields: Vec::new(),
            },
            |schema| Schema::clone(schema),
        );
        for tag in tag_names {
            if !schema.tag_names.contains(tag) {
                schema.tag_names.push(tag.clone());
            }
        }
        for field in fields {
            match schema
                .field(&field.name)
                .map(|index| schema.fields[index].kind)
            {
                None => schema.fields.push(field.clone()),
                Some(kind) if kind == field.kind => {}
                Some(kind) => {
                    let (held, asked) = (kind.name(), field.kind.name());
                    return Err(CatalogError::TypeHeld {
                        field: field.name.clone(),
                        held,
                        asked,
                    });
                }
            }
        }
        if let Some(known) = known.filter(|known| ***known == schema) {
            return Ok(Arc::clone(known));
        }
        let schema = Arc::new(schema);
        let mut changed = Catalog::clone(&catalog);
        let index = schema.id as usize;
        if index == changed.schemas.len() {
            changed.schemas.push(Arc::clone(&schema));
        } else {
            changed.schemas[index] = Arc::clone(&schema);
        }
        inner.pending.extend(schema_entries(&schema));
        *unpoisoned(self.catalog.write()) = Arc::new(changed);
        Ok(schema)
    }

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
            id: known.map_or(catalog.streams.len() as StreamId, |known| known.id),
            schema: known.map_or(schema, |known| known.schema),
            name: name.to_owned(),
            tags: tags.to_vec(),
            first_tags: first_tags.filter(|first| first != tags),
        });
        let mut changed = Catalog::clone(&catalog);
        let index = stream.id as usize;
        if index == changed.streams.len() {
            changed.streams.push(Arc::clone(&stream));
        } else {
            changed.streams[index] = Arc::clone(&stream);
        }
        inner.pending.extend(stream_entries(&stream));
        *unpoisoned(self.catalog.write()) = Arc::new(changed);
        stream
    }

    /// Changes the catalog in memory.
    pub(crate) fn change_catalog(&self, change: impl FnOnce(&mut Catalog)) {
        change(Arc::make_mut(&mut *unpoisoned(self.catalog.write())));
    }
}

/// The catalog that a generation holds.
pub(super) fn read_catalog(generation: &Generation) -> Result<Catalog, GenerationError> {
    Ok(Catalog {
        schemas: read_kind(generation, *b"cs", |id| Schema {
            id,
            name: format!("damaged-{id}"),
            tag_names: Vec::new(),
            fields: Vec::new(),
        })?,
        streams: read_kind(generation, *b"ct", |id| Stream {
            id,
            schema: u32::MAX,
            name: format!("damaged-{id}"),
            tags: Vec::new(),
            first_tags: None,
        })?,
        devices: None,
    })
}

/// Everything of one kind in the catalog, by number; a place holder keeps the place of what is
/// damaged or missing.
fn read_kind<T: DeserializeOwned>(
    generation: &Generation,
    kind: [u8; 2],
    place_holder: impl Fn(u32) -> T,
) -> Result<Vec<Arc<T>>, GenerationError> {
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
    let mut things = Vec::new();
    for (id, bytes) in stored {
        let hole = (id as usize).saturating_sub(things.len());
        if hole > CATALOG_HOLE_MAX {
            return Err(GenerationError::Damaged(format!(
                "{hole} names are missing"
            )));
        }
        while things.len() < id as usize {
            let id = things.len() as u32;
            tracing::error!(id, "missing in the catalog");
            things.push(Arc::new(place_holder(id)));
        }
        if let Some(format) = frame::newer(&bytes) {
            return Err(GenerationError::Newer(format));
        }
        let thing = frame::from_bytes(&bytes).unwrap_or_else(|error| {
            tracing::error!(id, %error, "damaged entry in the catalog");
            place_holder(id)
        });
        things.push(Arc::new(thing));
    }
    Ok(things)
}
