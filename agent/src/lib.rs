//! The agent: takes sensor data over MQTT, keeps it safe, delivers it, learns from it.

pub mod clock;
pub mod config;
pub mod control;
pub mod decode;
pub mod export;
pub mod http;
pub mod logging;
pub mod metrics;
pub mod route;
pub mod settings;
pub mod split;
pub mod topic;
