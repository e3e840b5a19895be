//! What the agent writes about itself: rows of its own tables, their cells by name.

use std::sync::mpsc;

use dunlin_sync::sample::{Field, FieldType, Value};

use super::{
    decode::Record,
    writer::{Answer, FromFile, Request, RequestContent},
};

/// Longest text kept in a row, bytes.
const TEXT_BYTES_MAX: usize = 2_000;

/// A column of a row: its name, its type, and the value if there is one.
pub(crate) type Cell = (&'static str, FieldType, Option<Value>);

/// Has rows stored on `stream` of `schema`; each with its source time, all with the same columns.
pub(crate) fn request(
    schema: &str,
    stream: String,
    tags: Vec<(String, String)>,
    rows: Vec<(Option<i64>, Vec<Cell>)>,
    reply: mpsc::Sender<Answer>,
) -> Request {
    let fields = rows.first().map_or_else(Vec::new, |(_, cells)| {
        let fields = cells.iter().map(|(name, kind, _)| Field {
            name: (*name).into(),
            kind: *kind,
        });
        fields.collect()
    });
    let records = rows.into_iter().map(|(source_ts, cells)| Record {
        source_ts,
        values: cells.into_iter().map(|(_, _, value)| value).collect(),
    });
    Request {
        content: RequestContent::Records {
            schema: schema.to_owned(),
            stream,
            tags,
            fields,
            records: records.collect(),
            file: FromFile::default(),
        },
        reply,
    }
}

pub(crate) fn integer(name: &'static str, number: u64) -> Cell {
    let number = i64::try_from(number).unwrap_or(i64::MAX);
    (name, FieldType::I64, Some(Value::I64(number)))
}

pub(crate) fn real(name: &'static str, number: f64) -> Cell {
    (name, FieldType::F64, finite(number))
}

pub(crate) fn finite(number: f64) -> Option<Value> {
    number.is_finite().then_some(Value::F64(number))
}

pub(crate) fn text(name: &'static str, text: &str) -> Cell {
    (name, FieldType::Text, Some(clipped(text)))
}

/// A text no longer than a row keeps, without the NUL that some databases cannot hold.
pub(crate) fn clipped(text: &str) -> Value {
    let text = &text[..text.floor_char_boundary(TEXT_BYTES_MAX)];
    Value::Text(text.replace('\0', " ").into())
}

pub(crate) fn flag(name: &'static str, is_so: bool) -> Cell {
    (name, FieldType::Bool, Some(Value::Bool(is_so)))
}
