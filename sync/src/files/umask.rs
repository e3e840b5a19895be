//! What others may do with our files, whatever umask the process was started with: nothing with what lies in
//! a data directory; what that umask says with a file that is for others to read.

use std::{
    fs::{File, Permissions},
    io,
    os::unix::fs::PermissionsExt as _,
    sync::OnceLock,
};

use rustix::{fs::Mode, process::umask};

/// The umask that the process was started with, once it is ours no more.
static BEFORE: OnceLock<Mode> = OnceLock::new();

/// From here on the process makes files that only its user may read and write, and directories that only its
/// user may enter: those that libraries make too.
pub fn keep_private() {
    BEFORE.get_or_init(|| umask(Mode::RWXG | Mode::RWXO));
}

/// Gives `file`, made for others to read, the permissions that it would have had.
///
/// # Errors
/// The operating system's.
pub fn open_to_others(file: &File) -> io::Result<()> {
    let Some(before) = BEFORE.get() else {
        return Ok(());
    };
    // Whoever made the file must be able to use it.
    let mode = (0o666 & !before.as_raw_mode()) | 0o600;
    file.set_permissions(Permissions::from_mode(mode))
}
