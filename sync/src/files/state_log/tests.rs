#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn what_was_appended_is_there_and_a_torn_end_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let (mut log, none) = StateLog::open::<Vec<u32>>(&path).unwrap();
    assert!(none.is_empty());
    log.append(&vec![1_u32, 2]).unwrap();
    log.append(&vec![3_u32]).unwrap();
    let whole = std::fs::read(&path).unwrap();
    drop(log);
    let first = 4 + frame::to_bytes(&vec![1_u32, 2]).unwrap().len();
    for length in 0..=whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        let (mut log, values) = StateLog::open::<Vec<u32>>(&path).unwrap();
        let expected: &[Vec<u32>] = match length {
            _ if length == whole.len() => &[vec![1, 2], vec![3]],
            _ if length >= first => &[vec![1, 2]],
            _ => &[],
        };
        assert_eq!(values, expected, "{length}");
        log.append(&vec![9_u32]).unwrap();
        let again: Vec<Vec<u32>> = peek(&path).unwrap();
        assert_eq!(again.last(), Some(&vec![9]));
        assert_eq!(again.len(), expected.len() + 1);
        log.clear().unwrap();
        assert_eq!(
            (log.bytes(), peek::<Vec<u32>>(&path).unwrap().len()),
            (0, 0)
        );
    }
}

#[test]
fn a_newer_version_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut frame = vec![frame::FORMAT + 1, 1, 2];
    frame.extend(crc32c::crc32c(&frame).to_le_bytes());
    let mut bytes = (frame.len() as u32).to_le_bytes().to_vec();
    bytes.extend(frame);
    std::fs::write(&path, &bytes).unwrap();
    let opened = StateLog::open::<u32>(&path);
    assert!(matches!(opened, Err(StateFileError::Newer { .. })));
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}
