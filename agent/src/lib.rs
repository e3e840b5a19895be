//! The agent: takes sensor data over MQTT, keeps it safe, delivers it, learns from it.

pub mod settings;
pub mod topic;
