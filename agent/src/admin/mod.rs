//! What a command asks, of a running agent or of its data directory.

pub mod control;
pub mod export;
pub mod operations;
