#![allow(clippy::unwrap_used)]

use super::*;

const BYTES: Kind = Kind::Bytes {
    min: 10,
    max: 1 << 40,
};
const SECONDS: Kind = Kind::Duration {
    unit: Unit::Seconds,
    min: 1,
    max: 1_000_000,
};
const PORT: Kind = Kind::Integer { min: 1, max: 9 };

fn number(kind: &Kind, text: &str) -> Option<u64> {
    match from_text(kind, text) {
        Ok(Value::Number(number)) => Some(number),
        _ => None,
    }
}

#[test]
fn sizes_and_times_read_like_people_write_them() {
    for (text, expected) in [
        ("512 MiB", Some(512 << 20)),
        ("512MiB", Some(512 << 20)),
        ("1.5 gib", Some(3 << 29)),
        ("64 MB", Some(64_000_000)),
        ("100", Some(100)),
        (" 100 b ", Some(100)),
        ("9", None),
        ("-5", None),
        ("2 TiB", None),
        ("512 M", None),
        ("0.0001 KiB", None),
        ("1e9", None),
        ("", None),
        ("MiB", None),
        ("1.2.3 MiB", None),
        ("1. MiB", None),
        ("99999999999999999999999999999999999999 TiB", None),
    ] {
        assert_eq!(number(&BYTES, text), expected, "{text}");
    }
    for (text, expected) in [
        ("30", Some(30)),
        ("30 s", Some(30)),
        ("2 h", Some(7200)),
        ("1.5min", Some(90)),
        ("7 d", Some(604_800)),
        ("2000 ms", Some(2)),
        ("1500 ms", None),
        ("0", None),
        ("1 week", None),
    ] {
        assert_eq!(number(&SECONDS, text), expected, "{text}");
    }
}

#[test]
fn toml_values_must_be_of_the_right_type() {
    let read = |kind: &Kind, text: &str| {
        let value = DeValue::parse(text).unwrap();
        from_toml(kind, value.get_ref())
    };
    assert_eq!(read(&PORT, "0x9"), Ok(Value::Number(9)));
    assert_eq!(read(&BYTES, "1_000"), Ok(Value::Number(1000)));
    assert_eq!(read(&SECONDS, "\"2 h\""), Ok(Value::Number(7200)));
    let version = Kind::Choice(|| vec!["5", "3.1.1"]);
    assert_eq!(read(&version, "5"), Ok(Value::Text("5".into())));
    for (kind, text, message) in [
        (&PORT, "\"9\"", "is a text"),
        (&PORT, "10", "10 is out of range"),
        (&PORT, "-1", "-1 is out of range"),
        (&PORT, "1.5", "is a number with a fraction"),
        (&BYTES, "true", "is true/false"),
        (&Kind::Path, "5", "is a whole number"),
        (&Kind::Path, "\"\"", "is empty"),
        (&Kind::Secret, "[1]", "is a list"),
        (&version, "4", "`4` is not known here"),
        (&PORT, "999999999999999999999999999999", "out of range"),
    ] {
        let diagnostic = read(kind, text).unwrap_err();
        assert!(
            diagnostic.message.contains(message),
            "{text}: {diagnostic:?}"
        );
        assert!(!diagnostic.hint.is_empty(), "{text}");
    }
}
