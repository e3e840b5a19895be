//! What the agent shows of itself: status, metrics, and the HTTP server for both.

pub(crate) mod heartbeat;
pub mod http;
pub mod metrics;
pub mod status;
pub(crate) mod words;
