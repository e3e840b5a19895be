//! Memory that was needed for a moment goes back to the system, and what is never touched is not taken.

/// Asks the allocator and the kernel to keep little. Elsewhere than on Linux nothing need be asked.
pub(crate) fn keep_little() {
    keep_few_arenas();
    take_small_pages();
}

/// glibc keeps what a thread has freed in an arena of that thread's own, up to eight arenas a core:
/// a task that has trained would leave its peak behind for ever. Two arenas, and larger pieces
/// straight from the system, keep a learning agent at half the size, at no cost that could be measured.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
fn keep_few_arenas() {
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

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn keep_few_arenas() {}

/// Where huge pages are for all (Debian's kernel for 64-bit ARM), each thread's stack becomes one of 2 MB
/// at its first touch: 37 MB instead of 12 for an agent at rest.
#[cfg(target_os = "linux")]
fn take_small_pages() {
    // A kernel without huge pages refuses, and need not be asked.
    let _is_set = rustix::thread::disable_transparent_huge_pages(true);
}

#[cfg(not(target_os = "linux"))]
fn take_small_pages() {}
