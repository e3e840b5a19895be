//! Harness, scenarios and crash loops.
