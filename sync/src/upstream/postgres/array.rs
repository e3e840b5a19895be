//! Values of many rows as arrays, one a column, and these as the server takes them: as parameters, or as the
//! rows of a binary COPY.

use bytes::{BufMut, Bytes, BytesMut};
use tokio_postgres::types::{ToSql, Type};

use super::connection::Parameter;
use crate::rows::{Batch, Column, Values};

/// Bytes of a COPY sent at once.
const PIECE_BYTES: usize = 64 * 1024;
/// What a binary COPY begins with: its mark, no flags, no extension.
const HEAD: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// One row of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Item {
    /// Index into the tables of the batch.
    pub(super) table: usize,
    pub(super) row: usize,
}

/// The values of one column; `None`: NULL.
#[derive(Debug, PartialEq)]
pub(super) enum Array<'b> {
    F64(Vec<Option<f64>>),
    F32(Vec<Option<f32>>),
    I64(Vec<Option<i64>>),
    I16(Vec<Option<i16>>),
    Bool(Vec<Option<bool>>),
    Text(Vec<Option<&'b str>>),
}

impl<'b> Array<'b> {
    /// The values of the field at position `field` of `items`, for a column of the type that `kind` stands for.
    pub(super) fn of_field(batch: &'b Batch, items: &[Item], field: usize, kind: &str) -> Self {
        match kind {
            "f64" => Self::F64(pick(batch, items, field, |values, row| match values {
                Values::F64(values) => Some(values[row]),
                Values::F32(values) => Some(values[row].into()),
                _ => None,
            })),
            "f32" => Self::F32(pick(batch, items, field, |values, row| match values {
                Values::F32(values) => Some(values[row]),
                _ => None,
            })),
            "i64" => Self::I64(pick(batch, items, field, |values, row| match values {
                Values::I64(values) => Some(values[row]),
                _ => None,
            })),
            "bool" => Self::Bool(pick(batch, items, field, |values, row| match values {
                Values::Bool(values) => Some(values[row]),
                _ => None,
            })),
            _ => Self::Text(pick(batch, items, field, |values, row| match values {
                Values::Text(values) => Some(&*values[row]),
                _ => None,
            })),
        }
    }

    /// The server's type of an element, and of the whole.
    pub(super) fn types(&self) -> (Type, Type) {
        match self {
            Self::F64(_) => (Type::FLOAT8, Type::FLOAT8_ARRAY),
            Self::F32(_) => (Type::FLOAT4, Type::FLOAT4_ARRAY),
            Self::I64(_) => (Type::INT8, Type::INT8_ARRAY),
            Self::I16(_) => (Type::INT2, Type::INT2_ARRAY),
            Self::Bool(_) => (Type::BOOL, Type::BOOL_ARRAY),
            Self::Text(_) => (Type::TEXT, Type::TEXT_ARRAY),
        }
    }

    pub(super) fn parameter(&self) -> Parameter<'_> {
        let values: &(dyn ToSql + Sync) = match self {
            Self::F64(values) => values,
            Self::F32(values) => values,
            Self::I64(values) => values,
            Self::I16(values) => values,
            Self::Bool(values) => values,
            Self::Text(values) => values,
        };
        (values, self.types().1)
    }

    fn put(&self, row: usize, out: &mut BytesMut) {
        fn sized<const N: usize>(bytes: Option<[u8; N]>, out: &mut BytesMut) {
            match bytes {
                Some(bytes) => {
                    out.put_i32(N as i32);
                    out.put_slice(&bytes);
                }
                None => out.put_i32(-1),
            }
        }
        match self {
            Self::F64(values) => sized(values[row].map(f64::to_be_bytes), out),
            Self::F32(values) => sized(values[row].map(f32::to_be_bytes), out),
            Self::I64(values) => sized(values[row].map(i64::to_be_bytes), out),
            Self::I16(values) => sized(values[row].map(i16::to_be_bytes), out),
            Self::Bool(values) => sized(values[row].map(|value| [u8::from(value)]), out),
            Self::Text(values) => match values[row] {
                Some(text) => {
                    out.put_i32(text.len() as i32);
                    out.put_slice(text.as_bytes());
                }
                None => out.put_i32(-1),
            },
        }
    }
}

/// A value of each item: what `get` makes of the one that is there.
fn pick<'b, T>(
    batch: &'b Batch,
    items: &[Item],
    field: usize,
    get: impl Fn(&'b Values, usize) -> Option<T>,
) -> Vec<Option<T>> {
    let mut picked = Vec::with_capacity(items.len());
    for run in items.chunk_by(|a, b| a.table == b.table) {
        let column = batch.tables[run[0].table].rows.columns.get(field);
        picked.extend(run.iter().map(|item| {
            let column: &Column = column.filter(|column| column.is_present(item.row))?;
            get(&column.values, item.row)
        }));
    }
    picked
}

/// `rows` rows of these columns as a binary COPY, piece by piece.
pub(super) fn copy_of(columns: &[Array<'_>], rows: usize) -> impl Iterator<Item = Bytes> {
    let mut next = 0;
    let mut out = BytesMut::from(HEAD);
    std::iter::from_fn(move || {
        if next > rows {
            return None;
        }
        while next < rows && out.len() < PIECE_BYTES {
            out.put_i16(columns.len() as i16);
            for column in columns {
                column.put(next, &mut out);
            }
            next += 1;
        }
        if next == rows && out.len() < PIECE_BYTES {
            out.put_i16(-1);
            next += 1;
        }
        Some(out.split().freeze())
    })
}

#[cfg(test)]
mod tests;
