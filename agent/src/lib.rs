//! The agent: takes sensor data over MQTT, keeps it safe, delivers it, learns from it.

pub mod admin;
pub mod app;
pub(crate) mod base;
pub mod cli;
#[cfg(feature = "learning")]
pub mod cohort;
pub mod config;
pub(crate) mod discover;
pub mod doctor;
pub mod features;
pub mod grid;
pub mod ingest;
#[cfg(feature = "learning")]
pub mod learn;
pub mod mqtt;
pub mod observe;
pub mod own;
#[cfg(feature = "learning")]
pub mod recipes;
pub mod record;
pub mod simulate;
pub(crate) mod stack;
pub mod store;
pub mod topic;
pub(crate) mod upstream;
