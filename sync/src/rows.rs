//! Records as columns: what blocks decode to, what upstreams write and what training reads.

use std::{
    ops::{Index, IndexMut, Range},
    sync::Arc,
};

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

    /// Memory they take, bytes.
    fn bytes(&self) -> usize {
        match self {
            Self::F64(v) => v.len() * size_of::<f64>(),
            Self::F32(v) => v.len() * size_of::<f32>(),
            Self::I64(v) => v.len() * size_of::<i64>(),
            Self::Bool(v) => v.len(),
            Self::Text(v) => v
                .iter()
                .map(|text| size_of::<Box<str>>() + text.len())
                .sum(),
        }
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
    pub fn extend_from(&mut self, other: &Self, range: Range<usize>) {
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

    /// Appends the values of `other` at `places`, in that order; it must have the same type (otherwise
    /// nothing is appended).
    pub(crate) fn extend_picked(&mut self, other: &Self, places: impl Iterator<Item = usize>) {
        match (self, other) {
            (Self::F64(v), Self::F64(o)) => v.extend(places.map(|place| o[place])),
            (Self::F32(v), Self::F32(o)) => v.extend(places.map(|place| o[place])),
            (Self::I64(v), Self::I64(o)) => v.extend(places.map(|place| o[place])),
            (Self::Bool(v), Self::Bool(o)) => v.extend(places.map(|place| o[place])),
            (Self::Text(v), Self::Text(o)) => v.extend(places.map(|place| o[place].clone())),
            _ => {}
        }
    }

    /// The values from `at` on go to the result, the others stay.
    pub(crate) fn split_off(&mut self, at: usize) -> Self {
        match self {
            Self::F64(v) => Self::F64(v.split_off(at)),
            Self::F32(v) => Self::F32(v.split_off(at)),
            Self::I64(v) => Self::I64(v.split_off(at)),
            Self::Bool(v) => Self::Bool(v.split_off(at)),
            Self::Text(v) => Self::Text(v.split_off(at)),
        }
    }

    /// One value a flag: the next of these where it is set, otherwise zero.
    pub(crate) fn spread(self, flags: &[bool]) -> Self {
        fn over<T: Default>(values: Vec<T>, flags: &[bool]) -> Vec<T> {
            let mut values = values.into_iter();
            let next = |there: &bool| there.then(|| values.next()).flatten().unwrap_or_default();
            flags.iter().map(next).collect()
        }
        match self {
            Self::F64(v) => Self::F64(over(v, flags)),
            Self::F32(v) => Self::F32(over(v, flags)),
            Self::I64(v) => Self::I64(over(v, flags)),
            Self::Bool(v) => Self::Bool(over(v, flags)),
            Self::Text(v) => Self::Text(over(v, flags)),
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

    /// Columns that are one field as one of type `kind`: of each of `rows` the first value that is there and
    /// can be one of that type; the rows before are missing. As texts all can; as numbers flags can, too.
    pub fn joined(parts: &[&Self], kind: FieldType, rows: Range<usize>) -> Self {
        let mut joined = Self::missing(kind, rows.start);
        for row in rows {
            let mut values = parts.iter().filter_map(|part| part.get(row));
            // What was converted has the type of the column.
            let _infallible = joined.push(values.find_map(|value| converted(value, kind)));
        }
        joined
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

    /// Whether any of `rows` has a value.
    fn any_present(&self, rows: Range<usize>) -> bool {
        let present = self.present.as_ref();
        present.is_none_or(|present| present[rows].contains(&true))
    }

    /// Appends rows that are missing.
    fn extend_missing(&mut self, added: usize) {
        let rows = self.len();
        self.values.pad(rows + added);
        let present = self.present.get_or_insert_with(|| vec![true; rows]);
        present.resize(rows + added, false);
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
    pub fn extend_from(&mut self, other: &Self, range: Range<usize>) {
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

/// A value of one column of a field as one of type `kind`.
fn converted(value: Value, kind: FieldType) -> Option<Value> {
    match (kind, value) {
        (_, value) if value.kind() == kind => Some(value),
        (FieldType::F64, Value::F32(number)) => Some(Value::F64(number.into())),
        (FieldType::F64, Value::I64(whole)) => Some(Value::F64(whole as f64)),
        (FieldType::F64, Value::Bool(flag)) => Some(Value::F64(u8::from(flag).into())),
        (FieldType::Text, Value::F64(number)) => Some(Value::Text(number.to_string().into())),
        (FieldType::Text, Value::F32(number)) => Some(Value::Text(number.to_string().into())),
        (FieldType::Text, Value::I64(whole)) => Some(Value::Text(whole.to_string().into())),
        (FieldType::Text, Value::Bool(flag)) => Some(Value::Text(flag.to_string().into())),
        _ => None,
    }
}

/// The columns of some rows, each under the position of its field in the schema. A field without a
/// column is missing in every row: a schema of thousands of fields costs the few that are there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Columns(Vec<(usize, Column)>);

impl Columns {
    /// Number of columns that are there.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn find(&self, field: usize) -> Result<usize, usize> {
        // Where no field before it is left out, a column lies at its own number.
        match self.0.get(field) {
            Some((there, _)) if *there == field => Ok(field),
            _ => self.0.binary_search_by_key(&field, |(there, _)| *there),
        }
    }

    /// The column of the field at position `field`, if it is there.
    pub fn get(&self, field: usize) -> Option<&Column> {
        Some(&self.0[self.find(field).ok()?].1)
    }

    /// Position of the field and column, in order of position.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (usize, &Column)> {
        self.0.iter().map(|(field, column)| (*field, column))
    }

    /// Appends the column of the field behind the last one.
    pub fn push(&mut self, column: Column) {
        let field = self.0.last().map_or(0, |(last, _)| last + 1);
        self.0.push((field, column));
    }

    /// Puts the column of the field at position `field` in its place.
    pub fn insert(&mut self, field: usize, column: Column) {
        match self.find(field) {
            Ok(place) => self.0[place].1 = column,
            Err(place) => self.0.insert(place, (field, column)),
        }
    }
}

impl FromIterator<Column> for Columns {
    /// The columns of the first fields.
    fn from_iter<I: IntoIterator<Item = Column>>(columns: I) -> Self {
        Self(columns.into_iter().enumerate().collect())
    }
}

impl From<Vec<Column>> for Columns {
    fn from(columns: Vec<Column>) -> Self {
        columns.into_iter().collect()
    }
}

impl Index<usize> for Columns {
    type Output = Column;

    /// The column of a field that is known to be there; panics if it is not, as a vector does.
    fn index(&self, field: usize) -> &Column {
        let Ok(place) = self.find(field) else {
            panic!("no column for field {field}")
        };
        &self.0[place].1
    }
}

impl IndexMut<usize> for Columns {
    fn index_mut(&mut self, field: usize) -> &mut Column {
        let Ok(place) = self.find(field) else {
            panic!("no column for field {field}")
        };
        &mut self.0[place].1
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
    /// The columns, by position of their field in the schema.
    pub columns: Columns,
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

    /// Memory the columns take, bytes.
    pub fn bytes(&self) -> usize {
        let columns = self.columns.iter();
        columns.map(|(_, column)| column.values.bytes()).sum()
    }

    /// Appends rows `range` of `other`, which has the same schema (perhaps at an earlier age).
    pub fn extend_from(&mut self, other: &Self, range: Range<usize>) {
        let (before, added) = (self.len(), range.len());
        self.ts.extend_from_slice(&other.ts[range.clone()]);
        self.is_train
            .extend_from_slice(&other.is_train[range.clone()]);
        self.fold.extend_from_slice(&other.fold[range.clone()]);
        match other.source_ts.get(range.clone()) {
            Some(times) => self.source_ts.extend_from_slice(times),
            None => self.source_ts.resize(before + added, None),
        }
        for (field, theirs) in other.columns.iter() {
            let place = match self.columns.find(field) {
                Ok(place) => place,
                // What these rows do not have need not be there at all.
                Err(_) if !theirs.any_present(range.clone()) => continue,
                Err(place) => {
                    let missing = Column::missing(theirs.values.kind(), before);
                    self.columns.0.insert(place, (field, missing));
                    place
                }
            };
            self.columns.0[place].1.extend_from(theirs, range.clone());
        }
        for (_, column) in &mut self.columns.0 {
            if column.len() < before + added {
                column.extend_missing(added);
            }
        }
    }
}

/// Rows of one stream, with what an upstream must know to place them.
#[derive(Clone, Debug)]
pub struct TableRows {
    /// Where they belong.
    pub stream: Arc<Stream>,
    /// What their columns mean; the column at position `i` is that of `schema.fields[i]`.
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
