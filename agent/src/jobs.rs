//! Jobs at a centre: what they say, and the builder that does them.
//!
//! Promises: a job has at most one accepted result (see `dunlin_sync::centre`); a builder that dies loses its
//! claim and nothing else: another goes on from the last checkpoint, and ends with the same bytes; whatever goes
//! wrong with a job ends that job alone, with its reason.

pub(crate) mod builder;
pub(crate) mod candidates;
mod checkpoint;
mod data;
pub(crate) mod document;
mod error;
mod host;
mod mine;
mod train;
