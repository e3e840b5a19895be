//! Rows of the upstream's tables in the same database.

use std::collections::BTreeMap;

use tokio_postgres::{Row, types::Type};

use super::{Done, refused};
use crate::{
    centre::{
        rows::{RowsQuery, STREAMS_AT_ONCE_MAX, StoredStream},
        tables::{Reading, Tables, select},
    },
    rows::Rows,
    sample::{FieldType, Value},
    upstream::postgres::connection::Connection,
};

/// Whether a device has ever uploaded to this database.
async fn has_books(connection: &Connection) -> Done<bool> {
    let sql = "SELECT WHERE to_regclass('dunlin_streams') IS NOT NULL
                   AND to_regclass('dunlin_parts') IS NOT NULL";
    Ok(!connection.query(sql, &[]).await?.is_empty())
}

pub(super) async fn streams(
    connection: &Connection,
    after: &str,
    most: usize,
) -> Done<Vec<String>> {
    if !has_books(connection).await? {
        return Ok(Vec::new());
    }
    let sql = "SELECT stream FROM dunlin_streams WHERE stream > $1 ORDER BY stream LIMIT $2";
    let most = most.min(STREAMS_AT_ONCE_MAX) as i64;
    let rows = connection
        .query(sql, &[(&after, Type::TEXT), (&most, Type::INT8)])
        .await?;
    rows.iter().map(|row| Connection::get(row, 0)).collect()
}

pub(super) async fn stream(connection: &Connection, name: &str) -> Done<Option<StoredStream>> {
    if !has_books(connection).await? {
        return Ok(None);
    }
    let sql = "SELECT schema, device, tags::text FROM dunlin_streams WHERE stream = $1";
    let rows = connection.query(sql, &[(&name, Type::TEXT)]).await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let schema: String = Connection::get(row, 0)?;
    let tags: BTreeMap<String, String> = serde_json::from_str(Connection::get(row, 2)?)
        .map_err(|error| refused(format!("tags of {name:?}: {error}")))?;
    let tables = tables(connection, &schema).await?;
    Ok(Some(StoredStream {
        name: name.to_owned(),
        schema,
        device: Connection::get(row, 1)?,
        tags,
        fields: tables.fields.into_iter().map(|place| place.field).collect(),
    }))
}

pub(super) async fn rows(connection: &Connection, query: &RowsQuery) -> Done<Rows> {
    let Some(stream) = stream(connection, &query.stream).await? else {
        return Ok(Rows::default());
    };
    let tables = tables(connection, &stream.schema).await?;
    let places = tables.places(&query.fields).map_err(refused)?;
    if tables.names.is_empty() {
        return Ok(Rows::default());
    }
    // Whatever type somebody may have given the column.
    let sql = select(&tables, &places, query, |kind, column| {
        format!("{column}::{}", server_type(kind))
    });
    let parameters = [
        (&query.stream as _, Type::TEXT),
        (&query.range.from.0 as _, Type::INT8),
        (&query.range.to.0 as _, Type::INT8),
    ];
    let mut reading = Reading::of(&places);
    for row in &connection.query(&sql, &parameters).await? {
        let fold = Connection::get::<Option<i16>>(row, 2)?;
        reading.row(
            Connection::get(row, 0)?,
            Connection::get(row, 1)?,
            fold.and_then(|fold| u8::try_from(fold).ok()),
            Connection::get(row, 3)?,
        );
        for (at, place) in places.iter().enumerate() {
            reading.value(at, value(row, 4 + at, place.field.kind)?);
        }
    }
    Ok(reading.done())
}

/// What a schema has become; its names are those of the books, in the order of the tables.
async fn tables(connection: &Connection, schema: &str) -> Done<Tables> {
    let sql = "SELECT n.name, coalesce(array_agg(a.attname::text) FILTER (WHERE a.attname IS NOT NULL), '{}')
               FROM (SELECT 0::bigint AS number, table_name AS name FROM dunlin_schemas WHERE schema = $1
                     UNION ALL SELECT number, table_name FROM dunlin_parts WHERE schema = $1) AS n
               LEFT JOIN pg_class AS c ON c.relname = n.name AND c.relnamespace = current_schema()::regnamespace
               LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
               GROUP BY n.number, n.name ORDER BY n.number";
    let rows = connection.query(sql, &[(&schema, Type::TEXT)]).await?;
    let tables = rows
        .iter()
        .map(|row| Ok((Connection::get(row, 0)?, Connection::get(row, 1)?)));
    let tables: Vec<(String, Vec<String>)> = tables.collect::<Done<_>>()?;
    let sql = "SELECT field, column_name, type FROM dunlin_fields WHERE schema = $1 ORDER BY field";
    let rows = connection.query(sql, &[(&schema, Type::TEXT)]).await?;
    let fields = rows.iter().map(|row| {
        Ok((
            Connection::get(row, 0)?,
            Connection::get(row, 1)?,
            Connection::get(row, 2)?,
        ))
    });
    Ok(Tables::new(
        &tables,
        fields.collect::<Done<_>>()?,
        |a, b| a == b,
    ))
}

const fn server_type(kind: FieldType) -> &'static str {
    match kind {
        FieldType::F64 => "float8",
        FieldType::F32 => "float4",
        FieldType::I64 => "int8",
        FieldType::Bool => "bool",
        FieldType::Text => "text",
    }
}

fn value(row: &Row, at: usize, kind: FieldType) -> Done<Option<Value>> {
    Ok(match kind {
        FieldType::F64 => Connection::get::<Option<f64>>(row, at)?.map(Value::F64),
        FieldType::F32 => Connection::get::<Option<f32>>(row, at)?.map(Value::F32),
        FieldType::I64 => Connection::get::<Option<i64>>(row, at)?.map(Value::I64),
        FieldType::Bool => Connection::get::<Option<bool>>(row, at)?.map(Value::Bool),
        FieldType::Text => {
            Connection::get::<Option<String>>(row, at)?.map(|text| Value::Text(text.into()))
        }
    })
}
