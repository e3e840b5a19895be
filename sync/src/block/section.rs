//! The rows of one schema while a block is gathered, by column.

use crate::{
    rows::{Rows, Values},
    sample::{FieldType, RecordValues, SchemaId, Split, StreamId, Timestamp},
};

/// The values of one field, of those rows that have one.
#[derive(Debug)]
pub(crate) struct OpenColumn {
    /// Position of the field.
    pub(crate) field: u32,
    /// The rows that have a value, rising.
    pub(crate) rows: Vec<u32>,
    pub(crate) values: Values,
}

/// Rows of one schema in order of arrival.
#[derive(Debug, Default)]
pub(crate) struct OpenSection {
    pub(crate) schema: SchemaId,
    pub(crate) streams: Vec<StreamId>,
    /// Times and splits; the columns are below.
    pub(crate) keys: Rows,
    /// In order of appearance.
    pub(crate) columns: Vec<OpenColumn>,
    /// Field -> place in `columns`, counted from 1; 0 has none.
    places: Vec<u32>,
}

impl OpenSection {
    /// An empty one.
    pub(super) fn of(schema: SchemaId) -> Self {
        Self {
            schema,
            ..Self::default()
        }
    }

    pub(super) fn column(&mut self, field: u32, kind: FieldType) -> &mut OpenColumn {
        let index = field as usize;
        if self.places.len() <= index {
            self.places.resize(index + 1, 0);
        }
        if self.places[index] == 0 {
            self.columns.push(OpenColumn {
                field,
                rows: Vec::new(),
                values: Values::empty(kind),
            });
            self.places[index] = self.columns.len() as u32;
        }
        &mut self.columns[self.places[index] as usize - 1]
    }

    pub(super) fn push(
        &mut self,
        values: RecordValues,
        stream: StreamId,
        ts: Timestamp,
        split: Split,
        source_ts: Option<i64>,
    ) {
        let row = self.streams.len() as u32;
        self.streams.push(stream);
        self.keys.ts.push(ts.0);
        self.keys.is_train.push(split.is_train);
        self.keys.fold.push(split.fold);
        self.keys.source_ts.push(source_ts);
        for (field, value) in values {
            let column = self.column(field, value.kind());
            // The type of a field never changes, and `Fitted` has compared.
            if column.values.push(value).is_ok() {
                column.rows.push(row);
            }
        }
    }

    /// Cells that a reader has to make room for.
    pub(super) fn cells(&self) -> usize {
        self.streams.len() * self.columns.len()
    }

    /// The rows at or after `ts` go to the result, the others stay.
    pub(super) fn split_off(&mut self, ts: i64) -> Self {
        let at = self.keys.ts.partition_point(|t| *t < ts);
        let (mut earlier, mut later) = (Rows::default(), Rows::default());
        earlier.extend_from(&self.keys, 0..at);
        later.extend_from(&self.keys, at..self.streams.len());
        self.keys = earlier;
        let columns = self.columns.iter_mut().map(|column| {
            let cut = column.rows.partition_point(|row| (*row as usize) < at);
            let rows = column.rows.split_off(cut).into_iter();
            OpenColumn {
                field: column.field,
                rows: rows.map(|row| row - at as u32).collect(),
                values: column.values.split_off(cut),
            }
        });
        let later = Self {
            schema: self.schema,
            streams: self.streams.split_off(at),
            keys: later,
            columns: columns.filter(|column| !column.rows.is_empty()).collect(),
            places: Vec::new(),
        };
        self.columns.retain(|column| !column.rows.is_empty());
        later
    }
}
