//! A disk whose power can be cut: ext4 in a file over a loop device, with background write-back off.
//!
//! With write-back off, the file holds just what was forced to the device. A copy of it, taken while
//! the writer stands still, is what a power cut at that moment would have left; mounting the copy
//! makes ext4 replay its journal as it would after the cut.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

const WRITE_BACK: &str = "/proc/sys/vm/dirty_writeback_centisecs";
const EXPIRE: &str = "/proc/sys/vm/dirty_expire_centisecs";
/// An hour: nothing gets old enough to be written by itself.
const NEVER_CENTISECS: &str = "360000";
/// Unwritten memory, percent, from which the kernel writes after all, and from which it brings every
/// writer on the machine to a halt meanwhile. By default so little that a compiler running beside
/// would make each small write of a device under test wait for seconds.
const DIRTY_BACKGROUND: (&str, &str) = ("/proc/sys/vm/dirty_background_ratio", "50");
const DIRTY: (&str, &str) = ("/proc/sys/vm/dirty_ratio", "60");

/// Runs a command to its end.
///
/// # Errors
/// Its words, if it fails.
pub fn run(program: &str, args: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(args).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program} {}: {}", args.join(" "), words.trim()))
}

/// The kernel writes nothing back by itself for as long as this lives.
#[derive(Debug)]
pub struct NoWriteBack {
    before: Vec<(&'static str, String)>,
}

impl NoWriteBack {
    /// Turns write-back off for the whole machine.
    ///
    /// # Errors
    /// The operating system's; nothing has changed then.
    pub fn begin() -> io::Result<Self> {
        let mut guard = Self { before: Vec::new() };
        let settings = [(WRITE_BACK, "0"), (EXPIRE, NEVER_CENTISECS)];
        for (path, value) in settings.into_iter().chain([DIRTY, DIRTY_BACKGROUND]) {
            let before = fs::read_to_string(path)?;
            // A bound in bytes stands instead of the ratio: somebody has chosen it.
            if before.trim() == "0" && path != WRITE_BACK {
                continue;
            }
            fs::write(path, value)?;
            guard.before.push((path, before));
        }
        Ok(guard)
    }
}

impl Drop for NoWriteBack {
    fn drop(&mut self) {
        for (path, value) in &self.before {
            if let Err(error) = fs::write(path, value.trim()) {
                eprintln!("{path}: {error}; set it back to {} yourself", value.trim());
            }
        }
    }
}

/// Makes a file of `bytes` with an empty ext4 in it.
///
/// # Errors
/// What the tools said.
pub fn format(image: &Path, bytes: u64) -> Result<(), String> {
    let file = File::create(image).and_then(|file| file.set_len(bytes));
    file.map_err(|error| format!("{}: {error}", image.display()))?;
    let eager = "lazy_itable_init=0,lazy_journal_init=0";
    let path = image.to_string_lossy();
    run(
        "mkfs.ext4",
        &["-q", "-F", "-J", "size=4", "-E", eager, &path],
    )
}

/// Copies an image, holes and all.
///
/// # Errors
/// What `cp` said.
pub fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let (from, to) = (from.to_string_lossy(), to.to_string_lossy());
    run("cp", &["--sparse=always", "--reflink=auto", &from, &to])
}

/// A mounted image; unmounted when dropped.
#[derive(Debug)]
pub struct Mounted {
    dir: PathBuf,
}

impl Mounted {
    /// Mounts `image` on the directory `dir`, made if need be. ext4's own five-second commit is
    /// postponed: only what is synchronised reaches the image.
    ///
    /// # Errors
    /// What `mount` said.
    pub fn new(image: &Path, dir: &Path) -> Result<Self, String> {
        fs::create_dir_all(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        let (source, target) = (image.to_string_lossy(), dir.to_string_lossy());
        let options = "loop,noatime,commit=300";
        run("mount", &["-t", "ext4", "-o", options, &source, &target])?;
        Ok(Self {
            dir: dir.to_owned(),
        })
    }

    /// Where it is mounted.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let dir = self.dir.to_string_lossy();
        for _ in 0..50 {
            if run("umount", &[&dir]).is_ok() {
                return;
            }
            // Somebody who was killed still holds it.
            thread::sleep(Duration::from_millis(20));
        }
        if let Err(error) = run("umount", &["--lazy", &dir]) {
            eprintln!("{error}");
        }
    }
}

/// Why power cannot be cut here; `None`: it can. Tries it out in `dir`.
pub fn missing(dir: &Path) -> Option<String> {
    if !cfg!(target_os = "linux") {
        return Some("this is not Linux".into());
    }
    if !rustix::process::geteuid().is_root() {
        return Some("it needs root".into());
    }
    let image = dir.join("trial.img");
    let tried = format(&image, 32 << 20)
        .and_then(|()| Mounted::new(&image, &dir.join("trial")))
        .map(drop);
    // Leaving it in a temporary directory harms nobody.
    let _removed = fs::remove_file(&image);
    tried.err()
}
