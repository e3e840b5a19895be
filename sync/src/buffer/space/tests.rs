#![allow(clippy::unwrap_used)]

use std::fs::File;

use super::*;

#[test]
fn what_is_set_aside_is_bounded_in_number_and_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let part = |bytes: u64| {
        let path = dir.path().join("part");
        fs::create_dir(&path).unwrap();
        let file = File::create(path.join("db")).unwrap();
        file.set_len(bytes).unwrap();
        set_aside(dir.path(), &path, "a test");
        assert!(!path.exists());
        dir.path().join(SET_ASIDE).read_dir().unwrap().count()
    };
    let counts: Vec<usize> = (0..5).map(|_| part(20 << 20)).collect();
    assert_eq!(counts, [1, 2, 3, 3, 3]);
    assert_eq!(set_aside_bytes(dir.path()), 60 << 20);
    assert_eq!(part(32 << 20), 2);
    assert!(set_aside_bytes(dir.path()) <= SET_ASIDE_BYTES_MAX);
    let counts = (0..30).map(|_| part(1));
    assert!(counts.max().unwrap() <= SET_ASIDE_MAX);
}
