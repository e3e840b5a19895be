//! The agent: takes sensor data over MQTT, keeps it safe, delivers it, learns from it.

pub mod clock;
pub mod decode;
pub mod export;
pub mod route;
pub mod settings;
pub mod split;
pub mod topic;
