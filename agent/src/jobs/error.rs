//! Why a job has no result.

use std::fmt;

use dunlin_models::recipe::{Stopped, TrainError};
use dunlin_sync::centre::{CentreError, blobs::BlobError, job::Outcome};

/// Why there is no result.
#[derive(Debug)]
pub(crate) enum JobError {
    /// Somebody has ended the attempt, or the builder stops.
    Interrupted,
    /// Another attempt may succeed: this machine was in the way.
    Here(String),
    /// No other attempt will.
    Last(String),
    /// The centre was in the way.
    Centre(CentreError),
}

impl JobError {
    pub(super) fn here(what: &dyn fmt::Display) -> Self {
        Self::Here(what.to_string())
    }

    pub(super) fn last(what: &dyn fmt::Display) -> Self {
        Self::Last(what.to_string())
    }

    /// What the centre is told.
    pub(super) fn outcome(self) -> Outcome {
        let (reason, is_final) = match self {
            Self::Interrupted => return Outcome::Returned,
            Self::Here(reason) => (reason, false),
            Self::Last(reason) => (reason, true),
            Self::Centre(error) => (error.to_string(), false),
        };
        Outcome::Failed { reason, is_final }
    }
}

impl From<CentreError> for JobError {
    fn from(error: CentreError) -> Self {
        Self::Centre(error)
    }
}

impl From<BlobError> for JobError {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::Centre(error) => Self::Centre(error),
            BlobError::Missing(_) | BlobError::TooLong { .. } => Self::last(&error),
            error => Self::here(&error),
        }
    }
}

impl From<TrainError> for JobError {
    fn from(error: TrainError) -> Self {
        match error {
            TrainError::Stopped(Stopped::Shutdown | Stopped::TimeLimit) => Self::Interrupted,
            error => Self::last(&error),
        }
    }
}
