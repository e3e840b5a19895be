//! What this machine is called.

/// The name of this machine, if it is a text.
pub(crate) fn name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .or_else(|_| std::fs::read_to_string("/etc/hostname"))
        .ok()?;
    let name = name.trim();
    (!name.is_empty() && name.len() <= 64 && name != "(none)").then(|| name.to_owned())
}
