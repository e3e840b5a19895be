//! The agent: takes sensor data over MQTT, keeps it safe, delivers it, learns from it.

pub mod app;
#[cfg(any(test, feature = "demo"))]
pub mod broker;
pub mod cli;
pub mod clock;
#[cfg(feature = "learning")]
pub mod cohort;
pub mod commands;
pub mod config;
pub mod control;
pub mod decode;
pub mod doctor;
pub mod export;
pub mod features;
pub(crate) mod glob;
pub mod http;
pub mod ingest;
#[cfg(feature = "learning")]
pub mod learn;
pub mod logging;
pub(crate) mod memory;
pub mod metrics;
pub(crate) mod moment;
pub mod mqtt;
pub mod notify;
pub mod operations;
mod owner;
#[cfg(feature = "learning")]
pub mod recipes;
pub mod route;
pub mod settings;
pub mod simulate;
pub mod split;
pub mod stall;
pub mod status;
pub mod store;
pub(crate) mod thermal;
pub mod topic;
pub mod writer;
