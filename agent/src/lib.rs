//! The agent: takes sensor data over MQTT, keeps it safe, delivers it, learns from it.

pub mod broker;
pub mod ingest;
pub mod mqtt;
pub mod settings;
pub mod simulate;
pub mod topic;
