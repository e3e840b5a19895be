#![allow(clippy::unwrap_used)]

use super::*;

/// Of a field that nobody declared.
const INFERRED: Taking<'static> = Taking {
    nan: NanPolicy::Refuse,
    missing: &MissingWords::none(),
    is_declared: false,
    conversion: None,
};

fn held(cell: &Cell<'_>, kind: FieldType) -> Result<Option<Value>, Misfit> {
    cell.value(kind, &INFERRED)
}

#[test]
fn a_number_fits_what_can_hold_it() {
    let number = Cell::Number;
    assert_eq!(
        held(&number("7"), FieldType::F64),
        Ok(Some(Value::F64(7.0)))
    );
    assert_eq!(
        held(&number("7"), FieldType::F32),
        Ok(Some(Value::F32(7.0)))
    );
    assert_eq!(held(&number("7"), FieldType::I64), Ok(Some(Value::I64(7))));
    assert_eq!(
        held(&number("7.0"), FieldType::I64),
        Ok(Some(Value::I64(7)))
    );
    assert_eq!(
        held(&number("-9223372036854775808"), FieldType::I64),
        Ok(Some(Value::I64(i64::MIN)))
    );
    for (text, kind) in [
        ("7.5", FieldType::I64),
        ("9223372036854775808", FieldType::I64),
        ("9007199254740993.0", FieldType::I64),
        ("1e39", FieldType::F32),
        ("1", FieldType::Bool),
        ("1", FieldType::Text),
    ] {
        assert_eq!(
            held(&number(text), kind),
            Err(Misfit::WrongType),
            "{text} as {kind}"
        );
    }
}

#[test]
fn nan_and_infinity_follow_the_policy() {
    for text in ["NaN", "Infinity", "-Infinity", "1e999"] {
        for kind in [FieldType::F64, FieldType::F32, FieldType::I64] {
            let cell = Cell::Bare(text);
            assert_eq!(held(&cell, kind), Err(Misfit::Nan));
            let missing = Taking {
                nan: NanPolicy::Missing,
                ..INFERRED
            };
            assert_eq!(cell.value(kind, &missing), Ok(None));
        }
    }
}

#[test]
fn texts_keep_quotes_and_line_breaks_and_no_other_control_characters() {
    for text in ["a\0b", "a\u{1b}b", "a\u{85}b", "\u{7f}"] {
        let cell = Cell::Text(Cow::Borrowed(text));
        assert_eq!(
            held(&cell, FieldType::Text),
            Err(Misfit::BadText),
            "{text:?}"
        );
    }
    for text in [
        "it's",
        "say \"hi\"",
        "a`b",
        "line 1\r\nline 2\tend",
        "größer\\als 5 µm",
    ] {
        let cell = Cell::Text(Cow::Borrowed(text));
        let value = Some(Value::Text(text.into()));
        assert_eq!(held(&cell, FieldType::Text), Ok(value), "{text:?}");
    }
}

#[test]
fn a_text_that_is_a_number_is_one_and_a_code_is_not() {
    let inferred = |text| Cell::Text(Cow::Borrowed(text)).inferred(&INFERRED);
    for text in [
        "21.5", " 21.5 ", "-3", "0", "0.5", "1e-05", "1.5E3", "100.00",
    ] {
        assert_eq!(inferred(text), Some(FieldType::F64), "{text}");
    }
    for text in [
        "007",
        "0102030405060708",
        "12e5",
        "1.",
        ".5",
        "+1",
        "0x1F",
        "1234567890123456",
        "1 2",
    ] {
        assert_eq!(inferred(text), Some(FieldType::Text), "{text}");
    }
    let cell = Cell::Text(Cow::Borrowed(" 21.5"));
    assert_eq!(held(&cell, FieldType::F64), Ok(Some(Value::F64(21.5))));
    assert_eq!(held(&cell, FieldType::I64), Err(Misfit::WrongType));
}

#[test]
fn integers_that_a_float_would_change_are_integers() {
    for text in ["9007199254740992", "-9223372036854775808"] {
        let cell = Cell::Number(text);
        assert_eq!(cell.inferred(&INFERRED), Some(FieldType::I64), "{text}");
        assert_eq!(held(&cell, FieldType::F64), Err(Misfit::WrongType));
        let declared = Taking {
            is_declared: true,
            ..INFERRED
        };
        assert!(cell.value(FieldType::F64, &declared).unwrap().is_some());
    }
    for text in [
        "9007199254740991",
        "18446744073709551615",
        "9007199254740992.5",
    ] {
        let cell = Cell::Number(text);
        assert_eq!(cell.inferred(&INFERRED), Some(FieldType::F64), "{text}");
    }
    assert_eq!(
        Cell::Integer(i128::from(u64::MAX)).inferred(&INFERRED),
        Some(FieldType::F64)
    );
}

#[test]
fn words_for_no_reading_are_none_in_a_number_and_a_text_in_a_text() {
    let missing = vec!["unavailable".to_owned(), "-".to_owned()].into();
    let taking = Taking {
        missing: &missing,
        ..INFERRED
    };
    for word in ["unavailable", "Unavailable", "-", ""] {
        let cell = Cell::Text(Cow::Borrowed(word));
        assert_eq!(cell.inferred(&taking), None, "{word}");
        for kind in [
            FieldType::F64,
            FieldType::F32,
            FieldType::I64,
            FieldType::Bool,
        ] {
            assert_eq!(cell.value(kind, &taking), Ok(None), "{word}");
        }
        let text = Some(Value::Text(word.into()));
        assert_eq!(cell.value(FieldType::Text, &taking), Ok(text));
    }
}

#[test]
fn a_declared_type_makes_what_it_can_of_what_comes() {
    let declared = Taking {
        is_declared: true,
        ..INFERRED
    };
    let text = |text| Cell::Text(Cow::Borrowed(text));
    for (cell, kind, value) in [
        (text("21.5"), FieldType::F64, Value::F64(21.5)),
        (
            text("9007199254740993"),
            FieldType::I64,
            Value::I64(9_007_199_254_740_993),
        ),
        (Cell::Bool(true), FieldType::F64, Value::F64(1.0)),
        (text("ON"), FieldType::I64, Value::I64(1)),
        (text("ON"), FieldType::Bool, Value::Bool(true)),
        (text("no"), FieldType::Bool, Value::Bool(false)),
        (Cell::Number("1"), FieldType::Bool, Value::Bool(true)),
        (Cell::Integer(0), FieldType::Bool, Value::Bool(false)),
        (Cell::Number("5"), FieldType::Text, Value::Text("5".into())),
        (
            Cell::Bool(true),
            FieldType::Text,
            Value::Text("true".into()),
        ),
    ] {
        assert_eq!(
            cell.value(kind, &declared),
            Ok(Some(value)),
            "{cell:?} as {kind}"
        );
    }
    for (cell, kind) in [
        (text("21,5"), FieldType::F64),
        (Cell::Number("2"), FieldType::Bool),
        (text("open"), FieldType::Bool),
        (Cell::Bytes(b"1"), FieldType::Text),
    ] {
        let misfit = Err(Misfit::WrongType);
        assert_eq!(cell.value(kind, &declared), misfit, "{cell:?} as {kind}");
    }
}

#[test]
fn conversions_are_made_in_their_order() {
    let conversion = Conversion {
        scale: Some(0.5),
        offset: Some(-1.0),
        unit: Some("°C".to_owned()),
        has_decimal_comma: true,
        words: vec![("closed".to_owned(), Value::F64(0.0))],
    };
    let taking = Taking {
        is_declared: true,
        conversion: Some(&conversion),
        ..INFERRED
    };
    for (cell, value) in [
        (Cell::Text("1.021,5 °C".into()), 509.75),
        (Cell::Bare("21,5"), 9.75),
        (Cell::Number("21.5"), 9.75),
        // What a word stands for is the value itself.
        (Cell::Text("Closed".into()), 0.0),
    ] {
        let value = Some(Value::F64(value));
        assert_eq!(cell.value(FieldType::F64, &taking), Ok(value), "{cell:?}");
    }
}

#[test]
fn bare_characters_become_what_the_field_is() {
    assert_eq!(
        held(&Cell::Bare("12"), FieldType::Text),
        Ok(Some(Value::Text("12".into())))
    );
    assert_eq!(
        held(&Cell::Bare("True"), FieldType::Bool),
        Ok(Some(Value::Bool(true)))
    );
    assert_eq!(
        held(&Cell::Bare("1"), FieldType::Bool),
        Err(Misfit::WrongType)
    );
    assert_eq!(
        Cell::Bare("FALSE").inferred(&INFERRED),
        Some(FieldType::Bool)
    );
    assert_eq!(Cell::Bare("1e3").inferred(&INFERRED), Some(FieldType::F64));
    assert_eq!(Cell::Bare("run").inferred(&INFERRED), Some(FieldType::Text));
}
