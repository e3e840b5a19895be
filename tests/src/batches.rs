//! Batches to write to an upstream.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use dunlin_sync::{
    rows::{Batch, Column, Rows, TableRows, Values},
    sample::{Field, FieldType, Schema, Stream, TimeRange},
    upstream::Upstream,
};

/// Nanoseconds UTC.
pub fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_nanos() as i64
}

/// A schema with the tags `device` and `machine`.
pub fn schema(name: &str, fields: &[(&str, FieldType)]) -> Arc<Schema> {
    Arc::new(Schema {
        id: number_of(name),
        name: name.into(),
        tag_names: vec!["device".into(), "machine".into()],
        fields: fields
            .iter()
            .map(|(name, kind)| Field {
                name: (*name).into(),
                kind: *kind,
            })
            .collect(),
        origins: Vec::new(),
    })
}

/// A number of its own for each name, as a catalog gives them.
fn number_of(name: &str) -> u32 {
    name.bytes().fold(7, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(byte.into())
    })
}

/// The stream of a machine.
pub fn stream(schema: &Schema, device: &str, machine: &str) -> Arc<Stream> {
    let name = format!("{}/{machine}", schema.name);
    Arc::new(Stream {
        id: number_of(&format!("{device} {name}")),
        schema: schema.id,
        name,
        tags: vec![device.into(), machine.into()],
        first_tags: None,
    })
}

/// A column without gaps.
pub fn column(values: Values) -> Column {
    Column {
        values,
        present: None,
    }
}

/// Rows at these times; every fifth is for validation, every second has a time of its source.
pub fn table(
    stream: &Arc<Stream>,
    schema: &Arc<Schema>,
    ts: Vec<i64>,
    columns: Vec<Column>,
) -> TableRows {
    let rows = ts.len();
    TableRows {
        stream: Arc::clone(stream),
        schema: Arc::clone(schema),
        rows: Rows {
            is_train: (0..rows).map(|row| row % 5 != 0).collect(),
            fold: (0..rows).map(|row| (row % 256) as u8).collect(),
            source_ts: ts
                .iter()
                .map(|ts| (ts % 2 == 0).then_some(ts - 7))
                .collect(),
            ts,
            columns: columns.into(),
        },
    }
}

/// `rows` rows of one f64 field, one microsecond apart, ending now.
pub fn waves(schema: &Arc<Schema>, machine: &str, rows: usize) -> TableRows {
    let end = now_ns();
    let ts = (0..rows).map(|row| end - (rows - row) as i64 * 1_000);
    let x = (0..rows).map(|row| row as f64 / 8.0).collect();
    let columns = vec![column(Values::F64(x))];
    table(
        &stream(schema, "d1", machine),
        schema,
        ts.collect(),
        columns,
    )
}

/// A batch of one table.
pub fn one(table: TableRows) -> Batch {
    Batch {
        tables: vec![table],
    }
}

/// Rows upstream of the table's stream.
///
/// # Panics
/// If the upstream cannot tell.
pub async fn count(upstream: &dyn Upstream, table: &TableRows) -> u64 {
    let counted = upstream.count(&table.stream, &table.schema, TimeRange::ALL);
    counted.await.expect("an answer")
}

/// Writes a batch of which every row must be taken.
///
/// # Panics
/// If one is not.
pub async fn write_all(upstream: &dyn Upstream, batch: &Batch) {
    let report = upstream.write(batch).await.expect("an answer");
    assert_eq!((report.rejected, report.refused), (vec![], vec![]));
    assert_eq!(report.rows_written, batch.rows() as u64);
}
