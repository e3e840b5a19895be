//! Numbers in, model versions out: no sockets, no wall clock, no async runtime.
//!
//! A [`data::Source`] gives rows in chunks; a [`recipe::Recipe`] makes a [`recipe::Model`] of them,
//! from nothing or from an earlier one; [`judging::evaluation`] tells how good it is on rows it has not seen,
//! beside a baseline; an [`artifact::Artifact`] is all of it as bytes.

// Tests compare numbers that must be exactly what they are.
#![cfg_attr(test, allow(clippy::float_cmp))]

pub mod artifact;
pub mod data;
pub mod drift;
pub mod judging;
pub mod recipe;
pub mod recipes;
pub mod registry;
pub mod training;
