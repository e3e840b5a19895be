//! Blobs as rows, a chunk each.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::{
    centre::blobs::{BlobHash, BlobState, CHUNK_BYTES, CHUNKS_AT_ONCE},
    upstream::sqlite::turns::DbError,
};

pub(super) fn state(connection: &Connection, hash: BlobHash) -> Result<BlobState, DbError> {
    let sql = "SELECT bytes FROM dunlin_blobs WHERE hash = ?1";
    let whole = connection.query_row(sql, [hash.0], |row| row.get::<_, i64>(0));
    Ok(match whole.optional()? {
        Some(bytes) => BlobState::Whole {
            bytes: bytes as u64,
        },
        None => BlobState::Partial {
            chunks: chunks_there(connection, hash)?,
        },
    })
}

/// They are stored without a gap.
fn chunks_there(connection: &Connection, hash: BlobHash) -> rusqlite::Result<u64> {
    let sql = "SELECT coalesce(max(number) + 1, 0) FROM dunlin_chunks WHERE hash = ?1";
    let chunks: i64 = connection.query_row(sql, [hash.0], |row| row.get(0))?;
    Ok(chunks as u64)
}

pub(super) fn put(
    transaction: &Transaction<'_>,
    hash: BlobHash,
    first: u64,
    chunks: &[Vec<u8>],
) -> Result<u64, DbError> {
    let there = match state(transaction, hash)? {
        BlobState::Whole { bytes } => return Ok(bytes.div_ceil(CHUNK_BYTES as u64)),
        BlobState::Partial { chunks } => chunks,
    };
    if first > there {
        return Ok(there);
    }
    let sql = "INSERT INTO dunlin_chunks (hash, number, bytes) VALUES (?1, ?2, ?3)
               ON CONFLICT (hash, number) DO NOTHING";
    let mut statement = transaction.prepare_cached(sql)?;
    for (number, chunk) in (first..).zip(chunks) {
        statement.execute(params![hash.0, number as i64, chunk])?;
    }
    Ok(chunks_there(transaction, hash)?)
}

pub(super) fn seal(
    transaction: &Transaction<'_>,
    hash: BlobHash,
    bytes: u64,
) -> Result<(), DbError> {
    let sql = "SELECT coalesce(sum(length(bytes)), 0) FROM dunlin_chunks WHERE hash = ?1";
    let there: i64 = transaction.query_row(sql, [hash.0], |row| row.get(0))?;
    if there as u64 != bytes {
        return Err(DbError::Refused(format!(
            "{there} bytes of a blob of {bytes} are there; put it again"
        )));
    }
    let sql =
        "INSERT INTO dunlin_blobs (hash, bytes) VALUES (?1, ?2) ON CONFLICT (hash) DO NOTHING";
    transaction.execute(sql, params![hash.0, there])?;
    Ok(())
}

pub(super) fn chunks(
    connection: &Connection,
    hash: BlobHash,
    first: u64,
    most: usize,
) -> Result<Vec<Vec<u8>>, DbError> {
    let sql =
        "SELECT bytes FROM dunlin_chunks WHERE hash = ?1 AND number >= ?2 ORDER BY number LIMIT ?3";
    let Ok(first) = i64::try_from(first) else {
        return Ok(Vec::new());
    };
    let mut statement = connection.prepare_cached(sql)?;
    let most = most.min(CHUNKS_AT_ONCE) as i64;
    let found = statement.query_map(params![hash.0, first, most], |row| row.get(0))?;
    Ok(found.collect::<Result<_, _>>()?)
}

pub(super) fn remove_partial(transaction: &Transaction<'_>, hash: BlobHash) -> Result<(), DbError> {
    let sql =
        "DELETE FROM dunlin_chunks WHERE hash = ?1 AND hash NOT IN (SELECT hash FROM dunlin_blobs)";
    transaction.execute(sql, [hash.0])?;
    Ok(())
}

pub(super) fn remove(transaction: &Transaction<'_>, hash: BlobHash) -> Result<(), DbError> {
    transaction.execute("DELETE FROM dunlin_blobs WHERE hash = ?1", [hash.0])?;
    transaction.execute("DELETE FROM dunlin_chunks WHERE hash = ?1", [hash.0])?;
    Ok(())
}
