//! Blobs as rows, a chunk each.

use tokio_postgres::types::Type;

use super::{Done, refused};
use crate::{
    centre::blobs::{BlobHash, BlobState, CHUNK_BYTES, CHUNKS_AT_ONCE},
    upstream::postgres::connection::Connection,
};

pub(super) async fn state(connection: &Connection, hash: BlobHash) -> Done<BlobState> {
    let sql = "SELECT (SELECT bytes FROM dunlin_blobs WHERE hash = $1),
                   (SELECT coalesce(max(number) + 1, 0) FROM dunlin_chunks WHERE hash = $1)";
    let rows = connection
        .query(sql, &[(&&hash.0[..], Type::BYTEA)])
        .await?;
    let Some(row) = rows.first() else {
        return Ok(BlobState::Partial { chunks: 0 });
    };
    Ok(match Connection::get::<Option<i64>>(row, 0)? {
        Some(bytes) => BlobState::Whole {
            bytes: bytes as u64,
        },
        // They are stored without a gap.
        None => BlobState::Partial {
            chunks: Connection::get::<i64>(row, 1)? as u64,
        },
    })
}

pub(super) async fn put(
    connection: &Connection,
    hash: BlobHash,
    first: u64,
    chunks: &[Vec<u8>],
) -> Done<u64> {
    lock(connection, hash).await?;
    let there = match state(connection, hash).await? {
        BlobState::Whole { bytes } => return Ok(bytes.div_ceil(CHUNK_BYTES as u64)),
        BlobState::Partial { chunks } => chunks,
    };
    if first > there {
        return Ok(there);
    }
    let numbers: Vec<i64> = (first as i64..).take(chunks.len()).collect();
    let sql = "INSERT INTO dunlin_chunks (hash, number, bytes)
               SELECT $1, * FROM unnest($2, $3) ON CONFLICT DO NOTHING";
    let parameters = [
        (&&hash.0[..] as _, Type::BYTEA),
        (&numbers as _, Type::INT8_ARRAY),
        (&chunks as _, Type::BYTEA_ARRAY),
    ];
    connection.execute(sql, &parameters).await?;
    Ok(there.max(first + chunks.len() as u64))
}

/// Nobody else changes the blob until the transaction is over.
async fn lock(connection: &Connection, hash: BlobHash) -> Done<()> {
    let name = format!("dunlin_blobs/{hash}");
    let sql = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";
    connection.query(sql, &[(&name, Type::TEXT)]).await?;
    Ok(())
}

pub(super) async fn seal(connection: &Connection, hash: BlobHash, bytes: u64) -> Done<()> {
    lock(connection, hash).await?;
    let sql = "SELECT coalesce(sum(length(bytes)), 0)::bigint FROM dunlin_chunks WHERE hash = $1";
    let rows = connection
        .query(sql, &[(&&hash.0[..], Type::BYTEA)])
        .await?;
    let there: i64 = rows.first().map_or(Ok(0), |row| Connection::get(row, 0))?;
    if there as u64 != bytes {
        return Err(refused(format!(
            "{there} bytes of a blob of {bytes} are there; put it again"
        )));
    }
    let sql = "INSERT INTO dunlin_blobs (hash, bytes) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    let parameters = [(&&hash.0[..] as _, Type::BYTEA), (&there as _, Type::INT8)];
    connection.execute(sql, &parameters).await?;
    Ok(())
}

pub(super) async fn chunks(
    connection: &Connection,
    hash: BlobHash,
    first: u64,
    most: usize,
) -> Done<Vec<Vec<u8>>> {
    let sql =
        "SELECT bytes FROM dunlin_chunks WHERE hash = $1 AND number >= $2 ORDER BY number LIMIT $3";
    let Ok(first) = i64::try_from(first) else {
        return Ok(Vec::new());
    };
    let most = most.min(CHUNKS_AT_ONCE) as i64;
    let parameters = [
        (&&hash.0[..] as _, Type::BYTEA),
        (&first as _, Type::INT8),
        (&most as _, Type::INT8),
    ];
    let rows = connection.query(sql, &parameters).await?;
    rows.iter().map(|row| Connection::get(row, 0)).collect()
}

pub(super) async fn remove_partial(connection: &Connection, hash: BlobHash) -> Done<()> {
    lock(connection, hash).await?;
    match state(connection, hash).await? {
        BlobState::Whole { .. } => Ok(()),
        BlobState::Partial { .. } => remove_all(connection, hash).await,
    }
}

pub(super) async fn remove(connection: &Connection, hash: BlobHash) -> Done<()> {
    lock(connection, hash).await?;
    remove_all(connection, hash).await
}

async fn remove_all(connection: &Connection, hash: BlobHash) -> Done<()> {
    for table in ["dunlin_blobs", "dunlin_chunks"] {
        let sql = format!("DELETE FROM {table} WHERE hash = $1");
        connection
            .execute(&sql, &[(&&hash.0[..], Type::BYTEA)])
            .await?;
    }
    Ok(())
}
