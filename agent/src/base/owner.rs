//! Whose files a command makes: those of a data directory's owner, also if root runs it.
//!
//! Promises: a command that root runs over a service's data directory leaves nothing there that the
//! service cannot open; files that the command was asked to read or write outside are root's as ever; what
//! may not be used is named before anything is made.

use std::{
    collections::VecDeque,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use dunlin_sync::files::umask;
use rustix::{
    fs::{Access, AtFlags, CWD, accessat},
    io::Errno,
};

/// Entries looked at before a data directory is opened.
const ENTRIES_MAX: usize = 10_000;
const ROOT: u32 = 0;

/// User and group that root has taken on.
static TAKEN_ON: OnceLock<(u32, u32)> = OnceLock::new();

/// Files made from here on are private; in the name of the owner of `data_dir`, if root runs this and the
/// directory is another user's. Does nothing about a directory that is not there.
///
/// # Errors
/// What is in the way, for people.
pub(crate) fn take_on(data_dir: &Path) -> Result<(), String> {
    umask::keep_private();
    // What is in it tells more: a volume may be anybody's.
    let inside = fs::metadata(data_dir.join("buffer"));
    let Ok(owner) = inside.or_else(|_| fs::metadata(data_dir)) else {
        return Ok(());
    };
    let (user, group) = (owner.uid(), owner.gid());
    if rustix::process::geteuid().as_raw() != ROOT || user == ROOT {
        return Ok(());
    }
    become_user(user, group).map_err(|error| {
        format!(
            "{}: it belongs to user {user}, whose files root must not replace with its own, and root \
             cannot become that user ({error}); run dunlin as user {user}",
            data_dir.display()
        )
    })?;
    TAKEN_ON.get_or_init(|| (user, group));
    Ok(())
}

/// Of the whole process, which keeps the right to go back.
#[allow(unsafe_code)]
fn become_user(user: u32, group: u32) -> io::Result<()> {
    // SAFETY: system calls on numbers.
    let done = unsafe { libc::setegid(group) == 0 && libc::seteuid(user) == 0 };
    if done {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Does something with files outside the data directory as who has run the command. For this thread alone, so
/// that nothing else makes files in root's name meanwhile.
pub(crate) fn as_caller<T>(act: impl FnOnce() -> T) -> T {
    let Some((user, group)) = TAKEN_ON.get().copied() else {
        return act();
    };
    set_file_user(ROOT, ROOT);
    let done = act();
    set_file_user(user, group);
    done
}

#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn set_file_user(user: u32, group: u32) {
    // SAFETY: system calls on numbers, which concern the calling thread alone. Root was taken on from, so none
    // is refused; if one were, the file is not made.
    unsafe {
        libc::setfsgid(group);
        libc::setfsuid(user);
    }
}

#[cfg(not(target_os = "linux"))]
fn set_file_user(_user: u32, _group: u32) {}

/// The first path in `data_dir`, itself included, that this process may not read and write; what is too deep
/// or too much to look at is not looked at.
pub(crate) fn denied(data_dir: &Path) -> Option<PathBuf> {
    let mut left = VecDeque::from([data_dir.to_owned()]);
    let mut seen = 0;
    while let Some(path) = left.pop_front() {
        seen += 1;
        let Ok(meta) = fs::symlink_metadata(&path) else {
            continue;
        };
        let mut wanted = Access::READ_OK | Access::WRITE_OK;
        if meta.is_dir() {
            wanted |= Access::EXEC_OK;
        }
        // Anything else that is wrong is said by whoever stumbles over it.
        if accessat(CWD, &path, wanted, AtFlags::EACCESS) == Err(Errno::ACCESS) {
            return Some(path);
        }
        if meta.is_dir() && seen < ENTRIES_MAX {
            let entries = fs::read_dir(&path).into_iter().flatten().flatten();
            left.extend(entries.map(|entry| entry.path()).take(ENTRIES_MAX));
        }
        if seen >= ENTRIES_MAX {
            return None;
        }
    }
    None
}
