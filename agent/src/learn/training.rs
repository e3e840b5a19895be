//! One task, from its data set to a version in the registry, and what keeps it civil.

pub(in crate::learn) mod checkpoint;
mod data_set;
mod governor;
pub(crate) mod judge;
pub(in crate::learn) mod run;
mod trial;
