#![allow(clippy::unwrap_used)]

use super::*;

fn stream(tags: &[&str]) -> (Stream, Schema) {
    let stream = Stream {
        id: 1,
        schema: 1,
        name: "vibration/l1/press".into(),
        tags: tags.iter().map(ToString::to_string).collect(),
        first_tags: None,
    };
    let schema = Schema {
        id: 1,
        name: "vibration".into(),
        tag_names: vec!["device".into(), "line".into(), "machine".into()],
        fields: Vec::new(),
        origins: Vec::new(),
    };
    (stream, schema)
}

#[test]
fn placeholders_become_tags_stream_and_recipe() {
    let (stream, schema) = stream(&["d", "l1", "press"]);
    let of = |text: &str| PublishTopic::parse(text).unwrap().of("r", &stream, &schema);
    assert_eq!(
        of("plant/{line}/{machine}/health").unwrap(),
        "plant/l1/press/health"
    );
    assert_eq!(
        of("out/{recipe}/{stream}").unwrap(),
        "out/r/vibration/l1/press"
    );
    assert_eq!(of("out/x-{line}-y").unwrap(), "out/x-l1-y");
    assert_eq!(of("out/{hall}"), None);
}

#[test]
fn what_a_tag_holds_never_changes_the_levels() {
    let (stream, schema) = stream(&["d", "a/b+#\0", ""]);
    let topic = PublishTopic::parse("p/{line}/{machine}").unwrap();
    assert_eq!(topic.of("r", &stream, &schema).unwrap(), "p/a_b___/_");
}

#[test]
fn mistakes_are_told() {
    for text in [
        "", "a/+/b", "a/#", "$SYS/x", "{line}/x", "a/{b", "a/b}", "a/{}", "a\n",
    ] {
        assert!(PublishTopic::parse(text).is_err(), "{text:?}");
    }
}

#[test]
fn a_loop_is_seen_beforehand() {
    let meets = |topic: &str, filter: &str| PublishTopic::parse(topic).unwrap().may_match(filter);
    assert!(meets("plant/{line}/health", "plant/#"));
    assert!(meets("plant/{line}/health", "plant/+/health"));
    assert!(meets("plant/{line}/health", "$share/g/plant/l1/+"));
    assert!(meets("plant/{line}", "plant/l1/#"));
    assert!(meets("out/{stream}/x", "out/a/b/c/x"));
    assert!(meets("out/x{line}", "+/xl1"));
    assert!(!meets("plant/{line}/health", "plant/+/vibration"));
    assert!(!meets("plant/{line}/health", "plant/+"));
    assert!(!meets("plant/{line}/health", "other/#"));
    assert!(!meets("out/{stream}/x", "out/+"));
}
