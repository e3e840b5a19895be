//! A `PostgreSQL` database as centre, the one of the rows or one of its own: many machines at once.
//!
//! Its clock is the server's. Who changes a job or its attempts holds the job's row until its transaction ends,
//! so that an attempt ends by one act and nobody waits for anybody else's job; claims step over rows that others
//! hold (`FOR UPDATE SKIP LOCKED`). Whoever waits for jobs is notified of them (`LISTEN`), and asks nothing
//! meanwhile.

mod blobs;
mod claims;
mod documents;
mod jobs;
mod stored;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};
use tokio_postgres::types::Type;

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
        UpstreamError, UpstreamOptions,
        postgres::{
            address::Address,
            connection::{Connection, Failure},
            session::{no_right, reach},
        },
        quoted,
    },
};

/// Version of the tables, in `dunlin_centre`.
const FORMAT: i32 = 1;
/// Held by whoever makes the tables. Ours by its first bytes, "dunlin".
const LOCK: i64 = 0x6475_6e6c_696e_0002;
/// Milliseconds UTC by the server's clock.
const NOW_MS: &str = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint";
/// Whatever is usual for our user: who waits for a lock must see what its holder has done.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";
/// Where it is said that there may be something to claim.
const CHANNEL: &str = "dunlin_jobs";

/// A `PostgreSQL` database as centre. Calls take turns; each is bounded by the time-out.
pub struct PostgresCentre {
    address: Arc<Address>,
    timeout: Duration,
    session: tokio::sync::Mutex<Option<Session>>,
    /// What the last claim has left behind for whoever waits.
    seen: Mutex<Option<Seen>>,
}

/// A connection whose tables are there.
struct Session(Connection);

/// How things were at a claim.
#[derive(Clone)]
struct Seen {
    /// Rises with each notification; what it was then is marked as seen.
    notified: watch::Receiver<u64>,
    /// When the next lease is over.
    expiry: Option<Instant>,
}

/// What a call does with the connection, whose transaction it is in.
type Done<T> = Result<T, Failure>;

impl PostgresCentre {
    /// The database that `options.url` names, as for the upstream; connects at the first call.
    ///
    /// # Errors
    /// [`CentreError::Refused`] naming what is wrong, without the password.
    pub fn new(options: &UpstreamOptions) -> Result<Self, CentreError> {
        Ok(Self {
            address: Arc::new(Address::new(options)?),
            timeout: options.timeout,
            session: tokio::sync::Mutex::default(),
            seen: Mutex::default(),
        })
    }

    /// Runs `work` in a transaction, under the time-out. After an error the connection is of no more use: a
    /// transaction may be open in it.
    async fn call<T>(
        &self,
        work: impl AsyncFnOnce(&Connection) -> Done<T>,
    ) -> Result<T, CentreError> {
        let until = Instant::now() + self.timeout;
        let calling = async {
            let mut slot = self.session.lock().await;
            let session = match slot.take().filter(|session| !session.0.is_closed()) {
                Some(session) => session,
                None => self.open().await?,
            };
            let connection = &session.0;
            connection.batch(BEGIN).await?;
            let done = work(connection).await?;
            connection.batch("COMMIT").await?;
            *slot = Some(session);
            Ok(done)
        };
        let done = timeout_at(until, calling).await;
        Ok(done.unwrap_or_else(|_| Err(self.silent()))?)
    }

    fn silent(&self) -> UpstreamError {
        UpstreamError::Unavailable(format!(
            "{} did not answer within {:?}",
            self.address.target.authority(),
            self.timeout
        ))
    }

    async fn open(&self) -> Result<Session, UpstreamError> {
        let (connection, namespace) = reach(&self.address, self.timeout).await?;
        // Where the upstream's tables are, too; set, so that nothing need be named in full.
        let sql = format!("SET search_path TO {}", quoted(&namespace));
        connection.batch(&sql).await?;
        if !is_of_our_format(&connection, &namespace).await? {
            // One at a time; whoever comes second looks again.
            let lock = format!("{BEGIN}; SELECT pg_advisory_xact_lock({LOCK})");
            connection.batch(&lock).await?;
            if !is_of_our_format(&connection, &namespace).await? {
                let made = make_tables(&connection).await;
                made.map_err(|failure| {
                    if failure.is("42501") {
                        UpstreamError::Rejected(no_right(&namespace, &failure.words()))
                    } else {
                        failure.into()
                    }
                })?;
            }
            connection.batch("COMMIT").await?;
        }
        connection.batch(&format!("LISTEN {CHANNEL}")).await?;
        Ok(Session(connection))
    }
}

/// The format of the tables; `None` if there are none.
async fn format(connection: &Connection, namespace: &str) -> Done<Option<i32>> {
    let sql = "SELECT FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
               WHERE n.nspname = $1 AND c.relname = 'dunlin_centre'";
    let there = connection.query(sql, &[(&namespace, Type::TEXT)]).await?;
    if there.is_empty() {
        return Ok(None);
    }
    let rows = connection
        .query("SELECT max(format) FROM dunlin_centre", &[])
        .await?;
    rows.first().map_or(Ok(None), |row| Connection::get(row, 0))
}

/// Whether the tables are there; those of another format are left alone.
async fn is_of_our_format(connection: &Connection, namespace: &str) -> Result<bool, UpstreamError> {
    match format(connection, namespace).await? {
        None => Ok(false),
        Some(FORMAT) => Ok(true),
        Some(other) => Err(UpstreamError::Rejected(format!(
            "a centre of format {other} in schema {namespace}, this version writes format {FORMAT}: upgrade \
             dunlin, or name another database"
        ))),
    }
}

/// Makes the tables, in a transaction of the caller's.
async fn make_tables(connection: &Connection) -> Done<()> {
    let sql = format!(
        "CREATE TABLE IF NOT EXISTS dunlin_centre (format integer NOT NULL PRIMARY KEY);
         CREATE TABLE IF NOT EXISTS dunlin_jobs (
             number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
             job uuid NOT NULL UNIQUE, kind text NOT NULL, document bytea NOT NULL, labels jsonb NOT NULL,
             state text NOT NULL, attempts_max integer NOT NULL, attempts_left integer NOT NULL,
             attempts_begun integer NOT NULL, opened_ms bigint NOT NULL, lease_ms bigint NOT NULL, stalled_ms_max bigint NOT NULL,
             time_ms_max bigint NOT NULL, submitted_ms bigint NOT NULL, result bytea, reason text
         );
         CREATE INDEX IF NOT EXISTS dunlin_jobs_open ON dunlin_jobs (opened_ms, number)
             WHERE state = 'open';
         CREATE TABLE IF NOT EXISTS dunlin_attempts (
             job uuid NOT NULL REFERENCES dunlin_jobs (job) ON DELETE CASCADE,
             attempt integer NOT NULL, request uuid NOT NULL UNIQUE, builder text NOT NULL,
             begun_ms bigint NOT NULL, expires_ms bigint NOT NULL, steps bigint NOT NULL,
             progress_ms bigint NOT NULL, checkpoint bytea, ended_ms bigint, ending text, reason text,
             PRIMARY KEY (job, attempt)
         );
         CREATE INDEX IF NOT EXISTS dunlin_attempts_running ON dunlin_attempts (expires_ms)
             WHERE ending IS NULL;
         CREATE TABLE IF NOT EXISTS dunlin_blobs (hash bytea NOT NULL PRIMARY KEY, bytes bigint NOT NULL);
         CREATE TABLE IF NOT EXISTS dunlin_chunks (
             hash bytea NOT NULL, number bigint NOT NULL, bytes bytea NOT NULL, PRIMARY KEY (hash, number)
         );
         CREATE TABLE IF NOT EXISTS dunlin_documents (
             channel text COLLATE \"C\" NOT NULL, serial bigint NOT NULL, bytes bytea NOT NULL,
             PRIMARY KEY (channel, serial)
         );
         INSERT INTO dunlin_centre VALUES ({FORMAT})"
    );
    connection.batch(&sql).await
}

/// There may be something to claim, once this transaction is over.
async fn tell(connection: &Connection) -> Done<()> {
    connection.batch(&format!("NOTIFY {CHANNEL}")).await
}

#[async_trait]
impl Centre for PostgresCentre {
    async fn submit(&self, job: &NewJob) -> Result<(), CentreError> {
        job.check()?;
        self.call(async |connection| {
            jobs::submit(connection, job).await?;
            tell(connection).await
        })
        .await
    }

    async fn claim(&self, builder: &Builder, request: JobId) -> Result<Option<Claim>, CentreError> {
        builder.check()?;
        let (claimed, seen) = self
            .call(async |connection| {
                let mut notified = connection.notified();
                notified.mark_unchanged();
                let claimed = claims::claim(connection, builder, request).await?;
                let expiry = match claimed {
                    Claimed::Nothing => claims::look_again_in(connection, builder).await?,
                    _ => None,
                };
                let expiry = expiry.map(|wait| Instant::now() + wait);
                Ok((claimed, Seen { notified, expiry }))
            })
            .await?;
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
        self.call(async |connection| {
            let held = claims::renew(connection, job, attempt, progress).await?;
            if held == Held::Lost {
                tell(connection).await?;
            }
            Ok(held)
        })
        .await
    }

    async fn finish(
        &self,
        job: JobId,
        attempt: u32,
        outcome: &Outcome,
    ) -> Result<Ended, CentreError> {
        outcome.check()?;
        self.call(async |connection| {
            let ended = claims::finish(connection, job, attempt, outcome).await?;
            // Somebody may have passed over the job while we held it.
            if ended == Ended::Lost || !matches!(outcome, Outcome::Done { .. }) {
                tell(connection).await?;
            }
            Ok(ended)
        })
        .await
    }

    async fn cancel(&self, job: JobId) -> Result<bool, CentreError> {
        self.call(async |connection| claims::cancel(connection, job).await)
            .await
    }

    async fn retry(&self, job: JobId) -> Result<bool, CentreError> {
        self.call(async |connection| {
            let is_open = jobs::retry(connection, job).await?;
            tell(connection).await?;
            Ok(is_open)
        })
        .await
    }

    async fn job(&self, job: JobId) -> Result<Option<Job>, CentreError> {
        self.call(async |connection| jobs::job(connection, job).await)
            .await
    }

    async fn jobs(&self, query: &JobQuery) -> Result<Vec<Job>, CentreError> {
        self.call(async |connection| jobs::jobs(connection, query).await)
            .await
    }

    async fn wait_for_jobs(&self, at_most: Duration) -> Result<(), CentreError> {
        let until = Instant::now() + at_most.min(super::WAIT_MAX);
        let Some(Seen {
            mut notified,
            expiry,
        }) = unpoisoned(self.seen.lock()).clone()
        else {
            return Ok(());
        };
        let until = expiry.map_or(until, |expiry| expiry.min(until));
        // Also when the connection has ended: the next claim says why.
        let _in_time = timeout_at(until, notified.changed()).await;
        Ok(())
    }

    async fn blob(&self, hash: BlobHash) -> Result<BlobState, CentreError> {
        self.call(async |connection| blobs::state(connection, hash).await)
            .await
    }

    async fn put_chunks(
        &self,
        hash: BlobHash,
        first: u64,
        chunks: &[Vec<u8>],
    ) -> Result<u64, CentreError> {
        super::check_chunks(chunks)?;
        self.call(async |connection| blobs::put(connection, hash, first, chunks).await)
            .await
    }

    async fn seal_blob(&self, hash: BlobHash, bytes: u64) -> Result<(), CentreError> {
        self.call(async |connection| blobs::seal(connection, hash, bytes).await)
            .await
    }

    async fn chunks(
        &self,
        hash: BlobHash,
        first: u64,
        most: usize,
    ) -> Result<Vec<Vec<u8>>, CentreError> {
        self.call(async |connection| blobs::chunks(connection, hash, first, most).await)
            .await
    }

    async fn remove_partial(&self, hash: BlobHash) -> Result<(), CentreError> {
        self.call(async |connection| blobs::remove_partial(connection, hash).await)
            .await
    }

    async fn remove_blob(&self, hash: BlobHash) -> Result<(), CentreError> {
        self.call(async |connection| blobs::remove(connection, hash).await)
            .await
    }

    async fn publish(&self, channel: &str, document: &Document) -> Result<Published, CentreError> {
        document.check(channel)?;
        self.call(async |connection| documents::publish(connection, channel, document).await)
            .await
    }

    async fn follow(&self, channel: &str, after: u64) -> Result<Option<Document>, CentreError> {
        self.call(async |connection| documents::follow(connection, channel, after).await)
            .await
    }

    async fn newest(&self, channel: &str) -> Result<Option<Document>, CentreError> {
        self.call(async |connection| documents::newest(connection, channel).await)
            .await
    }

    async fn streams(&self, after: &str, most: usize) -> Result<Vec<String>, CentreError> {
        self.call(async |connection| stored::streams(connection, after, most).await)
            .await
    }

    async fn stream(&self, name: &str) -> Result<Option<StoredStream>, CentreError> {
        self.call(async |connection| stored::stream(connection, name).await)
            .await
    }

    async fn rows(&self, query: &RowsQuery) -> Result<Rows, CentreError> {
        self.call(async |connection| stored::rows(connection, query).await)
            .await
    }

    fn location(&self) -> String {
        self.address.location()
    }
}

/// What no trying again mends: a caller's mistake, or rows that are not ours.
fn refused(words: String) -> Failure {
    Failure::Refused {
        code: "22023".into(),
        words,
    }
}
