//! Attempts: begun, renewed and ended, each by one act that one can win.

use std::time::Duration;

use tokio_postgres::types::Type;

use super::{Done, NOW_MS, jobs, tell};
use crate::{
    centre::{
        Builder,
        job::{Claim, Ended, Held, JobId, JobState, Outcome, Progress},
    },
    upstream::postgres::connection::Connection,
};

/// Attempts that one claim ends at most; the next one goes on.
const EXPIRED_AT_ONCE: i64 = 256;

/// When an attempt is over of which nothing more is heard, by what the job `j` allows; `begun` and `progress`
/// are expressions.
fn expiry(begun: &str, progress: &str) -> String {
    format!("least({NOW_MS} + j.lease_ms, {progress} + j.stalled_ms_max, {begun} + j.time_ms_max)")
}

/// Why the attempt `a` at job `j` is over.
fn why_expired() -> String {
    format!(
        "CASE WHEN a.begun_ms + j.time_ms_max <= {NOW_MS} THEN format('took longer than %s ms', j.time_ms_max)
              WHEN a.progress_ms + j.stalled_ms_max <= {NOW_MS}
                  THEN format('no progress for %s ms', j.stalled_ms_max)
              ELSE format('its builder was not heard of for %s ms', j.lease_ms) END"
    )
}

pub(super) async fn claim(
    connection: &Connection,
    builder: &Builder,
    request: JobId,
) -> Done<Option<Claim>> {
    let request = request.to_string();
    let sql = "SELECT job::text, attempt, ending IS NULL FROM dunlin_attempts WHERE request = $1::text::uuid";
    let before = connection.query(sql, &[(&request, Type::TEXT)]).await?;
    if let Some(row) = before.first() {
        // One that has ended meanwhile is gone: whoever asks draws another request.
        return if Connection::get(row, 2)? {
            let job = jobs::id_of(Connection::get(row, 0)?)?;
            begun(connection, job, Connection::get::<i32>(row, 1)? as u32).await
        } else {
            Ok(None)
        };
    }
    end_expired(connection).await?;
    // Those begun least often first: a job that fails again and again keeps no other waiting.
    let sql = format!(
        "WITH j AS (
             SELECT * FROM dunlin_jobs
             WHERE state = 'open' AND (cardinality($1) = 0 OR kind = ANY($1)) AND labels <@ $2::text::jsonb
             ORDER BY attempts_begun, number LIMIT 1 FOR UPDATE SKIP LOCKED
         ), begun AS (
             INSERT INTO dunlin_attempts
                 (job, attempt, request, builder, begun_ms, expires_ms, steps, progress_ms)
             SELECT job, attempts_begun + 1, $3::text::uuid, $4, {NOW_MS}, {expiry}, 0, {NOW_MS} FROM j
             RETURNING job, attempt
         )
         UPDATE dunlin_jobs SET state = 'running', attempts_begun = begun.attempt
         FROM begun WHERE dunlin_jobs.job = begun.job
         RETURNING dunlin_jobs.job::text, begun.attempt",
        expiry = expiry(NOW_MS, NOW_MS)
    );
    let parameters = [
        (&builder.kinds as _, Type::TEXT_ARRAY),
        (&jobs::to_json(&builder.labels) as _, Type::TEXT),
        (&request as _, Type::TEXT),
        (&builder.name as _, Type::TEXT),
    ];
    let rows = connection.query(&sql, &parameters).await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let job = jobs::id_of(Connection::get(row, 0)?)?;
    begun(connection, job, Connection::get::<i32>(row, 1)? as u32).await
}

/// The claim that attempt `attempt` at `job` is.
async fn begun(connection: &Connection, job: JobId, attempt: u32) -> Done<Option<Claim>> {
    let Some(mut found) = jobs::job(connection, job).await? else {
        return Ok(None);
    };
    let sql = "SELECT lease_ms FROM dunlin_jobs WHERE job = $1::text::uuid";
    let rows = connection
        .query(sql, &[(&job.to_string(), Type::TEXT)])
        .await?;
    let lease_ms: i64 = rows.first().map_or(Ok(0), |row| Connection::get(row, 0))?;
    let mut attempts = std::mem::take(&mut found.attempts).into_iter().rev();
    let resume = attempts.find(|attempt| attempt.progress.checkpoint.is_some());
    Ok(Some(Claim {
        lease_ms: lease_ms as u64,
        resume: resume.map(|attempt| attempt.progress),
        job: found,
        attempt,
    }))
}

/// Ends attempts that are over, of jobs that nobody else is changing just now.
async fn end_expired(connection: &Connection) -> Done<()> {
    let sql = format!(
        "WITH j AS (
             SELECT dunlin_jobs.* FROM dunlin_jobs JOIN dunlin_attempts AS a USING (job)
             WHERE a.ending IS NULL AND a.expires_ms <= {NOW_MS}
             ORDER BY a.expires_ms LIMIT $1 FOR UPDATE OF dunlin_jobs SKIP LOCKED
         ), ended AS (
             UPDATE dunlin_attempts AS a SET ended_ms = {NOW_MS}, ending = 'expired', reason = {why}
             FROM j WHERE a.job = j.job AND a.ending IS NULL AND a.expires_ms <= {NOW_MS}
             RETURNING a.job, a.reason
         )
         UPDATE dunlin_jobs AS jobs
         SET state = CASE WHEN attempts_left > 1 THEN 'open' ELSE 'failed' END,
             attempts_left = attempts_left - 1, reason = ended.reason
         FROM ended WHERE jobs.job = ended.job",
        why = why_expired()
    );
    let ended = connection
        .execute(&sql, &[(&EXPIRED_AT_ONCE, Type::INT8)])
        .await?;
    if ended > 1 {
        // More than this claim takes.
        tell(connection).await?;
    }
    Ok(())
}

/// Nobody else changes the job, or its attempts, until the transaction is over.
async fn lock(connection: &Connection, job: &str) -> Done<()> {
    let sql = "SELECT FROM dunlin_jobs WHERE job = $1::text::uuid FOR UPDATE";
    connection.query(sql, &[(&job, Type::TEXT)]).await?;
    Ok(())
}

pub(super) async fn renew(
    connection: &Connection,
    job: JobId,
    attempt: u32,
    progress: &Progress,
) -> Done<Held> {
    let name = job.to_string();
    lock(connection, &name).await?;
    let steps = i64::try_from(progress.steps).unwrap_or(i64::MAX);
    let progressed = format!("CASE WHEN $3 > a.steps THEN {NOW_MS} ELSE a.progress_ms END");
    let sql = format!(
        "UPDATE dunlin_attempts AS a
         SET steps = greatest(a.steps, $3), progress_ms = {progressed}, expires_ms = {expiry},
             checkpoint = coalesce($4, a.checkpoint)
         FROM dunlin_jobs AS j
         WHERE j.job = a.job AND a.job = $1::text::uuid AND a.attempt = $2 AND a.ending IS NULL
         RETURNING a.expires_ms <= {NOW_MS} AND j.lease_ms > 0, {why}",
        expiry = expiry("a.begun_ms", &progressed),
        why = why_expired()
    );
    let checkpoint = progress.checkpoint.map(|hash| hash.0.to_vec());
    let parameters = [
        (&name as _, Type::TEXT),
        (&(attempt as i32) as _, Type::INT4),
        (&steps as _, Type::INT8),
        (&checkpoint as _, Type::BYTEA),
    ];
    let rows = connection.query(&sql, &parameters).await?;
    let Some(row) = rows.first() else {
        return Ok(Held::Lost);
    };
    if Connection::get(row, 0)? {
        let why = Connection::get(row, 1)?;
        end(connection, &name, attempt, &Ending::Expired(why)).await?;
        return Ok(Held::Lost);
    }
    Ok(Held::Yes)
}

pub(super) async fn finish(
    connection: &Connection,
    job: JobId,
    attempt: u32,
    outcome: &Outcome,
) -> Done<Ended> {
    let name = job.to_string();
    lock(connection, &name).await?;
    let ending = match outcome {
        Outcome::Done { result } => Ending::Done(result.clone()),
        Outcome::Failed { reason, is_final } => Ending::Failed {
            reason: reason.clone(),
            is_final: *is_final,
        },
        Outcome::Returned => Ending::Returned,
    };
    if end(connection, &name, attempt, &ending).await? {
        return Ok(Ended::Accepted);
    }
    // Its own ending, whose answer was lost?
    let sql = "SELECT ending FROM dunlin_attempts WHERE job = $1::text::uuid AND attempt = $2";
    let parameters = [
        (&name as _, Type::TEXT),
        (&(attempt as i32) as _, Type::INT4),
    ];
    let rows = connection.query(sql, &parameters).await?;
    let before: Option<&str> = rows
        .first()
        .map_or(Ok(None), |row| Connection::get(row, 0))?;
    let is_ours = before == Some(ending.word());
    Ok(if is_ours {
        Ended::Accepted
    } else {
        Ended::Lost
    })
}

pub(super) async fn cancel(connection: &Connection, job: JobId) -> Done<bool> {
    let name = job.to_string();
    lock(connection, &name).await?;
    let sql = "SELECT attempt FROM dunlin_attempts WHERE job = $1::text::uuid AND ending IS NULL";
    for row in connection.query(sql, &[(&name, Type::TEXT)]).await? {
        let attempt = Connection::get::<i32>(&row, 0)? as u32;
        end(connection, &name, attempt, &Ending::Cancelled).await?;
    }
    let sql =
        "UPDATE dunlin_jobs SET state = 'cancelled' WHERE job = $1::text::uuid AND state = 'open'";
    connection.execute(sql, &[(&name, Type::TEXT)]).await?;
    jobs::is_in_state(connection, job, JobState::Cancelled).await
}

/// How long until the next attempt expires.
pub(super) async fn next_expiry_in(connection: &Connection) -> Done<Option<Duration>> {
    let sql =
        format!("SELECT min(expires_ms) - {NOW_MS} FROM dunlin_attempts WHERE ending IS NULL");
    let rows = connection.query(&sql, &[]).await?;
    let ms: Option<i64> = rows
        .first()
        .map_or(Ok(None), |row| Connection::get(row, 0))?;
    Ok(ms.map(|ms| Duration::from_millis(ms.max(0) as u64)))
}

/// How an attempt ends.
enum Ending {
    Done(Vec<u8>),
    Failed { reason: String, is_final: bool },
    Returned,
    Expired(String),
    Cancelled,
}

impl Ending {
    fn word(&self) -> &'static str {
        match self {
            Self::Done(_) => "done",
            Self::Failed { .. } => "failed",
            Self::Returned => "returned",
            Self::Expired(_) => "expired",
            Self::Cancelled => "cancelled",
        }
    }

    fn reason(&self) -> Option<&str> {
        match self {
            Self::Failed { reason, .. } | Self::Expired(reason) => Some(reason),
            Self::Done(_) | Self::Returned | Self::Cancelled => None,
        }
    }

    /// What the job is then.
    fn state(&self) -> &'static str {
        match self {
            Self::Done(_) => "'done'",
            Self::Failed { is_final: true, .. } => "'failed'",
            Self::Failed { .. } | Self::Expired(_) => {
                "CASE WHEN attempts_left > 1 THEN 'open' ELSE 'failed' END"
            }
            Self::Returned => "'open'",
            Self::Cancelled => "'cancelled'",
        }
    }

    fn uses_up_an_attempt(&self) -> bool {
        matches!(
            self,
            Self::Failed {
                is_final: false,
                ..
            } | Self::Expired(_)
        )
    }
}

/// Ends an attempt that runs, and says what follows for its job, which is locked; whether it ran.
async fn end(connection: &Connection, job: &str, attempt: u32, ending: &Ending) -> Done<bool> {
    let sql = format!(
        "UPDATE dunlin_attempts SET ended_ms = {NOW_MS}, ending = $3, reason = $4
         WHERE job = $1::text::uuid AND attempt = $2 AND ending IS NULL"
    );
    let parameters = [
        (&job as _, Type::TEXT),
        (&(attempt as i32) as _, Type::INT4),
        (&ending.word() as _, Type::TEXT),
        (&ending.reason() as _, Type::TEXT),
    ];
    if connection.execute(&sql, &parameters).await? == 0 {
        return Ok(false);
    }
    let sql = format!(
        "UPDATE dunlin_jobs SET state = {state}, attempts_left = attempts_left - {used}, result = $2, reason = $3
         WHERE job = $1::text::uuid",
        state = ending.state(),
        used = i32::from(ending.uses_up_an_attempt())
    );
    let result = match ending {
        Ending::Done(result) => Some(result),
        _ => None,
    };
    let parameters = [
        (&job as _, Type::TEXT),
        (&result as _, Type::BYTEA),
        (&ending.reason() as _, Type::TEXT),
    ];
    connection.execute(&sql, &parameters).await?;
    Ok(true)
}
