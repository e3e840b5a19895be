//! Attempts: begun, renewed and ended, each by one act that one can win.

use std::time::Duration;

use tokio_postgres::types::Type;

use super::{Done, NOW_MS, jobs, tell};
use crate::{
    centre::{
        Builder,
        ending::Ending,
        job::{Claim, Ended, Held, JobId, JobState, Outcome, Progress},
    },
    upstream::postgres::connection::{Connection, Failure},
};

/// The same request was there already.
const UNIQUE_VIOLATION: &str = "23505";
/// How soon a job is looked at again that somebody holds.
const HELD_WAIT: Duration = Duration::from_secs(1);
/// How soon at most an attempt is looked at again that is over.
const EXPIRY_WAIT_MIN: Duration = Duration::from_millis(500);
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

/// Since when a job is open that is opened again: behind all that are, also those of the same millisecond.
fn behind() -> String {
    format!("greatest({NOW_MS}, 1 + (SELECT max(opened_ms) FROM dunlin_jobs WHERE state = 'open'))")
}

/// What came of asking for a job.
pub(super) enum Claimed {
    /// This attempt.
    Begun(Box<Claim>),
    /// There is none that the builder may take, or that nobody else holds.
    Nothing,
    /// The attempt that this request has begun is over.
    Ended,
}

/// Jobs that a builder may take, by its kinds ($1) and labels ($2).
const FITTING: &str =
    "state = 'open' AND (cardinality($1) = 0 OR kind = ANY($1)) AND labels <@ $2::text::jsonb";

pub(super) async fn claim(
    connection: &Connection,
    builder: &Builder,
    request: JobId,
) -> Done<Claimed> {
    let request = request.to_string();
    let sql = "SELECT job::text, attempt, ending IS NULL FROM dunlin_attempts WHERE request = $1::text::uuid";
    let before = connection.query(sql, &[(&request, Type::TEXT)]).await?;
    if let Some(row) = before.first() {
        return if Connection::get(row, 2)? {
            let job = jobs::id_of(Connection::get(row, 0)?)?;
            begun(connection, job, Connection::get::<i32>(row, 1)? as u32).await
        } else {
            Ok(Claimed::Ended)
        };
    }
    end_expired(connection).await?;
    // The one that is open the longest: what has failed waits behind what was open already.
    let sql = format!(
        "WITH j AS (
             SELECT * FROM dunlin_jobs
             WHERE {FITTING}
             ORDER BY opened_ms, number LIMIT 1 FOR UPDATE SKIP LOCKED
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
    let rows = connection.query(&sql, &parameters).await;
    let rows = rows.map_err(|failure| {
        // The same request again, while its first answer was still to come.
        if failure.is(UNIQUE_VIOLATION) {
            Failure::Broken(failure.words())
        } else {
            failure
        }
    })?;
    let Some(row) = rows.first() else {
        return Ok(Claimed::Nothing);
    };
    let job = jobs::id_of(Connection::get(row, 0)?)?;
    begun(connection, job, Connection::get::<i32>(row, 1)? as u32).await
}

/// The claim that attempt `attempt` at `job` is.
async fn begun(connection: &Connection, job: JobId, attempt: u32) -> Done<Claimed> {
    let Some(found) = jobs::without_attempts(connection, job).await? else {
        return Ok(Claimed::Nothing);
    };
    let name = job.to_string();
    let sql = "SELECT steps, checkpoint FROM dunlin_attempts
               WHERE job = $1::text::uuid AND checkpoint IS NOT NULL ORDER BY attempt DESC LIMIT 1";
    let rows = connection.query(sql, &[(&name, Type::TEXT)]).await?;
    let resume = rows.first().map(|row| {
        Ok(Progress {
            steps: Connection::get::<i64>(row, 0)? as u64,
            checkpoint: Some(jobs::hash_of(Connection::get(row, 1)?)?),
        })
    });
    let sql = format!(
        "SELECT greatest(expires_ms - {NOW_MS}, 0) FROM dunlin_attempts
         WHERE job = $1::text::uuid AND attempt = $2"
    );
    let attempt_number = attempt as i32;
    let parameters = [(&name as _, Type::TEXT), (&attempt_number as _, Type::INT4)];
    let rows = connection.query(&sql, &parameters).await?;
    let lease_ms: i64 = rows.first().map_or(Ok(0), |row| Connection::get(row, 0))?;
    Ok(Claimed::Begun(Box::new(Claim {
        lease_ms: lease_ms as u64,
        resume: resume.transpose()?,
        job: found,
        attempt,
    })))
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
             attempts_left = attempts_left - 1, reason = ended.reason, opened_ms = {behind}
         FROM ended WHERE jobs.job = ended.job",
        why = why_expired(),
        behind = behind()
    );
    let ended = connection
        .execute(&sql, &[(&EXPIRED_AT_ONCE, Type::INT8)])
        .await?;
    if ended > 0 {
        // Perhaps more than this claim takes, or what it cannot take.
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
         RETURNING a.expires_ms <= {NOW_MS}, {why}",
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
    let ending = Ending::from(outcome);
    if end(connection, &name, attempt, &ending).await? {
        return Ok(Ended::Accepted);
    }
    // Its own ending, whose answer was lost?
    let sql = "SELECT FROM dunlin_attempts AS a JOIN dunlin_jobs AS j USING (job)
               WHERE job = $1::text::uuid AND attempt = $2 AND ending = $3
               AND a.reason IS NOT DISTINCT FROM $4 AND ($5::bytea IS NULL OR j.result = $5)";
    let attempt = attempt as i32;
    let parameters = [
        (&name as _, Type::TEXT),
        (&attempt as _, Type::INT4),
        (&ending.word() as _, Type::TEXT),
        (&ending.reason() as _, Type::TEXT),
        (&ending.result() as _, Type::BYTEA),
    ];
    let is_ours = !connection.query(sql, &parameters).await?.is_empty();
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

/// When to ask again although nobody tells: the next attempt may expire, or a job that somebody holds just now
/// come to nothing.
pub(super) async fn look_again_in(
    connection: &Connection,
    builder: &Builder,
) -> Done<Option<Duration>> {
    let sql = format!(
        "SELECT (SELECT min(expires_ms) - {NOW_MS} FROM dunlin_attempts WHERE ending IS NULL),
                EXISTS (SELECT FROM dunlin_jobs WHERE {FITTING})"
    );
    let labels = jobs::to_json(&builder.labels);
    let parameters = [
        (&builder.kinds as _, Type::TEXT_ARRAY),
        (&labels as _, Type::TEXT),
    ];
    let rows = connection.query(&sql, &parameters).await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    if Connection::get(row, 1)? {
        return Ok(Some(HELD_WAIT));
    }
    let ms: Option<i64> = Connection::get(row, 0)?;
    // One that is over already is held by somebody.
    let expiry = ms.map(|ms| Duration::from_millis(ms.max(0) as u64));
    Ok(expiry.map(|expiry| expiry.max(EXPIRY_WAIT_MIN)))
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
    let (used, opened) = if ending.uses_up_an_attempt() {
        (1, behind())
    } else {
        (0, "opened_ms".to_owned())
    };
    let sql = format!(
        "UPDATE dunlin_jobs
         SET state = {state}, attempts_left = attempts_left - {used}, opened_ms = {opened}, result = $2,
             reason = $3
         WHERE job = $1::text::uuid",
        state = ending.state(),
    );
    let parameters = [
        (&job as _, Type::TEXT),
        (&ending.result() as _, Type::BYTEA),
        (&ending.reason() as _, Type::TEXT),
    ];
    connection.execute(&sql, &parameters).await?;
    Ok(true)
}
