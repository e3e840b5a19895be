//! What devices really send: several things in one payload, values that do not fit, aliases.

use dunlin_agent::admin::operations::{RetryItems, Selection};

use crate::world::World;

fn world(streams: &str) -> World {
    let mut world = World::new();
    let prefix = world.numbered.prefix.clone();
    let config = world.write("dunlin.toml", &streams.replace("PREFIX", &prefix));
    world.device.set("--config", config.display());
    world.device.unset("--topic");
    world.start();
    world
}

/// Rows of the upstream for a query of texts, one column.
fn texts(world: &World, sql: &str) -> Vec<String> {
    let database = rusqlite::Connection::open(world.path("central.db")).unwrap();
    let mut statement = database.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

#[test]
fn a_publish_that_two_rules_may_take_is_stored_once() {
    let mut world = world(
        "[[stream]]\nname = \"special\"\ntopic = \"PREFIX/press\"\n\
         [[stream]]\nname = \"others\"\ntopic = \"PREFIX/+machine\"\n\
         [[stream]]\nname = \"rest\"\ntopic = \"PREFIX/#rest\"\n",
    );
    let prefix = world.numbered.prefix.clone();
    for number in 0..20 {
        for topic in ["press", "pump", "deep/down"] {
            let payload = format!("{{\"x\":{number}}}");
            world.publish_raw(&format!("{prefix}/{topic}"), payload.as_bytes());
        }
    }
    // One that comes behind all of them.
    world.publish_raw(&format!("{prefix}/end"), b"{\"x\":1}");
    world.until("the last one", |world| {
        let ends = "SELECT count(*) || '' FROM others_tagged WHERE machine = 'end'";
        let is_there = std::fs::exists(world.path("central.db")).unwrap_or_default();
        let is_made = is_there
            && texts(world, "SELECT name FROM sqlite_master").contains(&"others_tagged".to_owned());
        (is_made && texts(world, ends) == ["1"]).then_some(())
    });
    let status = world.wait("all of them", |s| s.upstream.uploaded >= 61);
    assert_eq!(status.records.committed, 61);
    for (table, rows) in [("special", "20"), ("others", "21"), ("rest", "20")] {
        let sql = format!("SELECT count(*) || '' FROM {table}");
        assert_eq!(texts(&world, &sql), [rows], "{table}");
    }
}

#[test]
fn one_payload_of_several_machines_makes_several_streams() {
    let mut world = world(
        "[[stream]]\nname = \"line\"\ntopic = \"PREFIX/+line\"\ntime = \"/t\"\n\
         records = { at = \"/+machine\", name = \"/id\", value = \"/v\" }\n",
    );
    let prefix = world.numbered.prefix.clone();
    let payload =
        br#"{"Press 7":[{"id":"rms","v":"1.5","t":1777888000},{"id":"on","v":true,"t":1777888000}],
        "Press 8":[{"id":"rms","v":2.5,"t":1777888000},{"id":"rms","v":3.5,"t":1777888001}]}"#;
    world.publish_raw(&format!("{prefix}/l1"), payload);
    let status = world.wait("the uploads", |s| s.upstream.uploaded == 3);
    assert_eq!(status.records.quarantined, 0);
    let rows = texts(
        &world,
        "SELECT line || ' ' || machine || ' ' || rms || ' ' || (source_ts / 1000000000)
         FROM line_tagged ORDER BY machine, source_ts",
    );
    assert_eq!(
        rows,
        [
            "l1 Press 7 1.5 1777888000",
            "l1 Press 8 2.5 1777888000",
            "l1 Press 8 3.5 1777888001"
        ]
    );
}

#[test]
fn what_does_not_fit_is_missing_alone_and_comes_later_with_the_time_it_had() {
    let before = "[[stream]]\nname = \"m\"\ntopic = \"PREFIX/+machine\"\n\
                  fields = { rms = \"f64\", state = \"i64\" }\n";
    let mut world = world(before);
    let prefix = world.numbered.prefix.clone();
    world.publish_raw(
        &format!("{prefix}/press"),
        b"{\"rms\":1.5,\"state\":\"RUN\"}",
    );
    let status = world.wait("the upload", |s| s.upstream.uploaded == 1);
    assert_eq!(
        (status.records.committed, status.records.quarantined),
        (1, 0)
    );
    assert_eq!(status.records.values_missing["wrong_type"]["state"], 1);
    world.stop();

    let after = before.replace("\"i64\" }", "{ type = \"i64\", values = { RUN = 1 } } }");
    world.write("dunlin.toml", &after.replace("PREFIX", &prefix));
    world.start();
    let retry = RetryItems(Selection::default());
    let (retried, _) = world.device.control().request(retry).unwrap();
    assert_eq!((retried.sent, retried.records), (1, 1));
    world.wait("the other half", |s| s.upstream.uploaded == 1);
    world.stop();
    let rows = texts(
        &world,
        "SELECT coalesce(rms, '-') || ' ' || coalesce(state, '-') FROM m ORDER BY ts",
    );
    assert_eq!(rows, ["1.5 -", "- 1"]);
    // When the payload came, within the minutes that this takes.
    let apart = "SELECT (max(abs(b.source_ts - a.ts)) < 600000000000) || '' FROM m a, m b
                 WHERE a.rms IS NOT NULL AND b.rms IS NULL";
    assert_eq!(texts(&world, apart), ["1"]);
}

/// A field of protobuf: number, wire type 2.
fn nested(number: u8, content: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, content.len() as u8], content].concat()
}

/// A Sparkplug B metric of type double, by alias; in a birth also by name.
fn metric(name: Option<&str>, alias: u8, value: f64) -> Vec<u8> {
    let name = name
        .map(|name| nested(1, name.as_bytes()))
        .unwrap_or_default();
    let rest = [
        vec![2 << 3, alias, 4 << 3, 10, 13 << 3 | 1],
        value.to_le_bytes().to_vec(),
    ];
    nested(2, &[name, rest.concat()].concat())
}

fn payload(time_ms: u8, seq: u8, metrics: &[Vec<u8>]) -> Vec<u8> {
    [&[1 << 3, time_ms][..], &metrics.concat(), &[3 << 3, seq]].concat()
}

#[test]
fn what_an_edge_node_has_announced_outlives_a_restart() {
    let mut world = world(
        "[[stream]]\nname = \"plant\"\ntopic = \"spBv1.0/#\"\nformat = \"sparkplug_b\"\ntime_min = 1970-01-01\n",
    );
    let group = world.numbered.prefix.replace('/', "-");
    let topic = |kind: &str| format!("spBv1.0/{group}/{kind}/edge");
    let of_device = |kind: &str| format!("{}/press", topic(kind));
    world.publish_raw(
        &topic("NBIRTH"),
        &payload(1, 0, &[metric(Some("load"), 1, 0.5)]),
    );
    world.publish_raw(
        &of_device("DBIRTH"),
        &payload(2, 1, &[metric(Some("rms"), 2, 1.5)]),
    );
    world.publish_raw(&of_device("DDATA"), &payload(3, 2, &[metric(None, 2, 2.5)]));
    world.wait("the uploads", |s| s.upstream.uploaded == 3);
    world.stop();
    world.start();
    world.publish_raw(&of_device("DDATA"), &payload(4, 3, &[metric(None, 2, 3.5)]));
    world.publish_raw(&of_device("DDATA"), &payload(5, 4, &[metric(None, 9, 4.5)]));
    let status = world.wait("the rest", |s| {
        s.upstream.uploaded == 1 && s.records.quarantined == 1
    });
    assert_eq!(status.records.quarantined_by_reason["unknown_alias"], 1);
    world.stop();
    let rows = texts(
        &world,
        &format!(
            "SELECT edge_device || ' ' || coalesce(rms, load) || ' ' || (source_ts / 1000000)
             FROM plant_tagged WHERE sparkplug_group = '{group}' ORDER BY ts"
        ),
    );
    assert_eq!(
        rows,
        [" 0.5 1", "press 1.5 2", "press 2.5 3", "press 3.5 4"]
    );
}

#[test]
fn an_edge_node_whose_birth_was_missed_is_asked_for_it_once_where_that_is_wanted() {
    const COMMAND: &[u8] = b"Node Control/Rebirth";
    let mut world = world(
        "[[stream]]\nname = \"plant\"\ntopic = \"spBv1.0/#\"\nformat = \"sparkplug_b\"\ntime_min = 1970-01-01\n\
         rebirth_requests = true\n",
    );
    world.relay.start_times();
    let group = world.numbered.prefix.replace('/', "-");
    let topic = |kind: &str| format!("spBv1.0/{group}/{kind}/edge");
    for seq in 3..6 {
        world.publish_raw(&topic("NDATA"), &payload(1, seq, &[metric(None, 1, 0.5)]));
    }
    let status = world.wait("the refusals", |s| s.records.quarantined == 3);
    assert_eq!(status.mqtt.rebirths_asked, 1);
    let asked = world.until("the request", |world| {
        let published = world.relay.times().published;
        let commands = published.iter().filter(|(_, payload)| {
            let mut parts = payload.windows(COMMAND.len());
            parts.any(|part| part == COMMAND)
        });
        Some(commands.count()).filter(|count| *count > 0)
    });
    assert_eq!(asked, 1);
    // It answers, and what comes then has its name.
    world.publish_raw(
        &topic("NBIRTH"),
        &payload(2, 0, &[metric(Some("load"), 1, 1.5)]),
    );
    world.publish_raw(&topic("NDATA"), &payload(3, 1, &[metric(None, 1, 2.5)]));
    world.wait("the uploads", |s| s.upstream.uploaded == 2);
    let rows = texts(&world, "SELECT load || '' FROM plant ORDER BY ts");
    assert_eq!(rows, ["1.5", "2.5"]);
}
