//! The words of the data: timestamps, splits, values, schemas and streams.
//!
//! A *schema* is one kind of record (a `TDengine` supertable): a name, tag names, typed fields.
//! A *stream* is one combination of tag values (a subtable). A *sample* is one record of a stream.

mod catalog;
pub mod naming;
mod one_field;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::{
    catalog::{Catalog, Share},
    one_field::{Origin, Stage},
};

/// Nanoseconds since 1970-01-01T00:00:00 UTC; unique on one device.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Earlier than any record.
    pub const MIN: Self = Self(i64::MIN);
    /// Later than any record.
    pub const MAX: Self = Self(i64::MAX);

    /// Moved by `delta_ns`, saturating.
    #[must_use]
    pub const fn shifted(self, delta_ns: i64) -> Self {
        Self(self.0.saturating_add(delta_ns))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A closed range of timestamps, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeRange {
    /// First timestamp included.
    pub from: Timestamp,
    /// Last timestamp included.
    pub to: Timestamp,
}

impl TimeRange {
    /// Everything.
    pub const ALL: Self = Self {
        from: Timestamp::MIN,
        to: Timestamp::MAX,
    };

    /// Whether `ts` lies inside.
    pub fn contains(&self, ts: Timestamp) -> bool {
        self.from <= ts && ts <= self.to
    }
}

/// Which half of the data a record belongs to: drawn once, stored, never redrawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Split {
    /// True: train. False: validation.
    pub is_train: bool,
    /// Fold number in `0..k` of k-fold cross-validation; 0 where folds are not in use.
    pub fold: u8,
}

/// The type of a field, held from the moment it is declared or first seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FieldType {
    /// 64-bit float.
    F64,
    /// 32-bit float.
    F32,
    /// 64-bit signed integer.
    I64,
    /// True or false.
    Bool,
    /// UTF-8 text without NUL.
    Text,
}

impl FieldType {
    /// All types.
    pub const ALL: [Self; 5] = [Self::F64, Self::F32, Self::I64, Self::Bool, Self::Text];

    /// The word used in configuration and output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F64 => "f64",
            Self::F32 => "f32",
            Self::I64 => "i64",
            Self::Bool => "bool",
            Self::Text => "text",
        }
    }

    /// The type of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for FieldType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One value of a record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Value {
    /// True or false.
    Bool(bool),
    /// 64-bit signed integer.
    I64(i64),
    /// 64-bit float.
    F64(f64),
    /// 32-bit float.
    F32(f32),
    /// UTF-8 text without NUL.
    Text(Box<str>),
}

impl Value {
    /// The type this value has.
    pub const fn kind(&self) -> FieldType {
        match self {
            Self::F64(_) => FieldType::F64,
            Self::F32(_) => FieldType::F32,
            Self::I64(_) => FieldType::I64,
            Self::Bool(_) => FieldType::Bool,
            Self::Text(_) => FieldType::Text,
        }
    }

    /// Bytes this value takes uncompressed.
    pub fn bytes(&self) -> usize {
        match self {
            Self::F64(_) | Self::I64(_) => 8,
            Self::F32(_) => 4,
            Self::Bool(_) => 1,
            Self::Text(text) => text.len() + 4,
        }
    }
}

/// A named, typed column of a schema.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// Name as it appears in the payload; any UTF-8 without NUL, at most 64 bytes.
    pub name: String,
    /// Its type.
    pub kind: FieldType,
}

/// Number of a schema in this device's catalog; dense from 0, never reused.
pub type SchemaId = u32;
/// Number of a stream in this device's catalog; rising from 0, never used again.
pub type StreamId = u32;

/// One kind of record: a supertable. Fields and tags are only ever appended; the type of a field may change
/// while no record has a value of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    /// Its number in the catalog.
    pub id: SchemaId,
    /// The name given in the configuration.
    pub name: String,
    /// Names of the tags: `device` first, then captures and configured tags, as of the first
    /// declaration; those that came later follow. Only ever appended.
    pub tag_names: Vec<String>,
    /// The fields, in order of appearance.
    pub fields: Vec<Field>,
    /// Where each comes from, by position; of those behind the end, nothing is known.
    #[serde(default, deserialize_with = "none_at_the_end")]
    pub origins: Vec<Origin>,
}

impl Schema {
    /// Position of the field called `name`.
    pub fn field(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|field| field.name == name)
    }
}

/// One combination of tag values under a schema: a subtable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    /// Its number in the catalog.
    pub id: StreamId,
    /// The schema its records follow.
    pub schema: SchemaId,
    /// Its name, unique in the catalog (see [`crate::sample::naming`]).
    pub name: String,
    /// Tag values in the order of the schema's tag names, that of `device` first; they may change, all
    /// but that. The schema may have more tags at its end: the stream has no value for those.
    pub tags: Vec<String>,
    /// The tag values it was declared with, if they have changed: what is named after tags keeps its name.
    #[serde(deserialize_with = "none_at_the_end")]
    pub first_tags: Option<Vec<String>>,
}

/// The last field of a stream, which format 1 did not have, or of a schema, which format 2 did not.
#[allow(clippy::unnecessary_wraps)] // serde's signature
fn none_at_the_end<'de, D: serde::Deserializer<'de>, T: Deserialize<'de> + Default>(
    field: D,
) -> Result<T, D::Error> {
    Ok(T::deserialize(field).unwrap_or_default())
}

impl Stream {
    /// The tag values that it was declared with.
    pub fn naming_tags(&self) -> &[String] {
        self.first_tags.as_ref().unwrap_or(&self.tags)
    }
}

/// The values of one record, in order of their fields' positions in the schema. A field without one is
/// missing: a record costs what it holds, however many fields its schema has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<(u32, Value)>")]
pub struct RecordValues(Vec<(u32, Value)>);

impl RecordValues {
    /// Number of values.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of the field at position `field`, if there is one.
    pub fn get(&self, field: usize) -> Option<&Value> {
        let place = self
            .0
            .binary_search_by_key(&field, |(there, _)| *there as usize);
        Some(&self.0[place.ok()?].1)
    }

    /// Position of the field and value, in order of position.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (usize, &Value)> {
        self.0.iter().map(|(field, value)| (*field as usize, value))
    }

    /// Uncompressed bytes of a record with these values: what bounds a record, and what fills a block.
    pub fn record_bytes(&self) -> usize {
        let values: usize = self.0.iter().map(|(_, value)| value.bytes()).sum();
        // Stream, timestamp, split and source time.
        values + 4 + 8 + 2 + 9
    }
}

impl From<Vec<(u32, Value)>> for RecordValues {
    /// Positions and values in any order; of two for the same position the later one counts.
    fn from(mut values: Vec<(u32, Value)>) -> Self {
        let is_before = |a: &(u32, Value), b: &(u32, Value)| a.0 < b.0;
        if !values.is_sorted_by(is_before) {
            values.reverse();
            values.sort_by_key(|(field, _)| *field);
            values.dedup_by_key(|(field, _)| *field);
        }
        Self(values)
    }
}

impl FromIterator<Option<Value>> for RecordValues {
    /// One entry a field, from the first on.
    fn from_iter<I: IntoIterator<Item = Option<Value>>>(values: I) -> Self {
        let there = |(field, value): (u32, Option<Value>)| Some((field, value?));
        Self((0..).zip(values).filter_map(there).collect())
    }
}

impl From<Vec<Option<Value>>> for RecordValues {
    fn from(values: Vec<Option<Value>>) -> Self {
        values.into_iter().collect()
    }
}

impl IntoIterator for RecordValues {
    type Item = (u32, Value);
    type IntoIter = std::vec::IntoIter<(u32, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// One record on its way into a block.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The stream it belongs to.
    pub stream: StreamId,
    /// Its own timestamp, assigned by this device.
    pub ts: Timestamp,
    /// Its split, drawn once.
    pub split: Split,
    /// The time its source claims, nanoseconds UTC.
    pub source_ts: Option<i64>,
    /// Its values.
    pub values: RecordValues,
}
