use super::*;

#[test]
fn numbers_are_written_for_people() {
    assert_eq!(
        [0, 999, 1000, 1_234_567].map(count),
        ["0", "999", "1,000", "1,234,567"]
    );
    assert_eq!([of(1, "row"), of(2, "row")], ["1 row", "2 rows"]);
    assert_eq!(
        [0.0, 999.0, 1000.0, 123_456.0, 2.5e9, 5e15].map(bytes),
        ["0 B", "999 B", "1.0 kB", "123 kB", "2.5 GB", "5000 TB"]
    );
    assert_eq!(
        [0.25, 12.0, 90.0, 7_200.0, 86_400.0 * 30.0, 1e9].map(seconds),
        ["0.2 s", "12 s", "1.5 min", "2.0 h", "30 days", "32 years"]
    );
    assert_eq!(time(1_780_000_000_000_000_001), "2026-05-28T20:26:40Z");
}

#[test]
fn nothing_from_outside_steers_the_terminal() {
    assert_eq!(printable("a\n\u{1b}[2Jb"), "a\n\\u{1b}[2Jb");
    assert_eq!(
        hex(b"\x00A\xff"),
        format!("00000000  {:48} .A.\n", "00 41 ff ")
    );
}
