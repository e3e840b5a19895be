//! The machine: memory, and how hot it is.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Findings, Roots};
use crate::base::{text::bytes, thermal};

const MEMORY: &str = "memory";
const HEAT: &str = "temperature";
/// What the whole agent takes while it learns, with room to spare, bytes.
const NEEDED_BYTES: u64 = 64 << 20;

pub(super) fn examine(roots: &Roots, heat_limit_c: Option<f64>, found: &mut Findings) {
    memory(roots, found);
    heat(&roots.sys, heat_limit_c, found);
}

fn memory(roots: &Roots, found: &mut Findings) {
    let text = fs::read_to_string(roots.proc.join("meminfo")).unwrap_or_default();
    let (Some(total), Some(available)) = (kib(&text, "MemTotal:"), kib(&text, "MemAvailable:"))
    else {
        return found.note(MEMORY, "how much there is cannot be found out here", "");
    };
    let limit = cgroup_limit(roots);
    let group = limit.map_or_else(String::new, |limit| {
        format!(", {} for this process (cgroup)", bytes(limit as f64))
    });
    let what = format!(
        "{} of {} available{group}",
        bytes(available as f64),
        bytes(total as f64)
    );
    if limit.unwrap_or(u64::MAX).min(available) < NEEDED_BYTES {
        let advice = format!(
            "leave the agent {} (systemd: MemoryMax); with less the kernel may end it, which loses \
             nothing acknowledged",
            bytes(NEEDED_BYTES as f64)
        );
        found.warning(MEMORY, what, advice);
    } else {
        found.ok(MEMORY, what);
    }
}

/// `MemTotal:  123 kB`, in bytes.
fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let number: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(number.saturating_mul(1024))
}

/// The smallest limit from this process's group up to the root, bytes.
fn cgroup_limit(roots: &Roots) -> Option<u64> {
    let groups = fs::read_to_string(roots.proc.join("self/cgroup")).ok()?;
    let of = |prefix: fn(&str) -> bool, dir: &str, file: &str| {
        let path = groups.lines().find_map(|line| {
            let (kind, path) = line.split_once(':')?.1.split_once(':')?;
            prefix(kind).then(|| path.trim_start_matches('/').to_owned())
        })?;
        let root: PathBuf = roots.sys.join(dir);
        let group = root.join(path);
        let limits = group
            .ancestors()
            .take_while(|dir| dir.starts_with(&root))
            .filter_map(|dir| fs::read_to_string(dir.join(file)).ok()?.trim().parse().ok());
        limits.min()
    };
    let unified = of(str::is_empty, "fs/cgroup", "memory.max");
    let legacy = of(
        |kind| kind.split(',').any(|kind| kind == "memory"),
        "fs/cgroup/memory",
        "memory.limit_in_bytes",
    );
    // The older kind writes a number near 2^63 where there is no limit.
    unified.or(legacy).filter(|limit: &u64| *limit < 1 << 60)
}

fn heat(sys: &Path, limit_c: Option<f64>, found: &mut Findings) {
    let zones = thermal::zones(&sys.join("class/thermal"));
    let Some(hottest) = zones.iter().max_by(|a, b| a.celsius.total_cmp(&b.celsius)) else {
        match limit_c {
            Some(limit) => found.warning(
                HEAT,
                format!("no sensor: learning cannot pause above {limit} °C"),
                "lower learn.cpu_percent_max if the device gets hot",
            ),
            None => found.note(HEAT, "no sensor", ""),
        }
        return;
    };
    let count = zones.len();
    let what = format!(
        "{:.0} °C ({}), the hottest of {count}",
        hottest.celsius, hottest.name
    );
    match limit_c {
        Some(limit) if hottest.celsius > limit => found.warning(
            HEAT,
            format!("{what}: above the limit of {limit} °C, so learning waits"),
            "cool the device, or raise learn.temperature_c_max",
        ),
        Some(limit) => found.ok(HEAT, format!("{what}; learning pauses above {limit} °C")),
        None => found.ok(HEAT, what),
    }
}
