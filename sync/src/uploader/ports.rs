//! What the uploader needs from the buffer and from the quarantine.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::{
    block::Block,
    buffer::Buffer,
    rows::TableRows,
    sample::{Catalog, FieldType, Split, StreamId, Timestamp, Value},
};

/// Committed blocks, by number.
pub trait BlockSource: Send + Sync {
    /// The block numbered `seq`; `None` if it is not there (trimmed, or set aside as damaged), which
    /// counts as done. Reads the disk.
    ///
    /// # Errors
    /// In words for people; the uploader backs off and asks again.
    fn read_block(&self, seq: u64) -> Result<Option<Block>, String>;

    /// The next number after `seq` that may hold a block: skips numbers that were never given out.
    fn next_stored(&self, seq: u64) -> u64;

    /// The oldest block still there; `next_seq` if there is none.
    fn oldest_seq(&self) -> u64;

    /// One past the newest committed block.
    fn next_seq(&self) -> u64;

    /// Schemas and streams; knows every stream of every committed block.
    fn catalog(&self) -> Arc<Catalog>;

    /// Changes whenever something is committed.
    fn committed(&self) -> watch::Receiver<u64>;

    /// Rows committed before block `seq`; grows with `seq`. May read a block; called a
    /// dozen times a batch.
    fn rows_before(&self, seq: u64) -> u64;

    /// No upload needs a block with `seq < position` any more. May trim, so may block on the disk.
    fn uploaded_to(&self, position: u64);
}

impl BlockSource for Buffer {
    fn read_block(&self, seq: u64) -> Result<Option<Block>, String> {
        self.read_block(seq)
    }

    fn next_stored(&self, seq: u64) -> u64 {
        self.next_stored(seq)
    }

    fn oldest_seq(&self) -> u64 {
        self.oldest_seq()
    }

    fn next_seq(&self) -> u64 {
        self.next_seq()
    }

    fn catalog(&self) -> Arc<Catalog> {
        self.catalog()
    }

    fn committed(&self) -> watch::Receiver<u64> {
        self.committed()
    }

    fn rows_before(&self, seq: u64) -> u64 {
        self.rows_before(seq)
    }

    fn uploaded_to(&self, position: u64) {
        self.uploaded_to(position);
    }
}

/// Why rows were not put aside. Nothing is lost: the buffer has them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RejectError {
    /// There is no room, unless others gave way: the streams concerned wait in the buffer.
    #[error("no room")]
    Full,
    /// In words for people; the rows are sent and rejected again later.
    #[error("{0}")]
    Failed(String),
}

/// Where rows go that the upstream will never take.
pub trait RejectedRows: Send + Sync {
    /// Puts `rows` aside durably, all or none; called again with the same rows after a crash. Blocks on
    /// the disk.
    ///
    /// # Errors
    /// [`RejectError`]
    fn reject(&self, rows: Vec<RejectedRow>) -> Result<(), RejectError>;
}

/// A value with its name and type, so that it can be read back as what it was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NamedValue {
    /// Name of the field.
    pub name: String,
    /// Type of the field.
    pub kind: FieldType,
    /// The value.
    pub value: Value,
}

/// One row that the upstream will never take, with all that is needed to send it again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RejectedRow {
    /// Number of the stream in this device's catalog.
    pub stream_id: StreamId,
    /// Name of the stream.
    pub stream: String,
    /// Names and values of its tags.
    pub tags: Vec<(String, String)>,
    /// Its timestamp.
    pub ts: Timestamp,
    /// Its split.
    pub split: Split,
    /// The time its source claims, nanoseconds UTC.
    pub source_ts: Option<i64>,
    /// The values it has; missing ones are left out.
    pub values: Vec<NamedValue>,
    /// The upstream's own words.
    pub reason: String,
}

impl RejectedRow {
    /// Row number `row` of `table`.
    pub fn of(table: &TableRows, row: usize, reason: String) -> Self {
        let (stream, schema, rows) = (&table.stream, &table.schema, &table.rows);
        let tags = schema.tag_names.iter().cloned();
        let columns = rows.columns.iter();
        let values =
            columns.filter_map(|(field, column)| Some((schema.fields.get(field)?, column)));
        Self {
            stream_id: stream.id,
            stream: stream.name.clone(),
            tags: tags.zip(stream.tags.iter().cloned()).collect(),
            ts: Timestamp(rows.ts[row]),
            split: Split {
                is_train: rows.is_train[row],
                fold: rows.fold[row],
            },
            source_ts: rows.source_ts[row],
            values: values
                .filter_map(|(field, column)| {
                    Some(NamedValue {
                        name: field.name.clone(),
                        kind: field.kind,
                        value: column.get(row)?,
                    })
                })
                .collect(),
            reason,
        }
    }
}
