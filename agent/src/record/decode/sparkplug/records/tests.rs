#![allow(clippy::unwrap_used)]

use dunlin_sync::sample::{Field, FieldType, Value};

use crate::{
    config::settings::{
        DeclaredField, PayloadFormat, PayloadTag, Pointer, RecordsAt, StreamRule, TimeRange,
    },
    record::decode::{Decoded, Publish, Reason, Reject, Sessions, decode_sparkplug, tests::rule},
};

/// A field of protobuf of wire type 2.
fn nested(number: u8, content: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, content.len() as u8], content].concat()
}

/// A metric of type double, by name or alias, with a quality.
fn metric(name: Option<&str>, alias: u8, value: f64, quality: Option<u8>) -> Vec<u8> {
    let name = name
        .map(|name| nested(1, name.as_bytes()))
        .unwrap_or_default();
    let properties = quality.map(|quality| {
        // As a varint of two bytes.
        let value = [1 << 3, 3, 3 << 3, quality | 0x80, quality >> 7];
        nested(9, &[nested(1, b"Quality"), nested(2, &value)].concat())
    });
    let rest = [2 << 3, alias, 4 << 3, 10];
    let value = [&[13 << 3 | 1][..], &value.to_le_bytes()].concat();
    let parts = [name, rest.to_vec(), properties.unwrap_or_default(), value];
    nested(2, &parts.concat())
}

fn payload(time_ms: u8, metrics: &[Vec<u8>]) -> Vec<u8> {
    [&[1 << 3, time_ms][..], &metrics.concat()].concat()
}

fn sparkplug(good: &[&str]) -> StreamRule {
    let tags = ["group", "edge_node", "edge_device"].map(|name| PayloadTag {
        name: name.into(),
        at: Some(Pointer::parse("/x")),
    });
    let good = good.iter().map(|&word| word.to_owned()).collect();
    StreamRule {
        format: PayloadFormat::SparkplugB,
        payload_tags: tags.to_vec(),
        time_range: TimeRange::DEFAULT,
        records: Some(RecordsAt {
            good,
            ..RecordsAt::default()
        }),
        ..rule()
    }
}

/// Decodes and remembers.
fn take(
    sessions: &mut Sessions,
    rule: &StreamRule,
    topic: &str,
    payload: &[u8],
) -> Result<Decoded, Reject> {
    let decoded = decode_sparkplug(rule, None, Publish::of(payload), topic, sessions)?;
    let (decoded, change) = decoded.unwrap();
    sessions.apply(change);
    sessions.save();
    decoded
}

/// Names and values of the only record.
fn only(decoded: &Decoded) -> Vec<(&str, Value)> {
    let [group] = &decoded.groups[..] else {
        panic!("{decoded:?}")
    };
    let [record] = &group.records[..] else {
        panic!("{group:?}")
    };
    let values = record.values.iter();
    let named = values.map(|(at, value)| (&*decoded.new_fields[at].name, value.clone()));
    named.collect()
}

#[test]
fn births_and_deaths_are_records_and_what_is_about_the_connection_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut sessions = Sessions::load(dir.path().join("sparkplug"));
    let rule = sparkplug(&[]);
    let metrics = [
        metric(Some("load"), 1, 0.5, None),
        metric(Some("Node Control/Rebirth"), 2, 0.0, None),
    ];
    let birth = take(
        &mut sessions,
        &rule,
        "spBv1.0/g/NBIRTH/e",
        &payload(1, &metrics),
    )
    .unwrap();
    assert_eq!(birth.groups[0].tags, ["g", "e", ""]);
    let online = ("sparkplug_online", Value::Bool(true));
    assert_eq!(only(&birth), [online, ("load", Value::F64(0.5))]);
    // Another run knows the aliases.
    let mut sessions = Sessions::load(dir.path().join("sparkplug"));
    let data = payload(2, &[metric(None, 1, 0.75, None)]);
    let data = take(&mut sessions, &rule, "spBv1.0/g/NDATA/e", &data).unwrap();
    assert_eq!(only(&data), [("load", Value::F64(0.75))]);
    let death = take(&mut sessions, &rule, "spBv1.0/g/NDEATH/e", &payload(3, &[])).unwrap();
    assert_eq!(only(&death), [("sparkplug_online", Value::Bool(false))]);
}

#[test]
fn an_alias_that_nobody_has_announced_is_told() {
    let mut sessions = Sessions::default();
    let rule = sparkplug(&[]);
    let alone = payload(2, &[metric(None, 1, 0.75, None)]);
    let reject = take(&mut sessions, &rule, "spBv1.0/g/NDATA/e", &alone).unwrap_err();
    assert_eq!(reject.reason, Reason::UnknownAlias);
    let beside = payload(
        2,
        &[metric(None, 1, 0.75, None), metric(Some("x"), 0, 1.0, None)],
    );
    let decoded = take(&mut sessions, &rule, "spBv1.0/g/NDATA/e", &beside).unwrap();
    assert_eq!(only(&decoded), [("x", Value::F64(1.0))]);
    assert_eq!(decoded.misfits.kinds[0].reason, Reason::UnknownAlias);
}

#[test]
fn a_value_of_bad_quality_is_missing_and_counted_unless_it_is_called_good() {
    let metrics = payload(
        1,
        &[
            metric(Some("bad"), 0, 1.0, Some(0)),
            metric(Some("fine"), 0, 2.0, Some(192)),
        ],
    );
    let decoded = |good: &[&str]| {
        let mut sessions = Sessions::default();
        take(
            &mut sessions,
            &sparkplug(good),
            "spBv1.0/g/NDATA/e",
            &metrics,
        )
        .unwrap()
    };
    let strict = decoded(&[]);
    assert_eq!(only(&strict), [("fine", Value::F64(2.0))]);
    assert_eq!(strict.misfits.kinds[0].reason, Reason::BadQuality);
    let swapped = decoded(&["0"]);
    assert_eq!(only(&swapped), [("bad", Value::F64(1.0))]);
}

#[test]
fn a_data_set_is_a_record_a_row_and_no_other() {
    // Two columns of type Int32 and two rows.
    let element = |value: u8| nested(1, &[1 << 3, value]);
    let row = |a: u8, b: u8| nested(4, &[element(a), element(b)].concat());
    let set = [
        vec![1 << 3, 2],
        nested(2, b"x"),
        nested(2, b"y"),
        vec![3 << 3, 3, 3 << 3, 3],
        row(1, 2),
        row(3, 4),
    ];
    let set = set.concat();
    // Field 17 takes a key of two bytes.
    let value = [&[0x8a, 0x01, set.len() as u8][..], &set].concat();
    let metric = [nested(1, b"table"), vec![4 << 3, 16], value].concat();
    let mut sessions = Sessions::default();
    let payload = payload(2, &[nested(2, &metric)]);
    let decoded = take(
        &mut sessions,
        &sparkplug(&[]),
        "spBv1.0/g/NDATA/e",
        &payload,
    )
    .unwrap();
    let names: Vec<&str> = decoded
        .new_fields
        .iter()
        .map(|field| &*field.name)
        .collect();
    assert_eq!(names, ["table.x", "table.y"]);
    let rows: Vec<Vec<Value>> = decoded.groups[0]
        .records
        .iter()
        .map(|record| {
            record
                .values
                .iter()
                .map(|(_, value)| value.clone())
                .collect()
        })
        .collect();
    let row = |a: f64, b: f64| vec![Value::F64(a), Value::F64(b)];
    assert_eq!(rows, [row(1.0, 2.0), row(3.0, 4.0)]);
}

#[test]
fn with_a_node_its_devices_are_gone() {
    let dir = tempfile::tempdir().unwrap();
    let mut sessions = Sessions::load(dir.path().join("sparkplug"));
    let rule = sparkplug(&[]);
    let birth = payload(1, &[metric(Some("load"), 1, 0.5, None)]);
    for topic in [
        "NBIRTH/n",
        "DBIRTH/n/press",
        "DBIRTH/n/oven",
        "DBIRTH/n/pump",
        "DDEATH/n/pump",
    ] {
        let topic = format!("spBv1.0/g/{topic}");
        take(&mut sessions, &rule, &topic, &birth).unwrap();
    }
    let death = |sessions: &mut Sessions, rule| {
        let decoded = take(sessions, rule, "spBv1.0/g/NDEATH/n", &payload(1, &[])).unwrap();
        let groups = decoded.groups.iter().map(|group| {
            let [record] = &group.records[..] else {
                panic!("{group:?}")
            };
            let values: Vec<_> = record
                .values
                .iter()
                .map(|(_, value)| value.clone())
                .collect();
            assert_eq!((values, record.source_ts), (vec![Value::Bool(false)], None));
            group.tags.join("/")
        });
        groups.collect::<Vec<_>>()
    };
    // The pump had died before, and nobody dies twice.
    assert_eq!(
        death(&mut sessions, &rule),
        ["g/n/", "g/n/oven", "g/n/press"]
    );
    assert_eq!(death(&mut sessions, &rule), ["g/n/"]);
}

#[test]
fn births_and_deaths_are_taken_whatever_the_rule_infers_or_requires() {
    let load = DeclaredField {
        field: Field {
            name: "load".into(),
            kind: FieldType::F64,
        },
        pointer: None,
        required: true,
        conversion: None,
    };
    let declaring = StreamRule {
        infer: false,
        ..sparkplug(&[])
    };
    let requiring = StreamRule {
        fields: vec![load],
        ..sparkplug(&[])
    };
    for rule in [&declaring, &requiring] {
        let mut sessions = Sessions::default();
        let birth = payload(1, &[metric(Some("speed"), 1, 0.5, None)]);
        for topic in [
            "NBIRTH/n",
            "DBIRTH/n/press",
            "DDEATH/n/press",
            "DBIRTH/n/oven",
        ] {
            let topic = format!("spBv1.0/g/{topic}");
            let taken = take(&mut sessions, rule, &topic, &birth).unwrap();
            assert_eq!(taken.groups.len(), 1, "{topic}");
        }
        let death = take(&mut sessions, rule, "spBv1.0/g/NDEATH/n", &payload(1, &[])).unwrap();
        let gone = death.groups.iter().map(|group| group.tags.join("/"));
        assert_eq!(gone.collect::<Vec<_>>(), ["g/n/", "g/n/oven"]);
    }
    // Data are asked for what is required all the same.
    let data = payload(1, &[metric(Some("speed"), 1, 0.5, None)]);
    let reject = take(
        &mut Sessions::default(),
        &requiring,
        "spBv1.0/g/NDATA/n",
        &data,
    );
    assert_eq!(reject.unwrap_err().reason, Reason::MissingField);
}

#[test]
fn what_is_of_the_past_says_so_and_costs_the_rest_nothing() {
    let past = |name: &str, value: f64| {
        let value = [&[13 << 3 | 1][..], &value.to_le_bytes()].concat();
        let rest = [4 << 3, 10, 5 << 3, 1];
        let parts = [nested(1, name.as_bytes()), rest.to_vec(), value];
        nested(2, &parts.concat())
    };
    let rule = sparkplug(&[]);
    let topic = "spBv1.0/g/NDATA/e";
    let mixed = [past("load", 0.5), metric(Some("speed"), 0, 1.5, None)];
    let decoded = take(&mut Sessions::default(), &rule, topic, &payload(1, &mixed)).unwrap();
    let names: Vec<&str> = decoded.new_fields.iter().map(|f| &*f.name).collect();
    assert_eq!(names, ["speed", "sparkplug_historical", "load"]);
    let records: Vec<Vec<_>> = decoded.groups[0]
        .records
        .iter()
        .map(|record| {
            record
                .values
                .iter()
                .map(|(at, v)| (at, v.clone()))
                .collect()
        })
        .collect();
    assert_eq!(records[0], [(0, Value::F64(1.5))]);
    assert_eq!(records[1], [(1, Value::Bool(true)), (2, Value::F64(0.5))]);
    let present = payload(1, &[metric(Some("speed"), 0, 1.5, None)]);
    let decoded = take(&mut Sessions::default(), &rule, topic, &present).unwrap();
    assert_eq!(only(&decoded), [("speed", Value::F64(1.5))]);
}
