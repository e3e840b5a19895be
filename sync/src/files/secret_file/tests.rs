#![allow(clippy::unwrap_used)]

use std::fs;

use super::*;

#[test]
fn a_password_is_one_line_without_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("password");
    assert!(matches!(read(&path), Err(SecretFileError::Io(_))));
    for (content, password) in [
        ("a b", Some("a b")),
        ("a b\n", Some("a b")),
        ("a b\r\n", Some("a b")),
        ("", None),
        ("\n", None),
        ("a\nb\n", None),
    ] {
        fs::write(&path, content).unwrap();
        assert_eq!(read(&path).ok().as_deref(), password, "{content:?}");
    }
    fs::write(&path, "x".repeat(PASSWORD_BYTES_MAX + 1)).unwrap();
    assert!(read(&path).is_err());
}

#[test]
fn a_password_follows_its_file_and_survives_a_bad_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("password");
    let mut password = FollowedPassword::new("old".into(), Some(path.clone()));
    assert_eq!(password.current(), "old", "there is no file");
    fs::write(&path, "new\n").unwrap();
    assert_eq!(password.current(), "new");
    fs::write(&path, "").unwrap();
    assert_eq!(
        password.current(),
        "new",
        "a file that is just being written"
    );
}
