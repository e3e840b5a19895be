//! The disk under the data directory: whether it keeps what is written, has room, and how fast it is.

use std::{
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::fs::{StatVfs, StatVfsMountFlags};

use super::Findings;
use crate::{base::text::bytes, config::settings::Settings};

const ABOUT: &str = "disk";
/// Appends measured, and the size of each.
const APPENDS: usize = 20;
const APPEND_BYTES: usize = 4096;
/// A commit that takes this long cannot keep up with one every 250 ms.
const SLOW: Duration = Duration::from_millis(100);
/// Now and then even a good card collects its garbage.
const WORST_SLOW: Duration = Duration::from_secs(2);

pub(super) fn examine(settings: &Settings, found: &mut Findings) {
    let dir = existing(&settings.data_dir);
    kind(&dir, found);
    match rustix::fs::statvfs(&dir) {
        Ok(disk) if disk.f_flag.contains(StatVfsMountFlags::RDONLY) => {
            return found.problem(
                ABOUT,
                format!("{} is on a file system mounted read-only", dir.display()),
                "mount it read-write (a file system with errors is mounted so too: see dmesg), or \
                 choose another data_dir",
            );
        }
        Ok(disk) => space(&Space::of(&disk, settings), settings, found),
        Err(error) => found.problem(
            ABOUT,
            format!("{}: {error}", dir.display()),
            "choose a data_dir that this user may reach",
        ),
    }
    speed(&dir, found);
}

/// The directory, or the nearest one above it that is there.
pub(super) fn existing(dir: &Path) -> PathBuf {
    let above = dir.ancestors().find(|dir| dir.is_dir());
    match above {
        Some(dir) if !dir.as_os_str().is_empty() => dir.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// What to expect of a kind of file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Durable(&'static str),
    Forgetful(&'static str),
    Layered,
    Unfit(&'static str),
    Unknown,
}

const fn kind_of(magic: u64) -> Kind {
    match magic {
        0xEF53 => Kind::Durable("ext4"),
        0xF2F5_2010 => Kind::Durable("f2fs"),
        0x9123_683E => Kind::Durable("btrfs"),
        0x5846_5342 => Kind::Durable("xfs"),
        0x2405_1905 => Kind::Durable("ubifs"),
        0x2FC1_2FC1 => Kind::Durable("zfs"),
        0x0102_1994 => Kind::Forgetful("tmpfs"),
        0x8584_58F6 => Kind::Forgetful("ramfs"),
        0x794C_7630 => Kind::Layered,
        0x4D44 => Kind::Unfit("vfat"),
        0x2011_BAB0 => Kind::Unfit("exfat"),
        0x6969 => Kind::Unfit("nfs"),
        0xFF53_4D42 | 0xFE53_4D42 | 0x517B => Kind::Unfit("a network share (SMB)"),
        _ => Kind::Unknown,
    }
}

fn kind(dir: &Path, found: &mut Findings) {
    // Numbers of 32 bits, which some targets keep in a signed word.
    #[allow(clippy::unnecessary_cast)]
    let magic = rustix::fs::statfs(dir).map(|disk| disk.f_type as u64 & 0xFFFF_FFFF);
    let shown = dir.display();
    match kind_of(magic.unwrap_or(0)) {
        Kind::Durable(name) => found.ok(ABOUT, format!("{shown} is on {name}")),
        Kind::Forgetful(name) => found.warning(
            ABOUT,
            format!("{shown} is on {name}, in memory: a power cut loses what was acknowledged"),
            "choose a data_dir on flash or disk",
        ),
        Kind::Layered => found.warning(
            ABOUT,
            format!(
                "{shown} is on an overlay: what is written is gone with the container, or at the \
                 next boot if its upper layer is in memory"
            ),
            "mount a volume, or a partition of its own, at data_dir",
        ),
        Kind::Unfit(name) => found.problem(
            ABOUT,
            format!("{shown} is on {name}, which does not keep what it has acknowledged"),
            "choose a data_dir on ext4, f2fs, btrfs or xfs of this device",
        ),
        Kind::Unknown => found.note(
            ABOUT,
            format!("{shown} is on a file system that is not known here"),
            "use one that keeps its promises at a power cut: ext4, f2fs, btrfs, xfs",
        ),
    }
}

/// Bytes of a disk.
#[derive(Clone, Copy, Debug)]
struct Space {
    total: u64,
    available: u64,
    /// Of that, what the buffer has already.
    buffer: u64,
}

impl Space {
    fn of(disk: &StatVfs, settings: &Settings) -> Self {
        Self {
            total: disk.f_blocks.saturating_mul(disk.f_frsize),
            available: disk.f_bavail.saturating_mul(disk.f_frsize),
            buffer: bytes_below(&settings.data_dir.join("buffer")),
        }
    }
}

/// Two levels deep lie the files of a generation.
fn bytes_below(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => bytes_below(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

fn space(space: &Space, settings: &Settings, found: &mut Findings) {
    let (most, free_min) = (
        settings.buffer.bytes_max,
        settings.buffer.disk_free_bytes_min,
    );
    let show = |number: u64| bytes(number as f64);
    let what = format!(
        "{} of {} available; the buffer has {} of {}, and leaves {} to others",
        show(space.available),
        show(space.total),
        show(space.buffer),
        show(most),
        show(free_min)
    );
    let wanted = most.saturating_sub(space.buffer).saturating_add(free_min);
    if space.available < free_min {
        found.problem(
            ABOUT,
            format!("{what}: it counts as full"),
            "make room, or lower buffer.disk_free_bytes_min; until then the buffer takes nothing \
             (or drops its oldest records, if buffer.when_full says so), and what is in it goes on \
             being uploaded",
        );
    } else if wanted > space.available {
        found.warning(
            ABOUT,
            format!("{what}: full before the buffer is"),
            format!(
                "make {} more room, or lower buffer.bytes_max",
                show(wanted - space.available)
            ),
        );
    } else {
        found.ok(ABOUT, what);
    }
}

fn speed(dir: &Path, found: &mut Findings) {
    match measure(dir) {
        Ok(mut took) => judge(&mut took, found),
        Err(error) => {
            let advice = match error.kind() {
                io::ErrorKind::StorageFull => "make room",
                io::ErrorKind::PermissionDenied => {
                    "run the agent (and this) as the user who owns it, or chown it"
                }
                _ => "see dmesg for the disk",
            };
            found.problem(
                ABOUT,
                format!("{} cannot be written to: {error}", dir.display()),
                advice,
            );
        }
    }
}

/// How long each append to a file in `dir` took until it was durable.
fn measure(dir: &Path) -> io::Result<Vec<Duration>> {
    let file = tempfile::Builder::new()
        .prefix(".dunlin-doctor")
        .tempfile_in(dir)?;
    let mut handle: &File = file.as_file();
    let mut took = Vec::with_capacity(APPENDS);
    for _ in 0..APPENDS {
        let before = Instant::now();
        handle.write_all(&[0; APPEND_BYTES])?;
        handle.sync_data()?;
        took.push(before.elapsed());
    }
    Ok(took)
}

fn judge(took: &mut [Duration], found: &mut Findings) {
    took.sort_unstable();
    let (Some(&worst), Some(&median)) = (took.last(), took.get(took.len() / 2)) else {
        return;
    };
    let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
    let what = format!(
        "a durable write of {APPEND_BYTES} bytes takes {:.1} ms (median of {}), {:.1} ms at worst",
        ms(median),
        took.len(),
        ms(worst)
    );
    if median > SLOW || worst > WORST_SLOW {
        found.warning(
            ABOUT,
            what,
            "use a faster card or disk, or raise buffer.commit_gap_ms_min: each commit waits for \
             one of these, and so does each PUBACK",
        );
    } else {
        found.ok(ABOUT, what);
    }
}

#[cfg(test)]
mod tests;
