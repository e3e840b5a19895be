//! Temperatures, as Linux tells them.

use std::{fs, path::Path};

/// One sensor.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Zone {
    /// What it calls itself, such as `cpu-thermal`.
    pub(crate) name: String,
    /// Degrees Celsius.
    pub(crate) celsius: f64,
}

/// The sensors below `dir` (`/sys/class/thermal`) that can be read, by name.
pub(crate) fn zones(dir: &Path) -> Vec<Zone> {
    let zones = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut zones: Vec<Zone> = zones
        .filter_map(|zone| {
            let read = |name: &str| fs::read_to_string(zone.path().join(name)).ok();
            let milli: f64 = read("temp")?.trim().parse().ok()?;
            let name = read("type").map(|name| name.trim().to_owned());
            Some(Zone {
                name: name.unwrap_or_else(|| zone.file_name().to_string_lossy().into_owned()),
                celsius: milli / 1_000.0,
            })
        })
        .collect();
    zones.sort_by(|a, b| a.name.cmp(&b.name));
    zones
}
