//! One `SQLite` file as centre, the file of the rows or one of its own: for a machine alone, and for tests.
//!
//! Its clock is this machine's, as is everybody's who can open the file. A call is one transaction, on the disk
//! before it returns.

mod blobs;
mod claims;
mod documents;
mod jobs;
mod stored;

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};
use tokio::time::{Instant, sleep_until};

use self::claims::Claimed;
use super::{
    Builder, Centre, CentreError, Document, Published,
    blobs::{BlobHash, BlobState},
    job::{Claim, Ended, Held, Job, JobId, JobQuery, NewJob, Outcome, Progress},
    rows::{RowsQuery, StoredStream},
};
use crate::{
    lock::unpoisoned,
    rows::Rows,
    upstream::{
        UpstreamOptions,
        sqlite::{
            file::{self, Files},
            turns::{DbError, Interrupt, Turns, path_in},
        },
    },
};

/// Version of the tables, in `dunlin_centre`.
const FORMAT: i64 = 1;
/// How often a waiting builder looks whether somebody has written; reads a counter in shared memory.
const LOOK_EVERY: Duration = Duration::from_millis(500);

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS dunlin_centre (format INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS dunlin_jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    job TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, document BLOB NOT NULL, labels TEXT NOT NULL,
    state TEXT NOT NULL, attempts_max INTEGER NOT NULL, attempts_left INTEGER NOT NULL,
    attempts_begun INTEGER NOT NULL, opened_ms INTEGER NOT NULL, lease_ms INTEGER NOT NULL, stalled_ms_max INTEGER NOT NULL,
    time_ms_max INTEGER NOT NULL, submitted_ms INTEGER NOT NULL, result BLOB, reason TEXT
);
CREATE INDEX IF NOT EXISTS dunlin_jobs_open ON dunlin_jobs (opened_ms, number) WHERE state = 'open';
CREATE TABLE IF NOT EXISTS dunlin_attempts (
    job TEXT NOT NULL, attempt INTEGER NOT NULL, request TEXT NOT NULL UNIQUE, builder TEXT NOT NULL,
    begun_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL, steps INTEGER NOT NULL,
    progress_ms INTEGER NOT NULL, checkpoint BLOB, ended_ms INTEGER, ending TEXT, reason TEXT,
    PRIMARY KEY (job, attempt)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS dunlin_attempts_running ON dunlin_attempts (expires_ms) WHERE ending IS NULL;
CREATE TABLE IF NOT EXISTS dunlin_blobs (hash BLOB NOT NULL PRIMARY KEY, bytes INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS dunlin_chunks (
    hash BLOB NOT NULL, number INTEGER NOT NULL, bytes BLOB NOT NULL, PRIMARY KEY (hash, number)
);
CREATE TABLE IF NOT EXISTS dunlin_documents (
    channel TEXT NOT NULL, serial INTEGER NOT NULL, bytes BLOB NOT NULL, PRIMARY KEY (channel, serial)
);
";

/// Milliseconds UTC.
pub(crate) type ClockMs = Arc<dyn Fn() -> i64 + Send + Sync>;

/// A `SQLite` file as centre. Calls take turns; each is bounded by the time-out.
pub struct SqliteCentre {
    turns: Turns<Open>,
    clock: ClockMs,
    /// Counts what may have opened a job from here: `SQLite` tells only what others have written.
    changes: Arc<AtomicU64>,
    /// How things were at the last claim.
    seen: Mutex<Option<Seen>>,
}

/// Changes whenever somebody has written.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Seen {
    /// `SQLite`'s count of what other connections have written.
    others: i64,
    ours: u64,
}

/// An open file whose tables are there.
struct Open {
    connection: Connection,
    files: Files,
}

impl SqliteCentre {
    /// The file that `options.url` names, as for the upstream. It is opened, and made if missing, at the first
    /// call.
    ///
    /// # Errors
    /// [`CentreError::Refused`] if the URL names no file.
    pub fn new(options: &UpstreamOptions) -> Result<Self, CentreError> {
        Self::with_clock(options, Arc::new(wall_ms))
    }

    pub(crate) fn with_clock(
        options: &UpstreamOptions,
        clock: ClockMs,
    ) -> Result<Self, CentreError> {
        Ok(Self {
            turns: Turns::new(path_in(&options.url)?, options.timeout),
            clock,
            changes: Arc::default(),
            seen: Mutex::default(),
        })
    }

    /// Runs `work` in a transaction that has the file's lock for writing, at the time that it is given.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>, i64) -> Result<T, DbError> + Send + 'static,
    ) -> Result<T, CentreError> {
        let clock = Arc::clone(&self.clock);
        self.open(move |connection| {
            let immediate = TransactionBehavior::Immediate;
            let transaction = connection.transaction_with_behavior(immediate)?;
            // Once it is our turn: others may have been long.
            let done = work(&transaction, clock())?;
            transaction.commit()?;
            Ok(done)
        })
        .await
    }

    /// There may be something new to claim.
    fn changed(&self) {
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    async fn open<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, DbError> + Send + 'static,
    ) -> Result<T, CentreError> {
        let (path, busy_max) = (self.turns.path().to_owned(), self.turns.busy_max());
        let changes = Arc::clone(&self.changes);
        let work = move |slot: &mut Option<Open>, interrupt: &Interrupt| {
            // One that was moved away or replaced is not the centre any more.
            let mut open = if let Some(open) = slot.take().filter(|open| open.files.are_at(&path)) {
                open
            } else {
                // Whoever waits compares counts of another connection now.
                changes.fetch_add(1, Ordering::Relaxed);
                open_at(&path, busy_max)?
            };
            interrupt.is(open.connection.get_interrupt_handle());
            let result = work(&mut open.connection);
            // A refusal of ours says nothing against the file.
            if matches!(result, Ok(_) | Err(DbError::Refused(_))) {
                *slot = Some(open);
            }
            result
        };
        Ok(self.turns.with_slot(work).await?)
    }
}

fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as i64)
}

fn open_at(path: &Path, busy_max: Duration) -> Result<Open, DbError> {
    let mut connection = file::open(path, busy_max)?;
    if !is_of_our_format(&connection)? {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if !is_of_our_format(&transaction)? {
            transaction.execute_batch(TABLES)?;
            let sql = "INSERT INTO dunlin_centre (format) VALUES (?1)";
            transaction.execute(sql, [FORMAT])?;
        }
        transaction.commit()?;
    }
    Ok(Open {
        connection,
        files: Files::at(path),
    })
}

/// Whether the tables are there; those of another format are left alone.
fn is_of_our_format(connection: &Connection) -> Result<bool, DbError> {
    match format(connection)? {
        None => Ok(false),
        Some(FORMAT) => Ok(true),
        Some(other) => Err(DbError::Refused(format!(
            "a centre of format {other}, this version writes format {FORMAT}: upgrade dunlin, or name another file"
        ))),
    }
}

/// The format of the tables; `None` if there are none.
fn format(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'dunlin_centre'";
    let there: Option<i64> = connection.query_row(sql, [], |row| row.get(0)).optional()?;
    if there.is_none() {
        return Ok(None);
    }
    let sql = "SELECT max(format) FROM dunlin_centre";
    connection.query_row(sql, [], |row| row.get(0))
}

#[async_trait]
impl Centre for SqliteCentre {
    async fn submit(&self, job: &NewJob) -> Result<(), CentreError> {
        job.check()?;
        let job = job.clone();
        self.write(move |transaction, now| jobs::submit(transaction, &job, now))
            .await?;
        self.changed();
        Ok(())
    }

    async fn claim(&self, builder: &Builder, request: JobId) -> Result<Option<Claim>, CentreError> {
        builder.check()?;
        let builder = builder.clone();
        let changes = Arc::clone(&self.changes);
        let claimed = self.write(move |transaction, now| {
            let ours = changes.load(Ordering::Relaxed);
            let claimed = claims::claim(transaction, &builder, request, now)?;
            let others = data_version(transaction)?;
            Ok((claimed, Seen { others, ours }))
        });
        let (claimed, seen) = claimed.await?;
        *unpoisoned(self.seen.lock()) = match claimed {
            Claimed::Begun(claim) => return Ok(Some(*claim)),
            Claimed::Nothing => Some(seen),
            // Its job may be open again.
            Claimed::Ended => None,
        };
        Ok(None)
    }

    async fn renew(
        &self,
        job: JobId,
        attempt: u32,
        progress: &Progress,
    ) -> Result<Held, CentreError> {
        let progress = *progress;
        let held = self
            .write(move |transaction, now| claims::renew(transaction, job, attempt, &progress, now))
            .await?;
        if held == Held::Lost {
            self.changed();
        }
        Ok(held)
    }

    async fn finish(
        &self,
        job: JobId,
        attempt: u32,
        outcome: &Outcome,
    ) -> Result<Ended, CentreError> {
        outcome.check()?;
        let outcome = outcome.clone();
        let ended = self
            .write(move |transaction, now| claims::finish(transaction, job, attempt, &outcome, now))
            .await?;
        self.changed();
        Ok(ended)
    }

    async fn cancel(&self, job: JobId) -> Result<bool, CentreError> {
        self.write(move |transaction, now| claims::cancel(transaction, job, now))
            .await
    }

    async fn retry(&self, job: JobId) -> Result<bool, CentreError> {
        let is_open = self
            .write(move |transaction, now| jobs::retry(transaction, job, now))
            .await?;
        self.changed();
        Ok(is_open)
    }

    async fn job(&self, job: JobId) -> Result<Option<Job>, CentreError> {
        self.open(move |connection| jobs::job(&*connection.transaction()?, job))
            .await
    }

    async fn jobs(&self, query: &JobQuery) -> Result<Vec<Job>, CentreError> {
        let query = query.clone();
        self.open(move |connection| jobs::jobs(connection, &query))
            .await
    }

    async fn wait_for_jobs(&self, at_most: Duration) -> Result<(), CentreError> {
        let expiry = self
            .open(|connection| claims::next_expiry(connection))
            .await?;
        let expires_in =
            expiry.map(|at| Duration::from_millis((at - (self.clock)()).max(0) as u64));
        let at_most = at_most.min(super::WAIT_MAX);
        let until = Instant::now() + expires_in.map_or(at_most, |wait| wait.min(at_most));
        let seen = *unpoisoned(self.seen.lock());
        loop {
            let now = self
                .open(|connection| Ok(data_version(connection)?))
                .await?;
            let changed = Seen {
                others: now,
                ours: self.changes.load(Ordering::Relaxed),
            };
            if Some(changed) != seen || Instant::now() >= until {
                return Ok(());
            }
            sleep_until(until.min(Instant::now() + LOOK_EVERY)).await;
        }
    }

    async fn blob(&self, hash: BlobHash) -> Result<BlobState, CentreError> {
        self.open(move |connection| blobs::state(&*connection.transaction()?, hash))
            .await
    }

    async fn put_chunks(
        &self,
        hash: BlobHash,
        first: u64,
        chunks: &[Vec<u8>],
    ) -> Result<u64, CentreError> {
        super::check_chunks(chunks)?;
        let chunks = chunks.to_vec();
        self.write(move |transaction, _| blobs::put(transaction, hash, first, &chunks))
            .await
    }

    async fn seal_blob(&self, hash: BlobHash, bytes: u64) -> Result<(), CentreError> {
        self.write(move |transaction, _| blobs::seal(transaction, hash, bytes))
            .await
    }

    async fn chunks(
        &self,
        hash: BlobHash,
        first: u64,
        most: usize,
    ) -> Result<Vec<Vec<u8>>, CentreError> {
        self.open(move |connection| blobs::chunks(connection, hash, first, most))
            .await
    }

    async fn remove_partial(&self, hash: BlobHash) -> Result<(), CentreError> {
        self.write(move |transaction, _| blobs::remove_partial(transaction, hash))
            .await
    }

    async fn remove_blob(&self, hash: BlobHash) -> Result<(), CentreError> {
        self.write(move |transaction, _| blobs::remove(transaction, hash))
            .await
    }

    async fn publish(&self, channel: &str, document: &Document) -> Result<Published, CentreError> {
        document.check(channel)?;
        let (channel, document) = (channel.to_owned(), document.clone());
        self.write(move |transaction, _| documents::publish(transaction, &channel, &document))
            .await
    }

    async fn follow(&self, channel: &str, after: u64) -> Result<Option<Document>, CentreError> {
        let channel = channel.to_owned();
        self.open(move |connection| documents::follow(connection, &channel, after))
            .await
    }

    async fn newest(&self, channel: &str) -> Result<Option<Document>, CentreError> {
        let channel = channel.to_owned();
        self.open(move |connection| documents::newest(connection, &channel))
            .await
    }

    async fn streams(&self, after: &str, most: usize) -> Result<Vec<String>, CentreError> {
        let after = after.to_owned();
        self.open(move |connection| stored::streams(connection, &after, most))
            .await
    }

    async fn stream(&self, name: &str) -> Result<Option<StoredStream>, CentreError> {
        let name = name.to_owned();
        self.open(move |connection| stored::stream(&*connection.transaction()?, &name))
            .await
    }

    async fn rows(&self, query: &RowsQuery) -> Result<Rows, CentreError> {
        let query = query.clone();
        self.open(move |connection| stored::rows(&*connection.transaction()?, &query))
            .await
    }

    fn location(&self) -> String {
        format!("sqlite:{}", self.turns.path().display())
    }
}

/// Changes whenever another connection has written.
fn data_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "data_version", |row| row.get(0))
}
