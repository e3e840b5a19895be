#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn verdict(text: &str) -> bool {
    let mut scanner = Scanner::new(text);
    scanner.skip(0).and_then(|()| scanner.end()).is_ok()
}

/// Some JSON, to be damaged.
fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::hash_map(any::<String>(), inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

#[test]
fn strings_are_unescaped() {
    let text = r#""a\"\\\/\b\f\n\r\t\u00e9\uD83D\uDE00z""#;
    let string = Scanner::new(text).string().unwrap();
    assert_eq!(string, "a\"\\/\u{8}\u{c}\n\r\t\u{e9}\u{1f600}z");
    assert!(matches!(
        Scanner::new("\"é\"").string().unwrap(),
        Cow::Borrowed("é")
    ));
    for bad in [
        r#""\ud83d""#,
        r#""\ude00""#,
        r#""\ud83dé""#,
        r#""\u12g4""#,
        r#""\x""#,
        "\"\n\"",
        "\"",
        "\"\\",
    ] {
        assert!(Scanner::new(bad).string().is_err(), "{bad}");
    }
}

#[test]
fn numbers_that_json_cannot_write_are_taken() {
    for (text, number) in [
        ("NaN", "NaN"),
        ("-Infinity", "-Infinity"),
        ("Infinity", "Infinity"),
    ] {
        assert!(
            matches!(Scanner::new(text).scalar().unwrap(), Cell::Number(came) if came == number)
        );
    }
    assert!(Scanner::new("-NaN").scalar().is_err());
}

#[test]
fn nesting_is_bounded() {
    let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    assert!(verdict(&nested(NESTING_MAX)));
    assert!(!verdict(&nested(NESTING_MAX + 2)));
    assert!(!verdict(&"[".repeat(1_000_000)));
}

proptest! {
    #[test]
    fn agrees_with_serde_json(value in json(), cut in any::<prop::sample::Index>(), insert in "[\\[\\]{}:,\"\\\\.eE+u0-9 a-f-]{0,2}", damage in any::<bool>()) {
        let mut text = value.to_string();
        if damage {
            let mut at = cut.index(text.len() + 1);
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            text.insert_str(at, &insert);
        }
        let oracle = serde_json::from_str::<serde_json::Value>(&text);
        let out_of_range = oracle.as_ref().is_err_and(|error| error.to_string().contains("out of range"));
        prop_assume!(!out_of_range);
        prop_assert_eq!(verdict(&text), oracle.is_ok(), "{}", text);
    }

    #[test]
    fn strings_agree_with_serde_json(string in any::<String>(), raw in "\"[\\\\\"a-fu0-9é😀\u{0}-\u{1f}]{0,12}\"?") {
        let text = serde_json::to_string(&string).unwrap();
        prop_assert_eq!(Scanner::new(&text).string().unwrap(), string);
        let oracle = serde_json::from_str::<String>(&raw).ok();
        let mut scanner = Scanner::new(&raw);
        let ours = scanner.string().and_then(|string| scanner.end().map(|()| string));
        prop_assert_eq!(ours.ok().map(Cow::into_owned), oracle);
    }
}
