//! Harness, scenarios, crash loops and measurements.

pub mod batches;
pub mod central;
pub mod certificates;
pub mod device;
pub mod disk_image;
pub mod doubles;
pub mod interrupts;
pub mod measure;
mod mqtt_packet;
pub mod options;
pub mod publisher;
pub mod records;
pub mod vibration;
