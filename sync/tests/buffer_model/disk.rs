//! Files as a crash, a power cut or damage leaves them.

use std::{fs, path::Path};

use crate::{device::noise, ops::Torn};

pub(crate) fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

pub(crate) fn dir_bytes(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else {
        return 0;
    };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => dir_bytes(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

/// Replaces some pages of `path` by what they are in `newer`, which may be longer.
pub(crate) fn mix_pages(path: &Path, newer: &Path, salt: u64) {
    const PAGE: usize = 4096;
    let (mut bytes, newer) = (fs::read(path).unwrap(), fs::read(newer).unwrap());
    let pages = newer.len().div_ceil(PAGE) as u64;
    let pages_kept = match salt % 3 {
        0 => pages,
        _ => bytes.len().div_ceil(PAGE) as u64 + (salt >> 8) % 4,
    };
    let len = newer.len().min(pages_kept as usize * PAGE).max(bytes.len());
    bytes.resize(len, 0);
    for (page, place) in bytes.chunks_mut(PAGE).enumerate() {
        if noise(salt ^ page as u64).is_multiple_of(2) {
            let from = page * PAGE;
            let to = newer.len().min(from + place.len());
            place[..to - from].copy_from_slice(&newer[from..to]);
        }
    }
    fs::write(path, bytes).unwrap();
}

pub(crate) fn tear(path: &Path, how: Torn) {
    let Ok(mut bytes) = fs::read(path) else {
        return;
    };
    match how {
        Torn::Gone => fs::remove_file(path).unwrap(),
        Torn::Empty => fs::write(path, b"").unwrap(),
        Torn::Half => fs::write(path, &bytes[..bytes.len() / 2]).unwrap(),
        Torn::Flipped => {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x10;
            fs::write(path, bytes).unwrap();
        }
    }
}
