//! The agent: takes sensor data over MQTT, keeps it safe, delivers it, learns from it.

pub mod decode;
pub mod route;
pub mod settings;
pub mod topic;
