//! Attempts: begun, renewed and ended, each by one act that one can win.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::jobs;
use crate::{
    centre::{
        Builder, CentreError,
        blobs::BlobHash,
        ending::Ending,
        job::{Claim, Ended, Held, JobId, Outcome, Progress},
    },
    upstream::sqlite::turns::DbError,
};

/// Attempts that one claim ends at most; the next one goes on.
const EXPIRED_AT_ONCE: i64 = 256;

/// How long an attempt may go on.
struct Limits {
    lease_ms: i64,
    stalled_ms_max: i64,
    time_ms_max: i64,
}

impl Limits {
    fn of(connection: &Connection, job: &str) -> rusqlite::Result<Self> {
        let sql = "SELECT lease_ms, stalled_ms_max, time_ms_max FROM dunlin_jobs WHERE job = ?1";
        connection.prepare_cached(sql)?.query_row([job], |row| {
            Ok(Self {
                lease_ms: row.get(0)?,
                stalled_ms_max: row.get(1)?,
                time_ms_max: row.get(2)?,
            })
        })
    }

    /// When an attempt is over of which nothing more is heard.
    fn expiry(&self, now: i64, progress_ms: i64, begun_ms: i64) -> i64 {
        let lease = now.saturating_add(self.lease_ms);
        let stalled = progress_ms.saturating_add(self.stalled_ms_max);
        lease
            .min(stalled)
            .min(begun_ms.saturating_add(self.time_ms_max))
    }
}

/// What came of asking for a job.
pub(super) enum Claimed {
    /// This attempt.
    Begun(Box<Claim>),
    /// There is none that the builder may take.
    Nothing,
    /// The attempt that this request has begun is over.
    Ended,
}

pub(super) fn claim(
    transaction: &Transaction<'_>,
    builder: &Builder,
    request: JobId,
    now: i64,
) -> Result<Claimed, DbError> {
    let sql = "SELECT job, attempt, ending IS NULL FROM dunlin_attempts WHERE request = ?1";
    let mut statement = transaction.prepare_cached(sql)?;
    let before = statement
        .query_row([request.to_string()], |row| {
            Ok((row.get::<_, String>(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    if let Some((job, attempt, is_running)) = before {
        return if is_running {
            begun(transaction, &job, attempt, now)
        } else {
            Ok(Claimed::Ended)
        };
    }
    end_expired(transaction, now)?;
    // The one that is open the longest: what has failed waits behind what was open already.
    let sql = "SELECT job, attempts_begun + 1 FROM dunlin_jobs AS jobs
               WHERE state = 'open' AND (?1 = '[]' OR kind IN (SELECT value FROM json_each(?1)))
               AND NOT EXISTS (
                   SELECT 1 FROM json_each(jobs.labels) AS needed
                   LEFT JOIN json_each(?2) AS had ON had.key = needed.key AND had.value = needed.value
                   WHERE had.key IS NULL
               )
               ORDER BY opened_ms, number LIMIT 1";
    let kinds = serde_json::to_string(&builder.kinds).unwrap_or_else(|_| "[]".into());
    let mut statement = transaction.prepare_cached(sql)?;
    let next = statement
        .query_row(params![kinds, jobs::to_json(&builder.labels)], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, u32>(1)?))
        })
        .optional()?;
    let Some((job, attempt)) = next else {
        return Ok(Claimed::Nothing);
    };
    let expires = Limits::of(transaction, &job)?.expiry(now, now, now);
    let sql = "INSERT INTO dunlin_attempts
                   (job, attempt, request, builder, begun_ms, expires_ms, steps, progress_ms)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?5)";
    transaction.prepare_cached(sql)?.execute(params![
        job,
        attempt,
        request.to_string(),
        builder.name,
        now,
        expires
    ])?;
    let sql = "UPDATE dunlin_jobs SET state = 'running', attempts_begun = ?2 WHERE job = ?1";
    transaction
        .prepare_cached(sql)?
        .execute(params![job, attempt])?;
    begun(transaction, &job, attempt, now)
}

/// The claim that attempt `attempt` at `job` is.
fn begun(connection: &Connection, job: &str, attempt: u32, now: i64) -> Result<Claimed, DbError> {
    let id = job
        .parse()
        .map_err(|error: CentreError| DbError::Refused(error.to_string()))?;
    let Some(found) = jobs::without_attempts(connection, id)? else {
        return Ok(Claimed::Nothing);
    };
    let sql = "SELECT steps, checkpoint FROM dunlin_attempts
               WHERE job = ?1 AND checkpoint IS NOT NULL ORDER BY attempt DESC LIMIT 1";
    let resume = connection.query_row(sql, [job], |row| {
        Ok(Progress {
            steps: row.get::<_, i64>(0)? as u64,
            checkpoint: Some(BlobHash(row.get(1)?)),
        })
    });
    let sql = "SELECT expires_ms FROM dunlin_attempts WHERE job = ?1 AND attempt = ?2";
    let expires: i64 = connection.query_row(sql, params![job, attempt], |row| row.get(0))?;
    Ok(Claimed::Begun(Box::new(Claim {
        lease_ms: expires.saturating_sub(now).max(0) as u64,
        resume: resume.optional()?,
        job: found,
        attempt,
    })))
}

fn end_expired(transaction: &Transaction<'_>, now: i64) -> Result<(), DbError> {
    // Joined: somebody may have deleted jobs.
    let sql = "SELECT job, attempt, begun_ms, progress_ms FROM dunlin_attempts JOIN dunlin_jobs USING (job)
               WHERE ending IS NULL AND expires_ms <= ?1 ORDER BY expires_ms LIMIT ?2";
    let mut statement = transaction.prepare_cached(sql)?;
    let expired = statement.query_map([now, EXPIRED_AT_ONCE], |row| {
        Ok((
            row.get::<_, String>(0)?,
            row.get(1)?,
            row.get(2)?,
            row.get(3)?,
        ))
    })?;
    let expired: Vec<(String, u32, i64, i64)> = expired.collect::<Result<_, _>>()?;
    for (job, attempt, begun, progress) in expired {
        let reason = why_expired(&Limits::of(transaction, &job)?, now, progress, begun);
        end(transaction, &job, attempt, &Ending::Expired(reason), now)?;
    }
    Ok(())
}

fn why_expired(limits: &Limits, now: i64, progress_ms: i64, begun_ms: i64) -> String {
    let Limits {
        lease_ms,
        stalled_ms_max,
        time_ms_max,
    } = limits;
    if begun_ms.saturating_add(*time_ms_max) <= now {
        format!("took longer than {time_ms_max} ms")
    } else if progress_ms.saturating_add(*stalled_ms_max) <= now {
        format!("no progress for {stalled_ms_max} ms")
    } else {
        format!("its builder was not heard of for {lease_ms} ms")
    }
}

pub(super) fn renew(
    transaction: &Transaction<'_>,
    job: JobId,
    attempt: u32,
    progress: &Progress,
    now: i64,
) -> Result<Held, DbError> {
    let job = job.to_string();
    let sql = "SELECT steps, progress_ms, begun_ms FROM dunlin_attempts
               WHERE job = ?1 AND attempt = ?2 AND ending IS NULL";
    let mut statement = transaction.prepare_cached(sql)?;
    let running = statement
        .query_row(params![job, attempt], |row| {
            Ok((
                row.get::<_, i64>(0)?,
                row.get::<_, i64>(1)?,
                row.get::<_, i64>(2)?,
            ))
        })
        .optional()?;
    let Some((before, progress_ms, begun_ms)) = running else {
        return Ok(Held::Lost);
    };
    let steps = i64::try_from(progress.steps)
        .unwrap_or(i64::MAX)
        .max(before);
    let progress_ms = if steps > before { now } else { progress_ms };
    let limits = Limits::of(transaction, &job)?;
    let expires = limits.expiry(now, progress_ms, begun_ms);
    if expires <= now {
        let reason = why_expired(&limits, now, progress_ms, begun_ms);
        end(transaction, &job, attempt, &Ending::Expired(reason), now)?;
        return Ok(Held::Lost);
    }
    let sql = "UPDATE dunlin_attempts
               SET steps = ?3, progress_ms = ?4, expires_ms = ?5, checkpoint = coalesce(?6, checkpoint)
               WHERE job = ?1 AND attempt = ?2";
    transaction.prepare_cached(sql)?.execute(params![
        job,
        attempt,
        steps,
        progress_ms,
        expires,
        progress.checkpoint.map(|BlobHash(hash)| hash)
    ])?;
    Ok(Held::Yes)
}

pub(super) fn finish(
    transaction: &Transaction<'_>,
    job: JobId,
    attempt: u32,
    outcome: &Outcome,
    now: i64,
) -> Result<Ended, DbError> {
    let job = job.to_string();
    let ending = Ending::from(outcome);
    if end(transaction, &job, attempt, &ending, now)? {
        return Ok(Ended::Accepted);
    }
    // Its own ending, whose answer was lost?
    let sql = "SELECT 1 FROM dunlin_attempts AS a JOIN dunlin_jobs AS j USING (job)
               WHERE job = ?1 AND attempt = ?2 AND ending = ?3 AND a.reason IS ?4
               AND (?5 IS NULL OR j.result = ?5)";
    let mut statement = transaction.prepare_cached(sql)?;
    let asked = params![
        job,
        attempt,
        ending.word(),
        ending.reason(),
        ending.result()
    ];
    let is_ours = statement.exists(asked)?;
    Ok(if is_ours {
        Ended::Accepted
    } else {
        Ended::Lost
    })
}

pub(super) fn cancel(transaction: &Transaction<'_>, job: JobId, now: i64) -> Result<bool, DbError> {
    let job = job.to_string();
    let sql = "SELECT attempt FROM dunlin_attempts WHERE job = ?1 AND ending IS NULL";
    let running = transaction.query_row(sql, [&job], |row| row.get::<_, u32>(0));
    if let Some(attempt) = running.optional()? {
        end(transaction, &job, attempt, &Ending::Cancelled, now)?;
    }
    let sql = "UPDATE dunlin_jobs SET state = 'cancelled' WHERE job = ?1 AND state = 'open'";
    transaction.execute(sql, [&job])?;
    let sql = "SELECT state = 'cancelled' FROM dunlin_jobs WHERE job = ?1";
    let is_cancelled = transaction.query_row(sql, [&job], |row| row.get(0));
    Ok(is_cancelled.optional()?.unwrap_or(false))
}

/// When the next attempt expires.
pub(super) fn next_expiry(connection: &Connection) -> Result<Option<i64>, DbError> {
    let sql = "SELECT min(expires_ms) FROM dunlin_attempts JOIN dunlin_jobs USING (job) WHERE ending IS NULL";
    Ok(connection.query_row(sql, [], |row| row.get(0))?)
}

/// Ends an attempt that runs, and says what follows for its job; whether it ran.
fn end(
    transaction: &Transaction<'_>,
    job: &str,
    attempt: u32,
    ending: &Ending,
    now: i64,
) -> Result<bool, DbError> {
    let sql = "UPDATE dunlin_attempts SET ended_ms = ?3, ending = ?4, reason = ?5
               WHERE job = ?1 AND attempt = ?2 AND ending IS NULL";
    let mut statement = transaction.prepare_cached(sql)?;
    let ended = statement.execute(params![job, attempt, now, ending.word(), ending.reason()])?;
    if ended == 0 {
        return Ok(false);
    }
    let opened = ending.uses_up_an_attempt().then_some(now);
    // Behind all that are open, also those of the same millisecond.
    let sql = format!(
        "UPDATE dunlin_jobs
         SET state = {state}, attempts_left = attempts_left - {used},
             opened_ms = CASE WHEN ?4 IS NULL THEN opened_ms ELSE max(?4, 1 + coalesce(
                 (SELECT max(opened_ms) FROM dunlin_jobs WHERE state = 'open'), 0)) END,
             result = ?2, reason = ?3
         WHERE job = ?1",
        state = ending.state(),
        used = i32::from(ending.uses_up_an_attempt())
    );
    let mut statement = transaction.prepare_cached(&sql)?;
    statement.execute(params![job, ending.result(), ending.reason(), opened])?;
    Ok(true)
}
