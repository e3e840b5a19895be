//! Figures about this process and about lists of figures.

use std::fs;

/// The middle one; of an even number, the upper of the two. Zero for none.
pub fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// The figure below which the share `part` of them lies, 0..1. Zero for none.
pub fn quantile(figures: &[f64], part: f64) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (sorted.len() as f64 * part) as usize;
    let at = at.min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or_default()
}

/// Time that all threads of this process have computed, seconds.
pub fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Resident memory of this process, bytes.
pub fn rss_bytes() -> u64 {
    status_bytes("VmRSS:")
}

/// The most that `work` had in memory beyond what was there before, bytes.
pub fn peak_rss_bytes<T>(work: impl FnOnce() -> T) -> (T, u64) {
    // 5: the peak begins anew.
    let _else_an_older_peak = fs::write("/proc/self/clear_refs", "5");
    let before = rss_bytes();
    let done = work();
    (done, status_bytes("VmHWM:").saturating_sub(before))
}

fn status_bytes(name: &str) -> u64 {
    memory_bytes(std::process::id(), name)
}

/// Memory of a process as Linux calls it in its `status` (`VmRSS:` is resident now, `VmHWM:` the most
/// so far), bytes.
pub fn memory_bytes(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}

/// Bytes this process has had written to storage since its start.
pub fn written_bytes() -> u64 {
    let io = fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = io
        .lines()
        .find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|bytes| bytes.trim().parse().ok())
        .unwrap_or_default()
}

/// Empties the page cache; false if that is not allowed.
pub fn drop_page_cache() -> bool {
    rustix::fs::sync();
    fs::write("/proc/sys/vm/drop_caches", "3").is_ok()
}
