//! Mistakes: all of them, each with its place and a hint.

use std::fs;

use super::*;

#[test]
fn every_mistake_is_reported_with_its_place() {
    let text = r#"device = 5
colour = "red"

[mqtt]
url = "mqtt://h"
keep_alive = 30
  receive_maximum = 70000
version = "4"

[upstraem]
url = "sqlite:x.db"

[buffer]
bytes_max = "much"
url = "x"

[[stream]]
name = "a b"
topic = "t/#/x"

[[stream]]
nmae = "é"
topic = ""
"#;
    let found = mistakes(text);
    let expected = [
        (1, 10, "device: is a whole number"),
        (2, 1, "colour: there is no such setting"),
        (6, 1, "did you mean `keep_alive_s`?"),
        (
            7,
            21,
            "70000 is out of range\nwrite a whole number from 1 to 65535",
        ),
        (8, 11, "`4` is not known here\nuse one of: auto, 5, 3.1.1"),
        (10, 2, "did you mean `upstream`?"),
        (14, 13, "buffer.bytes_max: `much` is not a number of bytes"),
        (
            15,
            1,
            "did you mean `url` under [mqtt] or `url` under [upstream]?",
        ),
        (18, 8, "\"a b\" is no name for a table"),
        (19, 9, "topic `t/#/x`"),
        (21, 1, "stream.name: is missing"),
        (22, 1, "did you mean `name`?"),
        (23, 9, "stream.topic: is empty"),
    ];
    for (index, (line, column, part)) in expected.iter().enumerate() {
        assert_eq!(
            (found[index].0, found[index].1),
            (*line, *column),
            "{found:#?}"
        );
        assert!(found[index].2.contains(part), "{part}\n{found:#?}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn syntax_mistakes_are_all_reported_and_hide_their_consequences() {
    let text = "device = \"d\n[mqtt]\nurl = mqtt://h\nkeep_alive_s = 99999\n[[stream]\nname = \"s\"\ntopic = \"t\"\n";
    let found = mistakes(text);
    let lines: Vec<_> = found.iter().map(|(line, ..)| *line).collect();
    assert!(
        lines.contains(&1) && lines.contains(&3) && lines.contains(&4),
        "{found:#?}"
    );
    assert!(
        !found.iter().any(|(.., text)| text.contains("missing")),
        "{found:#?}"
    );
    assert_one(
        &format!("{MINIMAL}name = \"twice\"\n"),
        &["not TOML", "duplicate key"],
    );
}

#[test]
fn files_that_are_no_configuration_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dunlin.toml");
    let found = load(Some(&path), &Overrides::default()).unwrap_err();
    assert!(
        shown(&found).contains("cannot be read"),
        "{}",
        shown(&found)
    );
    assert_eq!(found.len(), 1);
    let found = load(Some(dir.path()), &Overrides::default()).unwrap_err();
    assert!(
        shown(&found).contains("cannot be read"),
        "{}",
        shown(&found)
    );
    fs::write(&path, b"device = \"d\"\nx = \"\xff\"\n").unwrap();
    let found = load(Some(&path), &Overrides::default()).unwrap_err();
    assert!(
        shown(&found).contains("toml:2:1: is not UTF-8"),
        "{}",
        shown(&found)
    );
    fs::write(&path, vec![b'#'; (1 << 20) + 1]).unwrap();
    let found = load(Some(&path), &Overrides::default()).unwrap_err();
    assert!(
        shown(&found).contains("longer than 1 MiB"),
        "{}",
        shown(&found)
    );
}

#[test]
fn overrides_name_the_flag_or_the_variable() {
    let overrides = Overrides::default()
        .set("mqtt.keep_alive_s", "soon")
        .with_variables([("DUNLIN_BUFFER_WHEN_FULL".into(), "drop_newest".into())])
        .topic("a/#/b");
    let found = check_text(MINIMAL, &overrides).settings.unwrap_err();
    let text = shown(&found);
    assert!(
        text.contains("flag --mqtt-keep-alive-s: mqtt.keep_alive_s: `soon`"),
        "{text}"
    );
    assert!(
        text.contains("variable DUNLIN_BUFFER_WHEN_FULL: "),
        "{text}"
    );
    assert!(text.contains("did you mean `drop_oldest`?"), "{text}");
    assert!(text.contains("flag --topic: topic `a/#/b`"), "{text}");
    assert_eq!(found.len(), 3, "{text}");
}

#[test]
fn settings_that_do_not_fit_together() {
    for (text, parts) in [
        (
            with_mqtt("backoff_ms_min = 5000\nbackoff_ms_max = 100"),
            &["5000", "is above"][..],
        ),
        (
            with_mqtt("ca_file = \"/dev/null\""),
            &["not encrypted", "mqtts://"],
        ),
        (with_mqtt("status_topic = \"a/#\""), &["wildcard"]),
        (
            with_mqtt("password = \"p\""),
            &["without a user", "mqtt.user"],
        ),
        (
            with_mqtt("[buffer]\nreplay_bytes_max = \"600 MiB\""),
            &["more than half", "536870912"],
        ),
        (
            with_mqtt("[log]\nlevel = \"loud\""),
            &["`loud` is no level"],
        ),
        (with_mqtt("[http]\nlisten = \"9464\""), &["127.0.0.1:9464"]),
        (
            with_mqtt("[upstream]\nurl = \"tdengine://h\""),
            &["names no database"],
        ),
        (
            with_mqtt("[upstream]\nurl = \"tdengine://h/db\"\npassword = \"p\""),
            &["without a user"],
        ),
        (
            with_mqtt("[upstream]\npassword = \"p\""),
            &["only a server", "remove"],
        ),
        (
            with_mqtt("[upstream]\ndatabase = 5"),
            &["[upstream.database]"],
        ),
        (
            with_mqtt("[upstream.database]\nkeep = \"1; DROP\""),
            &["no option"],
        ),
        (
            with_mqtt("[upstream.database]\nPRECISION = \"ms\""),
            &["always ns"],
        ),
        (with_mqtt("[mqtt.url]\nx = 1"), &["duplicate key"]),
        (
            MINIMAL.replace("device = \"d\"", "device = \"a/b\""),
            &["device: `a/b`"],
        ),
        (
            MINIMAL.replace("[[stream]]", "[stream]"),
            &["double brackets"],
        ),
        (
            MINIMAL.replace("mqtt://h", "mqtt://h/topic"),
            &["goes on after host and port"],
        ),
        (
            MINIMAL.replace("device = \"d\"", "data_dir = \"dunlin.toml\""),
            &["no directory"],
        ),
    ] {
        assert_one(&text, parts);
    }
}
