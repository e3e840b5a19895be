//! Jobs as rows: put in line, looked at, opened again.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use crate::{
    centre::{
        blobs::BlobHash,
        job::{Attempt, Job, JobId, JobQuery, JobState, NewJob, Progress},
    },
    upstream::sqlite::turns::DbError,
};

/// Longest list.
const JOBS_MAX: usize = 10_000;

/// The columns that [`read`] reads; result and document, which a list is too long for, come behind them.
const COLUMNS: &str = "job, kind, labels, state, submitted_ms, attempts_begun, reason";

pub(super) fn submit(transaction: &Transaction<'_>, job: &NewJob, now: i64) -> Result<(), DbError> {
    let sql =
        "INSERT INTO dunlin_jobs (job, kind, document, labels, state, attempts_max, attempts_left,
                   attempts_begun, opened_ms, lease_ms, stalled_ms_max, time_ms_max, submitted_ms)
               VALUES (?1, ?2, ?3, ?4, 'open', ?5, ?5, 0, ?9, ?6, ?7, ?8, ?9)
               ON CONFLICT (job) DO NOTHING";
    transaction.prepare_cached(sql)?.execute(params![
        job.id.to_string(),
        job.kind,
        job.document,
        to_json(&job.labels),
        job.attempts_max.get(),
        job.lease_ms as i64,
        job.stalled_ms_max as i64,
        job.time_ms_max as i64,
        now,
    ])?;
    Ok(())
}

pub(super) fn retry(transaction: &Transaction<'_>, job: JobId, now: i64) -> Result<bool, DbError> {
    let sql = "UPDATE dunlin_jobs
               SET state = 'open', attempts_left = attempts_max, reason = NULL, opened_ms = ?2
               WHERE job = ?1 AND state IN ('failed', 'cancelled')";
    transaction.execute(sql, params![job.to_string(), now])?;
    let sql = "SELECT state = 'open' FROM dunlin_jobs WHERE job = ?1";
    let is_open = transaction.query_row(sql, [job.to_string()], |row| row.get(0));
    Ok(is_open.optional()?.unwrap_or(false))
}

/// One job, with its document and result.
pub(super) fn without_attempts(connection: &Connection, id: JobId) -> Result<Option<Job>, DbError> {
    let sql = format!("SELECT {COLUMNS}, result, document FROM dunlin_jobs WHERE job = ?1");
    let mut statement = connection.prepare_cached(&sql)?;
    let found = statement.query_row([id.to_string()], |row| {
        let mut job = read(row)?;
        job.result = row.get(7)?;
        job.document = row.get(8)?;
        Ok(job)
    });
    Ok(found.optional()?)
}

pub(super) fn job(connection: &Connection, id: JobId) -> Result<Option<Job>, DbError> {
    let Some(mut job) = without_attempts(connection, id)? else {
        return Ok(None);
    };
    let sql =
        "SELECT attempt, builder, begun_ms, ended_ms, expires_ms, steps, checkpoint, ending, reason
               FROM dunlin_attempts WHERE job = ?1 ORDER BY attempt";
    let mut statement = connection.prepare_cached(sql)?;
    let attempts = statement.query_map([id.to_string()], |row| {
        let progress = Progress {
            steps: row.get::<_, i64>(5)? as u64,
            checkpoint: row.get::<_, Option<[u8; 32]>>(6)?.map(BlobHash),
        };
        Ok(Attempt {
            number: row.get(0)?,
            builder: row.get(1)?,
            begun_ms: row.get(2)?,
            ended_ms: row.get(3)?,
            expires_ms: row.get(4)?,
            progress,
            ending: row.get(7)?,
            reason: row.get(8)?,
        })
    })?;
    job.attempts = attempts.collect::<Result<_, _>>()?;
    Ok(Some(job))
}

pub(super) fn jobs(connection: &Connection, query: &JobQuery) -> Result<Vec<Job>, DbError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM dunlin_jobs
         WHERE (?1 IS NULL OR state = ?1) AND (?2 IS NULL OR kind = ?2)
         ORDER BY number DESC LIMIT ?3"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let found = statement.query_map(
        params![
            query.state.map(JobState::as_str),
            query.kind,
            query.most.min(JOBS_MAX) as i64
        ],
        read,
    )?;
    Ok(found.collect::<Result<_, _>>()?)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Job> {
    Ok(Job {
        id: parsed(row, 0)?,
        kind: row.get(1)?,
        document: Vec::new(),
        labels: from_json(row, 2)?,
        state: parsed(row, 3)?,
        submitted_ms: row.get(4)?,
        attempts_begun: row.get(5)?,
        result: None,
        reason: row.get(6)?,
        attempts: Vec::new(),
    })
}

pub(super) fn to_json(labels: &BTreeMap<String, String>) -> String {
    // Texts under texts are JSON whatever they hold.
    serde_json::to_string(labels).unwrap_or_else(|_| "{}".into())
}

fn from_json(row: &Row<'_>, column: usize) -> rusqlite::Result<BTreeMap<String, String>> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| unreadable(column, error))
}

fn parsed<T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>>(
    row: &Row<'_>,
    column: usize,
) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    text.parse().map_err(|error| unreadable(column, error))
}

fn unreadable(
    column: usize,
    error: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    let kind = rusqlite::types::Type::Text;
    rusqlite::Error::FromSqlConversionFailure(column, kind, Box::new(error))
}
