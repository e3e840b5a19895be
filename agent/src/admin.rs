//! What a command asks, of a running agent or of its data directory.

pub mod client;
pub mod offline;
pub mod operations;
pub mod protocol;
pub mod server;
