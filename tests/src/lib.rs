//! Harness, scenarios and crash loops.

pub mod measure;
pub mod taos_double;
