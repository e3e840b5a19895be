//! Cohorts: a data set is a query, resolved when it is used.
//!
//! Promises: resolving passes over the buffer, as far as the query can concern it, and keeps which rows
//! there are, not the rows; what arrives or is trimmed later changes nothing but that
//! trimmed rows cannot be read any more, and reading says so. A chunk in memory has at most as many
//! rows as the query allows, and those that windows look back into. The same query over the same
//! records gives the same rows, whatever the machine.

mod bits;
mod condition;
mod draw;
mod features;
mod labels;
mod layout;
mod query;
mod read;
mod resolve;
mod select;
mod store;

#[cfg(test)]
mod tests;

pub use self::{
    condition::{Checked, Condition, ConditionError},
    query::{CohortQuery, Missing, SplitPart},
    read::{Cohort, StreamRows},
    resolve::resolve,
};
pub(crate) use self::{
    labels::{Labels, number},
    resolve::resolve_telling,
};
pub use crate::base::text::names;

/// Why a query gives no cohort.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CohortError {
    /// The query does not fit the data; asking again will not help.
    #[error("{0}")]
    Asked(String),
    /// No stream of that name exists yet; it may come.
    #[error("{0}")]
    NoStream(String),
    /// The buffer cannot be read now.
    #[error("the buffer cannot be read: {0}")]
    Unreadable(String),
}

impl From<String> for CohortError {
    fn from(why: String) -> Self {
        Self::Unreadable(why)
    }
}

impl From<ConditionError> for CohortError {
    fn from(error: ConditionError) -> Self {
        Self::Asked(error.to_string())
    }
}
