//! Mining: which of several models is best on the same records, and what has come of it.

use std::{collections::BTreeMap, num::NonZeroU32};

use dunlin_models::data::Lineage;
use dunlin_sync::centre::{
    blobs::BlobHash,
    job::{JobId, NewJob},
};
use serde::{Deserialize, Serialize};

use super::{FORMAT, TrainJob, check_format};
use crate::base::glob;

/// Looking for the best of several models.
pub(crate) const MINE: &str = "mine";
/// Most candidates of a job.
pub(crate) const CANDIDATES_MAX: usize = 100;

/// A job that looks for the best model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MineJob {
    format: u32,
    /// Recipe, streams, moment and seed: what is judged on, and what the best is continued with.
    pub(crate) train: TrainJob,
    /// Named when the job was submitted: whoever tries it again looks at the same ones.
    pub(crate) candidates: Vec<Candidate>,
    /// What is done with the best one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) then: Option<Then>,
}

/// One of the models.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Candidate {
    /// The job that has made it.
    pub(crate) job: String,
    /// The model, a blob at the centre.
    pub(crate) model: String,
    /// Where it, and the models it was started from, have taken records from.
    pub(crate) learnt: Vec<Learnt>,
}

/// Records of some streams in a stretch of time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Learnt {
    /// Streams, as a glob over the names that the centre has for them.
    pub(crate) streams: String,
    /// First timestamp, nanoseconds UTC.
    pub(crate) first_ts: i64,
    /// Last timestamp, nanoseconds UTC.
    pub(crate) last_ts: i64,
}

/// What is done with the best model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Then {
    /// A job trains it further, within these limits.
    Continue(Limits),
}

/// Limits of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limits {
    pub(crate) attempts_max: NonZeroU32,
    pub(crate) lease_ms: u64,
    pub(crate) stalled_ms_max: u64,
    pub(crate) time_ms_max: u64,
}

/// What has come of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Mined {
    pub(crate) format: u32,
    /// The recipe's name.
    pub(crate) recipe: String,
    /// What was judged on: all rows of the data set, those that are learnt from among them.
    pub(crate) lineage: Lineage,
    /// Windows that each was judged on.
    pub(crate) windows: u64,
    /// Mean error of the baseline on these.
    pub(crate) baseline_error: f64,
    /// The best first: those that have not seen the rows, then those that have, then those that could not be judged.
    pub(crate) leaderboard: Vec<Standing>,
    /// The first of them, a blob at the centre.
    pub(crate) model: String,
    pub(crate) model_bytes: u64,
    /// What goes on from it.
    pub(crate) continued: Option<Continued>,
    /// How long the last attempt took, seconds.
    pub(crate) seconds: f64,
}

/// How a candidate has done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Standing {
    /// The model, a blob at the centre.
    pub(crate) model: String,
    /// The job that has made it.
    pub(crate) job: String,
    /// Whether it, or a model it was started from, has taken records from a judged stream in the time of the judged
    /// rows, or from where nobody knows. It has learnt from none of the judged windows even so (the split of a
    /// record is drawn once), but from others that overlap with them, and stopped where it answered these best.
    pub(crate) seen: bool,
    /// `None` if it could not be judged.
    pub(crate) figures: Option<Figures>,
    /// Why it could not be.
    pub(crate) reason: Option<String>,
}

/// How good a model is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) model_bytes: u64,
    /// Mean error.
    pub(crate) error: f64,
    /// Streams that have windows.
    pub(crate) streams: u64,
    /// The least mean error on one of these.
    pub(crate) least: f64,
    /// The greatest.
    pub(crate) most: f64,
    /// The stream that has it.
    pub(crate) worst: String,
}

/// The job that goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Continued {
    pub(crate) job: String,
    /// The model it starts from: the best, unless an attempt before has submitted it when other records were there.
    pub(crate) from: String,
}

impl MineJob {
    /// # Errors
    /// A text for people, if there are none or too many candidates.
    pub(crate) fn new(
        train: TrainJob,
        candidates: Vec<Candidate>,
        then: Option<Then>,
    ) -> Result<Self, String> {
        let job = Self {
            format: FORMAT,
            train,
            candidates,
            then,
        };
        job.check()?;
        Ok(job)
    }

    /// Reads it back.
    ///
    /// # Errors
    /// Why that is none, in words for people.
    pub(crate) fn read(document: &[u8]) -> Result<Self, String> {
        check_format(document)?;
        let job: Self = serde_json::from_slice(document)
            .map_err(|error| format!("the job's document: {error}"))?;
        job.check()?;
        Ok(job)
    }

    /// As it is stored.
    ///
    /// # Errors
    /// A text for people.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, String> {
        serde_json::to_vec(self).map_err(|error| error.to_string())
    }

    fn check(&self) -> Result<(), String> {
        match self.candidates.len() {
            1..=CANDIDATES_MAX => Ok(()),
            count => Err(format!(
                "{count} candidates; a job takes 1 to {CANDIDATES_MAX}"
            )),
        }
    }
}

impl Candidate {
    /// Whether it may have taken records from one of `streams` between `first_ts` and `last_ts`, both included.
    pub(crate) fn has_seen(&self, streams: &[String], first_ts: i64, last_ts: i64) -> bool {
        self.learnt.iter().any(|learnt| {
            let mut streams = streams.iter();
            learnt.first_ts <= last_ts
                && first_ts <= learnt.last_ts
                && streams.any(|stream| glob::matches(&learnt.streams, stream))
        })
    }
}

impl Learnt {
    /// Nobody knows from where: anything.
    pub(crate) fn anything() -> Self {
        Self {
            streams: "*".into(),
            first_ts: i64::MIN,
            last_ts: i64::MAX,
        }
    }
}

impl Limits {
    /// A job within them.
    pub(crate) fn job(
        self,
        id: JobId,
        kind: &str,
        document: Vec<u8>,
        labels: BTreeMap<String, String>,
    ) -> NewJob {
        NewJob {
            id,
            kind: kind.to_owned(),
            document,
            labels,
            attempts_max: self.attempts_max,
            lease_ms: self.lease_ms,
            stalled_ms_max: self.stalled_ms_max,
            time_ms_max: self.time_ms_max,
        }
    }
}

impl Mined {
    pub(crate) const FORMAT: u32 = FORMAT;

    /// Reads it back.
    ///
    /// # Errors
    /// Why that is none, in words for people.
    pub(crate) fn read(result: &[u8]) -> Result<Self, String> {
        check_format(result)?;
        serde_json::from_slice(result).map_err(|error| format!("the job's result: {error}"))
    }
}

/// The job that goes on from what `mining` has found: always the same one, so that it is submitted once, however
/// often the mining is tried.
pub(crate) fn continuation_of(mining: JobId) -> JobId {
    let BlobHash(hash) = BlobHash::of(&mining.0.to_be_bytes());
    let half = hash.iter().take(16);
    JobId(half.fold(0, |id, byte| id << 8 | u128::from(*byte)))
}

#[cfg(test)]
mod tests;
