#![allow(clippy::unwrap_used)]

use super::*;
use crate::config::{self, Overrides};

fn settings(change: &[(&str, &str)]) -> Settings {
    let overrides = Overrides::default()
        .set("device", "d")
        .set("mqtt.url", "mqtt://127.0.0.1:1")
        .set("upstream.url", "tdengine://127.0.0.1:1/plant")
        .topic("plant=plant/+machine/state");
    let set = |overrides: Overrides, &(path, value): &(&str, &str)| overrides.set(path, value);
    let overrides = change.iter().fold(overrides, set);
    config::load(None, &overrides).unwrap()
}

#[test]
fn a_password_that_has_changed_in_its_file_needs_no_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("password");
    let set = |password: &str| {
        std::fs::write(&path, password).unwrap();
        let file = path.to_str().unwrap();
        settings(&[
            ("mqtt.user", "ann"),
            ("mqtt.password_file", file),
            ("upstream.url", "tdengine://ann@127.0.0.1:1/plant"),
            ("upstream.password_file", file),
        ])
    };
    let (running, new) = (set("old"), set("new"));
    assert_ne!(running, new);
    assert_eq!(merged(&running, new), (running.clone(), vec![]));
}

#[test]
fn what_cannot_change_is_kept_and_named() {
    let running = settings(&[]);
    assert_eq!(merged(&running, running.clone()), (running.clone(), vec![]));
    for (path, value, name) in [
        ("device", "e", "device"),
        ("data_dir", "/elsewhere", "data_dir"),
        ("mqtt.url", "mqtt://127.0.0.1:2", "[mqtt]"),
        ("mqtt.client_id", "other", "[mqtt]"),
        ("upstream.url", "tdengine://127.0.0.1:2/plant", "[upstream]"),
        ("clock.hold_s", "7", "[clock]"),
        ("http.listen", "127.0.0.1:9", "http.listen"),
        ("http.hosts", "h", "http.hosts"),
        ("stall_s_max", "77", "stall_s_max"),
        ("log.format", "json", "log.format"),
    ] {
        let (settings, kept) = merged(&running, settings(&[(path, value)]));
        assert!(kept.contains(&name.to_owned()), "{path}: {kept:?}");
        assert_eq!(settings, running, "{path}");
    }
    for (path, value) in [
        ("log.level", "debug"),
        ("buffer.bytes_max", "100MiB"),
        ("buffer.commit_gap_ms_min", "777"),
        ("quarantine.bytes_max", "11MiB"),
        ("shutdown_ms_max", "777"),
    ] {
        let new = settings(&[(path, value)]);
        assert_eq!(
            merged(&running, new.clone()),
            (new.clone(), vec![]),
            "{path}"
        );
        assert_ne!(new, running, "{path}");
    }
}
