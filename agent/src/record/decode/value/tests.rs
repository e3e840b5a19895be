#![allow(clippy::unwrap_used)]

use super::*;

fn held(cell: &Cell<'_>, kind: FieldType) -> Result<Option<Value>, Misfit> {
    cell.value(kind, NanPolicy::Refuse)
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
            assert_eq!(cell.value(kind, NanPolicy::Refuse), Err(Misfit::Nan));
            assert_eq!(cell.value(kind, NanPolicy::Missing), Ok(None));
        }
    }
}

#[test]
fn texts_with_quotes_or_control_characters_are_refused() {
    for text in [
        "it's",
        "say \"hi\"",
        "a`b",
        "a\0b",
        "a\nb",
        "a\u{85}b",
        "\u{7f}",
    ] {
        let cell = Cell::Text(Cow::Borrowed(text));
        assert_eq!(
            held(&cell, FieldType::Text),
            Err(Misfit::BadText),
            "{text:?}"
        );
    }
    let cell = Cell::Text(Cow::Borrowed("größer\\als 5 µm"));
    assert!(held(&cell, FieldType::Text).unwrap().is_some());
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
    assert_eq!(Cell::Bare("FALSE").inferred(), Some(FieldType::Bool));
    assert_eq!(Cell::Bare("1e3").inferred(), Some(FieldType::F64));
    assert_eq!(Cell::Bare("run").inferred(), Some(FieldType::Text));
}
