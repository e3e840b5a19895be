//! The reserve: disk given up when it is full, so that what is there can still be opened and drained.

use std::{
    fs::{self, File},
    path::Path,
};

use crate::generation::GenerationError;

/// Disk kept aside so that a full disk can still open a generation and drain it.
const RESERVE_BYTES: u64 = 4 << 20;

/// Makes or refreshes the reserve; without room for it, goes without.
pub(super) fn keep_reserve(dir: &Path) {
    let path = dir.join("reserve");
    if fs::metadata(&path).is_ok_and(|meta| meta.len() == RESERVE_BYTES) {
        return;
    }
    let made = File::create(&path).and_then(|file| {
        let mode = rustix::fs::FallocateFlags::empty();
        rustix::fs::fallocate(&file, mode, 0, RESERVE_BYTES)?;
        file.sync_all()
    });
    if made.is_err() {
        let _gone = fs::remove_file(&path);
    }
}

/// Runs `call`; if the disk is full, gives up the reserve and runs it once more.
pub(super) fn with_reserve<T>(
    dir: &Path,
    call: impl Fn() -> Result<T, GenerationError>,
) -> Result<T, GenerationError> {
    match call() {
        Err(GenerationError::Full) => {
            tracing::warn!("disk full: giving up the reserve to go on");
            let _gone = fs::remove_file(dir.join("reserve"));
            call()
        }
        other => other,
    }
}
