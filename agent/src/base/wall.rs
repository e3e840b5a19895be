//! The wall clock.

use std::time::SystemTime;

/// The wall clock, nanoseconds UTC; for people's eyes, never for records.
pub(crate) fn wall_ns() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
    })
}
