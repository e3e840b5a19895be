#![allow(clippy::unwrap_used)]

use super::*;
use crate::{
    config::{self, Overrides},
    doctor::Level,
};

fn settings(bytes_max: &str) -> Settings {
    let overrides = Overrides::default()
        .set("mqtt.url", "mqtt://127.0.0.1:1")
        .set("upstream.url", "tdengine://127.0.0.1:1/plant")
        .set("buffer.bytes_max", bytes_max)
        .set("buffer.disk_free_bytes_min", "16MiB")
        .topic("plant=plant");
    config::load(None, &overrides).unwrap()
}

fn level(available: u64, buffer: u64, bytes_max: &str) -> Level {
    let mut found = Findings::default();
    let disk = Space {
        total: 1 << 30,
        available,
        buffer,
    };
    space(&disk, &settings(bytes_max), &mut found);
    found.0[0].level
}

#[test]
fn room_is_held_against_what_the_buffer_may_still_take() {
    assert_eq!(level(200 << 20, 0, "100MiB"), Level::Ok);
    assert_eq!(level(110 << 20, 0, "100MiB"), Level::Warning);
    assert_eq!(level(110 << 20, 50 << 20, "100MiB"), Level::Ok);
    assert_eq!(level(15 << 20, 100 << 20, "100MiB"), Level::Problem);
}

#[test]
fn what_forgets_is_told_from_what_keeps() {
    assert_eq!(kind_of(0xEF53), Kind::Durable("ext4"));
    assert_eq!(kind_of(0x0102_1994), Kind::Forgetful("tmpfs"));
    assert_eq!(kind_of(0x4D44), Kind::Unfit("vfat"));
    assert_eq!(kind_of(1), Kind::Unknown);
}

#[test]
fn the_disk_is_measured_and_nothing_stays() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(measure(dir.path()).unwrap().len(), APPENDS);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    let error = measure(&dir.path().join("none")).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}

#[test]
fn a_slow_disk_is_a_warning_and_one_bad_moment_is_not() {
    let of = |times: &[u64]| {
        let mut found = Findings::default();
        let mut took: Vec<_> = times.iter().copied().map(Duration::from_millis).collect();
        judge(&mut took, &mut found);
        found.0[0].level
    };
    assert_eq!(of(&[2, 3, 900]), Level::Ok);
    assert_eq!(of(&[2, 3, 2_500]), Level::Warning);
    assert_eq!(of(&[120, 130, 110]), Level::Warning);
}

#[test]
fn a_directory_to_be_made_is_judged_by_the_one_above() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(existing(&dir.path().join("a/b")), dir.path());
    assert_eq!(existing(Path::new("not/there")), Path::new("."));
}
