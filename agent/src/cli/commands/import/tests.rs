#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn separators_are_one_character() {
    assert_eq!(delimiter(";"), Ok(b';'));
    assert_eq!(delimiter("tab"), Ok(b'\t'));
    for bad in ["", ";;", "x", "\"", "é"] {
        assert!(
            delimiter(bad).unwrap_err().contains("one character"),
            "{bad}"
        );
    }
}

#[test]
fn the_head_ends_with_a_whole_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    let line = "1,2,3\n";
    std::fs::write(&path, line.repeat(5_000)).unwrap();
    assert_eq!(head(&path).unwrap().lines().count(), LINES_MAX + 1);
    let long = format!("{}\n", "x".repeat(700_000));
    std::fs::write(&path, long.repeat(3)).unwrap();
    assert_eq!(head(&path).unwrap(), long);
    std::fs::write(&path, "a,b\n1,2").unwrap();
    assert_eq!(head(&path).unwrap(), "a,b\n1,2");
    let error = head(&dir.path().join("none")).unwrap_err();
    assert!(error.to_string().contains("none: "), "{error}");
}
