//! How an attempt ends, and what follows for its job: the same in every database that speaks SQL.

use super::job::Outcome;

/// How an attempt ends.
pub(super) enum Ending {
    Done(Vec<u8>),
    Failed { reason: String, is_final: bool },
    Returned,
    Expired(String),
    Cancelled,
}

impl From<&Outcome> for Ending {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Done { result } => Self::Done(result.clone()),
            Outcome::Failed { is_final, .. } => Self::Failed {
                reason: outcome.reason().unwrap_or_default(),
                is_final: *is_final,
            },
            Outcome::Returned => Self::Returned,
        }
    }
}

impl Ending {
    /// As it is stored.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Done(_) => "done",
            Self::Failed { .. } => "failed",
            Self::Returned => "returned",
            Self::Expired(_) => "expired",
            Self::Cancelled => "cancelled",
        }
    }

    pub(super) fn reason(&self) -> Option<&str> {
        match self {
            Self::Failed { reason, .. } | Self::Expired(reason) => Some(reason),
            Self::Done(_) | Self::Returned | Self::Cancelled => None,
        }
    }

    pub(super) fn result(&self) -> Option<&[u8]> {
        match self {
            Self::Done(result) => Some(result),
            _ => None,
        }
    }

    /// The state of the job then, as an expression over its row.
    pub(super) fn state(&self) -> &'static str {
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

    /// What has failed goes to the end of the line; what is given back keeps its place.
    pub(super) fn uses_up_an_attempt(&self) -> bool {
        match self {
            Self::Failed { is_final, .. } => !is_final,
            Self::Expired(_) => true,
            Self::Done(_) | Self::Returned | Self::Cancelled => false,
        }
    }
}
