//! The few file operations that the registry is made of, each durable in the order it is called.
//!
//! Promises: after [`write`](fn@write) has returned, a power cut leaves the new content; during it,
//! the old or the new. Every change of the disk goes through here, so that tests can see, fail and
//! replay each step.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Ending of files that are not whole yet.
pub(super) const UNFINISHED: &str = "new";

/// Content read from a file, or why not.
#[derive(Debug)]
pub(super) enum Content {
    Whole(Vec<u8>),
    Absent,
    TooLong,
}

/// Reads at most `bytes_max` bytes.
pub(super) fn read(path: &Path, bytes_max: u64) -> io::Result<Content> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Content::Absent),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(bytes_max.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Ok(Content::TooLong);
    }
    Ok(Content::Whole(bytes))
}

/// Replaces the file at `path`, durably; its directory must exist.
pub(super) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = write_unfinished(path, bytes)?;
    rename(&unfinished, path)?;
    sync_dir(parent(path))
}

/// As [`write`](fn@write), and what was there before stays at `before` where the file system has
/// hard links.
pub(super) fn write_keeping(path: &Path, before: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = write_unfinished(path, bytes)?;
    if path.exists() {
        let spare = beside(before);
        // A second copy is a help, not a promise: FAT has no hard links.
        if remove_file(&spare).is_ok() && link(path, &spare).is_ok() {
            rename(&spare, before)?;
            // Two names of one file are both left in place.
            remove_file(&spare)?;
        }
    }
    rename(&unfinished, path)?;
    sync_dir(parent(path))
}

fn write_unfinished(path: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    let unfinished = beside(path);
    step(|| Step::Write(unfinished.clone(), bytes.to_vec()))?;
    let mut file = File::create(&unfinished)?;
    file.write_all(bytes)?;
    step(|| Step::Sync(unfinished.clone()))?;
    file.sync_all()?;
    Ok(unfinished)
}

/// The name under which a file is written before it gets its own.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(UNFINISHED);
    path.with_file_name(name)
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes the directory and those above it where they are missing, durably.
pub(super) fn create_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let above = parent(dir);
    create_dir(above)?;
    step(|| Step::CreateDir(dir.to_owned()))?;
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    sync_dir(above)
}

pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    step(|| Step::SyncDir(dir.to_owned()))?;
    File::open(dir)?.sync_all()
}

/// Renames; durable once the directories are synchronised.
pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    step(|| Step::Rename(from.to_owned(), to.to_owned()))?;
    fs::rename(from, to)
}

fn link(from: &Path, to: &Path) -> io::Result<()> {
    step(|| Step::Link(from.to_owned(), to.to_owned()))?;
    fs::hard_link(from, to)
}

/// Disk taken by the files under `dir`, bytes; what cannot be read does not count.
pub(super) fn bytes_under(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_under(&entry.path()),
        // Small files take a block each.
        Ok(metadata) => metadata.len().max(metadata.blocks() * 512),
        Err(_) => 0,
    });
    bytes.sum()
}

/// Deletes a file that may not be there.
pub(super) fn remove_file(path: &Path) -> io::Result<()> {
    step(|| Step::RemoveFile(path.to_owned()))?;
    absent_is_fine(fs::remove_file(path))
}

/// Deletes a directory and the files in it; it may not be there.
pub(super) fn remove_dir(dir: &Path) -> io::Result<()> {
    for name in names(dir)? {
        let path = dir.join(name);
        if path.is_dir() && !path.is_symlink() {
            remove_dir(&path)?;
        } else {
            remove_file(&path)?;
        }
    }
    step(|| Step::RemoveDir(dir.to_owned()))?;
    absent_is_fine(fs::remove_dir(dir))
}

fn absent_is_fine(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Names in a directory, sorted; none if it is not there. Names that are no UTF-8 are not ours.
pub(super) fn names(dir: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        if let Ok(name) = entry?.file_name().into_string() {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// One change of the disk.
#[derive(Clone, Debug)]
#[cfg_attr(not(test), allow(dead_code))]
pub(super) enum Step {
    Write(PathBuf, Vec<u8>),
    Sync(PathBuf),
    SyncDir(PathBuf),
    Rename(PathBuf, PathBuf),
    Link(PathBuf, PathBuf),
    CreateDir(PathBuf),
    RemoveFile(PathBuf),
    RemoveDir(PathBuf),
}

#[cfg(not(test))]
#[inline]
#[allow(clippy::unnecessary_wraps)] // Tests make it fail.
fn step(_: impl FnOnce() -> Step) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
use self::hook::step;

/// What tests see and fail.
#[cfg(test)]
pub(super) mod hook {
    use std::{cell::RefCell, io};

    use super::Step;

    thread_local! {
        static HOOK: RefCell<Hook> = RefCell::default();
    }

    #[derive(Default)]
    struct Hook {
        taken: Option<Vec<Step>>,
        fails_in: Option<usize>,
    }

    pub(super) fn step(of: impl FnOnce() -> Step) -> io::Result<()> {
        HOOK.with_borrow_mut(|hook| {
            match &mut hook.fails_in {
                Some(0) => return Err(io::ErrorKind::StorageFull.into()),
                Some(left) => *left -= 1,
                None => {}
            }
            if let Some(taken) = &mut hook.taken {
                taken.push(of());
            }
            Ok(())
        })
    }

    /// The steps that `work` takes on this thread.
    pub(in crate::registry) fn record<T>(work: impl FnOnce() -> T) -> (T, Vec<Step>) {
        HOOK.with_borrow_mut(|hook| hook.taken = Some(Vec::new()));
        let done = work();
        let steps = HOOK.with_borrow_mut(|hook| hook.taken.take());
        (done, steps.unwrap_or_default())
    }

    /// Does `work` with every step from number `at` on failing.
    pub(in crate::registry) fn failing_from<T>(at: usize, work: impl FnOnce() -> T) -> T {
        HOOK.with_borrow_mut(|hook| hook.fails_in = Some(at));
        let done = work();
        HOOK.with_borrow_mut(|hook| hook.fails_in = None);
        done
    }
}
