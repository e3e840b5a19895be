//! Names: which tables and columns a schema becomes, whatever its names hold.
//!
//! `SQLite` compares names without regard to case, so a field `a` beside `A`, or one called `ts`, gets
//! the first free of `a_2`, `a_3`, ... What was chosen is kept in `dunlin_schemas` and
//! `dunlin_fields` and stays, in whatever order another device meets the fields.
//!
//! A field whose column holds another type, because another device was first, has the column of a
//! field called `<field>_<type>`. Whose values a column takes besides is its `second_of` there: empty for one
//! that is a field of its own, for any device, and nothing where nobody has known. Columns beyond what a table takes go to further ones, `<table>_2`,
//! `_3`, kept in `dunlin_parts`; a record has a row in each in which it has a value, and always in the
//! first.

use std::{collections::HashMap, fmt::Write as _, sync::Arc};

use rusqlite::{Connection, OptionalExtension, params};

use super::{
    choice::{Choice, Refusal, columns_of, fixed_columns},
    names::{FIXED_COLUMNS, free_name, names_taken, quoted},
    views,
};
use crate::{
    sample::{Schema, Stream},
    upstream::told::Told,
};

/// Columns of `dunlin_fields` that files of earlier versions lack.
const LATER_COLUMNS: [(&str, &str); 4] = [
    ("second_of", "TEXT"),
    ("unit", "TEXT"),
    ("name", "TEXT"),
    ("since", "INTEGER"),
];

/// Creates the tables about the tables.
const BOOKKEEPING: &str = "
CREATE TABLE IF NOT EXISTS dunlin_schemas (
    schema TEXT NOT NULL PRIMARY KEY, table_name TEXT NOT NULL, view_name TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS dunlin_fields (
    schema TEXT NOT NULL, field TEXT NOT NULL, column_name TEXT NOT NULL, type TEXT NOT NULL,
    second_of TEXT, unit TEXT, name TEXT, since INTEGER, PRIMARY KEY (schema, field)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS dunlin_streams (
    stream TEXT NOT NULL PRIMARY KEY, schema TEXT NOT NULL, device TEXT NOT NULL, tags TEXT NOT NULL
) WITHOUT ROWID;
";

/// Whether the tables about the tables are as this version makes them.
pub(super) fn are_books_kept(connection: &Connection) -> rusqlite::Result<bool> {
    let there = columns_of(connection, "dunlin_fields")?;
    let mut columns = LATER_COLUMNS.iter();
    Ok(columns.all(|(column, _)| there.iter().any(|name| name == column)))
}

/// Makes the tables about the tables as they must be.
pub(super) fn keep_books(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(BOOKKEEPING)?;
    let there = columns_of(connection, "dunlin_fields")?;
    for (column, kind) in LATER_COLUMNS {
        if !there.iter().any(|name| name == column) {
            let sql = format!("ALTER TABLE dunlin_fields ADD COLUMN {column} {kind}");
            connection.execute_batch(&sql)?;
        }
    }
    Ok(())
}

/// The tables about the tables.
const BOOKKEEPING_TABLES: [&str; 4] = [
    "dunlin_schemas",
    "dunlin_fields",
    "dunlin_streams",
    "dunlin_parts",
];

/// Columns added to a table in one transaction: each takes `SQLite` milliseconds where there are many, and on a
/// slow device a thousand of them longer than the upstream's time-out. (Those of a new table come with it.)
pub(super) const COLUMNS_AT_ONCE: usize = 100;

/// Where the rows of one schema go.
pub(super) struct TablePlan {
    /// The schema this was made for.
    pub(super) schema: Arc<Schema>,
    /// One entry a table.
    pub(super) parts: Vec<PartPlan>,
    /// By field: why no value of it can be stored; and whether somebody could change that in the file.
    pub(super) refused: HashMap<usize, Refusal>,
}

impl TablePlan {
    /// Whether it was made for `schema` as it is now.
    pub(super) fn is_for(&self, schema: &Arc<Schema>) -> bool {
        Arc::ptr_eq(&self.schema, schema) || self.schema.is_stored_as(schema)
    }
}

/// Where a part of the fields goes.
pub(super) struct PartPlan {
    /// Inserts or overwrites one row: the fixed columns, or of a further table stream and time, then
    /// one parameter for each field.
    pub(super) upsert: String,
    /// Fields and the numbers of their parameters.
    pub(super) fields: Vec<(usize, usize)>,
}

/// The name of a stream among those of all devices.
pub(super) fn stream_key(stream: &Stream) -> String {
    format!("{}/{}", stream.device(), stream.plain_name())
}

/// The table that holds `schema`, if there is one; somebody may have dropped it.
pub(super) fn table_of(connection: &Connection, schema: &str) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached(
            "SELECT table_name FROM dunlin_schemas WHERE schema = ?1 AND EXISTS
                 (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = table_name)",
        )?
        .query_row([schema], |row| row.get(0))
        .optional()
}

/// Notes the tags of a stream.
pub(super) fn register_stream(
    connection: &Connection,
    key: &str,
    stream: &Stream,
    schema: &Schema,
) -> rusqlite::Result<()> {
    let tags = schema.tag_names.iter().zip(&stream.tags);
    let tags: serde_json::Map<_, _> = tags
        .map(|(name, value)| (name.clone(), value.as_str().into()))
        .collect();
    let device = stream.device();
    connection
        .prepare_cached(
            "INSERT INTO dunlin_streams (stream, schema, device, tags) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (stream) DO UPDATE
             SET schema = excluded.schema, device = excluded.device, tags = excluded.tags",
        )?
        .execute(params![
            key,
            schema.name,
            device,
            serde_json::Value::Object(tags).to_string()
        ])?;
    Ok(())
}

/// Makes the tables of `schema`, or adds columns that they lack, [`COLUMNS_AT_ONCE`] at most; whether there may be
/// more to add.
pub(super) fn prepare_some(
    connection: &Connection,
    schema: &Schema,
    told: &Told,
) -> rusqlite::Result<bool> {
    let (table, view) = names_of(connection, &schema.name)?;
    let mut choice = Choice::new(connection, schema, table, view)?;
    let mut fields = 0..schema.fields.len();
    while choice.columns_to_add() < COLUMNS_AT_ONCE {
        let Some(field) = fields.next() else {
            break;
        };
        // Why one has no column is found again, and told, when its rows are written.
        let _column = choice.column(field, told)?;
    }
    choice.apply()?;
    Ok(choice.columns_to_add() == COLUMNS_AT_ONCE)
}

/// Makes tables, columns and views of `schema` as they must be. Its name must hold no NUL.
pub(super) fn prepare(
    connection: &Connection,
    schema: &Arc<Schema>,
    told: &Told,
) -> rusqlite::Result<TablePlan> {
    let (table, view) = names_of(connection, &schema.name)?;
    let mut choice = Choice::new(connection, schema, table, view)?;
    let mut refused = HashMap::new();
    let mut fields: Vec<Vec<(usize, String)>> = Vec::new();
    for index in 0..schema.fields.len() {
        match choice.column(index, told)? {
            Ok((part, column)) => {
                fields.resize_with(fields.len().max(part + 1), Vec::new);
                fields[part].push((index, column));
            }
            Err(refusal) => {
                refused.insert(index, refusal);
            }
        }
    }
    fields.resize_with(fields.len().max(1), Vec::new);
    choice.apply()?;
    views::ensure(connection, &schema.name, &choice.parts)?;
    let parts = fields.into_iter().zip(&choice.parts).enumerate();
    let parts = parts.map(|(number, (fields, part))| {
        let fixed = &FIXED_COLUMNS[..fixed_columns(number)];
        let mut columns: Vec<String> = fixed.iter().map(|c| quoted(c)).collect();
        let mut parameters = Vec::with_capacity(fields.len());
        for (field, column) in fields {
            columns.push(quoted(&column));
            parameters.push((field, columns.len()));
        }
        PartPlan {
            upsert: upsert(&part.table, &columns),
            fields: parameters,
        }
    });
    Ok(TablePlan {
        schema: Arc::clone(schema),
        parts: parts.collect(),
        refused,
    })
}

fn upsert(table: &str, columns: &[String]) -> String {
    let mut sql = format!(
        "INSERT INTO {} ({}) VALUES (?1",
        quoted(table),
        columns.join(", ")
    );
    for number in 2..=columns.len() {
        let _infallible = write!(sql, ", ?{number}");
    }
    sql.push_str(") ON CONFLICT (stream, ts) DO UPDATE SET ");
    let values = columns.iter().skip(2);
    let values: Vec<_> = values.map(|c| format!("{c} = excluded.{c}")).collect();
    sql.push_str(&values.join(", "));
    sql
}

/// Table and view of a schema, chosen at its first sight.
fn names_of(connection: &Connection, schema: &str) -> rusqlite::Result<(String, String)> {
    let known = connection
        .query_row(
            "SELECT table_name, view_name FROM dunlin_schemas WHERE schema = ?1",
            [schema],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    if let Some(names) = known {
        return Ok(names);
    }
    let mut taken = names_taken(connection)?;
    let lower = schema.to_ascii_lowercase();
    let reserved = lower.starts_with("sqlite_") || BOOKKEEPING_TABLES.contains(&&*lower);
    let wish = if reserved {
        format!("t_{schema}")
    } else {
        schema.to_owned()
    };
    let table = free_name(&wish, &taken);
    taken.insert(table.to_ascii_lowercase());
    let view = free_name(&format!("{table}_tagged"), &taken);
    connection.execute(
        "INSERT INTO dunlin_schemas (schema, table_name, view_name) VALUES (?1, ?2, ?3)",
        [schema, &table, &view],
    )?;
    Ok((table, view))
}
