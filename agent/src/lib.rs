//! The agent: takes sensor data over MQTT, keeps it safe, delivers it, learns from it.

pub mod clock;
pub mod export;
pub mod settings;
pub mod split;
pub mod topic;
