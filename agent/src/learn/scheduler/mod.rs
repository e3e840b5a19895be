//! What to train and when: tasks, the scan that opens them, and what survives a restart.

pub(in crate::learn) mod drifted;
pub(in crate::learn) mod scan;
pub(in crate::learn) mod store;
pub mod task;
