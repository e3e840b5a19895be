//! What must not be guessed, and what must be said of a guess.

use std::fmt::Write as _;

use super::*;

fn text_of(publishes: &[(&str, &str)]) -> String {
    let publishes: Vec<(&str, &[u8])> = publishes
        .iter()
        .map(|(topic, payload)| (*topic, payload.as_bytes()))
        .collect();
    file(&publishes)
}

#[test]
fn bad_qualities_are_never_learnt_as_good() {
    for said in [
        "false",
        "\"invalid\"",
        "\"Uncertain\"",
        "\"stale\"",
        "\"error 5\"",
        "\"bad\"",
        "0",
        "64",
    ] {
        let payload = format!(r#"{{"list":[{{"id":"rpm","v":600,"q":{said}}}]}}"#);
        let text = text_of(&[("gw/data", &payload)]);
        let records = "records = { at = \"/list\", name = \"/id\", value = \"/v\" }";
        assert!(text.contains(records), "{said}: {text}");
        assert!(text.contains("# q may say how good a value is"), "{text}");
    }
    // Codes of the maker's own.
    let text = text_of(&[(
        "gw/data",
        r#"[{"n":"rpm","value":6,"StatusCode":2147483648}]"#,
    )]);
    assert!(!text.contains("good ="), "{text}");
    let known = text_of(&[(
        "gw/data",
        r#"[{"n":"a","value":6,"q":"Good"},{"n":"b","value":6,"q":"Bad"}]"#,
    )]);
    assert!(known.contains("quality = \"/q\" }"), "{known}");
}

#[test]
fn a_guess_at_what_is_good_is_called_a_guess() {
    let guessed = text_of(&[(
        "gw/data",
        r#"[{"n":"a","value":6,"q":"invalid"},{"n":"b","value":6,"q":"ok"},{"n":"c","value":6,"q":"invalid"}]"#,
    )]);
    assert!(guessed.contains("good = [\"ok\"]"), "{guessed}");
    assert!(
        guessed.contains("# that ok means a good value is a guess"),
        "{guessed}"
    );
}

#[test]
fn ids_of_messages_are_no_names_of_fields() {
    let cloud =
        r#"{"id":"6f1d2c3b-0000-4000-8000-00000000000N","source":"press","data":{"value":21.5}}"#;
    let payloads: Vec<String> = (0..9).map(|n| cloud.replace('N', &n.to_string())).collect();
    let several: Vec<(&str, &str)> = payloads.iter().map(|text| ("ev/in", &**text)).collect();
    for publishes in [&several[..], &several[..1]] {
        assert_eq!(
            rows(publishes, "ev/in", cloud),
            json!([["ev_in", [[null, { "value": "F64(21.5)" }]]]])
        );
    }
    // Nor are they tags.
    let payloads: Vec<String> = (0..9)
        .map(|n| format!(r#"{{"id":"a1b2c3d4e{n}","data":{{"x":{n},"y":2}}}}"#))
        .collect();
    let short: Vec<(&str, &str)> = payloads.iter().map(|text| ("ev/in", &**text)).collect();
    assert_eq!(rules(&short), "topic = \"ev/in\"\nrecords = \"/data\"");
    // Names of values are.
    let named = rules(&[("ev/in", r#"{"id":"rpm","v":600}"#)]);
    assert!(named.contains("name = \"/id\""), "{named}");
}

#[test]
fn what_lies_beside_a_value_is_stored_or_named_as_left_out() {
    let switch = [(
        "hall/level",
        r#"{"value":21.5,"alarm":true,"state":"RUN","counter":117}"#,
    )];
    let stored = rows(&switch, "hall/level", switch[0].1).to_string();
    for field in ["alarm", "state", "counter", "value"] {
        assert!(stored.contains(field), "{stored}");
    }
    let text = text_of(&[(
        "hall/level",
        r#"{"value":21.5,"state":"RUN","counter":117,"valid":true}"#,
    )]);
    assert!(
        text.contains("# about the message, and left out: counter, state, valid\n"),
        "{text}"
    );
    let list = text_of(&[(
        "hall/all",
        r#"[{"name":"a","value":1,"alarm":true,"ts":1790000000},{"name":"b","value":2,"ts":1790000000}]"#,
    )]);
    assert!(list.contains("left out: alarm\n"), "{list}");
    let maps = text_of(&[(
        "hall/maps",
        r#"{"state":"RUN","a":{"T":{"value":1}},"b":{"P":{"value":2}}}"#,
    )]);
    assert!(maps.contains("left out: state\n"), "{maps}");
}

#[test]
fn where_there_are_too_many_rules_those_go_that_take_least() {
    let single: Vec<String> = (0..RULES_MAX + 5).map(|n| format!("a{n:03}")).collect();
    let many: Vec<String> = (0..20).map(|n| format!("hall/press{n}/state")).collect();
    let singles = single.iter().map(|topic| (&**topic, &b"1"[..]));
    let all = many
        .iter()
        .map(|topic| (&**topic, &br#"{"rms":1.5,"x":2}"#[..]));
    let text = file(&singles.chain(all).collect::<Vec<_>>());
    assert!(text.contains("topic = \"hall/+thing/state\""), "{text}");
    assert!(text.contains("#   a304: more than 300 rules\n"), "{text}");
    assert_eq!(text.matches("[[stream]]").count(), RULES_MAX);
}

#[test]
fn a_topic_that_a_filter_would_take_for_a_placeholder_gets_no_rule() {
    let publishes = [
        ("z/cellar/temp", r#"{"temp":21.3}"#),
        ("z/attic/temp", r#"{"temp":31.3}"#),
        ("z/{field}/temp", r#"{"temp":31.3}"#),
        ("a/{field}", "1"),
        ("b/+x", "1"),
    ];
    let text = text_of(&publishes);
    assert_eq!(rules(&publishes), "topic = \"z/+thing/temp\"");
    for topic in ["z/{field}/temp", "a/{field}", "b/+x"] {
        let left = format!("#   {topic}: `{{field}}`, `+` or `#` in the topic");
        assert!(text.contains(&left), "{text}");
    }
}

#[test]
fn times_in_topics_are_no_tags_and_numbers_of_messages_are_told() {
    let of = |name: &dyn Fn(usize) -> String, payload: &'static str| {
        let topics: Vec<String> = (0..10).map(name).collect();
        let publishes: Vec<(&str, &str)> = topics.iter().map(|topic| (&**topic, payload)).collect();
        text_of(&publishes)
    };
    let record = r#"{"rms":1.5,"x":2}"#;
    let timed = of(
        &|n| format!("shot/{}/done", 1_790_000_000_u64 + n as u64),
        record,
    );
    assert!(timed.contains("topic = \"shot/+/done\""), "{timed}");
    let timed = of(
        &|n| format!("shot/{}", 1_790_000_000_123_u64 + n as u64),
        "21.5",
    );
    assert!(timed.contains("topic = \"shot/+\""), "{timed}");
    assert!(timed.contains("value = \"f64\""), "{timed}");
    let numbered = of(&|n| format!("shot/{}/done", 40_000 + n), record);
    let note = "# each of these topics came once: if level 2 numbers messages";
    assert!(numbered.contains(note), "{numbered}");
    let numbered = of(&|n| format!("shot/{}", 40_000 + n), "21.5");
    assert!(!numbered.contains("{field}"), "{numbered}");
    assert!(numbered.contains(note), "{numbered}");
    // Of a machine more comes than one message.
    let mut machines = Seen::default();
    for n in 0..20 {
        let topic = format!("shot/{}/done", 40_000 + n / 2);
        machines.add(topic.as_bytes(), record.as_bytes(), record.len(), false);
    }
    let mut text = String::new();
    for rule in &propose(&machines, NOW_NS).rules {
        let _cannot_fail = write!(text, "{} {:?}", rule.filter, rule.reading.notes);
    }
    assert_eq!(text, "shot/+thing/done []");
}

#[test]
fn durations_and_far_times_are_not_when_a_reading_was_made() {
    for beside in [
        r#""cycleTime":1790000000"#,
        r#""operating_time":1789999000"#,
        r#""responseTime":1790000000"#,
        // Twenty years ago, in a number.
        r#""ts":1160000000"#,
        // What else has `time` in its name is one if it is now.
        r#""changeTime":"2026-05-04T10:00:00Z""#,
        r#""runtime_a":1790000000"#,
    ] {
        let text = rules(&[("lab/data", &format!(r#"{{"weight":5,{beside}}}"#))]);
        assert_eq!(text, "topic = \"lab/data\"", "{beside}");
    }
    for (beside, at) in [
        (r#""readTime":1790000060"#, "/readTime"),
        (r#""ts":1777888000"#, "/ts"),
        (r#""timestamp":"2019-05-04T10:00:00Z""#, "/timestamp"),
        (r#""last_seen":"2026-05-04T10:00:00Z""#, "/last_seen"),
    ] {
        let text = rules(&[("lab/data", &format!(r#"{{"weight":5,{beside}}}"#))]);
        assert_eq!(text, format!("topic = \"lab/data\"\ntime = \"{at}\""));
    }
    // A device that does not know the time yet.
    let seen = seen(&[("lab/data", br#"{"weight":5,"readTime":1790000060}"#)]);
    let proposal = propose(&seen, 0);
    assert_eq!(proposal.rules[0].reading.time.as_deref(), Some("/readTime"));
}

#[test]
fn a_deep_or_long_payload_costs_a_bounded_amount() {
    // Every path would hold all keys above it.
    let key = "k".repeat(600);
    let deep = format!(
        "{}{{\"x\":1}}{}",
        format!("{{\"{key}\":").repeat(20),
        "}".repeat(20)
    );
    let tree = crate::record::decode::tree::tree(
        deep.as_bytes(),
        crate::config::settings::PayloadFormat::Json,
    );
    let mut columns = BTreeMap::new();
    columns::add_record(&mut columns, &tree.unwrap(), &mut String::new());
    assert!(columns.is_empty(), "{}", columns.len());
    // Texts with JSON in them, one note each.
    let members: Vec<String> = (0..40).map(|n| format!(r#""k{n}":"[{n}]""#)).collect();
    let text = text_of(&[("lab/data", &format!(r#"{{"x":1,{}}}"#, members.join(",")))]);
    assert_eq!(text.matches("is JSON within a text").count(), 16);
}

#[test]
fn a_topic_of_very_many_levels_gets_no_rule() {
    let topic = "a/".repeat(40);
    let text = text_of(&[(&topic, "1")]);
    assert!(text.contains("more than 32 levels in the topic"), "{text}");
}
