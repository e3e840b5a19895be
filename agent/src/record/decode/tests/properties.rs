//! What holds for all decoders whatever comes in, and what comes back of good payloads.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::config::settings::{
    Feature, RecordStep, RecordsAt, SampleRate, SampleType, SamplesRule,
};

/// What must hold of whatever comes out, whatever came in.
fn check(rule: &StreamRule, schema: Option<&Schema>, payload: &[u8]) -> Result<(), TestCaseError> {
    let decoded = match decode(rule, schema, payload) {
        Ok(decoded) => decoded,
        Err(reject) => {
            prop_assert!(reject.records >= 1);
            prop_assert!(reject.records <= 1 + payload.len() as u64);
            prop_assert!(!reject.detail.contains(char::is_control));
            prop_assert!(reject.detail.chars().count() < 1_500);
            return Ok(());
        }
    };
    let held = schema.map_or(&[][..], |schema| &schema.fields);
    let fields: Vec<&Field> = held.iter().chain(&decoded.new_fields).collect();
    prop_assert!((1..=SAMPLES_MAX.min(payload.len())).contains(&decoded.records().len()));
    let missing = &decoded.misfits;
    prop_assert!(missing.kinds.len() <= payload.len());
    prop_assert!(missing.records <= payload.len() as u64);
    for field in &decoded.new_fields {
        prop_assert!(is_field_name(&field.name));
        prop_assert_eq!(
            fields
                .iter()
                .filter(|other| other.name == field.name)
                .count(),
            1
        );
    }
    for record in &decoded.records() {
        prop_assert!(super::row(record).len() <= fields.len());
        prop_assert!(record.check_size().is_ok());
        for (value, field) in super::row(record).iter().zip(&fields) {
            match value {
                Some(Value::Text(text)) => {
                    let kept = ['\t', '\n', '\r'];
                    prop_assert!(!text.contains(|c: char| c.is_control() && !kept.contains(&c)));
                    prop_assert!(text.len() <= payload.len());
                }
                Some(Value::F64(number)) => prop_assert!(number.is_finite()),
                Some(Value::F32(number)) => prop_assert!(number.is_finite()),
                _ => {}
            }
            prop_assert!(
                value
                    .as_ref()
                    .is_none_or(|value| value.kind() == field.kind)
            );
        }
    }
    Ok(())
}

/// Every format, strict and inferring, with and without what a schema holds.
fn rules() -> Vec<StreamRule> {
    let declare = |rule: StreamRule| StreamRule {
        fields: vec![
            at("/0", declared("c", FieldType::I64)),
            declared("a", FieldType::F32),
        ],
        time: Some("1".into()),
        infer: false,
        nan: NanPolicy::Missing,
        ..rule
    };
    let formatted = |format| StreamRule { format, ..rule() };
    let binary = [
        PayloadFormat::Cbor,
        PayloadFormat::MessagePack,
        PayloadFormat::SenMlCbor,
        PayloadFormat::Influx,
        PayloadFormat::NdJson,
        PayloadFormat::Bool,
        PayloadFormat::Text,
        PayloadFormat::Scalar,
    ];
    let mut bases = vec![rule(), number(), csv(true), csv(false), senml()];
    bases.extend(binary.map(formatted));
    bases.extend(inside());
    let lenient = bases.iter().cloned().map(|rule| StreamRule {
        on_misfit: OnMisfit::Missing,
        ..rule
    });
    let lenient: Vec<StreamRule> = lenient.collect();
    let declared = bases.iter().cloned().map(declare);
    let declared: Vec<StreamRule> = declared.collect();
    [bases, lenient, declared].concat()
}

/// Rules that look into a payload.
fn inside() -> Vec<StreamRule> {
    let step = |key: &str| RecordStep::Key(key.into());
    let records = [
        RecordsAt {
            steps: vec![step("a")],
            ..RecordsAt::default()
        },
        RecordsAt {
            steps: vec![RecordStep::Each(None), RecordStep::Each(None)],
            ..RecordsAt::default()
        },
        RecordsAt {
            name: Some(Pointer::parse("/n")),
            value: Some(Pointer::parse("/v")),
            quality: Some(Pointer::parse("/s")),
            ..RecordsAt::default()
        },
        RecordsAt {
            steps: vec![step("a")],
            value: Some(Pointer::parse("/v")),
            ..RecordsAt::default()
        },
    ];
    let samples = |reduce: &[Feature]| SamplesRule {
        channels: vec![
            ("a".into(), Pointer::parse("/a")),
            ("b".into(), Pointer::parse("/b")),
        ],
        rate: Some(SampleRate::At(Pointer::parse("/n"))),
        sample_type: SampleType::I16,
        reduce: reduce.to_vec(),
        keeps_samples: false,
    };
    let tagged = |rule: StreamRule| StreamRule {
        payload_tags: vec![PayloadTag {
            name: "tag".into(),
            at: Some(Pointer::parse("/n")),
        }],
        time: Some("/t".into()),
        ..rule
    };
    let mut rules = vec![tagged(rule())];
    for format in [PayloadFormat::Json, PayloadFormat::Cbor] {
        rules.extend(records.iter().map(|records| {
            tagged(StreamRule {
                format,
                records: Some(records.clone()),
                ..rule()
            })
        }));
        for reduce in [&[][..], &[Feature::Rms, Feature::Bands]] {
            rules.push(tagged(StreamRule {
                format,
                samples: Some(samples(reduce)),
                ..rule()
            }));
        }
    }
    rules.push(StreamRule {
        format: PayloadFormat::Raw,
        samples: Some(samples(&[])),
        ..rule()
    });
    rules
}

fn check_all(payload: &[u8]) -> Result<(), TestCaseError> {
    let held = schema(&[("a", FieldType::F64), ("b", FieldType::Text)]);
    for rule in rules() {
        check(&rule, None, payload)?;
        check(&rule, Some(&held), payload)?;
    }
    Ok(())
}

/// Fragments that make nearly valid payloads of every format.
fn nearly() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"a\"",
        "\"b\"",
        "\"n\"",
        "\"v\"",
        "\"t\"",
        "\"bn\"",
        "\"vs\"",
        "\"s\"",
        "\"bt\"",
        "\"1\"",
        "1",
        "-2.5",
        "1e999",
        "NaN",
        "true",
        "null",
        "\"x\"",
        "\"it's\"",
        "\"\\u0000\"",
        "\n",
        "a,b\n",
        "a",
        ";",
        "[{\"n\":\"a\",\"v\":1},",
        "{\"a\":",
        "\"",
    ]);
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

fn clean_text() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9 äß😀,:/\\\\{}]{1,12}".prop_map(|text| format!("x{}", text.trim_end()))
}

fn value() -> impl Strategy<Value = Option<Value>> {
    prop_oneof![
        Just(None),
        prop::num::f64::NORMAL.prop_map(f),
        any::<i32>().prop_map(|integer| f(integer.into())),
        any::<bool>().prop_map(|truth| Some(Value::Bool(truth))),
        clean_text().prop_map(|text| t(&text)),
    ]
}

/// As a sensor writes it; serialising a [`Value`] would name its type as well.
fn as_json(value: Option<&Value>) -> String {
    match value {
        None => "null".to_owned(),
        Some(Value::Bool(truth)) => truth.to_string(),
        Some(Value::F64(number)) => serde_json::to_string(number).unwrap(),
        Some(Value::Text(text)) => serde_json::to_string(text).unwrap(),
        Some(other) => panic!("{other:?} is no value of JSON"),
    }
}

proptest! {
    #[test]
    fn any_bytes_are_decoded_or_refused(payload in prop::collection::vec(any::<u8>(), 0..64)) {
        check_all(&payload)?;
    }

    #[test]
    fn nearly_valid_payloads_are_decoded_or_refused(payload in nearly()) {
        check_all(payload.as_bytes())?;
    }

    #[test]
    fn json_round_trips(rows in prop::collection::vec(prop::collection::vec(prop::num::f64::NORMAL, 1..6), 1..5)) {
        let objects: Vec<String> = rows.iter().map(|row| {
            let members: Vec<String> = row.iter().enumerate().map(|(at, number)| format!("\"f{at}\":{number:e}")).collect();
            format!("{{{}}}", members.join(","))
        }).collect();
        let decoded = ok(&rule(), &format!("[{}]", objects.join(",")));
        for (record, row) in decoded.records().iter().zip(&rows) {
            let expected: Vec<_> = row.iter().map(|number| f(*number)).collect();
            prop_assert_eq!(&super::row(record), &expected);
        }
        prop_assert_eq!(decoded.records().len(), rows.len());
    }

    #[test]
    fn json_keeps_every_type(values in prop::collection::vec(value(), 1..8), nested in any::<bool>()) {
        prop_assume!(values.iter().any(Option::is_some));
        let members: Vec<String> = values.iter().enumerate().map(|(at, value)| {
            let json = as_json(value.as_ref());
            if nested { format!("\"g\\u0061{at}\":{{\"x\": [ {json}]}}") } else { format!("\"f{at}\":{json}") }
        }).collect();
        let decoded = ok(&rule(), &format!("{{{}}}", members.join(" , ")));
        let expected: Vec<(String, Option<Value>)> = values.into_iter().enumerate().filter(|(_, value)| value.is_some()).map(|(at, value)| {
            (if nested { format!("ga{at}.x.0") } else { format!("f{at}") }, value)
        }).collect();
        let came: Vec<(String, Option<Value>)> = only(&decoded).into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        prop_assert_eq!(came, expected);
    }

    #[test]
    fn csv_round_trips(rows in prop::collection::vec((prop::option::of(prop::num::f64::NORMAL), clean_text(), any::<bool>()), 1..6)) {
        let mut text = String::from("number,text,truth\n");
        for (number, word, truth) in &rows {
            let number = number.map(|number| number.to_string()).unwrap_or_default();
            writeln!(text, "{number},\"{word}\",{truth}").unwrap();
        }
        let held = schema(&[("number", FieldType::F64), ("text", FieldType::Text), ("truth", FieldType::Bool)]);
        let decoded = decode(&csv(true), Some(&held), text.as_bytes()).unwrap();
        prop_assert_eq!(decoded.records().len(), rows.len());
        for (record, (number, word, truth)) in decoded.records().iter().zip(rows) {
            prop_assert_eq!(&super::row(record), &[number.map(Value::F64), t(&word), Some(Value::Bool(truth))]);
        }
    }

    #[test]
    fn numbers_round_trip(number_sent in prop::num::f64::NORMAL) {
        let decoded = ok(&number(), &number_sent.to_string());
        prop_assert_eq!(only(&decoded), [("reading", f(number_sent))]);
    }

    #[test]
    fn senml_round_trips(base in 300_000_000_i64..4_000_000_000, rows in prop::collection::btree_map(-1_000_i64..1_000, prop::collection::vec(prop::num::f64::NORMAL, 1..4), 1..5)) {
        let mut entries = vec![format!("{{\"bn\":\"dev:\",\"bt\":{base}.25}}")];
        for (time, row) in &rows {
            for (at, number) in row.iter().enumerate() {
                entries.push(format!("{{\"n\":\"f{at}\",\"t\":{time},\"v\":{number:e}}}"));
            }
        }
        let held = schema(&[("f0", FieldType::F64), ("f1", FieldType::F64), ("f2", FieldType::F64)]);
        let decoded = decode(&senml(), Some(&held), format!("[{}]", entries.join(",")).as_bytes()).unwrap();
        prop_assert_eq!(decoded.records().len(), rows.len());
        for (record, (time, row)) in decoded.records().iter().zip(&rows) {
            let expected: Vec<_> = row.iter().map(|number| f(*number)).collect();
            prop_assert_eq!(&super::row(record), &expected);
            prop_assert_eq!(record.source_ts, Some((base + time) * 1_000_000_000 + 250_000_000));
        }
    }
}
