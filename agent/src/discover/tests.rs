#![allow(clippy::unwrap_used)]

use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::{
    config::{self, Overrides},
    record::{
        decode::{self, Publish},
        route::{Destination, Router},
    },
};

/// 2026-09-21: when the tests are.
const NOW_NS: i64 = 1_790_000_000_000_000_000;

fn seen(publishes: &[(&str, &[u8])]) -> Seen {
    let mut seen = Seen::default();
    for (topic, payload) in publishes {
        seen.add(topic.as_bytes(), payload, payload.len(), false);
    }
    seen
}

fn file(publishes: &[(&str, &[u8])]) -> String {
    let seen = seen(publishes);
    let proposal = propose(&seen, NOW_NS);
    for (topic, _) in seen.topics() {
        let of_rules = proposal.rules.iter().flat_map(|rule| &rule.topics);
        let rules = of_rules.filter(|other| **other == topic).count();
        let left = usize::from(proposal.left.contains_key(topic));
        assert_eq!(rules + left, 1, "{topic}: {:?}", proposal.left);
    }
    let broker = Broker {
        url: "mqtt://localhost:1883".to_owned(),
        settings: Vec::new(),
        lacks_password: false,
    };
    let text = text(&propose(&seen, NOW_NS), &seen, &broker, 30);
    let overrides = Overrides::default().set("upstream.url", "tdengine://localhost:6041/x");
    let checked = config::check_text(Path::new("dunlin.toml"), &text, &overrides);
    if text.contains("[[stream]]") {
        assert!(checked.settings.is_ok(), "{:?}\n{text}", checked.settings);
    }
    text
}

/// The rules without comments and names.
fn rules(publishes: &[(&str, &str)]) -> String {
    let publishes: Vec<(&str, &[u8])> = publishes
        .iter()
        .map(|(topic, payload)| (*topic, payload.as_bytes()))
        .collect();
    rules_of(&publishes)
}

fn rules_of(publishes: &[(&str, &[u8])]) -> String {
    let text = file(publishes);
    let rules = text.split_once("[[stream]]").map_or("", |(_, rules)| rules);
    let lines = rules.lines().filter(|line| {
        !line.starts_with('#')
            && !line.starts_with("name = ")
            && !line.starts_with('[')
            && !line.is_empty()
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What the agent would make of a publish with the proposed file: its stream, and each record with its time in
/// milliseconds.
fn rows(publishes: &[(&str, &str)], topic: &str, payload: &str) -> Value {
    let bytes: Vec<(&str, &[u8])> = publishes
        .iter()
        .map(|(topic, payload)| (*topic, payload.as_bytes()))
        .collect();
    let text = file(&bytes);
    let overrides = Overrides::default().set("upstream.url", "tdengine://localhost:6041/x");
    let settings = config::check_text(Path::new("dunlin.toml"), &text, &overrides)
        .settings
        .unwrap();
    let destination = Router::new(&settings.streams)
        .route(topic.as_bytes())
        .unwrap();
    let Destination::Stream(route) = &*destination else {
        return json!("excluded");
    };
    let publish = Publish {
        field: route.field.as_deref(),
        ..Publish::of(payload.as_bytes())
    };
    let decoded = decode::decode(&settings.streams[route.rule], None, publish).unwrap();
    assert!(decoded.misfits.is_empty(), "{:?}", decoded.misfits);
    let streams = decoded.groups.iter().map(|group| {
        let records = group.records.iter().map(|record| {
            let values = record.values.iter().map(|(field, value)| {
                let name = decoded.new_fields.get(field).unwrap().name.clone();
                (name, json!(format!("{value:?}")))
            });
            let values: serde_json::Map<String, Value> = values.collect();
            json!([record.source_ts.map(|ns| ns / 1_000_000), values])
        });
        let stream = route.stream_with(&group.tags);
        json!([stream, records.collect::<Vec<_>>()])
    });
    Value::Array(streams.collect())
}

#[test]
fn the_same_samples_give_the_same_file_and_it_says_what_was_seen() {
    let publishes: &[(&str, &[u8])] = &[
        ("hall/m1", br#"{"rms":1.5,"ts":1790000000}"#),
        ("hall/m1", br#"{"rms":1.6,"ts":1790000001}"#),
        ("hall/m2", br#"{"rms":2.5,"ts":1790000000}"#),
        ("cam/front", b"\xff\xd8\xff\xe0picture"),
        ("odd'quote", b"1"),
    ];
    let text = file(publishes);
    assert_eq!(text, file(publishes));
    assert!(
        text.contains("# 2 topics, 3 publishes, as hall/m1\n"),
        "{text}"
    );
    assert!(text.contains("#   cam/front: pictures (JPEG)\n"), "{text}");
    assert!(
        text.contains("#   odd'quote: a quote in the topic"),
        "{text}"
    );
    assert_eq!(
        rules_of(publishes),
        "topic = \"hall/+thing\"\ntime = \"/ts\""
    );
}

#[test]
fn flat_objects_need_their_topic_and_their_time() {
    let plain = rules(&[("lab/data", r#"{"weight":5,"ok":true}"#)]);
    assert_eq!(plain, "topic = \"lab/data\"");
    // Small numbers are no times, whatever they are called.
    let uptime = rules(&[("lab/data", r#"{"weight":5,"time":1234,"t":21.5}"#)]);
    assert_eq!(uptime, "topic = \"lab/data\"");
    let local = rules(&[("lab/data", r#"{"w":5,"at":{"Zeit":"04.05.2026 11:46:40"}}"#)]);
    assert_eq!(
        local,
        "topic = \"lab/data\"\ntime = \"/at/Zeit\"\ntime_format = \"%d.%m.%Y %H:%M:%S\"\ntime_zone = \"local\""
    );
    // Whether the day or the month comes first nobody can tell.
    let unclear = rules(&[("lab/data", r#"{"w":5,"time":"05/04/2026 11:46:40"}"#)]);
    assert_eq!(unclear, "topic = \"lab/data\"");
    let clear = rules(&[("lab/data", r#"{"w":5,"time":"25/04/2026 11:46:40"}"#)]);
    assert!(
        clear.contains("time_format = \"%d/%m/%Y %H:%M:%S\""),
        "{clear}"
    );
}

#[test]
fn objects_of_one_value_each_become_a_record() {
    let list = [(
        "gw/data",
        r#"{"stamp":1790000000000,"vals":[{"tag":"rpm","val":600,"qc":3},{"tag":"temp","val":71.5,"qc":3}]}"#,
    )];
    assert_eq!(
        rules(&list),
        "topic = \"gw/data\"\nrecords = { at = \"/vals\", name = \"/tag\", value = \"/val\" }\ntime = \"/stamp\""
    );
    assert_eq!(
        rows(&list, "gw/data", list[0].1),
        json!([["gw_data", [[1_790_000_000_000_i64, { "rpm": "F64(600.0)", "temp": "F64(71.5)" }]]]])
    );
    let map = rules(&[(
        "gw/data",
        r#"{"rpm":{"value":600,"at":"2026-05-04T10:00:00Z"},"state":{"value":"run","at":"2026-05-04T10:00:00Z"}}"#,
    )]);
    assert_eq!(map, "topic = \"gw/data\"\nrecords = { value = \"/value\" }");
    let messages = rules(&[(
        "ua/all",
        r#"{"MessageId":"1","Messages":[{"DataSetWriterId":7,"Timestamp":"2026-05-04T10:00:00Z",
           "Payload":{"Speed":{"Value":5.5,"StatusCode":0},"Level":{"Value":1.5,"StatusCode":0}}}]}"#,
    )]);
    assert!(
        messages.contains("records = { at = \"/Messages/Payload\", value = \"/Value\", quality"),
        "{messages}"
    );
    assert!(messages.contains("time = \"/Timestamp\""), "{messages}");
}

#[test]
fn what_is_about_a_message_is_not_its_readings() {
    let uplink = [(
        "app/3/device/0011223344556677/up",
        r#"{"time":"2026-05-04T10:00:00Z","fCnt":7,"object":{"temp":21.5,"open":false},
           "rxInfo":[{"rssi":-80},{"rssi":-90}],"txInfo":{"frequency":868100000}}"#,
    )];
    assert_eq!(
        rules(&uplink),
        "topic = \"app/+app/device/+device_id/up\"\nrecords = \"/object\"\ntime = \"/time\""
    );
    // Readings on both levels stay where they are.
    let both = rules(&[("a/data", r#"{"temp":1.5,"data":{"x":1,"y":2}}"#)]);
    assert_eq!(both, "topic = \"a/data\"");
    // Fragments of one value each, called by their keys.
    let fragments = rules(&[(
        "a/data",
        r#"{"time":"2026-05-04T10:00:00Z","type":"x","a":{"T":{"value":1,"unit":"C"}},"b":{"P":{"value":2}}}"#,
    )]);
    assert_eq!(
        fragments,
        "topic = \"a/data\"\nrecords = { at = \"/+\", value = \"/value\" }\ntime = \"/time\""
    );
    // Tables of rows say nothing that could be taken.
    assert_eq!(
        rules(&[("a/data", r#"{"columns":["t","x"],"rows":[[1,2],[3,4]]}"#)]),
        ""
    );
    // A list of objects beside readings cannot be a field.
    let beside = rules(&[("a/data", r#"{"temp":1.5,"events":[{"what":"push"}]}"#)]);
    assert_eq!(beside, "topic = \"a/data\"\nexclude_fields = [\"events\"]");
}

#[test]
fn several_devices_of_one_topic_are_several_streams() {
    let publishes = [
        (
            "gw/all",
            r#"{"devices":[{"mac":"a1:b2","temp":1.5},{"mac":"c3:d4","temp":2.5}]}"#,
        ),
        (
            "gw/all",
            r#"{"devices":[{"mac":"a1:b2","temp":1.6},{"mac":"c3:d4","temp":2.6}]}"#,
        ),
    ];
    assert_eq!(
        rules(&publishes),
        "topic = \"gw/all\"\nrecords = \"/devices\"\ntags = { mac = { at = \"/mac\" } }\nexclude_fields = [\"mac\"]"
    );
    let keyed = [(
        "gw/telemetry",
        r#"{"Pump A":[{"ts":1790000000000,"values":{"p":1.5}}],"Pump B":[{"ts":1790000000000,"values":{"p":2.5}}]}"#,
    )];
    assert_eq!(
        rows(&keyed, "gw/telemetry", keyed[0].1),
        json!([
            ["gw_telemetry/Pump A", [[1_790_000_000_000_i64, { "p": "F64(1.5)" }]]],
            ["gw_telemetry/Pump B", [[1_790_000_000_000_i64, { "p": "F64(2.5)" }]]]
        ])
    );
    let influx = [
        (
            "t/cpu",
            r#"{"fields":{"idle":91.5},"name":"cpu","tags":{"core":"0"},"timestamp":1790000000}"#,
        ),
        (
            "t/cpu",
            r#"{"fields":{"idle":81.5},"name":"cpu","tags":{"core":"1"},"timestamp":1790000000}"#,
        ),
    ];
    let influx = rules(&influx);
    assert!(
        influx.contains("core = { at = \"/tags/core\" }"),
        "{influx}"
    );
    // In a list a device may be the only one so far.
    let alone = rules(&[("gw/all", r#"{"list":[{"id":"Room1","temp":1.5}]}"#)]);
    assert!(
        alone.contains("tags = { id = { at = \"/id\" } }"),
        "{alone}"
    );
    // What counts messages tells no devices apart.
    let counted = rules(&[
        ("a/data", r#"{"id":1,"x":5}"#),
        ("a/data", r#"{"id":2,"x":6}"#),
        ("a/data", r#"{"id":3,"x":7}"#),
    ]);
    assert_eq!(counted, "topic = \"a/data\"");
}

#[test]
fn the_topic_names_bare_values() {
    let pivot = [
        ("plant/p7/temperature", "71.5"),
        ("plant/p7/pressure", "162"),
        ("plant/p8/temperature", "70"),
    ];
    assert_eq!(
        rules(&pivot),
        "topic = \"plant/+plant/{field}\"\nformat = \"number\""
    );
    assert_eq!(
        rows(&pivot, "plant/p9/level", "5"),
        json!([["plant/p9", [[null, { "level": "F64(5.0)" }]]]])
    );
    let deep = rules(&[
        ("N/c0ffee01/pv/3/Dc/0/V", r#"{"value":52.1}"#),
        ("N/c0ffee01/pv/3/Soc", r#"{"value":null}"#),
    ]);
    assert_eq!(
        deep,
        "topic = \"N/+thing/pv/+part/#{field}\"\nrecords = { value = \"/value\" }"
    );
    let states = rules(&[
        ("box/sensor/flow/state", "54.3"),
        ("box/sensor/flow/state", "nan"),
        ("box/switch/pump/state", "ON"),
        ("box/text/mode/state", "eco"),
    ]);
    assert_eq!(
        states,
        "topic = \"box/sensor/{field}/state\"\nformat = \"number\"\n\
         topic = \"box/switch/{field}/state\"\nformat = \"bool\"\n\
         topic = \"box/text/{field}/state\"\nformat = \"text\""
    );
    let written = rules(&[
        ("lab/level", "21,5"),
        ("lab/width", "3.5 mm"),
        ("lab/on", "true"),
    ]);
    assert!(
        written.contains("fields = { level = { type = \"f64\", decimal = \",\" } }"),
        "{written}"
    );
    assert!(
        written.contains("fields = { width = { type = \"f64\", unit = \"mm\" } }"),
        "{written}"
    );
}

#[test]
fn other_formats_are_told_by_what_they_are() {
    let lines = rules(&[("l/data", "cpu,host=a idle=91.5 1790000000000000000")]);
    assert_eq!(lines, "topic = \"l/data\"\nformat = \"influx\"");
    let senml = rules(&[(
        "s/data",
        r#"[{"bn":"urn:dev:1:","n":"temp","u":"Cel","v":20.5}]"#,
    )]);
    assert_eq!(senml, "topic = \"s/data\"\nformat = \"senml\"");
    let csv = rules(&[(
        "c/data",
        "Zeit;Temperatur\n2026-05-04T10:11:12+02:00;21,5\n",
    )]);
    assert_eq!(
        csv,
        "topic = \"c/data\"\nformat = \"csv\"\ndelimiter = \";\"\nheader = true\ntime = \"Zeit\"\n\
         fields = { Temperatur = { type = \"f64\", decimal = \",\" } }"
    );
    let csv = rules(&[("c/data", "1790000000123,1.25,run")]);
    assert_eq!(
        csv,
        "topic = \"c/data\"\nformat = \"csv\"\ntime = \"0\"\nfields = { column_2 = \"f64\", column_3 = \"text\" }"
    );
    let samples: Vec<String> = (0..64).map(|n| format!("{}.5", n % 7)).collect();
    let burst = format!(
        r#"{{"t":1790000000000,"fs":25600,"x":[{}]}}"#,
        samples.join(",")
    );
    let burst = rules(&[("v/data", &burst)]);
    assert_eq!(
        burst,
        "topic = \"v/data\"\nsamples = [\"/x\"]\nrate_at = \"/fs\"\ntime = \"/t\""
    );
    let packed = rmp_serde::to_vec(&json!({ "x": 1.5, "n": [1, 2] })).unwrap();
    assert_eq!(
        rules_of(&[("p/data", &packed)]),
        "topic = \"p/data\"\nformat = \"msgpack\""
    );
    let mut cbor = Vec::new();
    ciborium::into_writer(&json!({ "x": 1.5 }), &mut cbor).unwrap();
    assert_eq!(
        rules_of(&[("p/data", &cbor)]),
        "topic = \"p/data\"\nformat = \"cbor\""
    );
    assert_eq!(
        rules_of(&[("spBv1.0/g/DDATA/e/d", b"\x08\x01")]),
        "topic = \"spBv1.0/#\"\nformat = \"sparkplug_b\""
    );
}

#[test]
fn values_that_mean_numbers_are_declared() {
    let mixed = rules(&[
        ("v/first", r#"{"a":"21,5","on":true}"#),
        ("v/then", r#"{"a":21.5,"on":"OFF"}"#),
        ("v/unit", r#"{"a":"21.5 °C","on":1}"#),
    ]);
    assert_eq!(
        mixed,
        "topic = \"v/+thing\"\nfields = { a = { type = \"f64\", decimal = \",\", unit = \"°C\" }, on = \"bool\" }"
    );
}

#[test]
fn what_another_rule_was_made_for_is_left_alone() {
    let publishes = [
        ("z/cellar", r#"{"temp":21.3}"#),
        ("z/attic", r#"{"temp":31.3}"#),
        ("z/bridge", r#"{"state":"online"}"#),
        ("z/raw", "<xml/>"),
    ];
    assert_eq!(
        rules(&publishes),
        "topic = \"z/+thing\"\nexclude = [\"z/bridge/#\", \"z/raw\"]"
    );
    assert_eq!(rows(&publishes, "z/raw", "1"), json!("excluded"));
}

#[test]
fn nothing_that_came_makes_it_panic_or_fail_the_check() {
    let hostile: &[&[u8]] = &[
        b"",
        b"{",
        b"[]",
        b"{}",
        b"[[1,2],[3,4]]",
        b"null",
        b"\xff\xfe",
        b"{\"a\":{\"a\":{\"a\":1}}}",
        b",,,",
        b"a=1&b=2",
        b"[{\"id\":1},{\"v\":2}]",
        b"{\"\":1,\"ts\":{}}",
        b"{\"n\\n\\u0000\":\"x\"}",
        b"1e999",
        b"{\"value\":[]}",
        b"{\"value\":{\"value\":1}}",
        b"[{\"n\":\"a\"}]",
        b"a b=1",
        b"\"\"",
        b"\x81\xa1x\x01",
        b"{\"a'b\\\"c\":\"1,5\",\"d\":true}",
        b"x;y\n1;2\n",
        b"\x1f\x8b\x00",
        b"{\"time\":\"2026-05-04\",\"x\":1}",
    ];
    let topics = [
        "a",
        "a/data",
        "/a/b/",
        "a//b",
        "1/2/3",
        "$x/y",
        "a/$b",
        "d/1/v",
        "d/2/v",
        "+",
        "a/{field}",
        "dunlin_/x",
    ];
    for topic in topics {
        for payload in hostile {
            file(&[(topic, payload)]);
        }
    }
    let all: Vec<(&str, &[u8])> = topics
        .iter()
        .flat_map(|topic| hostile.iter().map(move |payload| (*topic, *payload)))
        .collect();
    file(&all);
}

#[test]
fn thousands_of_topics_of_a_kind_are_one_rule() {
    let topics: Vec<String> = (0..3000)
        .map(|n| format!("hall/press{n}/state{}", n % 3))
        .collect();
    let publishes: Vec<(&str, &[u8])> = topics
        .iter()
        .map(|topic| (&**topic, &br#"{"rms":1.5,"ts":1790000000}"#[..]))
        .collect();
    assert_eq!(
        rules_of(&publishes),
        "topic = \"hall/+thing/+part\"\ntime = \"/ts\""
    );
    let topics: Vec<String> = (0..3000)
        .map(|n| format!("hall/press{}/value{}", n / 10, n % 10))
        .collect();
    let publishes: Vec<(&str, &[u8])> =
        topics.iter().map(|topic| (&**topic, &b"1.5"[..])).collect();
    assert_eq!(
        rules_of(&publishes),
        "topic = \"hall/+thing/{field}\"\nformat = \"number\""
    );
}

mod guesses;
