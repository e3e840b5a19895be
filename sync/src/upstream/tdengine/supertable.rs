//! A supertable as DESCRIBE shows it, and the bounds that `TDengine` sets to one.

use std::collections::{HashMap, HashSet};

use crate::sample::FieldType;

/// Longest text that is stored, the longest VARCHAR there is; longer ones are rejected.
pub(super) const TEXT_BYTES_MAX: usize = 65_517;
/// Columns of a supertable, its tags among them.
pub(super) const COLUMNS_MAX: usize = 4_096;
/// What the columns of a row take at their widest.
pub(super) const ROW_BYTES_MAX: usize = 65_531;
/// What a text column takes beyond its width.
const TEXT_HEAD_BYTES: usize = 2;

/// The type of a column, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ColumnType {
    Timestamp,
    Fold,
    Value(FieldType),
    Other(String),
}

impl ColumnType {
    fn described(word: &str) -> Self {
        match word {
            "TIMESTAMP" => Self::Timestamp,
            "TINYINT UNSIGNED" => Self::Fold,
            "DOUBLE" => Self::Value(FieldType::F64),
            "FLOAT" => Self::Value(FieldType::F32),
            "BIGINT" => Self::Value(FieldType::I64),
            "BOOL" => Self::Value(FieldType::Bool),
            "VARCHAR" | "BINARY" => Self::Value(FieldType::Text),
            other => Self::Other(other.to_owned()),
        }
    }

    pub(super) fn word(&self) -> &str {
        match self {
            Self::Timestamp => "TIMESTAMP",
            Self::Fold => "TINYINT UNSIGNED",
            Self::Value(kind) => sql_type(*kind),
            Self::Other(word) => word,
        }
    }
}

pub(super) const fn sql_type(kind: FieldType) -> &'static str {
    match kind {
        FieldType::F64 => "DOUBLE",
        FieldType::F32 => "FLOAT",
        FieldType::I64 => "BIGINT",
        FieldType::Bool => "BOOL",
        FieldType::Text => "VARCHAR",
    }
}

/// What a column of this type and width takes of a row.
pub(super) const fn column_bytes(kind: FieldType, text_bytes: usize) -> usize {
    match kind {
        FieldType::F64 | FieldType::I64 => 8,
        FieldType::F32 => 4,
        FieldType::Bool => 1,
        FieldType::Text => text_bytes + TEXT_HEAD_BYTES,
    }
}

/// The types of [`super::names::FIXED`].
pub(super) const FIXED_TYPES: [ColumnType; 4] = [
    ColumnType::Timestamp,
    ColumnType::Value(FieldType::Bool),
    ColumnType::Fold,
    ColumnType::Timestamp,
];

/// A supertable as DESCRIBE shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Supertable {
    /// Type and bytes by name.
    pub(super) columns: HashMap<String, (ColumnType, usize)>,
    pub(super) tags: HashSet<String>,
}

impl Supertable {
    pub(super) fn described(records: &[Vec<String>]) -> Self {
        let mut table = Self::default();
        for record in records {
            let [name, word, bytes, note, ..] = record.as_slice() else {
                continue;
            };
            if note == "TAG" {
                table.tags.insert(name.clone());
            } else {
                let column = (ColumnType::described(word), bytes.parse().unwrap_or(0));
                table.columns.insert(name.clone(), column);
            }
        }
        table
    }

    /// What its columns take of a row.
    pub(super) fn row_bytes(&self) -> usize {
        let bytes = self.columns.values().map(|(kind, bytes)| match kind {
            ColumnType::Value(FieldType::Text) => bytes + TEXT_HEAD_BYTES,
            // NCHAR, and what else has a head of its own: rather too much than too little.
            ColumnType::Other(_) => 4 * bytes + TEXT_HEAD_BYTES,
            _ => *bytes,
        });
        bytes.sum()
    }
}

#[cfg(test)]
pub(super) fn described(rows: &[[&str; 4]]) -> Supertable {
    let records: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(ToString::to_string).collect())
        .collect();
    Supertable::described(&records)
}
