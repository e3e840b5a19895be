//! The tables about the tables: made once, with the version of their format.

use std::time::Duration;

use tokio_postgres::types::Type;

use super::{
    connection::{Connection, Failure},
    locks,
    names::quoted,
    state::BOOKS,
};

/// Version of the bookkeeping tables.
const FORMAT: i32 = 1;
/// Held by whoever changes tables, until its transaction ends: one device at a time. Ours by its first bytes,
/// "dunlin".
const LOCK: i64 = 0x6475_6e6c_696e_0001;

/// Begins a transaction in which nobody else changes tables of ours.
pub(super) fn begin_changes(timeout: Duration) -> String {
    let (begin, change) = (locks::begin_patiently(timeout), locks::change_soon(timeout));
    format!("{begin}; SELECT pg_advisory_xact_lock({LOCK}); {change}")
}

/// What is there of the books.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Books {
    /// Identifies them among those that may replace them; 0: there are none.
    pub(super) oid: u32,
    pub(super) are_whole: bool,
}

/// Looks for the books in `namespace`.
///
/// # Errors
/// [`Failure::Refused`] also where a newer version has made them.
pub(super) async fn find(connection: &Connection, namespace: &str) -> Result<Books, Failure> {
    let names: Vec<&str> = BOOKS.to_vec();
    let rows = connection
        .query(
            "SELECT count(*), coalesce(max(c.oid) FILTER (WHERE relname = 'dunlin_streams'), 0),
                    count(*) FILTER (WHERE relname = 'dunlin_format')
             FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
             WHERE n.nspname = $1 AND c.relname = ANY($2)",
            &[(&namespace, Type::TEXT), (&names, Type::TEXT_ARRAY)],
        )
        .await?;
    let (mut count, mut oid, mut formats) = (0i64, 0u32, 0i64);
    if let Some(row) = rows.first() {
        count = Connection::get(row, 0)?;
        oid = Connection::get(row, 1)?;
        formats = Connection::get(row, 2)?;
    }
    let mut has_format = false;
    if formats > 0 {
        let sql = format!(
            "SELECT max(format) FROM {}.dunlin_format",
            quoted(namespace)
        );
        for row in &connection.query(&sql, &[]).await? {
            let format: Option<i32> = Connection::get(row, 0)?;
            if let Some(other) = format.filter(|format| *format > FORMAT) {
                return Err(Failure::Refused {
                    code: "0A000".into(),
                    words: format!(
                        "format {other} of the tables in schema {namespace}, this version writes format \
                         {FORMAT}; name another database"
                    ),
                });
            }
            has_format = format.is_some();
        }
    }
    Ok(Books {
        oid,
        are_whole: count == BOOKS.len() as i64 && has_format,
    })
}

/// Makes what is missing of the books; what is there then.
pub(super) async fn keep(connection: &Connection, namespace: &str) -> Result<Books, Failure> {
    let found = find(connection, namespace).await?;
    if found.are_whole {
        return Ok(found);
    }
    let space = quoted(namespace);
    let sql = format!(
        "{begin};
         CREATE TABLE IF NOT EXISTS {space}.dunlin_format (format integer NOT NULL PRIMARY KEY);
         CREATE TABLE IF NOT EXISTS {space}.dunlin_schemas (
             schema text COLLATE \"C\" NOT NULL PRIMARY KEY, table_name text NOT NULL,
             view_name text NOT NULL, tags text[] NOT NULL
         );
         CREATE TABLE IF NOT EXISTS {space}.dunlin_parts (
             schema text COLLATE \"C\" NOT NULL, number bigint NOT NULL, table_name text NOT NULL,
             view_name text NOT NULL, PRIMARY KEY (schema, number)
         );
         CREATE TABLE IF NOT EXISTS {space}.dunlin_fields (
             schema text COLLATE \"C\" NOT NULL, field text COLLATE \"C\" NOT NULL,
             column_name text NOT NULL, type text NOT NULL, second_of text, unit text, name text,
             since bigint, PRIMARY KEY (schema, field)
         );
         CREATE TABLE IF NOT EXISTS {space}.dunlin_streams (
             stream text COLLATE \"C\" NOT NULL PRIMARY KEY, schema text NOT NULL, device text NOT NULL,
             tags jsonb NOT NULL
         );
         INSERT INTO {space}.dunlin_format VALUES ({FORMAT}) ON CONFLICT DO NOTHING;
         COMMIT",
        begin = begin_changes(connection.timeout())
    );
    if let Err(failure) = connection.batch(&sql).await {
        if !matches!(failure, Failure::Broken(_)) {
            connection.batch("ROLLBACK").await?;
        }
        return Err(failure);
    }
    find(connection, namespace).await
}
