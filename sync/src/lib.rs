//! Keeps samples safe and delivers them.
//!
//! Promises: what `Buffer::commit` has returned survives a power cut; what has not reached the
//! upstream is not trimmed; sending twice changes nothing.

pub mod block;
pub mod buffer;
pub mod builder;
pub mod codec;
pub mod frame;
mod generation;
pub mod pack;
pub mod rows;
pub mod sample;
pub mod state_file;
pub mod tls;
pub mod upstream;
