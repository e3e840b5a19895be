//! How good a model is, beside what, and how sure; whether it may serve, and whether it stays.

pub mod baseline;
pub mod crossval;
pub mod evaluation;
pub mod gate;
pub mod trial;
