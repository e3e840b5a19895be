//! What stands in for a broker, a database or the network between, and fails on demand.

pub mod mqtt;
pub mod relay;
pub mod taos;
