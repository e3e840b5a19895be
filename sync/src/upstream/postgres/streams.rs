//! The streams with their tags, written down once each.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use tokio_postgres::types::Type;

use super::{
    connection::{Connection, Failure},
    names::quoted,
};
use crate::{
    rows::TableRows,
    sample::{Stream, StreamId},
};

/// Streams remembered as registered; where more come and go, all are looked up again.
const STREAMS_KNOWN_MAX: usize = 100_000;

/// Streams that are written down as they are.
#[derive(Default)]
pub(super) struct Streams(HashMap<StreamId, KnownStream>);

struct KnownStream {
    stream: Arc<Stream>,
    tag_names: Vec<String>,
}

/// The name of a stream among those of all devices.
pub(super) fn stream_key(stream: &Stream) -> String {
    format!("{}/{}", stream.device(), stream.plain_name())
}

impl Streams {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// What is to be written down of those in `tables`.
    pub(super) fn unmet<'t>(
        &self,
        tables: impl Iterator<Item = &'t TableRows>,
    ) -> Option<Registration<'t>> {
        let mut new = Registration::default();
        let mut keys = HashSet::new();
        for table in tables {
            let known = self.0.get(&table.stream.id);
            let is_met = known.is_some_and(|known| {
                (Arc::ptr_eq(&known.stream, &table.stream) || known.stream == table.stream)
                    && known.tag_names == table.schema.tag_names
            });
            let key = stream_key(&table.stream);
            if !is_met && keys.insert(key.clone()) {
                new.streams.push((key, table));
            }
        }
        // In one order, so that two that register the same do not wait for each other.
        new.streams.sort_by(|(a, _), (b, _)| a.cmp(b));
        (!new.streams.is_empty()).then_some(new)
    }

    /// These are written down.
    pub(super) fn met(&mut self, registration: &Registration<'_>) {
        if self.0.len() + registration.streams.len() > STREAMS_KNOWN_MAX {
            self.0.clear();
        }
        for (_, table) in &registration.streams {
            let known = KnownStream {
                stream: Arc::clone(&table.stream),
                tag_names: table.schema.tag_names.clone(),
            };
            self.0.insert(table.stream.id, known);
        }
    }
}

/// Streams to be written down.
#[derive(Default)]
pub(super) struct Registration<'t> {
    streams: Vec<(String, &'t TableRows)>,
}

impl Registration<'_> {
    /// Whether the stream called `key` is among them.
    pub(super) fn holds(&self, key: &str) -> bool {
        let streams = &self.streams;
        streams
            .binary_search_by(|(its, _)| (**its).cmp(key))
            .is_ok()
    }

    /// Writes them down, in one statement.
    pub(super) async fn run(
        &self,
        connection: &Connection,
        namespace: &str,
    ) -> Result<(), Failure> {
        let keys: Vec<&String> = self.streams.iter().map(|(key, _)| key).collect();
        let tables = self.streams.iter().map(|(_, table)| *table);
        let schemas: Vec<&String> = tables.clone().map(|table| &table.schema.name).collect();
        let devices = tables
            .clone()
            .map(|table| without_nul(table.stream.device()));
        let devices: Vec<String> = devices.collect();
        let tags: Vec<String> = tables.map(tags_of).collect();
        let sql = format!(
            "INSERT INTO {}.dunlin_streams AS t (stream, schema, device, tags)
             SELECT n.stream, n.schema, n.device, n.tags::jsonb
             FROM unnest($1, $2, $3, $4) AS n(stream, schema, device, tags)
             ON CONFLICT (stream) DO UPDATE
             SET schema = excluded.schema, device = excluded.device, tags = excluded.tags
             WHERE (t.schema, t.device, t.tags)
                 IS DISTINCT FROM (excluded.schema, excluded.device, excluded.tags)",
            quoted(namespace)
        );
        let parameters = [
            (&keys as _, Type::TEXT_ARRAY),
            (&schemas as _, Type::TEXT_ARRAY),
            (&devices as _, Type::TEXT_ARRAY),
            (&tags as _, Type::TEXT_ARRAY),
        ];
        connection.execute(&sql, &parameters).await?;
        Ok(())
    }
}

/// The server stores no NUL.
fn without_nul(text: &str) -> String {
    text.replace('\0', "_")
}

/// The tags of a stream as JSON.
fn tags_of(table: &TableRows) -> String {
    let tags = table.schema.tag_names.iter().zip(&table.stream.tags);
    let tags: serde_json::Map<_, _> = tags
        .map(|(name, value)| (without_nul(name), without_nul(value).into()))
        .collect();
    serde_json::Value::Object(tags).to_string()
}
