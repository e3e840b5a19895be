//! The agent: takes sensor data over MQTT, keeps it safe, delivers it, learns from it.

pub mod app;
pub mod broker;
pub mod cli;
pub mod clock;
pub mod cohort;
pub mod commands;
pub mod config;
pub mod control;
pub mod decode;
pub mod export;
pub mod http;
pub mod ingest;
pub mod learn;
pub mod logging;
pub mod metrics;
pub mod mqtt;
pub mod operations;
pub mod recipes;
pub mod route;
pub mod settings;
pub mod simulate;
pub mod split;
pub mod status;
pub mod store;
pub mod topic;
pub mod writer;
