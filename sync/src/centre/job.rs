//! What a job is, and what becomes of it.

use std::{collections::BTreeMap, fmt, num::NonZeroU32, str::FromStr};

use super::{
    CentreError, REASON_BYTES_MAX, blobs::BlobHash, check_labels, check_length, check_name,
};

/// Most attempts at a job.
const ATTEMPTS_MAX: u32 = 1000;
/// Longest lease and limit: a year.
const MS_MAX: u64 = 366 * 24 * 3_600_000;

/// Names a job, or a request, for ever: 128 random bits, drawn by whoever submits it, so that submitting again
/// after a lost answer changes nothing. Written as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(pub u128);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for JobId {
    type Err = CentreError;

    fn from_str(text: &str) -> Result<Self, CentreError> {
        let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u128::from_str_radix(text, 16);
        number
            .ok()
            .filter(|_| digits && text.len() == 32)
            .map(Self)
            .ok_or_else(|| {
                CentreError::Refused(format!("{text:?} names no job: 32 hexadecimal digits do"))
            })
    }
}

/// A job to be put in line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewJob {
    /// Its name.
    pub id: JobId,
    /// What sort of job it is, for whoever can do that.
    pub kind: String,
    /// What is to be done, in the words of whoever does it.
    pub document: Vec<u8>,
    /// Only builders that have all of these may take it.
    pub labels: BTreeMap<String, String>,
    /// How often it is begun at most.
    pub attempts_max: NonZeroU32,
    /// How long an attempt is safe that is not heard of.
    pub lease_ms: u64,
    /// How long an attempt is safe that makes no progress, however often it is heard of.
    pub stalled_ms_max: u64,
    /// How long an attempt may take.
    pub time_ms_max: u64,
}

impl NewJob {
    /// # Errors
    /// [`CentreError::Refused`] if it is beyond the bounds, in words for people.
    pub fn check(&self) -> Result<(), CentreError> {
        check_name("kind", &self.kind)?;
        check_labels(&self.labels)?;
        check_length("job's document", &self.document)?;
        if self.attempts_max.get() > ATTEMPTS_MAX {
            return Err(CentreError::Refused(format!(
                "{} attempts; at most {ATTEMPTS_MAX}",
                self.attempts_max
            )));
        }
        for (what, ms) in [
            ("lease", self.lease_ms),
            ("longest time without progress", self.stalled_ms_max),
            ("longest time", self.time_ms_max),
        ] {
            if ms == 0 || ms > MS_MAX {
                return Err(CentreError::Refused(format!(
                    "the {what} is {ms} ms; from 1 ms to at most a year"
                )));
            }
        }
        Ok(())
    }
}

/// Where a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// Waits for a builder.
    Open,
    /// A builder is at it.
    Running,
    /// Has its one result.
    Done,
    /// Will not be tried again by itself.
    Failed,
    /// Nobody wants it any more.
    Cancelled,
}

impl JobState {
    /// All, in the order of a job's life.
    pub const ALL: [Self; 5] = [
        Self::Open,
        Self::Running,
        Self::Done,
        Self::Failed,
        Self::Cancelled,
    ];

    /// As it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl FromStr for JobState {
    type Err = CentreError;

    fn from_str(text: &str) -> Result<Self, CentreError> {
        let mut all = Self::ALL.into_iter();
        all.find(|state| state.as_str() == text).ok_or_else(|| {
            CentreError::Refused(format!(
                "{text:?} is no state of a job; open, running, done, failed and cancelled are"
            ))
        })
    }
}

/// A job and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its name.
    pub id: JobId,
    /// What sort of job it is.
    pub kind: String,
    /// What is to be done; empty in a list.
    pub document: Vec<u8>,
    /// What a builder must have.
    pub labels: BTreeMap<String, String>,
    /// Where it is.
    pub state: JobState,
    /// When it was submitted, by the database's clock, milliseconds UTC.
    pub submitted_ms: i64,
    /// Attempts that have begun.
    pub attempts_begun: u32,
    /// The result of the attempt that was accepted.
    pub result: Option<Vec<u8>>,
    /// Why it is where it is, where there is something to say.
    pub reason: Option<String>,
    /// Its attempts, in order; empty in a list.
    pub attempts: Vec<Attempt>,
}

/// One attempt at a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Its number, from 1: the fencing token.
    pub number: u32,
    /// Who made it.
    pub builder: String,
    /// When it began, by the database's clock, milliseconds UTC.
    pub begun_ms: i64,
    /// When it ended.
    pub ended_ms: Option<i64>,
    /// When its lease is over, unless it is renewed.
    pub expires_ms: i64,
    /// How far it came.
    pub progress: Progress,
    /// How it ended, in a word: done, failed, returned, expired, cancelled.
    pub ending: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

/// How far an attempt is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Rises as work is done: steps, windows, bytes.
    pub steps: u64,
    /// From where another builder can go on; a blob at the centre.
    pub checkpoint: Option<BlobHash>,
}

/// A job in a builder's hands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The job, without its attempts.
    pub job: Job,
    /// The number of this attempt.
    pub attempt: u32,
    /// How long it was safe without a word when it was told.
    pub lease_ms: u64,
    /// From where to go on: how far the last attempt came that left a checkpoint.
    pub resume: Option<Progress>,
}

/// Whether a claim still holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// It does.
    Yes,
    /// It was lost, or the job cancelled: stop, nothing of it counts any more.
    Lost,
}

/// How a builder ends its attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With the job's result.
    Done {
        /// In the words of whoever asked for it.
        result: Vec<u8>,
    },
    /// It could not be done.
    Failed {
        /// In words for people.
        reason: String,
        /// Trying again is of no use, whoever tries.
        is_final: bool,
    },
    /// It was given back unfinished, as by a builder that stops; does not count as an attempt.
    Returned,
}

impl Outcome {
    /// # Errors
    /// [`CentreError::Refused`] if its result is longer than is kept.
    pub fn check(&self) -> Result<(), CentreError> {
        match self {
            Self::Done { result } => check_length("result", result),
            Self::Failed { .. } | Self::Returned => Ok(()),
        }
    }

    /// Why it failed, as it is kept: not too long, and nothing in it that a database does not take.
    pub fn reason(&self) -> Option<String> {
        let Self::Failed { reason, .. } = self else {
            return None;
        };
        let end = reason.floor_char_boundary(REASON_BYTES_MAX);
        Some(reason[..end].replace('\0', "\u{fffd}"))
    }
}

/// Whether an ending was the one that decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was.
    Accepted,
    /// The claim was lost before.
    Lost,
}

/// Which jobs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobQuery {
    /// Only those in this state.
    pub state: Option<JobState>,
    /// Only those of this kind.
    pub kind: Option<String>,
    /// At most so many.
    pub most: usize,
}
