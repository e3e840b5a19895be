#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn writes_once_and_again_only_when_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dunlin.toml");
    write(&path, false).unwrap();
    assert!(config::load(Some(&path), &config::Overrides::default()).is_ok());
    fs::write(&path, "device = \"mine\"").unwrap();
    let error = write(&path, false).unwrap_err();
    assert!(
        matches!(&error, Exit::Usage(text) if text.contains("--force")),
        "{error}"
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), "device = \"mine\"");
    write(&path, true).unwrap();
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        config::schema::init::render()
    );
    let error = write(&dir.path().join("no/such"), false).unwrap_err();
    assert!(matches!(error, Exit::Failed(_)), "{error}");
}
