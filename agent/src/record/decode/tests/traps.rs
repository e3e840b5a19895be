//! What goes wrong easily: a second publish, a changed rule, a value in the wrong words.

use super::*;
use crate::config::settings::{Conversion, RecordStep, RecordsAt};

fn with_schema(rule: &StreamRule, first: &str) -> Schema {
    let fields = ok(rule, first).new_fields;
    Schema {
        fields,
        ..schema(&[])
    }
}

/// Names and values of the only record, `held` being there already.
fn next(rule: &StreamRule, held: &Schema, payload: &str) -> Vec<(String, Value)> {
    let decoded = decode(rule, Some(held), payload.as_bytes()).unwrap();
    let names: Vec<&Field> = held.fields.iter().chain(&decoded.new_fields).collect();
    let records = decoded.records();
    let [record] = records[..] else {
        panic!("{decoded:?}")
    };
    let values = record.values.iter();
    values
        .map(|(at, value)| (names[at].name.clone(), value.clone()))
        .collect()
}

fn f64_of(name: &str, number: f64) -> (String, Value) {
    (name.to_owned(), Value::F64(number))
}

#[test]
fn a_declared_place_is_no_longer_that_of_what_was_inferred_there() {
    let held = schema(&[("a.b", FieldType::F64)]);
    let declaring = StreamRule {
        fields: vec![DeclaredField {
            conversion: Some(Conversion {
                scale: Some(0.5),
                ..Conversion::default()
            }),
            ..at("/a/b", declared("temp", FieldType::F64))
        }],
        ..rule()
    };
    let came = next(&declaring, &held, r#"{"a":{"b":215}}"#);
    assert_eq!(came, [f64_of("temp", 107.5)]);
}

#[test]
fn a_long_field_of_a_topic_is_the_same_the_second_time() {
    let number = StreamRule {
        format: PayloadFormat::Number,
        ..rule()
    };
    let long = "level.".repeat(20);
    let publish = Publish {
        field: Some(&long),
        ..Publish::of(b"21.5")
    };
    let first = super::super::decode(&number, None, publish).unwrap();
    let held = Schema {
        fields: first.new_fields,
        ..schema(&[])
    };
    let again = super::super::decode(&number, Some(&held), publish).unwrap();
    assert_eq!(
        (again.new_fields.len(), again.records()[0].values.len()),
        (0, 1)
    );
}

#[test]
fn patterns_hold_for_names_that_are_changed() {
    let including = StreamRule {
        include_fields: vec!["it's *".into()],
        ..rule()
    };
    let payload = r#"{"it's on":1,"other":2}"#;
    let held = with_schema(&including, payload);
    assert_eq!(next(&including, &held, payload), [f64_of("it_s on", 1.0)]);
}

#[test]
fn the_time_is_found_below_a_field_that_the_topic_names() {
    let timed = StreamRule {
        time: Some("/ts".into()),
        time_rule: TimeRule::of(TimeUnit::BySize),
        ..rule()
    };
    let publish = Publish {
        field: Some("power"),
        ..Publish::of(br#"{"value":1,"ts":1777888000}"#)
    };
    let decoded = super::super::decode(&timed, None, publish).unwrap();
    assert_eq!(only(&decoded), [("power.value", f(1.0))]);
    assert!(decoded.records()[0].source_ts.is_some());
    let inside = StreamRule {
        records: Some(RecordsAt {
            steps: vec![RecordStep::Key("values".into())],
            ..RecordsAt::default()
        }),
        ..timed
    };
    let decoded = ok(&inside, r#"{"ts":1777888000,"values":[1,2]}"#);
    assert!(
        decoded
            .records()
            .iter()
            .all(|record| record.source_ts.is_some())
    );
}

#[test]
fn lists_below_keys_are_values_and_objects_without_one_are_told() {
    let by_key = StreamRule {
        records: Some(RecordsAt {
            value: Some(Pointer::parse("/value")),
            ..RecordsAt::default()
        }),
        time: Some("/ts".into()),
        ..rule()
    };
    let decoded = ok(
        &by_key,
        r#"{"rpm":[{"ts":1,"value":2},{"ts":3,"value":4}],"temp":{"error":7}}"#,
    );
    assert_eq!(decoded.records().len(), 3);
    assert_eq!(decoded.misfits.kinds[0].field, "temp");
    assert_eq!(decoded.misfits.kinds[0].reason, Reason::MissingField);
    // A place that is misspelt.
    assert_eq!(
        refused(&by_key, r#"{"rpm":{"valeu":2}}"#).0,
        Reason::MissingField
    );
}

#[test]
fn codes_of_digits_do_not_become_numbers_later() {
    let held = with_schema(&rule(), r#"{"lot":"1042"}"#);
    assert_eq!(held.fields[0].kind, FieldType::F64);
    for code in ["00017", "12E4", "4006381333931111222"] {
        let came = next(&rule(), &held, &format!(r#"{{"lot":"{code}"}}"#));
        assert_eq!(came, [("lot_text".to_owned(), Value::Text(code.into()))]);
    }
}

#[test]
fn numbers_may_be_words_for_no_value() {
    let gapped = StreamRule {
        missing: vec!["-999".into()].into(),
        ..rule()
    };
    let held = with_schema(&gapped, r#"{"a":1,"b":1}"#);
    let came = next(&gapped, &held, r#"{"a":-999,"b":-99}"#);
    assert_eq!(came, [f64_of("b", -99.0)]);
}

#[test]
fn a_decimal_comma_changes_texts_alone() {
    let comma = Conversion {
        has_decimal_comma: true,
        ..Conversion::default()
    };
    for (text, number) in [
        ("21,5", "21.5"),
        ("1.021,5", "1021.5"),
        ("1.021", "1021"),
        ("23.5", "23.5"),
    ] {
        assert_eq!(comma.decimal(text), number, "{text}");
    }
    let declaring = StreamRule {
        fields: vec![DeclaredField {
            conversion: Some(comma),
            ..declared("a", FieldType::F64)
        }],
        format: PayloadFormat::Cbor,
        ..rule()
    };
    let mut payload = Vec::new();
    ciborium::into_writer(&serde_json::json!({ "a": 23.5 }), &mut payload).unwrap();
    assert_eq!(
        only(&decode(&declaring, None, &payload).unwrap()),
        [("a", f(23.5))]
    );
}

#[test]
fn what_is_sent_again_is_found_by_its_new_place_or_not_taken_at_all() {
    let lenient = StreamRule {
        on_misfit: OnMisfit::Missing,
        fields: vec![declared("a", FieldType::F64)],
        ..rule()
    };
    // An object where a number was declared.
    let payload = br#"{"a":{"x":1,"y":2},"b":3}"#;
    let decoded = decode(&lenient, None, payload).unwrap();
    assert_eq!(only(&decoded), [("a", None), ("b", f(3.0))]);
    let again = |rule: &StreamRule| {
        let publish = Publish {
            wanted: Some(&decoded.misfits.missing),
            ..Publish::of(payload)
        };
        super::super::decode(rule, None, publish)
    };
    assert_eq!(
        only(&again(&rule()).unwrap()),
        [("a.x", f(1.0)), ("a.y", f(2.0))]
    );
    let elsewhere = StreamRule {
        infer: false,
        fields: vec![declared("b", FieldType::F64)],
        ..rule()
    };
    assert_eq!(again(&elsewhere).unwrap_err().reason, Reason::MissingField);
    // A word that means nothing now: all of it has been found, and nothing is left to store.
    let word = br#"{"a":"off"}"#;
    let mut missing = Missing::default();
    missing.add(1, "a");
    let silent = StreamRule {
        missing: vec!["off".into()].into(),
        ..lenient
    };
    let publish = Publish {
        wanted: Some(&missing),
        ..Publish::of(word)
    };
    assert!(
        super::super::decode(&silent, None, publish)
            .unwrap()
            .groups
            .is_empty()
    );
}

#[test]
fn what_is_scaled_beyond_all_numbers_does_not_fit() {
    let scaling = StreamRule {
        fields: vec![DeclaredField {
            conversion: Some(Conversion {
                scale: Some(10.0),
                ..Conversion::default()
            }),
            ..declared("a", FieldType::F64)
        }],
        ..rule()
    };
    assert_eq!(refused(&scaling, r#"{"a":1e308}"#).0, Reason::WrongType);
}

#[test]
fn a_time_that_is_none_refuses_records_from_inside_as_well() {
    let timed = StreamRule {
        records: Some(RecordsAt {
            steps: vec![RecordStep::Key("values".into())],
            name: Some(Pointer::parse("/n")),
            value: Some(Pointer::parse("/v")),
            ..RecordsAt::default()
        }),
        time: Some("/t".into()),
        ..rule()
    };
    let long = "1".repeat(200);
    for payload in [
        format!(r#"{{"t":"{long}","values":[{{"n":"a","v":1}}]}}"#),
        format!(r#"{{"values":[{{"n":"a","v":1,"t":{long}}}]}}"#),
        r#"{"values":[{"n":"a","v":1,"t":"soon"}]}"#.to_owned(),
    ] {
        assert_eq!(refused(&timed, &payload).0, Reason::BadTime, "{payload}");
    }
}

#[test]
fn as_many_records_from_inside_may_come_as_there_may_be_and_no_more() {
    let timed = StreamRule {
        records: Some(RecordsAt {
            name: Some(Pointer::parse("/n")),
            value: Some(Pointer::parse("/v")),
            ..RecordsAt::default()
        }),
        time: Some("/t".into()),
        ..rule()
    };
    let payload = |count: usize| {
        let objects = (0..count).map(|n| format!(r#"{{"n":"a","v":1,"t":{n}}}"#));
        let last = r#"{"n":"b","v":2,"t":0}"#.to_owned();
        format!("[{}]", objects.chain([last]).collect::<Vec<_>>().join(","))
    };
    assert_eq!(
        ok(&timed, &payload(RECORDS_MAX)).records().len(),
        RECORDS_MAX
    );
    let reason = refused(&timed, payload(RECORDS_MAX + 1)).0;
    assert_eq!(reason, Reason::TooManyRecords);
}
