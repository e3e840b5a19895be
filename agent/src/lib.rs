//! The agent: takes sensor data over MQTT, keeps it safe, delivers it, learns from it.

pub mod config;
pub mod control;
pub mod http;
pub mod logging;
pub mod metrics;
pub mod settings;
pub mod topic;
