//! The catalog in memory: schemas and streams by number and by name.

use std::{
    borrow::Borrow,
    collections::{BTreeMap, HashMap, HashSet},
    hash::{Hash, Hasher},
    sync::Arc,
};

use super::{Schema, SchemaId, Stream, StreamId};
use crate::sample::naming::Devices;

/// What a stream costs in memory beside its name and tags, bytes, roughly.
const STREAM_BYTES: usize = 160;

/// All schemas and streams this device knows. Sharing it is cheap; a change copies it only while somebody
/// holds it as it was.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    schemas: Vec<Arc<Schema>>,
    streams: BTreeMap<StreamId, Arc<Stream>>,
    names: HashSet<ByName>,
    shares: HashMap<SchemaId, Share>,
    next_stream: StreamId,
    changes: u64,
    /// Whose streams are meant by names without a device; `None`: nobody has said.
    pub devices: Option<Arc<Devices>>,
}

/// What the streams of one schema take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Streams.
    pub streams: usize,
    /// Memory that their names and tags take, bytes, roughly.
    pub bytes: usize,
}

/// A stream, found by its name.
#[derive(Clone, Debug)]
struct ByName(Arc<Stream>);

impl Borrow<str> for ByName {
    fn borrow(&self) -> &str {
        &self.0.name
    }
}

impl Hash for ByName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.name.hash(state);
    }
}

impl PartialEq for ByName {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for ByName {}

/// The same schemas and streams under the same numbers, for the same devices.
impl PartialEq for Catalog {
    fn eq(&self, other: &Self) -> bool {
        self.schemas == other.schemas
            && self.streams == other.streams
            && self.devices == other.devices
    }
}

impl Eq for Catalog {}

impl Catalog {
    /// The schemas, by number.
    pub fn schemas(&self) -> &[Arc<Schema>] {
        &self.schemas
    }

    /// The streams, in order of their numbers.
    pub fn streams(
        &self,
    ) -> impl ExactSizeIterator<Item = &Arc<Stream>> + DoubleEndedIterator + Clone {
        self.streams.values()
    }

    /// The schema numbered `id`.
    pub fn schema(&self, id: SchemaId) -> Option<&Arc<Schema>> {
        self.schemas.get(id as usize)
    }

    /// The schema called `name`.
    pub fn schema_named(&self, name: &str) -> Option<&Arc<Schema>> {
        self.schemas.iter().find(|schema| schema.name == name)
    }

    /// The stream numbered `id`.
    pub fn stream(&self, id: StreamId) -> Option<&Arc<Stream>> {
        self.streams.get(&id)
    }

    /// The stream called `name`.
    pub fn stream_named(&self, name: &str) -> Option<&Arc<Stream>> {
        self.names.get(name).map(|found| &found.0)
    }

    /// Stream and schema together; `None` if either is unknown.
    pub fn resolve(&self, id: StreamId) -> Option<(&Arc<Stream>, &Arc<Schema>)> {
        let stream = self.stream(id)?;
        Some((stream, self.schema(stream.schema)?))
    }

    /// What the streams of a schema take.
    pub fn share(&self, schema: SchemaId) -> Share {
        self.shares.get(&schema).copied().unwrap_or_default()
    }

    /// Differs whenever the catalog does.
    pub const fn changes(&self) -> u64 {
        self.changes
    }

    /// The number that the next new stream gets.
    pub const fn next_stream(&self) -> StreamId {
        self.next_stream
    }

    /// Numbers below `id` were given out, whoever had them.
    pub fn reserve_streams_below(&mut self, id: StreamId) {
        self.next_stream = self.next_stream.max(id);
    }

    /// Adds a schema, which has the next number, or puts it in the place of the one with its number.
    pub fn put_schema(&mut self, schema: Arc<Schema>) {
        match self.schemas.get_mut(schema.id as usize) {
            Some(place) => *place = schema,
            None => self.schemas.push(schema),
        }
        self.changes += 1;
    }

    /// Adds a stream, or puts it in the place of the one with its number.
    pub fn put_stream(&mut self, stream: Arc<Stream>) {
        self.remove_stream(stream.id);
        let share = self.shares.entry(stream.schema).or_default();
        share.streams += 1;
        share.bytes += bytes_of(&stream);
        self.next_stream = self.next_stream.max(stream.id.saturating_add(1));
        self.names.replace(ByName(Arc::clone(&stream)));
        self.streams.insert(stream.id, stream);
    }

    /// Removes a stream; its number is not given out again.
    pub fn remove_stream(&mut self, id: StreamId) {
        self.changes += 1;
        let Some(stream) = self.streams.remove(&id) else {
            return;
        };
        if self
            .stream_named(&stream.name)
            .is_some_and(|named| named.id == id)
        {
            self.names.remove(stream.name.as_str());
        }
        if let Some(share) = self.shares.get_mut(&stream.schema) {
            share.streams -= 1;
            share.bytes -= bytes_of(&stream);
        }
    }
}

fn bytes_of(stream: &Stream) -> usize {
    let first = stream.first_tags.iter().flatten();
    let tags = stream.tags.iter().chain(first).map(|tag| tag.len() + 40);
    STREAM_BYTES + stream.name.len() + tags.sum::<usize>()
}

#[cfg(test)]
mod tests;
