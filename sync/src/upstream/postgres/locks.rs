//! How long the locks of others are waited for: a table that somebody holds costs its own rows alone, neither
//! those of other tables nor the turn of other devices.

use std::time::Duration;

/// Of the time-out, for a lock on what rows are written into.
const FOR_ROWS: u32 = 5;
/// For a lock on what is changed. Less than for rows: other devices that write some wait behind us. But of the
/// usual 10 s more than the second (`deadlock_timeout`) after which the server calls off an autovacuum.
const FOR_CHANGES: u32 = 8;
/// For whoever goes on by itself: another device at its changes, another connection of ours.
const FOR_A_TURN: u32 = 2;

fn ms_max(timeout: Duration, part: u32) -> u128 {
    // 0 would be for ever.
    (timeout / part).as_millis().max(1)
}

/// What a connection that writes rows is told first.
pub(super) fn settings(timeout: Duration) -> String {
    format!("SET lock_timeout = {}", ms_max(timeout, FOR_ROWS))
}

/// Begins a transaction that waits for those who go on by themselves.
pub(super) fn begin_patiently(timeout: Duration) -> String {
    let ms_max = ms_max(timeout, FOR_A_TURN);
    format!("BEGIN; SET LOCAL lock_timeout = {ms_max}")
}

/// From here on the transaction changes tables.
pub(super) fn change_soon(timeout: Duration) -> String {
    format!("SET LOCAL lock_timeout = {}", ms_max(timeout, FOR_CHANGES))
}
