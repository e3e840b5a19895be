//! Harness, scenarios, crash loops and measurements.

pub mod central;
pub mod device;
pub mod disk_image;
pub mod interrupts;
pub mod measure;
pub mod mqtt_double;
mod mqtt_packet;
pub mod options;
pub mod publisher;
pub mod records;
pub mod relay;
pub mod taos_double;
pub mod vibration;
