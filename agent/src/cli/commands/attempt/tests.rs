#![allow(clippy::unwrap_used)]

use super::*;

fn settings(streams: &str) -> Settings {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("dunlin.toml");
    let text = format!(
        "device = \"d\"\n[mqtt]\nurl = \"mqtt://h\"\n[upstream]\nurl = \"tdengine://h/d\"\n{streams}"
    );
    std::fs::write(&file, text).unwrap();
    config::load(Some(&file), &Overrides::default()).unwrap()
}

#[test]
fn what_would_be_stored_is_shown_and_what_would_not() {
    let settings = settings(
        "[[stream]]\nname = \"press\"\ntopic = \"plant/+line\"\ntime = \"/t\"\n\
         fields = { rms = \"f64\" }\ntags = { machine = { at = \"/m\" } }\n",
    );
    let payload =
        br#"[{"t":1777888000,"m":"7","rms":1.25,"state":"run"},{"m":"8","rms":"hot","x":1}]"#;
    let attempt = attempt(
        &settings,
        &Sessions::default(),
        "plant/l1",
        payload,
        payload.len(),
    );
    assert!(!attempt.is_whole());
    let text = attempt.as_text();
    for line in [
        "rule      press (topic plant/+line)",
        "stream    press/l1/7",
        "tags      line=l1 machine=7",
        "record    2026-05-04T09:46:40",
        "  rms                      f64   1.25",
        "  state                    text  \"run\"",
        "stream    press/l1/8",
        "record    the time of arrival",
        "left out  rms: wrong_type: ",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    let json = attempt.as_json();
    assert_eq!(json["streams"][0]["records"][0]["values"]["rms"], 1.25);
    assert_eq!(json["streams"][1]["tags"]["machine"], "8");
    assert_eq!(json["left_out"][0]["field"], "rms");
}

#[test]
fn what_is_refused_or_left_alone_is_said() {
    let settings = settings("[[stream]]\nname = \"a\"\ntopic = \"a/#\"\nexclude = \"a/log/#\"\n");
    let told = |topic: &str, payload: &[u8]| {
        let attempt = attempt(
            &settings,
            &Sessions::default(),
            topic,
            payload,
            payload.len(),
        );
        (attempt.is_whole(), attempt.as_text())
    };
    let (is_whole, text) = told("a/x", br#"{"values":[{"id":"t","v":1}]}"#);
    assert!(
        !is_whole && text.contains("list_of_objects") && text.contains("records = "),
        "{text}"
    );
    let (is_whole, text) = told("b/x", b"1");
    assert!(!is_whole && text.contains("unknown_topic"), "{text}");
    let (is_whole, text) = told("a/log/x", b"1");
    assert!(is_whole && text.contains("excludes"), "{text}");
}

#[test]
fn a_payload_cut_on_the_way_is_too_large_and_not_read() {
    let settings = settings("[[stream]]\nname = \"a\"\ntopic = \"a/#\"\n");
    let bytes = settings.mqtt.payload_bytes_max as usize + 1;
    let attempt = attempt(&settings, &Sessions::default(), "a/x", b"1", bytes);
    assert_eq!(attempt.as_json()["refused"]["reason"], "too_large");
    assert!(attempt.as_text().contains(&format!("{bytes} bytes")));
}
