//! One task, from its data set to the registry, and what keeps it civil.

mod data_set;
mod governor;
pub(in crate::learn) mod run;
