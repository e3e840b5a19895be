//! The centre: jobs, blobs and documents that many machines share through one database.
//!
//! Bytes and rows only: what a job asks for, what a blob holds and what a document says are the caller's
//! affair. Another database is a new file with an implementation of [`Centre`] and one line in [`connect`];
//! `conformance::centre` proves it.
//!
//! # Claims
//! A job is done in attempts, numbered from 1; the number is the fencing token. Of one job at most one attempt
//! is running. It ends by one atomic act whose winner decides: its builder's [`Centre::finish`], somebody's
//! [`Centre::cancel`], or the `expired` that a later claim (or its own renewal) writes once its lease is over,
//! before the next attempt exists. So whoever has lost a claim, however long it was stopped, cannot finish it: a
//! job has at most one accepted result. (A database that loses commits, as a failover to a standby that lags
//! behind does, is outside this promise.) Whether a lease is over is judged by the database's clock, and by
//! progress: a builder that only says that it lives does not keep a job for ever.

pub mod blobs;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod ending;
pub mod job;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod rows;
#[cfg(feature = "sqlite")]
pub mod sqlite;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod tables;
#[cfg(all(test, feature = "sqlite"))]
mod tests;

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;

use self::{
    blobs::{BlobHash, BlobState},
    job::{Claim, Ended, Held, Job, JobId, JobQuery, NewJob, Outcome, Progress},
    rows::{RowsQuery, StoredStream},
};
use crate::{
    rows::Rows,
    upstream::{UpstreamError, UpstreamOptions},
};

/// Longest document or result, bytes.
pub const DOCUMENT_BYTES_MAX: usize = 1 << 20;
/// Longest kind, label, name of a builder or of a channel, bytes.
pub const NAME_BYTES_MAX: usize = 200;
/// Longest reason that is kept, bytes; what is longer is cut.
pub const REASON_BYTES_MAX: usize = 4096;
/// Longest that anybody waits for jobs without looking.
pub const WAIT_MAX: Duration = Duration::from_hours(1);
/// Most labels of a job or of a builder.
pub const LABELS_MAX: usize = 64;

/// What the caller does next.
#[derive(Debug, thiserror::Error)]
pub enum CentreError {
    /// Try the same again later: nothing is known about what was done, and doing it again is harmless.
    #[error("centre unavailable: {0}")]
    Unavailable(String),
    /// Trying again will not help until somebody changes something: what was asked for, or the set-up.
    #[error("centre refused: {0}")]
    Refused(String),
}

impl From<UpstreamError> for CentreError {
    fn from(error: UpstreamError) -> Self {
        match error {
            UpstreamError::Unavailable(reason) => Self::Unavailable(reason),
            UpstreamError::Rejected(reason) => Self::Refused(reason),
        }
    }
}

/// Who asks for work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Builder {
    /// Its name, for people: which machine, which process.
    pub name: String,
    /// Kinds of jobs that it can do; empty: all.
    pub kinds: Vec<String>,
    /// What it is and has. It takes jobs all of whose labels are among these.
    pub labels: BTreeMap<String, String>,
}

impl Builder {
    /// # Errors
    /// [`CentreError::Refused`] if it is beyond the bounds, in words for people.
    pub fn check(&self) -> Result<(), CentreError> {
        check_name("builder's name", &self.name)?;
        if self.kinds.len() > LABELS_MAX {
            return Err(CentreError::Refused(format!(
                "{} kinds; at most {LABELS_MAX}",
                self.kinds.len()
            )));
        }
        let mut kinds = self.kinds.iter();
        kinds.try_for_each(|kind| check_name("kind", kind))?;
        check_labels(&self.labels)
    }
}

/// What became of a document that was to be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// It is there, or was there already, byte for byte.
    Accepted,
    /// Its serial is not above the newest one there, or another document has it.
    Stale {
        /// The newest serial there.
        newest: u64,
    },
}

/// A document of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its place in the channel, from 1; rises.
    pub serial: u64,
    /// What it says.
    pub bytes: Vec<u8>,
}

impl Document {
    /// # Errors
    /// [`CentreError::Refused`] if it, or the name of its channel, is beyond the bounds, in words for people.
    pub fn check(&self, channel: &str) -> Result<(), CentreError> {
        check_name("channel", channel)?;
        if self.serial == 0 || self.serial > i64::MAX as u64 {
            return Err(CentreError::Refused(format!(
                "serial {}; they go from 1 to 2^63 - 1",
                self.serial
            )));
        }
        check_length("document", &self.bytes)
    }
}

/// A database that many machines share.
///
/// Every call is bounded by a time-out and can be repeated after [`CentreError::Unavailable`]: what the first one has
/// done is not done twice. Who waits for jobs in several tasks takes a connection of its own for each.
#[async_trait]
pub trait Centre: Send + Sync {
    /// Puts `job` in line. One that is there already stays as it is.
    ///
    /// # Errors
    /// [`CentreError`]; refused where the job is beyond the bounds.
    async fn submit(&self, job: &NewJob) -> Result<(), CentreError>;

    /// Ends attempts whose lease is over, then begins an attempt at the job that is open the longest, of those
    /// that `builder` may take; `None` if there is none. `request` is drawn by the caller for each claim: asked
    /// again after a lost answer, the same attempt comes back, or `None` if it has ended.
    ///
    /// # Errors
    /// [`CentreError`]
    async fn claim(&self, builder: &Builder, request: JobId) -> Result<Option<Claim>, CentreError>;

    /// Says how far attempt `attempt` at `job` is, and keeps it for another lease; ends it where it makes no
    /// progress, or has taken too long.
    ///
    /// # Errors
    /// [`CentreError`]
    async fn renew(
        &self,
        job: JobId,
        attempt: u32,
        progress: &Progress,
    ) -> Result<Held, CentreError>;

    /// Ends attempt `attempt` at `job`. Asked again after a lost answer it is accepted again.
    ///
    /// # Errors
    /// [`CentreError`]
    async fn finish(
        &self,
        job: JobId,
        attempt: u32,
        outcome: &Outcome,
    ) -> Result<Ended, CentreError>;

    /// Nobody shall do `job` any more; a running attempt is lost. One that has ended stays as it is.
    /// Whether the job is cancelled now.
    ///
    /// # Errors
    /// [`CentreError`]
    async fn cancel(&self, job: JobId) -> Result<bool, CentreError>;

    /// Opens a job that has failed or was cancelled, with as many attempts as it had at first. Whether it
    /// is open now.
    ///
    /// # Errors
    /// [`CentreError`]
    async fn retry(&self, job: JobId) -> Result<bool, CentreError>;

    /// One job with its attempts; `None` if there is none of this name.
    ///
    /// # Errors
    /// [`CentreError`]
    async fn job(&self, job: JobId) -> Result<Option<Job>, CentreError>;

    /// Jobs, the newest first, without their documents and attempts.
    ///
    /// # Errors
    /// [`CentreError`]
    async fn jobs(&self, query: &JobQuery) -> Result<Vec<Job>, CentreError>;

    /// Waits until there may be something to claim, `at_most` so long. Costs the database next to nothing.
    ///
    /// # Errors
    /// [`CentreError`]
    async fn wait_for_jobs(&self, at_most: Duration) -> Result<(), CentreError>;

    /// What is there of a blob.
    ///
    /// # Errors
    /// [`CentreError`]
    async fn blob(&self, hash: BlobHash) -> Result<BlobState, CentreError>;

    /// Stores chunks `first`, `first + 1`, .. of a blob that is not whole; those that are there stay, and behind
    /// a gap nothing is stored. How many are there then, which need not be what it was: others put and remove.
    /// Use [`blobs::put`].
    ///
    /// # Errors
    /// [`CentreError`]; refused where a chunk is empty or longer than [`blobs::CHUNK_BYTES`].
    async fn put_chunks(
        &self,
        hash: BlobHash,
        first: u64,
        chunks: &[Vec<u8>],
    ) -> Result<u64, CentreError>;

    /// All chunks are there, `bytes` together: others may read it from now on. Use [`blobs::put`].
    ///
    /// # Errors
    /// [`CentreError`]; refused where chunks are missing.
    async fn seal_blob(&self, hash: BlobHash, bytes: u64) -> Result<(), CentreError>;

    /// Chunks `first` and, at most, the `most - 1` after it; fewer at the end. Use [`blobs::fetch`].
    ///
    /// # Errors
    /// [`CentreError`]
    async fn chunks(
        &self,
        hash: BlobHash,
        first: u64,
        most: usize,
    ) -> Result<Vec<Vec<u8>>, CentreError>;

    /// Takes away what is there of a blob that is not whole.
    ///
    /// # Errors
    /// [`CentreError`]
    async fn remove_partial(&self, hash: BlobHash) -> Result<(), CentreError>;

    /// Takes a blob away, whole or in part.
    ///
    /// # Errors
    /// [`CentreError`]
    async fn remove_blob(&self, hash: BlobHash) -> Result<(), CentreError>;

    /// Adds a document to `channel`, if its serial is above all that are there.
    ///
    /// # Errors
    /// [`CentreError`]; refused where it is beyond the bounds.
    async fn publish(&self, channel: &str, document: &Document) -> Result<Published, CentreError>;

    /// The oldest document of `channel` whose serial is above `after`.
    ///
    /// # Errors
    /// [`CentreError`]
    async fn follow(&self, channel: &str, after: u64) -> Result<Option<Document>, CentreError>;

    /// The newest document of `channel`.
    ///
    /// # Errors
    /// [`CentreError`]
    async fn newest(&self, channel: &str) -> Result<Option<Document>, CentreError>;

    /// Names of streams that devices have uploaded here, in order, behind `after`; none behind the last one.
    ///
    /// # Errors
    /// [`CentreError`]
    async fn streams(&self, after: &str, most: usize) -> Result<Vec<String>, CentreError>;

    /// One of them; `None` if there is none of this name.
    ///
    /// # Errors
    /// [`CentreError`]
    async fn stream(&self, name: &str) -> Result<Option<StoredStream>, CentreError>;

    /// Rows of a stream, in the order of their timestamps; none where there are no more.
    ///
    /// # Errors
    /// [`CentreError`]; refused where a field is unknown.
    async fn rows(&self, query: &RowsQuery) -> Result<Rows, CentreError>;

    /// Where this is, without secrets, for people.
    fn location(&self) -> String;
}

/// Builds the centre that `options.url` names, which is a database of rows besides; connects at the first call.
///
/// # Errors
/// [`CentreError::Refused`] if the URL is wrong, or names a database that is no centre.
pub fn connect(options: &UpstreamOptions) -> Result<Box<dyn Centre>, CentreError> {
    let scheme = options.url.split(':').next().unwrap_or_default();
    match scheme {
        #[cfg(feature = "sqlite")]
        "sqlite" => Ok(Box::new(sqlite::SqliteCentre::new(options)?)),
        #[cfg(not(feature = "sqlite"))]
        "sqlite" => Err(CentreError::Refused(
            "built without the feature `sqlite`".into(),
        )),
        #[cfg(feature = "postgres")]
        "postgres" | "postgresql" => Ok(Box::new(postgres::PostgresCentre::new(options)?)),
        #[cfg(not(feature = "postgres"))]
        "postgres" | "postgresql" => Err(CentreError::Refused(
            "built without the feature `postgres`".into(),
        )),
        other => Err(CentreError::Refused(format!(
            "\"{other}:\" is no centre; use postgres:// or sqlite:"
        ))),
    }
}

/// Whether `name` can be the name of a kind, label, builder or channel.
fn check_name(what: &str, name: &str) -> Result<(), CentreError> {
    let reason = if name.is_empty() {
        "is empty"
    } else if name.len() > NAME_BYTES_MAX {
        "is longer than 200 bytes"
    } else if name.contains('\0') {
        "holds a NUL"
    } else {
        return Ok(());
    };
    Err(CentreError::Refused(format!("the {what} {reason}")))
}

/// Whether `bytes` is no longer than a document may be.
fn check_length(what: &str, bytes: &[u8]) -> Result<(), CentreError> {
    if bytes.len() <= DOCUMENT_BYTES_MAX {
        return Ok(());
    }
    Err(CentreError::Refused(format!(
        "the {what} has {} bytes; at most {DOCUMENT_BYTES_MAX}",
        bytes.len()
    )))
}

fn check_labels(labels: &BTreeMap<String, String>) -> Result<(), CentreError> {
    if labels.len() > LABELS_MAX {
        return Err(CentreError::Refused(format!(
            "{} labels; at most {LABELS_MAX}",
            labels.len()
        )));
    }
    for (key, value) in labels {
        check_name("label", key)?;
        check_name("label's value", value)?;
    }
    Ok(())
}

/// Whether these can be chunks of a blob.
///
/// # Errors
/// [`CentreError::Refused`] if one is empty or too long.
pub fn check_chunks(chunks: &[Vec<u8>]) -> Result<(), CentreError> {
    let mut wrong = chunks
        .iter()
        .filter(|chunk| chunk.is_empty() || chunk.len() > blobs::CHUNK_BYTES);
    wrong.next().map_or(Ok(()), |chunk| {
        Err(CentreError::Refused(format!(
            "a chunk of {} bytes; 1 to {}",
            chunk.len(),
            blobs::CHUNK_BYTES
        )))
    })
}
