//! Documents as rows, in the order of their serials.

use tokio_postgres::types::Type;

use super::Done;
use crate::{
    centre::{Document, Published},
    upstream::postgres::connection::{Connection, Parameter},
};

pub(super) async fn publish(
    connection: &Connection,
    channel: &str,
    document: &Document,
) -> Done<Published> {
    // One at a time in each channel: what is above the newest is not known before the others are done.
    let sql = "SELECT pg_advisory_xact_lock(hashtextextended('dunlin_documents/' || $1, 0))";
    connection.query(sql, &[(&channel, Type::TEXT)]).await?;
    if let Some(newest) = newest(connection, channel).await?
        && newest.serial >= document.serial
    {
        let same = at(connection, channel, document.serial).await?;
        return Ok(if same.as_ref() == Some(document) {
            Published::Accepted
        } else {
            Published::Stale {
                newest: newest.serial,
            }
        });
    }
    let sql = "INSERT INTO dunlin_documents (channel, serial, bytes) VALUES ($1, $2, $3)";
    let serial = document.serial as i64;
    let parameters = [
        (&channel as _, Type::TEXT),
        (&serial as _, Type::INT8),
        (&document.bytes as _, Type::BYTEA),
    ];
    connection.execute(sql, &parameters).await?;
    Ok(Published::Accepted)
}

pub(super) async fn follow(
    connection: &Connection,
    channel: &str,
    after: u64,
) -> Done<Option<Document>> {
    let Ok(after) = i64::try_from(after) else {
        return Ok(None);
    };
    let sql = "SELECT serial, bytes FROM dunlin_documents
               WHERE channel = $1 AND serial > $2 ORDER BY serial LIMIT 1";
    first(
        connection,
        sql,
        &[(&channel, Type::TEXT), (&after, Type::INT8)],
    )
    .await
}

pub(super) async fn newest(connection: &Connection, channel: &str) -> Done<Option<Document>> {
    let sql = "SELECT serial, bytes FROM dunlin_documents WHERE channel = $1 ORDER BY serial DESC LIMIT 1";
    first(connection, sql, &[(&channel, Type::TEXT)]).await
}

async fn at(connection: &Connection, channel: &str, serial: u64) -> Done<Option<Document>> {
    let sql = "SELECT serial, bytes FROM dunlin_documents WHERE channel = $1 AND serial = $2";
    let serial = serial as i64;
    first(
        connection,
        sql,
        &[(&channel, Type::TEXT), (&serial, Type::INT8)],
    )
    .await
}

async fn first(
    connection: &Connection,
    sql: &str,
    parameters: &[Parameter<'_>],
) -> Done<Option<Document>> {
    let rows = connection.query(sql, parameters).await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    Ok(Some(Document {
        serial: Connection::get::<i64>(row, 0)? as u64,
        bytes: Connection::get(row, 1)?,
    }))
}
