//! Keeps samples safe and delivers them.
//!
//! Promises: what `Buffer::commit` has returned survives a power cut; what has not reached the
//! upstream is not trimmed; sending twice changes nothing.

pub mod backoff;
pub mod batch;
pub mod block;
pub mod buffer;
pub mod centre;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod cursor;
pub mod files;
mod generation;
pub mod horizon;
pub mod interval_set;
pub mod lock;
pub mod quarantine;
pub mod rows;
pub mod sample;
pub mod second_field;
pub mod tls;
pub mod uploader;
pub mod upstream;
pub mod verify;
