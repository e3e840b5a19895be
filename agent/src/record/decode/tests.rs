//! What each decoder takes and refuses: at least one test for every reason.

#![allow(clippy::unwrap_used)]

mod binary;
mod cost;
mod cost_inside;
mod of_csv;
mod of_influx;
mod of_samples;
mod of_senml;
mod properties;
mod room;
mod second;
mod shaped;
mod traps;

use std::fmt::Write as _;

use dunlin_sync::sample::{FieldType, Value};

use super::*;
use crate::{
    config::settings::{
        DeclaredField, NanPolicy, OnMisfit, PayloadTag, Pointer, SplitRule, TimeRule, TimeUnit,
    },
    topic::TopicFilter,
};

/// JSON, everything inferred.
pub(crate) fn rule() -> StreamRule {
    StreamRule {
        time_rule: TimeRule::of(TimeUnit::Seconds),
        nan: NanPolicy::Refuse,
        on_misfit: OnMisfit::Refuse,
        fields_max: 8,
        split: SplitRule::Hash { train: 0.8 },
        ..StreamRule::new("s".into(), TopicFilter::parse("a/+b").unwrap())
    }
}

fn decode(rule: &StreamRule, schema: Option<&Schema>, payload: &[u8]) -> Result<Decoded, Reject> {
    super::decode(rule, schema, Publish::of(payload))
}

impl Decoded {
    fn records(&self) -> Vec<&Record> {
        let groups = self.groups.iter();
        groups.flat_map(|group| &group.records).collect()
    }
}

fn csv(header: bool) -> StreamRule {
    StreamRule {
        format: PayloadFormat::Csv {
            delimiter: b',',
            header,
        },
        ..rule()
    }
}

/// The same with `a` declared, which is never guessed at.
fn holding(rule: StreamRule) -> StreamRule {
    StreamRule {
        fields: vec![declared("a", FieldType::F64)],
        ..rule
    }
}

fn number() -> StreamRule {
    StreamRule {
        format: PayloadFormat::Number,
        ..rule()
    }
}

fn senml() -> StreamRule {
    StreamRule {
        format: PayloadFormat::SenMl,
        payload_tags: vec![PayloadTag {
            name: "base_name".into(),
            at: Some(Pointer::parse("/bn")),
        }],
        ..rule()
    }
}

fn declared(name: &str, kind: FieldType) -> DeclaredField {
    DeclaredField {
        field: Field {
            name: name.into(),
            kind,
        },
        pointer: None,
        required: false,
        conversion: None,
    }
}

fn at(pointer: &str, field: DeclaredField) -> DeclaredField {
    DeclaredField {
        pointer: Some(pointer.into()),
        ..field
    }
}

fn schema(fields: &[(&str, FieldType)]) -> Schema {
    Schema {
        id: 0,
        name: "s".into(),
        tag_names: vec![],
        fields: fields
            .iter()
            .map(|(name, kind)| declared(name, *kind).field)
            .collect(),
        origins: Vec::new(),
    }
}

fn ok(rule: &StreamRule, payload: &str) -> Decoded {
    decode(rule, None, payload.as_bytes()).unwrap()
}

fn refused(rule: &StreamRule, payload: impl AsRef<[u8]>) -> (Reason, u64) {
    let reject = decode(rule, None, payload.as_ref()).unwrap_err();
    assert!(reject.detail.chars().count() < 400, "{}", reject.detail);
    assert!(
        !reject.detail.contains(char::is_control),
        "{}",
        reject.detail
    );
    (reject.reason, reject.records)
}

/// One entry a field, as far as the record has values.
pub(super) fn row(record: &Record) -> Vec<Option<Value>> {
    let width = record.values.iter().last().map_or(0, |(last, _)| last + 1);
    let values = (0..width).map(|field| record.values.get(field).cloned());
    values.collect()
}

/// Fields and values of the only record, by name.
fn only(decoded: &Decoded) -> Vec<(&str, Option<Value>)> {
    assert_eq!(decoded.records().len(), 1);
    let values = row(decoded.records()[0]).into_iter();
    let names = decoded.new_fields.iter().map(|field| field.name.as_str());
    names.zip(values.chain(std::iter::repeat(None))).collect()
}

#[allow(clippy::unnecessary_wraps)] // As it stands in a record.
fn f(number: f64) -> Option<Value> {
    Some(Value::F64(number))
}

#[allow(clippy::unnecessary_wraps)]
fn t(text: &str) -> Option<Value> {
    Some(Value::Text(text.into()))
}

#[test]
fn reasons_have_distinct_stable_names() {
    let mut names: Vec<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Reason::ALL.len());
    assert!(names.iter().all(|name| !name.contains(char::is_uppercase)));
}

#[test]
fn a_flat_object_is_inferred() {
    let decoded = ok(
        &rule(),
        r#" {"a":21, "b":true, "c":"on", "d":null, "e":1.5e1} "#,
    );
    assert_eq!(
        only(&decoded),
        [
            ("a", f(21.0)),
            ("b", Some(Value::Bool(true))),
            ("c", t("on")),
            ("e", f(15.0))
        ]
    );
}

#[test]
fn values_follow_the_schema_and_new_fields_come_behind() {
    let schema = schema(&[
        ("a", FieldType::F64),
        ("n", FieldType::I64),
        ("s", FieldType::F32),
    ]);
    let payload = br#"[{"s":1,"x":2,"n":3},{"x":5}]"#;
    let decoded = decode(&rule(), Some(&schema), payload).unwrap();
    assert_eq!(decoded.new_fields, [declared("x", FieldType::F64).field]);
    assert_eq!(
        row(decoded.records()[0]),
        [None, Some(Value::I64(3)), Some(Value::F32(1.0)), f(2.0)]
    );
    assert_eq!(row(decoded.records()[1]), [None, None, None, f(5.0)]);
}

#[test]
fn declared_fields_come_first_and_others_only_if_inferred() {
    let strict = StreamRule {
        fields: vec![
            declared("b", FieldType::Bool),
            at("/deep/er/1", declared("a", FieldType::I64)),
        ],
        infer: false,
        ..rule()
    };
    let decoded = ok(
        &strict,
        r#"{"x":{"y":[1]},"deep":{"z":1,"er":[8,9]},"b":false}"#,
    );
    assert_eq!(
        only(&decoded),
        [("b", Some(Value::Bool(false))), ("a", Some(Value::I64(9)))]
    );
    // The catalog already holds them, in another order.
    let held = schema(&[("a", FieldType::I64), ("b", FieldType::Bool)]);
    let decoded = decode(&strict, Some(&held), br#"{"deep":{"er":[8,9]}}"#).unwrap();
    assert_eq!(decoded.new_fields, []);
    assert_eq!(row(decoded.records()[0]), [Some(Value::I64(9))]);
    // The name of a field that is read from elsewhere.
    assert_eq!(refused(&strict, r#"{"a":5}"#).0, Reason::Empty);
    let inferring = StreamRule {
        infer: true,
        ..strict
    };
    assert_eq!(refused(&inferring, r#"{"a":5}"#).0, Reason::BadFieldName);
}

#[test]
fn nested_objects_and_arrays_are_flattened() {
    let decoded = ok(
        &rule(),
        r#"{"a":{"b":1,"c":{"d":"x"}},"v":[1,[2]],"e":{},"g":[]}"#,
    );
    assert_eq!(
        only(&decoded),
        [
            ("a.b", f(1.0)),
            ("a.c.d", t("x")),
            ("v.0", f(1.0)),
            ("v.1.0", f(2.0))
        ]
    );
}

#[test]
fn pointers_name_paths() {
    assert_eq!(path_of("/a"), "a");
    assert_eq!(path_of("/a/b/0"), "a.b.0");
    assert_eq!(path_of("/a~1b~0c"), "a/b~c");
    assert_eq!(path_of("plain"), "plain");
}

#[test]
fn the_source_time_is_kept_beside_and_is_no_field() {
    let timed = StreamRule {
        time: Some("/at".into()),
        time_rule: TimeRule::of(TimeUnit::Millis),
        ..rule()
    };
    for (text, ns) in [
        ("1700000000123", Some(1_700_000_000_123_000_000)),
        (r#""2023-11-14T22:13:20Z""#, Some(1_700_000_000_000_000_000)),
        ("null", None),
    ] {
        let decoded = ok(&timed, &format!(r#"{{"at":{text},"a":1}}"#));
        assert_eq!(decoded.records()[0].source_ts, ns);
        assert_eq!(only(&decoded), [("a", f(1.0))]);
    }
    for bad in ["true", "1e30", r#""soon""#, "{}", "[1]"] {
        let payload = format!(r#"{{"at":{bad},"a":1}}"#);
        assert_eq!(refused(&timed, payload).0, Reason::BadTime, "{bad}");
    }
    let nested = StreamRule {
        time: Some("/head/at".into()),
        infer: false,
        fields: vec![declared("a", FieldType::F64)],
        ..rule()
    };
    let decoded = ok(&nested, r#"{"head":{"at":1,"id":7},"a":1}"#);
    assert_eq!(decoded.records()[0].source_ts, Some(1_000_000_000));
}

#[test]
fn a_refused_batch_says_how_many_records_it_held() {
    assert_eq!(
        refused(&holding(rule()), r#"[{"a":1},{"a":"x"},{"a":2}]"#),
        (Reason::WrongType, 3)
    );
    assert_eq!(
        refused(&rule(), r#"[{"a":1},{"a":2},{"a""#),
        (Reason::NotJson, 3)
    );
    assert_eq!(
        refused(&rule(), b"[{\"a\":1},{\"a\":\"\xff\"}]"),
        (Reason::NotUtf8, 2)
    );
    assert_eq!(refused(&rule(), "not json"), (Reason::NotJson, 1));
    assert_eq!(
        refused(&holding(csv(true)), "a\n1\nx\n3\n"),
        (Reason::WrongType, 3)
    );
    let pack = r#"[{"n":"a","t":1,"v":1},{"n":"b","t":1,"v":1},{"n":"a","t":2,"vs":"x"}]"#;
    assert_eq!(refused(&holding(senml()), pack), (Reason::WrongType, 2));
    let reject = decode(&holding(rule()), None, br#"[{"a":1},{"a":"x"}]"#).unwrap_err();
    assert_eq!(
        reject.to_string(),
        "wrong_type: record 2: field `a` is held as f64, but the text `x` came"
    );
}

#[test]
fn each_reason_has_its_payload() {
    let many = |count: usize| format!("[{}]", vec![r#"{"a":1}"#; count].join(","));
    let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(64 << 10));
    let wide: String = (0..11).fold(String::from("{"), |mut text, field| {
        let _ = write!(text, "{}\"f{field}\":1", if field > 0 { "," } else { "" });
        text
    }) + "}";
    for (payload, reason) in [
        ("", Reason::Empty),
        (" ", Reason::Empty),
        ("[]", Reason::Empty),
        ("{}", Reason::Empty),
        (r#"{"a":null}"#, Reason::Empty),
        ("[1]", Reason::NotJson),
        (r#"{"a":1}x"#, Reason::NotJson),
        (r#"{"a":1,}"#, Reason::NotJson),
        ("{a:1}", Reason::NotJson),
        (r#"{"a":01}"#, Reason::NotJson),
        (r#"{"a":1,"a":2}"#, Reason::NotJson),
        (r#"{"a":1,"a":null}"#, Reason::NotJson),
        (r#"{"a":NaN}"#, Reason::Nan),
        (r#"{"a":-Infinity}"#, Reason::Nan),
        (r#"{"a":1e999}"#, Reason::Nan),
        (r#"{"a":"unavailable"}"#, Reason::Empty),
        (r#"{"a":"\u0000"}"#, Reason::BadText),
        (r#"{"a":[{"id":"x","v":1}]}"#, Reason::ListOfObjects),
        (&wide, Reason::TooManyFields),
        (&long, Reason::RecordTooLarge),
        (&many(RECORDS_MAX + 1), Reason::TooManyRecords),
    ] {
        assert_eq!(refused(&rule(), payload).0, reason, "{}", quoted(payload));
    }
    for payload in [r#"[{"a":1},{"a":{"b":1}}]"#, r#"[{"a":1},{"a":"x"}]"#] {
        let (reason, _) = refused(&holding(rule()), payload);
        assert_eq!(reason, Reason::WrongType, "{payload}");
    }
    assert_eq!(
        refused(&rule(), many(RECORDS_MAX + 5)).1,
        RECORDS_MAX as u64 + 5
    );
    assert_eq!(
        decode(&rule(), None, many(RECORDS_MAX).as_bytes())
            .unwrap()
            .records()
            .len(),
        RECORDS_MAX
    );
    assert_eq!(refused(&rule(), b"\xff").0, Reason::NotUtf8);

    let mut needed = declared("need", FieldType::F64);
    needed.required = true;
    let needing = StreamRule {
        fields: vec![needed],
        ..rule()
    };
    assert_eq!(refused(&needing, r#"{"a":1}"#).0, Reason::MissingField);
    assert_eq!(
        refused(&needing, r#"{"need":null}"#).0,
        Reason::MissingField
    );
}

#[test]
fn a_record_of_one_field_takes_room_for_one_wherever_it_lies() {
    let names: Vec<String> = (0..4_000).map(|field| format!("f{field}")).collect();
    let fields: Vec<(&str, FieldType)> = names
        .iter()
        .map(|name| (name.as_str(), FieldType::Bool))
        .collect();
    for last in ["f0", "f3999"] {
        let payload = format!(
            "[{}]",
            vec![format!("{{\"{last}\":true}}"); 5_000].join(",")
        );
        let decoded = decode(&rule(), Some(&schema(&fields)), payload.as_bytes()).unwrap();
        assert_eq!(decoded.records().len(), 5_000);
        let values: usize = decoded.records().iter().map(|r| r.values.len()).sum();
        assert_eq!(values, 5_000);
    }
}

#[test]
fn many_fields_in_any_order_are_found() {
    let names: Vec<String> = (0..200).map(|field| format!("f{field}")).collect();
    let fields: Vec<(&str, FieldType)> = names
        .iter()
        .map(|name| (name.as_str(), FieldType::F64))
        .collect();
    let wide = StreamRule {
        fields_max: 300,
        ..rule()
    };
    let members: Vec<String> = (0..220)
        .rev()
        .map(|field| format!("\"f{field}\":{field}"))
        .collect();
    let payload = format!("{{{}}}", members.join(","));
    // And once more from the other end: fields that are new in the first record are found there too.
    let mut forward = members.clone();
    forward.reverse();
    let batch = format!("[{payload},{{{}}}]", forward.join(","));
    let decoded = decode(&wide, Some(&schema(&fields)), batch.as_bytes()).unwrap();
    assert_eq!(decoded.new_fields.len(), 20);
    assert_eq!(decoded.records()[0], decoded.records()[1]);
    let mut all: Vec<&str> = names.iter().map(String::as_str).collect();
    all.extend(decoded.new_fields.iter().map(|field| field.name.as_str()));
    assert_eq!(decoded.records()[0].values.len(), all.len());
    for (name, value) in all.iter().zip(&row(decoded.records()[0])) {
        assert_eq!(*value, f(name[1..].parse().unwrap()));
    }
    let twice = payload.replace("\"f0\"", "\"f150\"");
    assert!(decode(&wide, Some(&schema(&fields)), twice.as_bytes()).is_err());
}

#[test]
fn missing_instead_of_nan_if_the_rule_says_so() {
    let lenient = StreamRule {
        nan: NanPolicy::Missing,
        ..rule()
    };
    let decoded = ok(
        &lenient,
        r#"[{"a":1,"b":2},{"a":NaN,"b":1e999},{"c":NaN,"a":3}]"#,
    );
    assert_eq!(decoded.new_fields.len(), 2);
    assert_eq!(row(decoded.records()[1]), []);
    assert_eq!(row(decoded.records()[2]), [f(3.0)]);
}

#[test]
fn bare_numbers() {
    assert_eq!(only(&ok(&number(), " 21.5\n")), [("reading", f(21.5))]);
    assert_eq!(only(&ok(&number(), "-7e2")), [("reading", f(-700.0))]);
    let with = |kind| StreamRule {
        fields: vec![declared("x", kind)],
        ..number()
    };
    assert_eq!(
        only(&ok(&with(FieldType::I64), "7")),
        [("x", Some(Value::I64(7)))]
    );
    assert_eq!(
        only(&ok(&with(FieldType::Bool), "true")),
        [("x", Some(Value::Bool(true)))]
    );
    assert_eq!(
        only(&ok(&with(FieldType::Text), " open ")),
        [("x", t("open"))]
    );
    for (rule, payload, reason) in [
        (number(), "", Reason::Empty),
        (number(), "warm", Reason::NotNumber),
        (number(), "1 2", Reason::NotNumber),
        (number(), "{}", Reason::NotNumber),
        (number(), "inf", Reason::Nan),
        (with(FieldType::I64), "7.5", Reason::NotNumber),
        (with(FieldType::Bool), "2", Reason::NotNumber),
        (with(FieldType::Text), "a\u{1b}b", Reason::BadText),
    ] {
        assert_eq!(refused(&rule, payload), (reason, 1), "{payload}");
    }
}
