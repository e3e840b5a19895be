//! Documents as rows, in the order of their serials.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use crate::{
    centre::{Document, Published},
    upstream::sqlite::turns::DbError,
};

pub(super) fn publish(
    transaction: &Transaction<'_>,
    channel: &str,
    document: &Document,
) -> Result<Published, DbError> {
    if let Some(newest) = newest(transaction, channel)?
        && newest.serial >= document.serial
    {
        let sql = "SELECT bytes = ?3 FROM dunlin_documents WHERE channel = ?1 AND serial = ?2";
        let asked = params![channel, document.serial as i64, document.bytes];
        let same = transaction.query_row(sql, asked, |row| row.get(0));
        return Ok(if same.optional()?.unwrap_or(false) {
            Published::Accepted
        } else {
            Published::Stale {
                newest: newest.serial,
            }
        });
    }
    let sql = "INSERT INTO dunlin_documents (channel, serial, bytes) VALUES (?1, ?2, ?3)";
    transaction.execute(
        sql,
        params![channel, document.serial as i64, document.bytes],
    )?;
    Ok(Published::Accepted)
}

pub(super) fn follow(
    connection: &Connection,
    channel: &str,
    after: u64,
) -> Result<Option<Document>, DbError> {
    let Ok(after) = i64::try_from(after) else {
        return Ok(None);
    };
    let sql = "SELECT serial, bytes FROM dunlin_documents
               WHERE channel = ?1 AND serial > ?2 ORDER BY serial LIMIT 1";
    let mut statement = connection.prepare_cached(sql)?;
    Ok(statement
        .query_row(params![channel, after], read)
        .optional()?)
}

pub(super) fn newest(connection: &Connection, channel: &str) -> Result<Option<Document>, DbError> {
    let sql = "SELECT serial, bytes FROM dunlin_documents
               WHERE channel = ?1 ORDER BY serial DESC LIMIT 1";
    let mut statement = connection.prepare_cached(sql)?;
    Ok(statement.query_row([channel], read).optional()?)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Document> {
    Ok(Document {
        serial: row.get::<_, i64>(0)? as u64,
        bytes: row.get(1)?,
    })
}
