//! Rows of the upstream's tables in the same file.

use rusqlite::{Connection, OptionalExtension, params, types::ValueRef};

use crate::{
    centre::{
        rows::{RowsQuery, STREAMS_AT_ONCE_MAX, StoredStream},
        tables::{Reading, Tables, select},
    },
    rows::Rows,
    sample::{FieldType, Value},
    upstream::sqlite::{choice, turns::DbError},
};

/// Whether a device has ever uploaded to this file.
fn has_books(connection: &Connection) -> rusqlite::Result<bool> {
    let sql = "SELECT count(*) FROM sqlite_schema WHERE name = 'dunlin_streams'";
    Ok(connection.query_row(sql, [], |row| row.get::<_, i64>(0))? > 0)
}

pub(super) fn streams(
    connection: &Connection,
    after: &str,
    most: usize,
) -> Result<Vec<String>, DbError> {
    if !has_books(connection)? {
        return Ok(Vec::new());
    }
    let sql = "SELECT stream FROM dunlin_streams WHERE stream > ?1 ORDER BY stream LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let most = most.min(STREAMS_AT_ONCE_MAX) as i64;
    let names = statement.query_map(params![after, most], |row| row.get(0))?;
    Ok(names.collect::<Result<_, _>>()?)
}

pub(super) fn stream(connection: &Connection, name: &str) -> Result<Option<StoredStream>, DbError> {
    if !has_books(connection)? {
        return Ok(None);
    }
    let sql = "SELECT schema, device, tags FROM dunlin_streams WHERE stream = ?1";
    let found = connection.query_row(sql, [name], |row| {
        let (schema, device): (String, String) = (row.get(0)?, row.get(1)?);
        Ok((schema, device, row.get::<_, String>(2)?))
    });
    let Some((schema, device, tags)) = found.optional()? else {
        return Ok(None);
    };
    let tables = tables(connection, &schema)?;
    Ok(Some(StoredStream {
        name: name.to_owned(),
        schema,
        device,
        tags: serde_json::from_str(&tags)
            .map_err(|error| DbError::Refused(format!("tags of {name:?}: {error}")))?,
        fields: tables.fields.into_iter().map(|place| place.field).collect(),
    }))
}

pub(super) fn rows(connection: &Connection, query: &RowsQuery) -> Result<Rows, DbError> {
    let Some(stream) = stream(connection, &query.stream)? else {
        return Ok(Rows::default());
    };
    let tables = tables(connection, &stream.schema)?;
    let places = tables.places(&query.fields).map_err(DbError::Refused)?;
    if tables.names.is_empty() {
        return Ok(Rows::default());
    }
    let sql = select(&tables, &places, query, |_, column| column.to_owned());
    let mut statement = connection.prepare_cached(&sql)?;
    let (from, to) = (query.range.from.0, query.range.to.0);
    let mut found = statement.query(params![query.stream, from, to])?;
    let mut reading = Reading::of(&places);
    while let Some(row) = found.next()? {
        reading.row(row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        for (at, place) in places.iter().enumerate() {
            reading.value(at, value(place.field.kind, row.get_ref(4 + at)?));
        }
    }
    Ok(reading.done())
}

fn tables(connection: &Connection, schema: &str) -> rusqlite::Result<Tables> {
    let sql = "SELECT field, column_name, type FROM dunlin_fields WHERE schema = ?1 ORDER BY field";
    let mut statement = connection.prepare_cached(sql)?;
    let fields =
        statement.query_map([schema], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let fields: Vec<_> = fields.collect::<Result<_, _>>()?;
    let tables = choice::tables_of(connection, schema)?;
    // As `SQLite` compares names.
    Ok(Tables::new(&tables, fields, str::eq_ignore_ascii_case))
}

fn value(kind: FieldType, found: ValueRef<'_>) -> Option<Value> {
    Some(match (kind, found) {
        (FieldType::F64, ValueRef::Real(number)) => Value::F64(number),
        (FieldType::F64, ValueRef::Integer(number)) => Value::F64(number as f64),
        (FieldType::F32, ValueRef::Real(number)) => Value::F32(number as f32),
        (FieldType::F32, ValueRef::Integer(number)) => Value::F32(number as f32),
        (FieldType::I64, ValueRef::Integer(number)) => Value::I64(number),
        (FieldType::Bool, ValueRef::Integer(number)) => Value::Bool(number != 0),
        (FieldType::Text, ValueRef::Text(text)) => {
            Value::Text(std::str::from_utf8(text).ok()?.into())
        }
        _ => return None,
    })
}
