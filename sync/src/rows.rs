//! Records as columns: what blocks decode to, what upstreams write and what training reads.

use std::sync::Arc;

use crate::sample::{FieldType, Schema, Stream, Value};

/// The values of one field over some rows. Missing rows hold a zero value and `present` says so.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// One value a row.
    pub values: Values,
    /// `None`: every row has a value. Otherwise one flag a row.
    pub present: Option<Vec<bool>>,
}

/// Typed values, one a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// 64-bit floats.
    F64(Vec<f64>),
    /// 32-bit floats.
    F32(Vec<f32>),
    /// 64-bit integers.
    I64(Vec<i64>),
    /// Flags.
    Bool(Vec<bool>),
    /// Texts.
    Text(Vec<Box<str>>),
}

impl Values {
    /// No rows yet.
    pub fn empty(kind: FieldType) -> Self {
        match kind {
            FieldType::F64 => Self::F64(Vec::new()),
            FieldType::F32 => Self::F32(Vec::new()),
            FieldType::I64 => Self::I64(Vec::new()),
            FieldType::Bool => Self::Bool(Vec::new()),
            FieldType::Text => Self::Text(Vec::new()),
        }
    }

    /// The type of the values.
    pub const fn kind(&self) -> FieldType {
        match self {
            Self::F64(_) => FieldType::F64,
            Self::F32(_) => FieldType::F32,
            Self::I64(_) => FieldType::I64,
            Self::Bool(_) => FieldType::Bool,
            Self::Text(_) => FieldType::Text,
        }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        match self {
            Self::F64(v) => v.len(),
            Self::F32(v) => v.len(),
            Self::I64(v) => v.len(),
            Self::Bool(v) => v.len(),
            Self::Text(v) => v.len(),
        }
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Lengthens to `rows` with zero values; never shortens.
    pub fn pad(&mut self, rows: usize) {
        match self {
            Self::F64(v) => v.resize(rows.max(v.len()), 0.0),
            Self::F32(v) => v.resize(rows.max(v.len()), 0.0),
            Self::I64(v) => v.resize(rows.max(v.len()), 0),
            Self::Bool(v) => v.resize(rows.max(v.len()), false),
            Self::Text(v) => v.resize(rows.max(v.len()), Box::default()),
        }
    }

    /// Appends one value of the same type; a value of another type is refused and returned.
    ///
    /// # Errors
    /// The value itself, if its type is not this column's.
    pub fn push(&mut self, value: Value) -> Result<(), Value> {
        match (self, value) {
            (Self::F64(v), Value::F64(x)) => v.push(x),
            (Self::F32(v), Value::F32(x)) => v.push(x),
            (Self::I64(v), Value::I64(x)) => v.push(x),
            (Self::Bool(v), Value::Bool(x)) => v.push(x),
            (Self::Text(v), Value::Text(x)) => v.push(x),
            (_, other) => return Err(other),
        }
        Ok(())
    }

    /// Appends rows `range` of `other`, which must have the same type (otherwise zero values).
    pub fn extend_from(&mut self, other: &Self, range: std::ops::Range<usize>) {
        let rows = self.len() + range.len();
        match (&mut *self, other) {
            (Self::F64(v), Self::F64(o)) => v.extend_from_slice(&o[range]),
            (Self::F32(v), Self::F32(o)) => v.extend_from_slice(&o[range]),
            (Self::I64(v), Self::I64(o)) => v.extend_from_slice(&o[range]),
            (Self::Bool(v), Self::Bool(o)) => v.extend_from_slice(&o[range]),
            (Self::Text(v), Self::Text(o)) => v.extend_from_slice(&o[range]),
            _ => self.pad(rows),
        }
    }

    /// The value of `row`.
    pub fn get(&self, row: usize) -> Option<Value> {
        match self {
            Self::F64(v) => v.get(row).map(|x| Value::F64(*x)),
            Self::F32(v) => v.get(row).map(|x| Value::F32(*x)),
            Self::I64(v) => v.get(row).map(|x| Value::I64(*x)),
            Self::Bool(v) => v.get(row).map(|x| Value::Bool(*x)),
            Self::Text(v) => v.get(row).map(|x| Value::Text(x.clone())),
        }
    }
}

impl Column {
    /// No rows yet.
    pub fn empty(kind: FieldType) -> Self {
        Self {
            values: Values::empty(kind),
            present: None,
        }
    }

    /// `rows` rows, all missing.
    pub fn missing(kind: FieldType, rows: usize) -> Self {
        let mut values = Values::empty(kind);
        values.pad(rows);
        Self {
            values,
            present: (rows > 0).then(|| vec![false; rows]),
        }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Whether `row` has a value.
    pub fn is_present(&self, row: usize) -> bool {
        row < self.len() && self.present.as_ref().is_none_or(|present| present[row])
    }

    /// The value of `row`, if it has one.
    pub fn get(&self, row: usize) -> Option<Value> {
        if self.is_present(row) {
            self.values.get(row)
        } else {
            None
        }
    }

    /// Appends a value or a missing row.
    ///
    /// # Errors
    /// The value itself, if its type is not this column's.
    pub fn push(&mut self, value: Option<Value>) -> Result<(), Value> {
        let rows = self.len();
        if let Some(value) = value {
            self.values.push(value)?;
            if let Some(present) = &mut self.present {
                present.push(true);
            }
        } else {
            self.values.pad(rows + 1);
            self.present
                .get_or_insert_with(|| vec![true; rows])
                .push(false);
        }
        Ok(())
    }

    /// Appends rows `range` of `other`, which must have the same type (otherwise missing rows).
    pub fn extend_from(&mut self, other: &Self, range: std::ops::Range<usize>) {
        let (rows, added) = (self.len(), range.len());
        let same_type = self.values.kind() == other.values.kind();
        if !same_type || other.present.is_some() || self.present.is_some() {
            let present = self.present.get_or_insert_with(|| vec![true; rows]);
            match (&other.present, same_type) {
                (_, false) => present.resize(rows + added, false),
                (Some(flags), true) => present.extend_from_slice(&flags[range.clone()]),
                (None, true) => present.resize(rows + added, true),
            }
        }
        self.values.extend_from(&other.values, range);
    }
}

/// Rows of one schema in columns; every vector has the same length.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// Timestamps, nanoseconds UTC.
    pub ts: Vec<i64>,
    /// True: train. False: validation.
    pub is_train: Vec<bool>,
    /// Fold number of each row.
    pub fold: Vec<u8>,
    /// The time the source claims, nanoseconds UTC. Empty where only some fields were read.
    pub source_ts: Vec<Option<i64>>,
    /// One column per field of the schema; there may be fewer: the rest is missing in every row.
    pub columns: Vec<Column>,
}

impl Rows {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.ts.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.ts.is_empty()
    }

    /// Appends rows `range` of `other`, which has the same schema (perhaps at an earlier age).
    pub fn extend_from(&mut self, other: &Self, range: std::ops::Range<usize>) {
        let (before, added) = (self.len(), range.len());
        self.ts.extend_from_slice(&other.ts[range.clone()]);
        self.is_train
            .extend_from_slice(&other.is_train[range.clone()]);
        self.fold.extend_from_slice(&other.fold[range.clone()]);
        match other.source_ts.get(range.clone()) {
            Some(times) => self.source_ts.extend_from_slice(times),
            None => self.source_ts.resize(before + added, None),
        }
        for (index, theirs) in other.columns.iter().enumerate() {
            if index == self.columns.len() {
                self.columns
                    .push(Column::missing(theirs.values.kind(), before));
            }
            self.columns[index].extend_from(theirs, range.clone());
        }
        for column in self.columns.iter_mut().skip(other.columns.len()) {
            let missing = Column::missing(column.values.kind(), added);
            column.extend_from(&missing, 0..added);
        }
    }
}

/// Rows of one stream, with what an upstream must know to place them.
#[derive(Clone, Debug)]
pub struct TableRows {
    /// Where they belong.
    pub stream: Arc<Stream>,
    /// What their columns mean; `rows.columns[i]` is `schema.fields[i]`.
    pub schema: Arc<Schema>,
    /// The rows, in time order.
    pub rows: Rows,
}

/// Rows of many streams on their way upstream together.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// One entry a stream.
    pub tables: Vec<TableRows>,
}

impl Batch {
    /// Rows over all streams.
    pub fn rows(&self) -> usize {
        self.tables.iter().map(|table| table.rows.len()).sum()
    }
}
