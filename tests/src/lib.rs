//! Harness, scenarios and crash loops.

pub mod central;
pub mod device;
pub mod disk_image;
pub mod mqtt_double;
pub mod options;
pub mod records;
pub mod taos_double;
