//! Memory that was needed for a moment goes back to the system.
//!
//! glibc keeps what a thread has freed in an arena of that thread's own, up to eight arenas a core:
//! a task that has trained would leave its peak behind for ever. Two arenas, and larger pieces
//! straight from the system, keep a learning agent at half the size, at no cost that could be measured.

/// Asks the allocator to keep little. Elsewhere than on glibc nothing need be asked.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
pub(crate) fn keep_little() {
    const ARENAS_MAX: i32 = 2;
    const THRESHOLD_BYTES: i32 = 128 << 10;
    for (parameter, value) in [
        (libc::M_ARENA_MAX, ARENAS_MAX),
        (libc::M_TRIM_THRESHOLD, THRESHOLD_BYTES),
        (libc::M_MMAP_THRESHOLD, THRESHOLD_BYTES),
    ] {
        // SAFETY: a call on two numbers; refused values change nothing.
        let _is_set = unsafe { libc::mallopt(parameter, value) };
    }
}

/// Asks the allocator to keep little. Elsewhere than on glibc nothing need be asked.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn keep_little() {}
