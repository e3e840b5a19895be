//! What is known already: publishes sent again, streams, schemas.

use super::*;

#[test]
fn a_publish_sent_again_is_acknowledged_and_not_stored_again() {
    let mut device = Device::new();
    device.arrive([value(1, 1), publish(2, "bad")]);
    device.turn_after_gap();
    device.arrive([again(value(1, 1)), again(publish(2, "bad"))]);
    device.arrive([value(3, 3), again(value(3, 3))]);
    device.turn_after_gap();
    assert_eq!(device.acked(), [1, 2, 1, 2, 3, 3]);
    // The fingerprints survive with the blocks.
    let mut device = device.restart();
    device.arrive([
        again(value(1, 1)),
        again(publish(2, "bad")),
        again(value(3, 3)),
    ]);
    device.turn_after_gap();
    assert_eq!(device.acked(), [1, 2, 3]);
    assert_eq!(device.stored().values(), [1.5, 3.5]);
    assert_eq!(device.quarantined().len(), 1);
    assert_eq!(device.w().stats().duplicates.load(Relaxed), 3);
}

#[test]
fn equal_payloads_are_stored_as_often_as_they_were_sent() {
    let mut device = Device::new();
    device.arrive([
        value(1, 1),
        value(2, 1),
        value(1, 1),
        value(0, 1),
        value(0, 1),
    ]);
    device.turn_after_gap();
    // Marked as sent before, but under an id it was never seen with: a loss before the commit.
    device.arrive([again(value(9, 1))]);
    device.turn_after_gap();
    assert_eq!(device.stored().values(), [1.5; 6]);
    let times = device.stored().times();
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]));
}

#[test]
fn an_id_used_for_something_else_since_does_not_make_a_publish_known() {
    let mut device = Device::new();
    device.arrive([value(1, 1), value(1, 2)]);
    device.turn_after_gap();
    // The broker cannot have used the id again without a PUBACK for what it named first.
    device.arrive([again(value(1, 1)), value(2, 3), again(value(2, 3))]);
    device.turn_after_gap();
    assert_eq!(device.stored().values(), [1.5, 2.5, 1.5, 3.5]);
}

#[test]
fn a_stranger_cannot_make_up_streams_for_ever() {
    let mut device = Device::new();
    let buffer = Arc::clone(&device.w().parts.buffer);
    let schema = buffer
        .declare_schema("plant", &["device".into(), "machine".into()], &[])
        .unwrap();
    for n in 0..crate::config::settings::DEVICE_STREAMS_MAX {
        buffer.declare_stream(schema.id, &format!("plant/m{n}"), &["d".into(), "m".into()]);
    }
    device.arrive([
        on("plant/new/state", 1, "{\"x\":1}"),
        on("plant/m5/state", 2, "{\"x\":2}"),
    ]);
    device.turn_after_gap();
    assert_eq!(device.acked(), [1, 2]);
    assert_eq!(device.stored().values(), [2.0]);
    assert_eq!(device.quarantined()[0].reason, "too_many_streams");
    // The agent's own tables have room of their own.
    let own = |stream: String| RequestContent::Records {
        schema: "dunlin_predictions".into(),
        stream,
        tags: vec![("source".into(), "plant/m5".into())],
        fields: vec![Field {
            name: "score".into(),
            kind: FieldType::F64,
        }],
        records: vec![Record {
            source_ts: None,
            values: vec![Some(Value::F64(0.5))].into(),
        }],
        file: FromFile::default(),
    };
    for n in [1, 2] {
        let answer = device.ask(own(format!("dunlin_predictions/pca/m{n}")));
        device.turn_after_gap();
        assert_eq!(answer.recv().unwrap(), Ok(1));
    }
}

#[test]
fn long_names_fill_the_room_before_many_streams_do() {
    let mut device = Device::with(|settings| settings.buffer.bytes_max = 16 << 20);
    let topic = |n: usize| format!("plant/{n}-{}/state", "x".repeat(110));
    device.arrive((0..1_000).map(|n| on(&topic(n), 0, "{\"x\":1}")));
    while device.stored().rows().len() + device.quarantined().len() < 1_000 {
        device.turn_after_gap();
    }
    let buffer = Arc::clone(&device.w().parts.buffer);
    let taken = buffer.catalog().streams().len();
    assert!((400..700).contains(&taken), "{taken} of 256 KiB");
    let refused = device.quarantined();
    assert_eq!(refused.len(), 1_000 - taken);
    assert!(
        refused[0].detail.contains("bytes for names"),
        "{}",
        refused[0].detail
    );
    // What is known goes on.
    device.arrive([on(&topic(0), 1, "{\"x\":2}")]);
    device.turn_after_gap();
    assert_eq!(device.quarantined().len(), refused.len());
}

#[test]
fn a_rule_bounds_its_streams_and_idle_ones_make_room() {
    let mut device = Device::with(|settings| {
        settings.streams[0].instances_max = Some(3);
        settings.buffer.streams_idle_s_max = 3_600;
        settings.buffer.bytes_max = 8 << 20;
        settings.buffer.replay_bytes_max = 0;
    });
    let machine = |n: u16| on(&format!("plant/m{n}/state"), n, "{\"x\":1.5}");
    device.arrive((1..=4).map(machine));
    device.turn_after_gap();
    assert_eq!(device.acked(), [1, 2, 3, 4]);
    let refused = device.quarantined();
    assert_eq!(refused[0].reason, "too_many_streams");
    assert!(
        refused[0].detail.contains("instances_max"),
        "{}",
        refused[0].detail
    );
    let buffer = Arc::clone(&device.w().parts.buffer);
    let ids = |buffer: &Buffer| -> Vec<u32> {
        let catalog = buffer.catalog();
        let named = ["plant/m1", "plant/m2", "plant/m3", "plant/m4"].into_iter();
        named
            .filter_map(|name| catalog.stream_named(name))
            .map(|stream| stream.id)
            .collect()
    };
    assert_eq!(ids(&buffer), [0, 1, 2]);
    // The third goes on until nothing of the others is left in the buffer.
    for seed in 0..600 {
        let payload = format!("{{\"t\":\"{}\"}}", noise(5_000, seed));
        device.arrive([on("plant/m3/state", 0, payload)]);
        device.turn_after_gap();
        buffer.uploaded_to(buffer.next_seq());
    }
    assert_eq!((buffer.rows_of(0), buffer.rows_of(1)), (0, 0));
    device.hands.advance(Duration::from_mins(50));
    device.w().next_idle_tick = Instant::now();
    device.turn_after_gap();
    assert_eq!(ids(&buffer), [0, 1, 2], "not idle for long enough");
    device.arrive([on("plant/m3/state", 0, "{\"t\":\"end\"}")]);
    device.turn_after_gap();
    buffer.uploaded_to(buffer.next_seq());
    device.hands.advance(Duration::from_mins(15));
    device.w().next_tick = Instant::now();
    device.w().next_idle_tick = Instant::now();
    device.turn_after_gap();
    assert_eq!(ids(&buffer), [2]);
    device.arrive([machine(4), machine(1), machine(2)]);
    device.turn_after_gap();
    assert_eq!(ids(&buffer), [4, 2, 3], "the first of them by a new number");
    assert_eq!(device.quarantined().len(), 2);
}

#[test]
fn idle_streams_make_room_on_a_device_with_little_data() {
    let mut device = Device::with(|settings| {
        settings.streams[0].instances_max = Some(3);
        settings.buffer.streams_idle_s_max = 3_600;
        settings.buffer.replay_bytes_max = 0;
    });
    let machine = |n: u16| on(&format!("plant/m{n}/state"), n, "{\"x\":1.5}");
    device.arrive((1..=3).map(machine));
    device.turn_after_gap();
    let buffer = Arc::clone(&device.w().parts.buffer);
    for id in 4..10 {
        device.hands.advance(Duration::from_mins(20));
        device.w().next_tick = Instant::now();
        device.arrive([on("plant/m1/state", id, "{\"x\":2.5}")]);
        device.turn_after_gap();
        buffer.uploaded_to(buffer.next_seq());
        device.w().next_idle_tick = Instant::now();
        device.turn_after_gap();
    }
    device.arrive([machine(11), machine(12)]);
    device.turn_after_gap();
    assert!(device.quarantined().is_empty());
    let known = buffer.catalog();
    for (name, is_known) in [("m1", true), ("m2", false), ("m11", true), ("m12", true)] {
        let stream = known.stream_named(&format!("plant/{name}"));
        assert_eq!(stream.is_some(), is_known, "{name}");
    }
}

#[test]
fn tags_that_change_keep_the_stream_and_are_stored() {
    let mut device = Device::new();
    let stream = |device: &mut Device, name: &str| {
        let catalog = device.w().parts.buffer.catalog();
        let stream = catalog.stream_named(name).unwrap();
        let schema = catalog.schema(stream.schema).unwrap();
        assert_eq!(schema.tag_names[0], "device");
        let tags = schema
            .tag_names
            .iter()
            .cloned()
            .zip(stream.tags.iter().cloned());
        let tags: Vec<_> = tags.filter(|(_, value)| !value.is_empty()).collect();
        (stream.id, tags, stream.naming_tags().to_vec())
    };
    let tags = |tags: &[(&str, &str)]| -> Vec<(String, String)> {
        let all = [("device", "d"), ("machine", "press")].iter().chain(tags);
        all.map(|(name, value)| ((*name).into(), (*value).into()))
            .collect()
    };
    let static_tags = |device: &mut Device, tags: &[(&str, &str)]| {
        let tags = tags
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()));
        device.settings.streams[0].tags = tags.collect();
    };
    let of_press = |x: u16| on("plant/press/state", x, format!("{{\"a\":1,\"x\":{x}.5}}"));
    device.arrive([value(1, 1)]);
    device.turn_after_gap();
    let (id, at_first, first_tags) = stream(&mut device, "plant/press");
    assert_eq!(at_first, tags(&[]));

    static_tags(&mut device, &[("site", "north")]);
    let mut device = device.restart();
    device.arrive([of_press(2)]);
    device.turn_after_gap();
    assert_eq!(
        stream(&mut device, "plant/press"),
        (id, tags(&[("site", "north")]), first_tags.clone())
    );
    // One more, before the other in order; and what comes from inside knows it too.
    static_tags(&mut device, &[("site", "south"), ("area", "a")]);
    let mut device = device.restart();
    let known = device.ask(records(1));
    device.turn_after_gap();
    assert_eq!(known.recv().unwrap(), Ok(1));
    let changed = (
        id,
        tags(&[("site", "south"), ("area", "a")]),
        first_tags.clone(),
    );
    assert_eq!(stream(&mut device, "plant/press"), changed);
    // Durable: a start that nothing arrives after finds the same.
    let mut device = device.restart();
    assert_eq!(stream(&mut device, "plant/press"), changed);
    static_tags(&mut device, &[]);
    let mut device = device.restart();
    device.arrive([of_press(3)]);
    device.turn_after_gap();
    assert_eq!(
        stream(&mut device, "plant/press"),
        (id, tags(&[]), first_tags)
    );
    assert!(device.quarantined().is_empty());
    assert_eq!(device.w().parts.buffer.catalog().streams().len(), 1);
}

#[test]
fn another_device_name_is_another_stream_and_both_stay_readable() {
    let mut device = Device::new();
    device.arrive([value(1, 1)]);
    device.turn_after_gap();
    let names = |device: &mut Device| -> Vec<(String, String, String)> {
        let catalog = device.w().parts.buffer.catalog();
        let streams = catalog.streams().map(|stream| {
            let device = stream.device().to_owned();
            (
                stream.name.clone(),
                device,
                catalog.shown(stream).into_owned(),
            )
        });
        streams.collect()
    };
    let name = |name: &str, device: &str, shown: &str| (name.into(), device.into(), shown.into());
    device.settings.device = "e".into();
    let mut device = device.restart();
    device.arrive([value(2, 2), value(3, 3)]);
    // What comes from inside is the device's too.
    let known = device.ask(records(1));
    device.turn_after_gap();
    assert_eq!(known.recv().unwrap(), Ok(1));
    assert_eq!(
        names(&mut device),
        [
            name("plant/press", "d", "plant/press#d"),
            name("plant/press#e", "e", "plant/press")
        ]
    );
    // And back.
    device.settings.device = "d".into();
    let mut device = device.restart();
    device.arrive([value(4, 4)]);
    device.turn_after_gap();
    assert_eq!(
        names(&mut device),
        [
            name("plant/press", "d", "plant/press"),
            name("plant/press#e", "e", "plant/press#e")
        ]
    );
    assert_eq!(device.stored().values().len(), 5);
}

/// As a broker sends it again that numbers anew on each connection.
fn renumbered(publish: Incoming, packet_id: u16) -> Incoming {
    Incoming {
        packet_id,
        ..again(publish)
    }
}

#[test]
fn what_comes_again_under_new_ids_is_known_by_its_order() {
    let mut device = Device::new();
    device.arrive((1..=9).map(|id| value(id, id.into())));
    device.turn_after_gap();
    // Also after the loss of power, with what had been sent and was never received.
    let mut device = device.restart();
    let sent_again = (6..=9).map(|n| value(n, n.into()));
    let never_received = (10..=11).map(|n| value(n, n.into()));
    let all = sent_again.chain(never_received);
    device.arrive((1..).zip(all).map(|(id, publish)| renumbered(publish, id)));
    device.turn_after_gap();
    assert_eq!(device.acked(), [1, 2, 3, 4, 5, 6]);
    let expected: Vec<f64> = (1..=11).map(|n| f64::from(n) + 0.5).collect();
    assert_eq!(device.stored().values(), expected);
    let stats = device.w().stats();
    assert_eq!(stats.duplicates.load(Relaxed), 4);
    assert_eq!(stats.possible_duplicates.load(Relaxed), 0);
}

#[test]
fn equal_readings_under_new_ids_are_stored_twice_rather_than_swallowed() {
    let mut device = Device::new();
    device.arrive((1..=9).map(|id| value(id, 7)));
    device.turn_after_gap();
    // Acknowledged, or sent and never received: nothing tells.
    device.arrive((1..=4).map(|id| renumbered(value(9, 7), id)));
    device.turn_after_gap();
    assert_eq!(device.stored().values(), [7.5; 13]);
    assert_eq!(device.w().stats().possible_duplicates.load(Relaxed), 4);
}

#[test]
fn one_that_looks_like_an_older_one_is_not_taken_for_it_unless_the_rest_follows() {
    let mut device = Device::new();
    device.arrive((1..=9).map(|id| value(id, id.into())));
    device.turn_after_gap();
    let next = Incoming {
        dup: false,
        ..renumbered(value(1, 20), 2)
    };
    device.arrive([renumbered(value(1, 5), 1), next]);
    device.turn_after_gap();
    assert_eq!(device.acked()[9..], [1, 2]);
    assert_eq!(device.stored().values()[9..], [5.5, 20.5]);
    // Nor, after a moment, if nothing follows at all.
    let mut last = renumbered(value(1, 3), 1);
    last.connection = 5;
    device.arrive([last]);
    while device.stored().values().len() < 12 {
        device.turn_after_gap();
    }
    assert_eq!(device.stored().values()[11..], [3.5]);
}

#[test]
fn what_waits_for_a_timestamp_is_judged_once() {
    let mut device = Device::new();
    device.arrive((1..=9).map(|id| value(id, 7)));
    device.turn_after_gap();
    let state = device.settings.data_dir.join("state");
    super::faults::block(&state);
    device.hands.advance(Duration::from_hours(2));
    device.arrive((1..=4).map(|id| renumbered(value(9, 7), id)));
    for _ in 0..3 {
        assert!(device.turn().unwrap());
    }
    assert!(device.w().stats().stalled_because().is_some());
    fs::remove_file(&state).unwrap();
    device.turn().unwrap();
    device.turn_after_gap();
    assert_eq!(device.stored().values(), [7.5; 13]);
    assert_eq!(device.w().stats().possible_duplicates.load(Relaxed), 4);
}

#[test]
fn a_reading_with_its_own_time_is_known_although_nothing_marks_it() {
    let mut device = Device::with(|settings| {
        let rule = &mut settings.streams[0];
        rule.time = Some("/t".into());
    });
    let at = |id: u16, x: u32, t: u32| publish(id, format!("{{\"x\":{x}.5,\"t\":{t}}}"));
    device.arrive([at(1, 1, 1_700_000_001), at(2, 1, 1_700_000_002)]);
    device.arrive([value(3, 2)]);
    device.turn_after_gap();
    let mut device = device.restart();
    // The newest first, as some brokers do, and one more.
    let unmarked = [
        value(1, 2),
        at(2, 1, 1_700_000_002),
        at(3, 1, 1_700_000_001),
        at(4, 1, 1_700_000_003),
    ];
    device.arrive(unmarked.map(|publish| Incoming {
        connection: 2,
        ..publish
    }));
    device.turn_after_gap();
    assert_eq!(device.acked(), [1, 2, 3, 4]);
    assert_eq!(device.stored().values(), [1.5, 1.5, 2.5, 2.5, 1.5]);
    let stats = device.w().stats();
    assert_eq!(stats.duplicates.load(Relaxed), 2);
    assert_eq!(stats.possible_duplicates.load(Relaxed), 1);
}

#[test]
fn marks_of_a_broker_that_knows_no_session_say_nothing_of_what_came_before_its_restart() {
    type Reading<'a> = &'a dyn Fn(u16, u32) -> Incoming;

    let timed = || {
        Device::with(|settings| {
            let rule = &mut settings.streams[0];
            rule.time = Some("/t".into());
        })
    };
    let at = |id: u16, n: u32| publish(id, format!("{{\"x\":{n}.5,\"t\":{}}}", 1_700_000_000 + n));
    let untimed = |id: u16, n: u32| value(id, n);
    let on = |connection: u64, dup: bool, publish: Incoming| Incoming {
        connection,
        dup,
        session_present: false,
        ..publish
    };
    let cases: [(Device, Reading<'_>, &[f64], u64); 2] = [
        (timed(), &at, &[1.5, 2.5, 3.5, 4.5, 5.5], 0),
        // Nothing tells: stored twice, and every one of them counted.
        (
            Device::new(),
            &untimed,
            &[1.5, 2.5, 3.5, 4.5, 3.5, 4.5, 5.5, 3.5, 4.5, 2.5],
            5,
        ),
    ];
    for (mut device, reading, stored, possible) in cases {
        device.arrive((1..=4).map(|n| on(1, false, reading(n, n.into()))));
        device.turn_after_gap();
        // Killed, and started again: it has lost marks, ids and PUBACKs. One is new.
        device.arrive([(1, 3), (2, 4), (3, 5)].map(|(id, n)| on(2, false, reading(id, n))));
        device.turn_after_gap();
        // Cut: marked, with the ids of the connection before, the newest first; and more without a mark.
        let marked = [(3, 5), (1, 3), (2, 4)].map(|(id, n)| on(3, true, reading(id, n)));
        let unmarked = on(3, false, reading(4, 2));
        device.arrive(marked.into_iter().chain([unmarked]));
        device.turn_after_gap();
        assert_eq!(device.stored().values(), stored);
        let stats = device.w().stats();
        assert_eq!(stats.possible_duplicates.load(Relaxed), possible);
    }
}

#[test]
fn what_flaps_opens_no_column_later_on_and_nothing_of_it_is_lost() {
    let mut device = Device::new();
    device.arrive((1..=8).map(|id| value(id, u32::from(id))));
    device.arrive([
        publish(9, r#"{"x":"text"}"#),
        publish(10, r#"{"x":true,"y":1}"#),
    ]);
    device.turn_after_gap();
    assert_eq!(device.acked().len(), 10);
    let schema = |device: &mut Device| {
        let catalog = device.w().parts.buffer.catalog();
        Arc::clone(catalog.schema_named("plant").unwrap())
    };
    let names: Vec<_> = schema(&mut device)
        .fields
        .iter()
        .map(|f| f.name.clone())
        .collect();
    assert_eq!(names, ["x", "y"]);
    assert_eq!(device.quarantined().len(), 2);
    assert_eq!(
        device.stored().values().len(),
        9,
        "of the last one the rest"
    );
    // Whoever declares it has it: the old column stays, and the two are one field.
    let mut changed = device.settings.clone();
    changed.streams[0].fields = vec![DeclaredField {
        field: Field {
            name: "x".into(),
            kind: FieldType::Text,
        },
        pointer: None,
        required: false,
        conversion: None,
    }];
    let answer = device.ask(RequestContent::Settings(Box::new(changed)));
    device.turn().unwrap();
    assert_eq!(answer.recv().unwrap(), Ok(0));
    device.arrive([publish(11, r#"{"x":"text"}"#)]);
    device.turn_after_gap();
    let held = schema(&mut device);
    let place = held.field("x_text").unwrap();
    assert_eq!(held.seconds_of(0).collect::<Vec<_>>(), [place]);
    assert_eq!(device.quarantined().len(), 2);
    // All of it survives a restart.
    let mut device = device.restart();
    assert_eq!(schema(&mut device), held);
}

#[test]
fn a_declaration_that_comes_before_the_first_value_changes_the_type_in_place() {
    let declared = |kind| {
        vec![DeclaredField {
            field: Field {
                name: "t".into(),
                kind,
            },
            pointer: None,
            required: false,
            conversion: None,
        }]
    };
    let mut device = Device::with(|settings| {
        settings.streams[0].fields = declared(FieldType::I64);
    });
    device.arrive([value(1, 1)]);
    device.turn_after_gap();
    let mut device = device.restart();
    let mut changed = device.settings.clone();
    changed.streams[0].fields = declared(FieldType::F64);
    let answer = device.ask(RequestContent::Settings(Box::new(changed)));
    device.turn().unwrap();
    assert_eq!(answer.recv().unwrap(), Ok(0));
    device.arrive([publish(2, r#"{"t":21.5}"#)]);
    device.turn_after_gap();
    let mut device = device.restart();
    let catalog = device.w().parts.buffer.catalog();
    let fields = &catalog.schema_named("plant").unwrap().fields;
    let names: Vec<_> = fields.iter().map(|f| (&*f.name, f.kind)).collect();
    assert_eq!(names, [("t", FieldType::F64), ("x", FieldType::F64)]);
    assert_eq!(device.stored().values(), [0.0, 21.5]);
    // Something is stored now, so it goes on beside it.
    let settings = device.settings.clone();
    assert_eq!(settings.streams[0].fields[0].field.kind, FieldType::I64);
    device.arrive([publish(3, r#"{"t":4}"#)]);
    device.turn_after_gap();
    let catalog = device.w().parts.buffer.catalog();
    let schema = catalog.schema_named("plant").unwrap();
    assert_eq!(schema.field("t_i64"), Some(2));
    assert!(schema.is_second(2));
}
