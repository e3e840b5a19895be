#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn all(text: &[u8], delimiter: u8) -> Vec<(u64, Vec<String>, Option<BadLine>)> {
    let format = LineFormat {
        delimiter,
        comment: Some(b'#'),
    };
    // A small buffer, so that cells lie across its ends.
    let mut lines = Lines::new(io::BufReader::with_capacity(3, text), format, 0);
    let mut line = Line::default();
    let mut all = Vec::new();
    while lines.read(&mut line).unwrap() {
        let cells = line.iter().map(str::to_owned).collect();
        all.push((line.number(), cells, line.bad()));
    }
    all
}

fn cells(text: &str) -> Vec<(u64, Vec<String>)> {
    let lines = all(text.as_bytes(), b',').into_iter();
    lines.map(|(number, cells, _)| (number, cells)).collect()
}

#[test]
fn cells_are_told_with_their_line() {
    let expected = |lines: &[(u64, &[&str])]| -> Vec<(u64, Vec<String>)> {
        let owned = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect();
        lines
            .iter()
            .map(|(number, cells)| (*number, owned(cells)))
            .collect()
    };
    for (text, lines) in [
        ("a,b\n1,2", &[(1, &["a", "b"][..]), (2, &["1", "2"])][..]),
        ("a,b\r\n\r\n1,2\r\n", &[(1, &["a", "b"]), (3, &["1", "2"])]),
        ("a,b\r1,2\r", &[(1, &["a", "b"]), (2, &["1", "2"])]),
        ("# x\n#,\"\n a , b \n", &[(3, &["a", "b"])]),
        (
            "\"a\nb\",\" c \"\n,\"\"\"x\"\"\"\n",
            &[(1, &["a\nb", " c "]), (3, &["", "\"x\""])],
        ),
        (
            "\"a\"x,1\n \"b\" ,2",
            &[(1, &["ax", "1"]), (2, &["b", "2"])],
        ),
        ("a \t b,\t\n", &[(1, &["a \t b", ""])]),
        ("\"\"\n", &[(1, &[""])]),
    ] {
        assert_eq!(cells(text), expected(lines), "{text:?}");
    }
    assert_eq!(all(b"a\t\t b", b'\t')[0].1, ["a", "", "b"]);
}

#[test]
fn comments_are_counted() {
    let format = LineFormat {
        delimiter: b',',
        comment: Some(b'#'),
    };
    let text = "# a\nx\n1\n#\n2\n# at the end";
    let mut lines = Lines::new(text.as_bytes(), format, 0);
    while lines.read(&mut Line::default()).unwrap() {}
    assert_eq!(lines.comments(), 3);
}

#[test]
fn a_quote_that_is_not_closed_takes_a_bounded_part_of_the_file() {
    let line = "1,2\n";
    let text = format!("a,b\n\"{}\n3,4\n", line.repeat(LINE_BYTES_MAX / 4 + 1));
    let lines = all(text.as_bytes(), b',');
    assert_eq!(lines.len(), 3, "{:?}", &lines[lines.len() - 1]);
    assert_eq!((lines[1].0, lines[1].2), (2, Some(BadLine::TooLong)));
    assert_eq!(lines[2].1, ["3", "4"]);
    let lines = all(b"a,b\n1,\"2\n3,4\n", b',');
    assert_eq!((lines[1].0, lines[1].2), (2, Some(BadLine::Unclosed)));
    let lines = all(b"a\n\xff\nb\n", b',');
    assert_eq!(lines[1].2, Some(BadLine::NotUtf8));
    assert_eq!(lines[2].1, ["b"]);
}

proptest! {
    #[test]
    fn what_is_quoted_comes_back(rows in prop::collection::vec(prop::collection::vec("[a,\"\r\n #]{0,6}", 2..4), 1..5)) {
        let cell = |text: &String| format!("\"{}\"", text.replace('"', "\"\""));
        let line = |row: &Vec<String>| row.iter().map(cell).collect::<Vec<_>>().join(",");
        let text = rows.iter().map(line).collect::<Vec<_>>().join("\n");
        let read: Vec<Vec<String>> = cells(&text).into_iter().map(|(_, cells)| cells).collect();
        prop_assert_eq!(read, rows);
    }

    #[test]
    fn any_bytes_are_lines(text in prop::collection::vec(any::<u8>(), 0..200)) {
        let lines = all(&text, b';');
        prop_assert!(lines.is_sorted_by_key(|(number, ..)| *number));
    }
}
