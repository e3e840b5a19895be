#![allow(clippy::unwrap_used)]

use super::{super::import::delimiter, table::head};
use crate::record::decode::infer::LINES_MAX;

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
    let line = "1,2,3\n";
    let read = |text: &str| head(text.as_bytes()).unwrap();
    assert_eq!(read(&line.repeat(5_000)).lines().count(), LINES_MAX + 1);
    let long = format!("{}\n", "x".repeat(700_000));
    assert_eq!(read(&long.repeat(3)), long);
    assert_eq!(read("a,b\n1,2"), "a,b\n1,2");
}
