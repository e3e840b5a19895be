//! What the scenarios write.

use std::sync::Arc;

use crate::{
    rows::{Batch, Column, Rows, TableRows},
    sample::{Field, FieldType, Origin, Schema, Stage, Stream, Value},
};

/// One value a field, by position; those behind the end are missing.
pub(super) type Record = Vec<Option<Value>>;

/// From so many rows of a table on an upstream may take another way for them than for fewer.
pub(super) const MANY_ROWS: usize = 200;

/// Tags of every schema that is not about tags.
const TAGS: [&str; 2] = ["device", "machine"];

/// A number that one name has in every catalog.
fn id(name: &str) -> u32 {
    crc32c::crc32c(name.as_bytes())
}

pub(super) fn schema(name: &str, fields: &[(&str, FieldType)]) -> Arc<Schema> {
    let field = |(name, kind): &(&str, FieldType)| Field {
        name: (*name).to_owned(),
        kind: *kind,
    };
    // As this version declares them: what each column is, is known.
    let origin = Origin {
        since_ns: Some(1),
        stage: Stage::Begun,
        ..Origin::default()
    };
    Arc::new(Schema {
        id: id(name),
        name: name.to_owned(),
        tag_names: TAGS.map(str::to_owned).to_vec(),
        fields: fields.iter().map(field).collect(),
        origins: vec![origin; fields.len()],
    })
}

pub(super) fn stream(schema: &Schema, device: &str, machine: &str) -> Arc<Stream> {
    let name = format!("{}/{machine}", schema.name);
    Arc::new(Stream {
        id: id(&format!("{device}/{name}")),
        schema: schema.id,
        name,
        tags: vec![device.to_owned(), machine.to_owned()],
        first_tags: None,
    })
}

/// `records` a nanosecond apart from `ts` on, with splits and source times that differ from row to row.
pub(super) fn table(
    stream: &Arc<Stream>,
    schema: &Arc<Schema>,
    ts: i64,
    records: Vec<Record>,
) -> TableRows {
    let ts: Vec<i64> = (ts..).take(records.len()).collect();
    let source_ts = ts.iter().map(|ts| (ts % 2 == 0).then_some(ts - 7));
    let mut columns: Vec<Column> = schema
        .fields
        .iter()
        .map(|field| Column::empty(field.kind))
        .collect();
    for mut record in records {
        record.resize(columns.len(), None);
        for (column, value) in columns.iter_mut().zip(record) {
            // Scenarios give values of the types of their fields.
            let _infallible = column.push(value);
        }
    }
    TableRows {
        stream: Arc::clone(stream),
        schema: Arc::clone(schema),
        rows: Rows {
            is_train: (0..ts.len()).map(|row| row % 5 != 0).collect(),
            fold: (0..ts.len()).map(|row| (row % 256) as u8).collect(),
            source_ts: source_ts.collect(),
            ts,
            columns: columns.into(),
        },
    }
}

/// `rows` rows that hold a number each.
pub(super) fn numbers(
    stream: &Arc<Stream>,
    schema: &Arc<Schema>,
    ts: i64,
    rows: usize,
) -> TableRows {
    let record = |row: usize| vec![Some(Value::F64(row as f64 / 8.0))];
    table(stream, schema, ts, (0..rows).map(record).collect())
}

pub(super) fn batch(tables: impl Into<Vec<TableRows>>) -> Batch {
    Batch {
        tables: tables.into(),
    }
}

/// Some of the rows of `table`.
pub(super) fn part_of(table: &TableRows, rows: std::ops::Range<usize>) -> TableRows {
    let mut part = Rows::default();
    part.extend_from(&table.rows, rows);
    TableRows {
        rows: part,
        ..table.clone()
    }
}

pub(super) fn text(text: &str) -> Value {
    Value::Text(text.into())
}
