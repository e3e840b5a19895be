#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn lines(text: &str) -> Vec<Vec<String>> {
    let mut lines = Vec::new();
    let keep = |cells: &[&str]| {
        lines.push(cells.iter().map(|&cell| cell.to_owned()).collect());
        Ok(())
    };
    each_line(text, b',', keep).unwrap();
    lines
}

proptest! {
    #[test]
    fn plain_lines_are_what_the_csv_crate_reads(text in "[a-b1, \\t\n\ré;]{0,24}") {
        // A quoted cell on a line of its own sends the text through the csv crate.
        let mut quoted = lines(&format!("\"q\"\n{text}"));
        prop_assert_eq!(quoted.remove(0), ["q"]);
        prop_assert_eq!(lines(&text), quoted);
    }
}
