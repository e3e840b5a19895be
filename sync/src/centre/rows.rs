//! Rows that devices have uploaded to the same database, read back. Which records count, and what is made of them,
//! is the caller's affair.

use std::collections::BTreeMap;

use crate::sample::{Field, TimeRange};

/// Most rows that are read at once.
pub const ROWS_AT_ONCE_MAX: usize = 10_000;
/// Most streams that are listed at once.
pub const STREAMS_AT_ONCE_MAX: usize = 10_000;

/// A stream of some device, as the database knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredStream {
    /// Its name among those of all devices: the device, then its own name.
    pub name: String,
    /// The name of its schema.
    pub schema: String,
    /// The device.
    pub device: String,
    /// Its tags by name, the device among them.
    pub tags: BTreeMap<String, String>,
    /// Fields of the schema, of all devices: a stream need not have values in each.
    pub fields: Vec<Field>,
}

/// Which rows of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct RowsQuery {
    /// The stream's name among those of all devices.
    pub stream: String,
    /// Names of fields; with none, rows come without values.
    pub fields: Vec<String>,
    /// Their timestamps.
    pub range: TimeRange,
    /// The newest first, not the oldest.
    pub is_newest_first: bool,
    /// At most so many; fewer where they are too many to be read at once.
    pub most: usize,
}
