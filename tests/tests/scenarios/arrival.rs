//! Records arrive once, with everything they should have; what is no record goes to quarantine.

use std::collections::BTreeMap;

use crate::world::World;

#[test]
fn records_arrive_once_with_timestamp_split_and_tags() {
    let mut world = World::new();
    world.start();
    world.publish(1_000);
    world.all_acknowledged();
    world.all_upstream();
    let rows = world.central.rows().unwrap();
    let train = rows.by_number.values().filter(|row| row.is_train).count();
    assert!((700..900).contains(&train), "{train} of 1000 to train");

    let database = world.central.open().unwrap().unwrap();
    let (line, v, tags): (String, f64, String) = database
        .query_row(
            "SELECT line, v, (SELECT tags FROM dunlin_streams s WHERE s.stream = r.stream)
             FROM records_tagged r WHERE n = 123",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .unwrap();
    assert_eq!((line.as_str(), v), ("line3", 123.5));
    assert!(tags.contains("\"device\":\"scenario-") && tags.contains("\"line\":\"line3\""));
    let status = world.wait("the count", |s| s.upstream.uploaded == 1_000);
    assert_eq!(status.records.committed, 1_000);
    world.stop();
}

#[test]
fn the_same_over_mqtt_3_1_1() {
    let mut world = World::of_version("3.1.1");
    world.start();
    world.publish(500);
    world.all_acknowledged();
    world.all_upstream();
    world.stop();
}

#[test]
fn bad_publishes_go_to_quarantine_by_reason_and_are_acknowledged() {
    let mut world = World::new();
    let prefix = world.numbered.prefix.clone();
    let config = format!(
        r#"
[[stream]]
name = "strict"
topic = "{prefix}/strict/+line"
infer = false
fields = {{ a = {{ type = "f64", required = true }}, t = "text" }}
on_misfit = "refuse"

[[stream]]
name = "number"
topic = "{prefix}/number/+line"
format = "number"
nan = "refuse"

[[stream]]
name = "few"
topic = "{prefix}/few/+line"
fields_max = 2
on_misfit = "refuse"

[[stream]]
name = "senml"
topic = "{prefix}/senml/+line"
format = "senml"

[[stream]]
name = "csv"
topic = "{prefix}/csv/+line"
format = "csv"
header = true
"#
    );
    let config = world.write("dunlin.toml", &config);
    world.device.set("--config", config.display());
    world.device.unset("--topic");
    world.device.set("--mqtt-payload-bytes-max", 1_000);
    world.start();

    let large = [b'1'; 1_001];
    let bad: [(&str, &[u8], &str); 14] = [
        ("strict/l", b"{\"a\":1", "not_json"),
        ("strict/l", b"{\"a\":\"\xff\"}", "not_utf8"),
        ("strict/l", b"{\"a\":\"text\"}", "wrong_type"),
        ("strict/l", b"{\"t\":\"only\"}", "missing_field"),
        ("strict/l", b"{\"a\":1,\"t\":\"nul\\u0000\"}", "bad_text"),
        ("strict/l", b"", "empty"),
        ("strict/a`b", b"{\"a\":1}", "bad_topic"),
        ("strict/..", b"{\"a\":1}", "bad_topic"),
        ("number/l", b"inf", "nan"),
        ("number/l", b"five", "not_number"),
        ("number/l", &large, "too_large"),
        ("few/l", b"{\"a\":1,\"b\":2,\"c\":3}", "too_many_fields"),
        ("senml/l", b"[{\"n\":1}]", "not_senml"),
        ("csv/l", b"a,b\n1", "not_csv"),
    ];
    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    for (topic, payload, reason) in bad {
        world.publish_raw(&format!("{prefix}/{topic}"), payload);
        world.publish_raw(&format!("{prefix}/strict/l"), b"{\"a\":2.5,\"t\":\"fine\"}");
        *expected.entry(reason.to_owned()).or_default() += 1;
    }
    let status = world.wait("28 PUBACKs", |s| s.mqtt.acknowledged >= 28);
    let mut found = status.records.quarantined_by_reason;
    found.retain(|_, count| *count > 0);
    assert_eq!(found, expected);
    let status = world.wait("the uploads", |s| s.upstream.uploaded == 14);
    assert_eq!(
        (status.records.committed, status.records.quarantined),
        (14, 14)
    );
    world.stop();

    // They do not come back.
    world.start();
    world.publish_raw(&format!("{prefix}/strict/l"), b"{\"a\":3}");
    let status = world.wait("another", |s| s.upstream.uploaded == 1);
    assert_eq!((status.mqtt.publishes, status.records.quarantined), (1, 0));
}

#[test]
fn a_thousand_tags_of_a_plc_and_a_waveform_arrive_whole() {
    let mut world = World::new();
    let prefix = world.numbered.prefix.clone();
    let config = format!(
        r#"
[[stream]]
name = "plc"
topic = "{prefix}/plc/+line"
fields_max = 1000
on_misfit = "refuse"

[[stream]]
name = "wave"
topic = "{prefix}/wave/+line"
fields_max = 4096
"#
    );
    let config = world.write("dunlin.toml", &config);
    world.device.set("--config", config.display());
    world.device.unset("--topic");
    world.start();
    let value = |record: usize, field: usize| record as f64 + field as f64 / 8_192.0;
    let object = |record: usize, fields: std::ops::Range<usize>| {
        let fields = fields.map(|field| format!("\"f{field}\":{}", value(record, field)));
        format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
    };
    let of = [("plc", 1_000), ("wave", 4_096)];
    let whole = 5;
    for record in 0..whole {
        for (table, fields) in of {
            let payload = object(record, 0..fields);
            world.publish_raw(&format!("{prefix}/{table}/l"), payload.as_bytes());
        }
    }
    // One that has but its last fields, and one with more than a few fields too many.
    world.publish_raw(
        &format!("{prefix}/wave/l"),
        object(whole, 4_090..4_096).as_bytes(),
    );
    world.publish_raw(
        &format!("{prefix}/plc/l"),
        object(whole, 0..1_017).as_bytes(),
    );
    let status = world.wait("the uploads", |s| {
        s.upstream.uploaded == 11 && s.records.quarantined == 1
    });
    assert_eq!(
        (status.records.committed, status.records.quarantined),
        (11, 1)
    );
    assert_eq!(status.records.quarantined_by_reason["too_many_fields"], 1);
    world.stop();

    let database = rusqlite::Connection::open(world.path("central.db")).unwrap();
    for (table, fields) in of {
        let mut found = Vec::new();
        for place in 1.. {
            let part = if place == 1 {
                table.to_owned()
            } else {
                format!("{table}_{place}")
            };
            let sql =
                format!("SELECT name FROM pragma_table_info('{part}') WHERE name GLOB 'f[0-9]*'");
            let mut columns = database.prepare(&sql).unwrap();
            let columns = columns
                .query_map([], |row| row.get::<_, String>(0))
                .unwrap();
            let columns: Vec<String> = columns.map(Result::unwrap).collect();
            if columns.is_empty() {
                break;
            }
            for column in columns {
                let sql =
                    format!("SELECT {column} FROM {part} WHERE {column} IS NOT NULL ORDER BY ts");
                let mut cells = database.prepare(&sql).unwrap();
                let cells = cells.query_map([], |row| row.get::<_, f64>(0)).unwrap();
                let cells: Vec<f64> = cells.map(Result::unwrap).collect();
                found.push((column[1..].parse::<usize>().unwrap(), cells));
            }
        }
        found.sort_by_key(|(field, _)| *field);
        let expected = (0..fields).map(|field| {
            let sparse = usize::from(table == "wave" && field >= 4_090);
            let records = 0..whole + sparse;
            (field, records.map(|record| value(record, field)).collect())
        });
        assert!(
            found.into_iter().eq(expected),
            "{table} is not what was published"
        );
    }
}
