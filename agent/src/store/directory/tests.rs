#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn a_directory_is_marked_once_and_a_newer_one_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    claim(&data_dir).unwrap();
    assert_eq!(
        fs::read_to_string(data_dir.join(MARKER)).unwrap(),
        "dunlin 2\n"
    );
    claim(&data_dir).unwrap();
    fs::write(data_dir.join(MARKER), "dunlin 3\n").unwrap();
    let error = claim(&data_dir).unwrap_err();
    assert!(error.needs_operator(), "{error}");
    assert!(error.to_string().contains("upgrade dunlin"), "{error}");
    assert_eq!(
        fs::read_to_string(data_dir.join(MARKER)).unwrap(),
        "dunlin 3\n"
    );
    fs::write(data_dir.join(MARKER), "rubbish").unwrap();
    claim(&data_dir).unwrap();
    assert!(check(&data_dir).unwrap());
}

#[test]
fn a_directory_of_an_older_format_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(MARKER), "dunlin 1\n").unwrap();
    assert!(!check(dir.path()).unwrap());
    claim(dir.path()).unwrap();
    let marker = fs::read_to_string(dir.path().join(MARKER)).unwrap();
    assert_eq!(marker, "dunlin 2\n");
}

#[test]
fn a_state_file_or_a_clock_of_a_newer_version_is_neither_damage_nor_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let cursor = crate::store::cursor_path(dir.path());
    state_file::write(&cursor, &7_u64).unwrap();
    assert!(!check(dir.path()).unwrap());
    let mut bytes = fs::read(&cursor).unwrap();
    bytes[0] = frame::FORMAT + 1;
    let length = bytes.len() - 4;
    fs::write(&cursor, &bytes).unwrap();
    assert!(!check(dir.path()).unwrap(), "its checksum is wrong: damage");
    bytes.truncate(length);
    let crc = crc32c(&bytes);
    bytes.extend(crc.to_le_bytes());
    fs::write(&cursor, &bytes).unwrap();
    let error = claim(dir.path()).unwrap_err();
    assert!(error.to_string().contains("cursor.uploader"), "{error}");
    assert_eq!(fs::read(&cursor).unwrap(), bytes);
    fs::remove_file(&cursor).unwrap();

    let clock = writer::clock_path(dir.path());
    state_file::write(&clock, &br#"{"format":3,"more":1}"#.to_vec()).unwrap();
    assert!(claim(dir.path()).unwrap_err().needs_operator());
}

/// As the frames have it, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| (crc >> 1) ^ (0x82F6_3B78 & 0u32.wrapping_sub(crc & 1));
    !bytes
        .iter()
        .fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}
