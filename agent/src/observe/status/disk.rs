//! How much disk the agent takes.

use dunlin_sync::{buffer::SET_ASIDE_BYTES_MAX, quarantine};
use serde::{Deserialize, Serialize};

use super::View;
use crate::observe::metrics::Metric;

/// Disk taken by everything in the data directory that grows, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskStatus {
    /// Committed records.
    pub buffer_bytes: u64,
    /// What could not be decoded or delivered.
    pub quarantine_bytes: u64,
    /// Versions of models.
    pub models_bytes: u64,
    /// Damaged parts, kept for people to look at.
    pub set_aside_bytes: u64,
    /// All together.
    pub bytes: u64,
    /// The most that may be, with the bounds configured now.
    pub bytes_max: u64,
}

impl View {
    pub(super) fn disk_status(&self) -> DiskStatus {
        let settings = self.settings();
        let mut disk = DiskStatus {
            buffer_bytes: self.buffer.shape().bytes,
            quarantine_bytes: self.quarantine.bytes(),
            set_aside_bytes: self.buffer.set_aside_bytes(),
            bytes_max: settings.buffer.bytes_max
                + settings.quarantine_bytes_max.max(quarantine::BYTES_MAX_MIN)
                + SET_ASIDE_BYTES_MAX,
            ..DiskStatus::default()
        };
        #[cfg(feature = "learning")]
        {
            disk.models_bytes = self.models.disk_bytes();
            disk.bytes_max += settings.learn.bytes_max;
        }
        disk.bytes =
            disk.buffer_bytes + disk.quarantine_bytes + disk.models_bytes + disk.set_aside_bytes;
        disk
    }
}

impl DiskStatus {
    /// What a monitoring system wants of it.
    pub(super) fn metrics(&self) -> Vec<Metric> {
        let gauge = |name, help, bytes: u64| Metric::gauge(name, help, bytes as f64);
        vec![
            gauge(
                "dunlin_models_bytes",
                "Disk all models take",
                self.models_bytes,
            ),
            gauge(
                "dunlin_set_aside_bytes",
                "Disk that damaged parts take, kept for people to look at",
                self.set_aside_bytes,
            ),
            gauge(
                "dunlin_disk_bytes",
                "Disk that everything takes",
                self.bytes,
            ),
            gauge(
                "dunlin_disk_bytes_max",
                "Disk that everything may take",
                self.bytes_max,
            ),
        ]
    }
}
