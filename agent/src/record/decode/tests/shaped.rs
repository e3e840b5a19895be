//! Records from inside, tags from the payload, fields that the topic names.

use super::*;
use crate::config::settings::{RecordStep, RecordsAt};

/// What each group holds: its tags, and each record as text.
type Told = Vec<(Vec<String>, Vec<String>)>;

fn told(decoded: &Decoded) -> Told {
    let names: Vec<&str> = decoded.new_fields.iter().map(|f| f.name.as_str()).collect();
    let record = |record: &Record| {
        let values = record.values.iter();
        let values = values.map(|(at, value)| format!("{}={}", names[at], plain(value)));
        let time = record.source_ts.map(|ns| format!("@{}", ns / 1_000_000));
        let parts: Vec<String> = values.chain(time).collect();
        parts.join(" ")
    };
    let groups = decoded.groups.iter();
    let groups = groups.map(|group| {
        (
            group.tags.clone(),
            group.records.iter().map(record).collect(),
        )
    });
    groups.collect()
}

fn plain(value: &Value) -> String {
    match value {
        Value::F64(number) => number.to_string(),
        Value::I64(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
        Value::Text(text) => text.to_string(),
        Value::F32(number) => number.to_string(),
    }
}

fn one(records: &[&str]) -> Told {
    vec![(vec![], records.iter().map(|&r| r.to_owned()).collect())]
}

fn key(key: &str) -> RecordStep {
    RecordStep::Key(key.into())
}

fn values_at(steps: Vec<RecordStep>, name: Option<&str>, value: &str) -> RecordsAt {
    RecordsAt {
        steps,
        name: name.map(Pointer::parse),
        value: Some(Pointer::parse(value)),
        ..RecordsAt::default()
    }
}

fn shaped(records: RecordsAt, time: &str) -> StreamRule {
    StreamRule {
        records: Some(records),
        time: (!time.is_empty()).then(|| time.to_owned()),
        time_rule: TimeRule::of(TimeUnit::BySize),
        fields_max: 64,
        on_misfit: OnMisfit::Missing,
        ..rule()
    }
}

fn tag(name: &str, at: &str) -> PayloadTag {
    PayloadTag {
        name: name.into(),
        at: Some(Pointer::parse(at)),
    }
}

#[test]
fn objects_of_one_value_each_make_a_record_for_each_time() {
    let rule = shaped(values_at(vec![key("values")], Some("/id"), "/v"), "/t");
    let payload = r#"{"timestamp":5,"values":[
        {"id":"a.temp","v":71.5,"q":true,"t":1777887999916},
        {"id":"a.on","v":true,"t":1777887999916},
        {"id":"a.temp","v":72,"t":1777888000916}]}"#;
    assert_eq!(
        told(&ok(&rule, payload)),
        one(&[
            "a.temp=71.5 a.on=true @1777887999916",
            "a.temp=72 @1777888000916"
        ])
    );
    // One that comes twice at one time is told as such.
    let twice = r#"{"values":[{"id":"x","v":1,"t":1},{"id":"x","v":2,"t":1}]}"#;
    assert_eq!(refused(&rule, twice).0, Reason::NotJson);
    assert_eq!(refused(&rule, r#"{"values":[]}"#).0, Reason::Empty);
    assert_eq!(refused(&rule, r#"{"other":1}"#).0, Reason::Empty);
}

#[test]
fn a_time_further_out_counts_for_all_that_lies_in_it() {
    let rule = shaped(
        values_at(vec![key("tags")], Some("/name"), "/value"),
        "/timestamp",
    );
    let payload = r#"{"timestamp":1777888000943,"node":"modbus","tags":[
        {"name":"temperature","value":71.5},{"name":"pressure","error":2014}]}"#;
    assert_eq!(
        told(&ok(&rule, payload)),
        one(&["temperature=71.5 @1777888000943"])
    );
    // Lists on the way stand for each of their items; the innermost time counts.
    let at = values_at(vec![key("series"), key("values")], Some("/id"), "/value");
    let nested = r#"{"t":1,"series":[
        {"t":1777888000000,"values":[{"id":"rpm","value":"600"}]},
        {"t":1777888001000,"values":[{"id":"rpm","value":"601"}]}]}"#;
    assert_eq!(
        told(&ok(&shaped(at, "/t"), nested)),
        one(&["rpm=600 @1777888000000", "rpm=601 @1777888001000"])
    );
}

#[test]
fn values_of_bad_quality_are_missing() {
    let at = values_at(vec![], Some("/n"), "/v");
    let rule = |good: &[&str]| {
        let at = RecordsAt {
            quality: Some(Pointer::parse("/q")),
            good: good.iter().map(|&word| word.to_owned()).collect(),
            ..at.clone()
        };
        shaped(at, "")
    };
    let payload = r#"[{"n":"a","v":1,"q":true},{"n":"b","v":2,"q":false},{"n":"c","v":3,"q":192},
        {"n":"d","v":4,"q":"Good (0)"},{"n":"e","v":5,"q":0},{"n":"f","v":6}]"#;
    assert_eq!(told(&ok(&rule(&[]), payload)), one(&["a=1 c=3 d=4 f=6"]));
    assert_eq!(told(&ok(&rule(&["0"]), payload)), one(&["e=5 f=6"]));
}

#[test]
fn without_a_name_the_keys_are_the_names() {
    let rule = shaped(values_at(vec![key("payload")], None, "/data"), "");
    let payload = r#"{"payload":{"/port[1]/pdin":{"code":200,"data":7},"/temp":{"code":503}}}"#;
    assert_eq!(told(&ok(&rule, payload)), one(&["/port[1]/pdin=7"]));
    // One object that says its own name.
    let rule = shaped(values_at(vec![], Some("/path"), "/value"), "/timestamp");
    let payload =
        r#"{"path":"/features/temp","value":{"c":23.5,"f":74},"timestamp":1777888000000}"#;
    assert_eq!(
        told(&ok(&rule, payload)),
        one(&["features.temp.c=23.5 features.temp.f=74 @1777888000000"])
    );
}

#[test]
fn a_name_that_is_a_place_is_the_path_of_that_place() {
    let rule = shaped(values_at(vec![], Some("/path"), "/value"), "");
    let alone = r#"{"path":"/features/temp/value","value":23.5}"#;
    let within = r#"{"path":"/features","value":{"temp":{"value":23.6}}}"#;
    assert_eq!(told(&ok(&rule, alone)), one(&["features.temp.value=23.5"]));
    assert_eq!(told(&ok(&rule, within)), one(&["features.temp.value=23.6"]));
}

#[test]
fn whole_records_from_inside_see_what_lies_around_them() {
    let at = RecordsAt {
        steps: vec![key("metrics"), key("fields")],
        ..RecordsAt::default()
    };
    let rule = StreamRule {
        payload_tags: vec![tag("metric", "/name"), tag("cpu", "/tags/cpu")],
        ..shaped(at, "/timestamp")
    };
    let payload = r#"{"metrics":[
        {"fields":{"idle":91.5},"name":"cpu","tags":{"cpu":"cpu0"},"timestamp":1777888000},
        {"fields":{"idle":80.5},"name":"cpu","tags":{"cpu":"cpu1"},"timestamp":1777888000},
        {"fields":{"idle":92.5},"name":"cpu","tags":{"cpu":"cpu0"},"timestamp":1777888001}]}"#;
    let tags = |cpu: &str| vec!["cpu".to_owned(), cpu.to_owned()];
    let records = |all: &[&str]| all.iter().map(|&r| r.to_owned()).collect::<Vec<_>>();
    assert_eq!(
        told(&ok(&rule, payload)),
        [
            (
                tags("cpu0"),
                records(&["idle=91.5 @1777888000000", "idle=92.5 @1777888001000"])
            ),
            (tags("cpu1"), records(&["idle=80.5 @1777888000000"])),
        ]
    );
}

#[test]
fn keys_on_the_way_are_tags_where_they_are_to_be() {
    let rule = StreamRule {
        payload_tags: vec![PayloadTag {
            name: "machine".into(),
            at: None,
        }],
        ..shaped(
            RecordsAt {
                steps: vec![RecordStep::Each(Some(0))],
                ..RecordsAt::default()
            },
            "/t",
        )
    };
    let payload =
        r#"{"Press 7":[{"t":1777888000,"x":1},{"t":1777888001,"x":2}],"Press 8":{"x":3}}"#;
    let press = |number| vec![format!("Press {number}")];
    assert_eq!(
        told(&ok(&rule, payload)),
        [
            (
                press(7),
                vec![
                    "x=1 @1777888000000".to_owned(),
                    "x=2 @1777888001000".to_owned()
                ]
            ),
            (press(8), vec!["x=3".to_owned()]),
        ]
    );
}

#[test]
fn tags_of_a_plain_payload_tell_streams_apart_and_stay_clean() {
    let rule = StreamRule {
        payload_tags: vec![tag("id", "/id")],
        ..rule()
    };
    let decoded = ok(&rule, r#"[{"id":"a'b","x":1},{"id":7,"x":2},{"x":3}]"#);
    let tags: Vec<&str> = decoded.groups.iter().map(|group| &*group.tags[0]).collect();
    assert_eq!(tags, ["a_b", "7", ""]);
    let long = format!(r#"{{"id":"{}","x":1}}"#, "x".repeat(129));
    let decoded = ok(&rule, &long);
    assert_eq!(decoded.groups[0].tags[0].len(), 128);
}

#[test]
fn a_payload_of_tag_objects_is_no_batch_of_records_with_a_name_and_a_value() {
    let tags = r#"[{"id":"Line1.Temp","v":21.5,"q":true,"t":1777888000},{"id":"Line1.Run","v":1,"q":true,"t":1777888000}]"#;
    let one = r#"[{"id":"Line1.Temp","v":21.5,"q":true}]"#;
    for payload in [tags, one] {
        let reject = decode(&rule(), None, payload.as_bytes()).unwrap_err();
        assert_eq!(reject.reason, Reason::ListOfObjects, "{payload}");
        let wanted = r#"records = { name = "/id", value = "/v" }"#;
        assert!(reject.detail.contains(wanted), "{}", reject.detail);
    }
    let cbor = StreamRule {
        format: PayloadFormat::Cbor,
        ..rule()
    };
    let value: serde_json::Value = serde_json::from_str(tags).unwrap();
    let mut bytes = Vec::new();
    ciborium::into_writer(&value, &mut bytes).unwrap();
    let reject = decode(&cbor, None, &bytes).unwrap_err();
    assert_eq!(reject.reason, Reason::ListOfObjects);
    // The same machine twice, more than one value, or fields that are declared: records.
    for records in [
        r#"[{"id":"a","v":1},{"id":"a","v":2}]"#,
        r#"[{"id":"a","v":1,"rpm":5},{"id":"b","v":2,"rpm":6}]"#,
        r#"[{"id":1,"v":1},{"id":2,"v":2}]"#,
    ] {
        assert_eq!(ok(&rule(), records).records().len(), 2, "{records}");
    }
    assert_eq!(ok(&rule(), r#"[{"id":"a","v":1}]"#).records().len(), 1);
    // Where there are columns for that already, it goes on.
    let held = Schema {
        fields: ok(&rule(), r#"{"id":"a","v":1}"#).new_fields,
        ..schema(&[])
    };
    assert!(decode(&rule(), Some(&held), tags.as_bytes()).is_ok());
    let declaring = StreamRule {
        fields: vec![
            declared("id", FieldType::Text),
            declared("v", FieldType::F64),
        ],
        ..rule()
    };
    assert_eq!(ok(&declaring, tags).records().len(), 2);
}

#[test]
fn a_list_of_objects_is_refused_with_what_to_write() {
    let refusal = |payload: &str| {
        let reject = decode(&rule(), None, payload.as_bytes()).unwrap_err();
        assert_eq!(reject.reason, Reason::ListOfObjects, "{payload}");
        reject.detail
    };
    let told = refusal(r#"{"ts":1,"values":[{"id":"a","v":1,"t":5}]}"#);
    let wanted = r#"records = { at = "/values", name = "/id", value = "/v" }, time = "/t""#;
    assert!(told.contains(wanted), "{told}");
    let told = refusal(r#"{"a":{"list":[{"x":1},{"x":2}]}}"#);
    assert!(told.contains(r#"records = "/a/list""#), "{told}");
    // What is declared there, excluded or has only numbers is no such list.
    let declaring = StreamRule {
        fields: vec![at("/gateways/0/rssi", declared("rssi", FieldType::F64))],
        ..rule()
    };
    let payload = r#"{"x":1,"gateways":[{"rssi":-80,"snr":7},{"rssi":-90}]}"#;
    assert_eq!(
        only(&ok(&declaring, payload)),
        [("rssi", f(-80.0)), ("x", f(1.0))]
    );
    for pattern in ["gateways", "gateways.*", "gate*"] {
        let excluding = StreamRule {
            exclude_fields: vec![pattern.to_owned()],
            ..rule()
        };
        assert_eq!(only(&ok(&excluding, payload)), [("x", f(1.0))], "{pattern}");
    }
    let numbers = ok(&rule(), r#"{"by_minute":[1.5,2.5]}"#);
    assert_eq!(
        only(&numbers),
        [("by_minute.0", f(1.5)), ("by_minute.1", f(2.5))]
    );
}

#[test]
fn the_topic_names_the_field_of_a_bare_value_and_of_what_lies_in_an_object() {
    let with_field = |rule: &StreamRule, payload: &str| {
        let publish = Publish {
            field: Some("Dc.0.Voltage"),
            ..Publish::of(payload.as_bytes())
        };
        told(&super::super::decode(rule, None, publish).unwrap())
    };
    let scalar = StreamRule {
        format: PayloadFormat::Scalar,
        ..rule()
    };
    assert_eq!(with_field(&scalar, "52.31"), one(&["Dc.0.Voltage=52.31"]));
    assert_eq!(
        with_field(&scalar, "heating"),
        one(&["Dc.0.Voltage=heating"])
    );
    assert_eq!(with_field(&rule(), "\"21.5\""), one(&["Dc.0.Voltage=21.5"]));
    assert_eq!(
        with_field(&rule(), r#"{"max":60,"value":52.31}"#),
        one(&["Dc.0.Voltage.max=60 Dc.0.Voltage.value=52.31"])
    );
    let at = values_at(vec![], None, "/value");
    assert_eq!(
        with_field(&shaped(at, ""), r#"{"max":60,"value":52.31}"#),
        one(&["Dc.0.Voltage=52.31"])
    );
}

#[test]
fn bare_values_of_each_format() {
    let of = |format, payload: &str| {
        let rule = StreamRule { format, ..rule() };
        told(&ok(&rule, payload)).remove(0).1.remove(0)
    };
    for (format, payload, wanted) in [
        (PayloadFormat::Number, "\"21.5\"", "reading=21.5"),
        (PayloadFormat::Number, "+21.5\r\n\0", "reading=21.5"),
        (PayloadFormat::Bool, "ON", "reading=true"),
        (PayloadFormat::Bool, "0", "reading=false"),
        (
            PayloadFormat::Text,
            " 1 Main St, Springfield ",
            "reading=1 Main St, Springfield",
        ),
        (PayloadFormat::Text, "12", "reading=12"),
        (PayloadFormat::Scalar, "12.4", "reading=12.4"),
        (PayloadFormat::Scalar, "true", "reading=true"),
        (PayloadFormat::Scalar, "on", "reading=on"),
        (PayloadFormat::Json, "21.5", "reading=21.5"),
        (PayloadFormat::Json, "true", "reading=true"),
    ] {
        assert_eq!(of(format, payload), wanted, "{payload}");
    }
    let lines = ok(
        &StreamRule {
            format: PayloadFormat::NdJson,
            ..rule()
        },
        "{\"a\":1}\n\n{\"a\":2}\r\n\0",
    );
    assert_eq!(told(&lines), one(&["a=1", "a=2"]));
}

/// A value that does not fit costs itself.
#[test]
fn what_does_not_fit_is_missing_and_named() {
    let lenient = StreamRule {
        on_misfit: OnMisfit::Missing,
        fields: vec![declared("a", FieldType::F64), declared("b", FieldType::F64)],
        ..rule()
    };
    let payload = br#"[{"a":1,"b":"x"},{"a":"y","b":"z"},{"a":3,"b":4}]"#;
    let decoded = decode(&lenient, None, payload).unwrap();
    assert_eq!(told(&decoded), one(&["a=1", "a=3 b=4"]));
    let misfits = &decoded.misfits;
    assert_eq!(misfits.records, 1, "nothing is left of the second");
    let kinds: Vec<_> = misfits
        .kinds
        .iter()
        .map(|k| (&*k.field, k.reason, k.values))
        .collect();
    assert_eq!(
        kinds,
        [("b", Reason::WrongType, 2), ("a", Reason::WrongType, 1)]
    );
    // Once the words have a meaning, just what is missing comes.
    let words = |field: &str| DeclaredField {
        conversion: Some(crate::config::settings::Conversion {
            words: vec![
                ("x".into(), Value::F64(24.0)),
                ("y".into(), Value::F64(25.0)),
                ("z".into(), Value::F64(26.0)),
            ],
            ..Default::default()
        }),
        ..declared(field, FieldType::F64)
    };
    let mended = StreamRule {
        fields: vec![words("a"), words("b")],
        ..lenient.clone()
    };
    let publish = Publish {
        wanted: Some(&misfits.missing),
        ..Publish::of(payload)
    };
    let again = super::super::decode(&mended, None, publish).unwrap();
    assert_eq!(told(&again), one(&["b=24", "a=25 b=26"]));
    // All of them wrong, and nothing is stored.
    assert_eq!(refused(&lenient, r#"{"a":"x"}"#), (Reason::WrongType, 1));
    let many = format!("[{}]", vec![r#"{"a":"x","b":1}"#; 1_100].join(","));
    assert_eq!(refused(&lenient, many), (Reason::WrongType, 1_100));
}

#[test]
fn more_fields_than_there_may_be_leave_the_others_alone() {
    let lenient = StreamRule {
        on_misfit: OnMisfit::Missing,
        fields_max: 2,
        ..rule()
    };
    let decoded = ok(&lenient, r#"{"a":1,"b":2,"c":3}"#);
    assert_eq!(told(&decoded), one(&["a=1 b=2"]));
    assert_eq!(decoded.misfits.kinds[0].reason, Reason::TooManyFields);
}

#[test]
fn names_that_no_field_can_have_are_changed_always_alike() {
    let long = "ns=3;s=\"DB_Press\".Statistics.Cylinder.Pressure.Average.Filtered.Value";
    let payload = format!(r#"{{"it's":1,"":2,"{}":3}}"#, long.replace('"', "\\\""));
    let decoded = ok(&rule(), &payload);
    let names: Vec<&str> = decoded.new_fields.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(names[..2], ["it_s", "_"]);
    assert!(
        names[2].starts_with("ns=3;s=_DB_Press_.Statistics.Cyl"),
        "{names:?}"
    );
    assert_eq!(names[2].len(), FIELD_NAME_BYTES_MAX);
    let held: Vec<(&str, FieldType)> = names.iter().map(|&n| (n, FieldType::F64)).collect();
    let again = decode(&rule(), Some(&schema(&held)), payload.as_bytes()).unwrap();
    assert_eq!(
        (again.new_fields.len(), again.records()[0].values.len()),
        (0, 3)
    );
}

#[test]
fn patterns_choose_among_what_is_inferred() {
    let choosing = StreamRule {
        include_fields: vec!["ENERGY.*".into(), "x".into()],
        exclude_fields: vec!["*.Total".into()],
        fields: vec![declared("kept", FieldType::F64)],
        ..rule()
    };
    let payload = r#"{"kept":1,"x":2,"y":3,"ENERGY":{"Power":4,"Total":5}}"#;
    let wanted = [("kept", f(1.0)), ("x", f(2.0)), ("ENERGY.Power", f(4.0))];
    assert_eq!(only(&ok(&choosing, payload)), wanted);
    // Also of what the schema holds already.
    let held = [
        ("kept", FieldType::F64),
        ("y", FieldType::F64),
        ("x", FieldType::F64),
    ];
    let decoded = decode(
        &choosing,
        Some(&schema(&held)),
        br#"{"x":2,"y":3,"kept":1}"#,
    )
    .unwrap();
    assert_eq!(row(decoded.records()[0]), [f(1.0), None, f(2.0)]);
}
