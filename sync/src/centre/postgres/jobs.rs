//! Jobs as rows: put in line, looked at, opened again.

use std::collections::BTreeMap;

use tokio_postgres::{Row, types::Type};

use super::{Done, NOW_MS, refused};
use crate::{
    centre::{
        CentreError,
        blobs::BlobHash,
        job::{Attempt, Job, JobId, JobQuery, JobState, NewJob, Progress},
    },
    upstream::postgres::connection::{Connection, Failure},
};

/// Longest list.
const JOBS_MAX: usize = 10_000;

/// The columns that [`read`] reads; result and document, which a list is too long for, come behind them.
const COLUMNS: &str = "job::text, kind, labels::text, state, submitted_ms, attempts_begun, reason";

pub(super) async fn submit(connection: &Connection, job: &NewJob) -> Done<()> {
    let sql = format!(
        "INSERT INTO dunlin_jobs (job, kind, document, labels, state, attempts_max, attempts_left,
             attempts_begun, opened_ms, lease_ms, stalled_ms_max, time_ms_max, submitted_ms)
         VALUES ($1::text::uuid, $2, $3, $4::text::jsonb, 'open', $5, $5, 0, {NOW_MS}, $6, $7, $8, {NOW_MS})
         ON CONFLICT (job) DO NOTHING"
    );
    let attempts_max = job.attempts_max.get() as i32;
    let ms = [job.lease_ms, job.stalled_ms_max, job.time_ms_max].map(|ms| ms as i64);
    let parameters = [
        (&job.id.to_string() as _, Type::TEXT),
        (&job.kind as _, Type::TEXT),
        (&job.document as _, Type::BYTEA),
        (&to_json(&job.labels) as _, Type::TEXT),
        (&attempts_max as _, Type::INT4),
        (&ms[0] as _, Type::INT8),
        (&ms[1] as _, Type::INT8),
        (&ms[2] as _, Type::INT8),
    ];
    connection.execute(&sql, &parameters).await?;
    Ok(())
}

pub(super) async fn retry(connection: &Connection, job: JobId) -> Done<bool> {
    let id = job.to_string();
    let sql = format!(
        "UPDATE dunlin_jobs
         SET state = 'open', attempts_left = attempts_max, reason = NULL, opened_ms = {NOW_MS}
         WHERE job = $1::text::uuid AND state IN ('failed', 'cancelled')"
    );
    connection.execute(&sql, &[(&id, Type::TEXT)]).await?;
    is_in_state(connection, job, JobState::Open).await
}

pub(super) async fn is_in_state(
    connection: &Connection,
    job: JobId,
    state: JobState,
) -> Done<bool> {
    let sql = "SELECT state FROM dunlin_jobs WHERE job = $1::text::uuid";
    let rows = connection
        .query(sql, &[(&job.to_string(), Type::TEXT)])
        .await?;
    let Some(row) = rows.first() else {
        return Ok(false);
    };
    Ok(Connection::get::<&str>(row, 0)? == state.as_str())
}

/// One job, with its document and result.
pub(super) async fn without_attempts(connection: &Connection, id: JobId) -> Done<Option<Job>> {
    let name = id.to_string();
    let sql =
        format!("SELECT {COLUMNS}, result, document FROM dunlin_jobs WHERE job = $1::text::uuid");
    let rows = connection.query(&sql, &[(&name, Type::TEXT)]).await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let mut job = read(row)?;
    job.result = Connection::get(row, 7)?;
    job.document = Connection::get(row, 8)?;
    Ok(Some(job))
}

pub(super) async fn job(connection: &Connection, id: JobId) -> Done<Option<Job>> {
    let name = id.to_string();
    let Some(mut job) = without_attempts(connection, id).await? else {
        return Ok(None);
    };
    let sql =
        "SELECT attempt, builder, begun_ms, ended_ms, expires_ms, steps, checkpoint, ending, reason
               FROM dunlin_attempts WHERE job = $1::text::uuid ORDER BY attempt";
    for row in connection.query(sql, &[(&name, Type::TEXT)]).await? {
        let checkpoint: Option<&[u8]> = Connection::get(&row, 6)?;
        let progress = Progress {
            steps: Connection::get::<i64>(&row, 5)? as u64,
            checkpoint: checkpoint.map(hash_of).transpose()?,
        };
        job.attempts.push(Attempt {
            number: Connection::get::<i32>(&row, 0)? as u32,
            builder: Connection::get(&row, 1)?,
            begun_ms: Connection::get(&row, 2)?,
            ended_ms: Connection::get(&row, 3)?,
            expires_ms: Connection::get(&row, 4)?,
            progress,
            ending: Connection::get(&row, 7)?,
            reason: Connection::get(&row, 8)?,
        });
    }
    Ok(Some(job))
}

pub(super) fn hash_of(bytes: &[u8]) -> Done<BlobHash> {
    let hash = bytes.try_into().map(BlobHash);
    hash.map_err(|_| refused(format!("a checkpoint's name has {} bytes", bytes.len())))
}

pub(super) async fn jobs(connection: &Connection, query: &JobQuery) -> Done<Vec<Job>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM dunlin_jobs
         WHERE ($1::text IS NULL OR state = $1) AND ($2::text IS NULL OR kind = $2)
         ORDER BY number DESC LIMIT $3"
    );
    let state = query.state.map(JobState::as_str);
    let most = query.most.min(JOBS_MAX) as i64;
    let parameters = [
        (&state as _, Type::TEXT),
        (&query.kind as _, Type::TEXT),
        (&most as _, Type::INT8),
    ];
    let rows = connection.query(&sql, &parameters).await?;
    rows.iter().map(read).collect()
}

fn read(row: &Row) -> Done<Job> {
    let (id, labels): (&str, &str) = (Connection::get(row, 0)?, Connection::get(row, 2)?);
    let state: &str = Connection::get(row, 3)?;
    Ok(Job {
        id: id_of(id)?,
        kind: Connection::get(row, 1)?,
        document: Vec::new(),
        labels: serde_json::from_str(labels).map_err(|error| refused(error.to_string()))?,
        state: state.parse().map_err(|error| unreadable(&error))?,
        submitted_ms: Connection::get(row, 4)?,
        attempts_begun: Connection::get::<i32>(row, 5)? as u32,
        result: None,
        reason: Connection::get(row, 6)?,
        attempts: Vec::new(),
    })
}

/// The job that the server calls so.
pub(super) fn id_of(uuid: &str) -> Done<JobId> {
    uuid.replace('-', "")
        .parse()
        .map_err(|error| unreadable(&error))
}

fn unreadable(error: &CentreError) -> Failure {
    refused(error.to_string())
}

pub(super) fn to_json(labels: &BTreeMap<String, String>) -> String {
    // Texts under texts are JSON whatever they hold.
    serde_json::to_string(labels).unwrap_or_else(|_| "{}".into())
}
