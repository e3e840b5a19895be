//! Harness, scenarios and crash loops.

pub mod taos_double;
