//! Names: which table and columns a schema becomes, whatever its names hold.
//!
//! `SQLite` compares names without regard to case, so a field `a` beside `A`, or one called `ts`, gets
//! the first free of `a_2`, `a_3`, ... What was chosen is kept in `dunlin_schemas` and
//! `dunlin_fields` and stays, in whatever order another device meets the fields.

use std::{collections::HashSet, fmt::Write as _, sync::Arc};

use rusqlite::{Connection, OptionalExtension, params};

use crate::sample::{FieldType, Schema, Stream};

/// Columns every table has.
const FIXED_COLUMNS: [&str; 5] = ["stream", "ts", "is_train", "fold", "source_ts"];
/// `SQLite` takes 2,000 columns; the view needs some for the tags.
const COLUMNS_MAX: usize = 1_900;

/// Creates the tables about the tables.
pub(super) const BOOKKEEPING: &str = "
CREATE TABLE IF NOT EXISTS dunlin_schemas (
    schema TEXT NOT NULL PRIMARY KEY, table_name TEXT NOT NULL, view_name TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS dunlin_fields (
    schema TEXT NOT NULL, field TEXT NOT NULL, column_name TEXT NOT NULL, type TEXT NOT NULL,
    PRIMARY KEY (schema, field)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS dunlin_streams (
    stream TEXT NOT NULL PRIMARY KEY, schema TEXT NOT NULL, device TEXT NOT NULL, tags TEXT NOT NULL
) WITHOUT ROWID;
";

/// The tables about the tables.
const BOOKKEEPING_TABLES: [&str; 3] = ["dunlin_schemas", "dunlin_fields", "dunlin_streams"];

/// Where the rows of one schema go.
pub(super) struct Plan {
    /// The schema this was made for.
    pub(super) schema: Arc<Schema>,
    /// Inserts or overwrites one row: the fixed columns, then one parameter for each usable field.
    pub(super) upsert: String,
    /// One entry a field: its parameter's number, or why no value of it can be stored.
    pub(super) fields: Vec<Result<usize, String>>,
}

/// The name of a stream among those of all devices.
pub(super) fn stream_key(stream: &Stream) -> String {
    format!("{}/{}", stream.device(), stream.plain_name())
}

/// The table that holds `schema`, if there is one.
pub(super) fn table_of(connection: &Connection, schema: &str) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached("SELECT table_name FROM dunlin_schemas WHERE schema = ?1")?
        .query_row([schema], |row| row.get(0))
        .optional()
}

/// `name` as an identifier; it must hold no NUL.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
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

/// Makes table, columns and view of `schema` as they must be. Its name must hold no NUL.
pub(super) fn prepare(connection: &Connection, schema: &Arc<Schema>) -> rusqlite::Result<Plan> {
    let (table, view) = names_of(connection, &schema.name)?;
    connection.execute_batch(&format!(
        "CREATE TABLE IF NOT EXISTS {} (
            stream TEXT NOT NULL, ts INTEGER NOT NULL, is_train BOOLEAN, fold INTEGER,
            source_ts INTEGER, PRIMARY KEY (stream, ts)
        ) WITHOUT ROWID",
        quoted(&table)
    ))?;
    let mut existing = columns_of(connection, &table)?;
    let mut columns = FIXED_COLUMNS.map(quoted).to_vec();
    let mut fields = Vec::with_capacity(schema.fields.len());
    for field in &schema.fields {
        let column = column_for(connection, schema, &field.name, field.kind, &mut existing)?;
        fields.push(column.map(|column| {
            columns.push(quoted(&column));
            columns.len()
        }));
    }
    ensure_view(connection, schema, &table, &view)?;
    Ok(Plan {
        schema: Arc::clone(schema),
        upsert: upsert(&table, &columns),
        fields,
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
    let mut taken = HashSet::new();
    let mut statement = connection.prepare(
        "SELECT name FROM sqlite_master
         UNION SELECT table_name FROM dunlin_schemas UNION SELECT view_name FROM dunlin_schemas",
    )?;
    for name in statement.query_map([], |row| row.get::<_, String>(0))? {
        taken.insert(name?.to_ascii_lowercase());
    }
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

/// The column of a field, chosen and created at its first sight; or why it cannot have one.
fn column_for(
    connection: &Connection,
    schema: &Schema,
    field: &str,
    kind: FieldType,
    existing: &mut HashSet<String>,
) -> rusqlite::Result<Result<String, String>> {
    if field.contains('\0') {
        return Ok(Err(format!("the field name {field:?} holds a NUL")));
    }
    let known: Option<(String, String)> = connection
        .prepare_cached(
            "SELECT column_name, type FROM dunlin_fields WHERE schema = ?1 AND field = ?2",
        )?
        .query_row([&schema.name, field], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let column = match known {
        Some((_, old)) if !fits(kind, &old) => {
            return Ok(Err(format!(
                "the field {field:?} is {kind}, but its column holds {old}; give one of them another name"
            )));
        }
        Some((column, _)) => column,
        None if existing.len() >= COLUMNS_MAX => {
            return Ok(Err(format!(
                "no room for the field {field:?}: the table has {COLUMNS_MAX} columns"
            )));
        }
        None => {
            let mut taken = existing.clone();
            let mut statement = connection
                .prepare_cached("SELECT column_name FROM dunlin_fields WHERE schema = ?1")?;
            for name in statement.query_map([&schema.name], |row| row.get::<_, String>(0))? {
                taken.insert(name?.to_ascii_lowercase());
            }
            let column = free_name(field, &taken);
            connection.execute(
                "INSERT INTO dunlin_fields (schema, field, column_name, type) VALUES (?1, ?2, ?3, ?4)",
                [&schema.name, field, &column, kind.name()],
            )?;
            column
        }
    };
    if existing.insert(column.to_ascii_lowercase()) {
        let table = table_of(connection, &schema.name)?.unwrap_or_default();
        connection.execute_batch(&format!(
            "ALTER TABLE {} ADD COLUMN {} {}",
            quoted(&table),
            quoted(&column),
            sql_type(kind)
        ))?;
    }
    Ok(Ok(column))
}

/// Whether values of type `kind` mean the same in a column made for values of type `old`.
fn fits(kind: FieldType, old: &str) -> bool {
    let float = |name| name == FieldType::F64.name() || name == FieldType::F32.name();
    match kind {
        FieldType::F64 | FieldType::F32 => float(old),
        FieldType::I64 => old == kind.name() || float(old),
        FieldType::Bool | FieldType::Text => old == kind.name(),
    }
}

const fn sql_type(kind: FieldType) -> &'static str {
    match kind {
        FieldType::F64 | FieldType::F32 => "REAL",
        FieldType::I64 => "INTEGER",
        FieldType::Bool => "BOOLEAN",
        FieldType::Text => "TEXT",
    }
}

/// `wish`, or the first of `wish_2`, `wish_3`, ... that `taken` (lower case) does not hold.
fn free_name(wish: &str, taken: &HashSet<String>) -> String {
    let wish = if wish.is_empty() { "unnamed" } else { wish };
    let others = (2u64..).map(|number| format!("{wish}_{number}"));
    std::iter::once(wish.to_owned())
        .chain(others)
        .find(|name| !taken.contains(&name.to_ascii_lowercase()))
        .unwrap_or_default()
}

fn columns_of(connection: &Connection, table: &str) -> rusqlite::Result<HashSet<String>> {
    let mut statement = connection.prepare("SELECT name FROM pragma_table_info(?1)")?;
    let names = statement.query_map([table], |row| row.get::<_, String>(0))?;
    names
        .map(|name| name.map(|name| name.to_ascii_lowercase()))
        .collect()
}

/// The view with a readable time and the tags as columns; made anew if the tags changed.
fn ensure_view(
    connection: &Connection,
    schema: &Schema,
    table: &str,
    view: &str,
) -> rusqlite::Result<()> {
    let mut sql = format!(
        "CREATE VIEW {} AS SELECT \
         strftime('%Y-%m-%dT%H:%M:%fZ', t.ts / 1000000000.0, 'unixepoch') AS time",
        quoted(view)
    );
    for tag in schema.tag_names.iter().filter(|tag| !tag.contains('\0')) {
        let _infallible = write!(
            sql,
            ", (SELECT value FROM json_each(s.tags) WHERE key = '{}') AS {}",
            tag.replace('\'', "''"),
            quoted(tag)
        );
    }
    let _infallible = write!(
        sql,
        ", t.* FROM {} AS t JOIN dunlin_streams AS s ON s.stream = t.stream",
        quoted(table)
    );
    let there: Option<String> = connection
        .query_row(
            "SELECT sql FROM sqlite_master WHERE type = 'view' AND name = ?1",
            [view],
            |row| row.get(0),
        )
        .optional()?;
    if there.as_deref() != Some(&sql) {
        connection.execute_batch(&format!("DROP VIEW IF EXISTS {}; {sql}", quoted(view)))?;
    }
    Ok(())
}
