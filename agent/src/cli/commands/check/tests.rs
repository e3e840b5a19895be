#![allow(clippy::unwrap_used)]

use super::*;

fn of(text: &str) -> Result<(String, Vec<config::Diagnostic>), Exit> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dunlin.toml");
    std::fs::write(&path, text).unwrap();
    check(&ConnectionArgs {
        config: Some(path),
        ..ConnectionArgs::default()
    })
}

#[test]
fn says_what_was_understood_without_secrets() {
    let (summary, _) = of(config::EXAMPLE).unwrap();
    assert!(summary.starts_with("ok: device press-7, broker mqtt://broker.example:1883, "));
    assert!(
        summary.contains("streams vibration, temperature"),
        "{summary}"
    );
    assert!(summary.contains("tdengine.example:6041"), "{summary}");
    assert!(!summary.contains("taosdata"), "{summary}");
}

#[test]
fn names_every_mistake_with_its_place() {
    let error = of("device = 7\n[mqtt]\nport = 1\n").unwrap_err();
    let Exit::Usage(text) = &error else {
        panic!("{error}")
    };
    assert!(text.contains("dunlin.toml:1:"), "{text}");
    assert!(text.contains("dunlin.toml:3:"), "{text}");
    assert!(text.contains("mistakes\n"), "{text}");
}
