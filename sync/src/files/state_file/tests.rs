#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn writes_replaces_and_reads_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state/number");
    assert_eq!(read::<u64>(&path).unwrap(), None);
    write(&path, &1u64).unwrap();
    write(&path, &2u64).unwrap();
    assert_eq!(read::<u64>(&path).unwrap(), Some(2));
    let names: Vec<_> = fs::read_dir(dir.path().join("state")).unwrap().collect();
    assert_eq!(names.len(), 1, "no temporary file is left: {names:?}");
}

#[test]
fn a_torn_temporary_file_does_not_matter() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("number");
    write(&path, &1u64).unwrap();
    let temporary = temporary_beside(&path);
    fs::write(&temporary, b"half").unwrap();
    assert_eq!(stored_as(&temporary), path);
    assert_eq!(stored_as(&path), path);
    assert_eq!(read::<u64>(&path).unwrap(), Some(1));
    write(&path, &2u64).unwrap();
    assert_eq!(read::<u64>(&path).unwrap(), Some(2));
}

#[test]
fn damage_is_told_from_absence() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("number");
    for bytes in [&b""[..], b"x", b"something else altogether"] {
        fs::write(&path, bytes).unwrap();
        let error = read::<u64>(&path).unwrap_err();
        assert!(matches!(error, StateFileError::Corrupt { .. }), "{error}");
        assert!(error.to_string().contains("number"), "{error}");
    }
    write(&path, &5u64).unwrap();
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    assert!(read::<u64>(&path).is_err());
}

#[test]
fn a_newer_format_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("number");
    let mut bytes = vec![frame::FORMAT + 1, 7];
    bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
    fs::write(&path, &bytes).unwrap();
    let error = read::<u64>(&path).unwrap_err();
    assert!(matches!(error, StateFileError::Newer { format, .. } if format > frame::FORMAT));
    assert!(error.to_string().contains("upgrade dunlin"), "{error}");
}

#[test]
fn a_failed_write_leaves_the_old_content() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("text");
    write(&path, &"old").unwrap();
    write(&path, &vec![0u8; FILE_BYTES_MAX as usize]).unwrap_err();
    assert_eq!(read::<String>(&path).unwrap().unwrap(), "old");
}
