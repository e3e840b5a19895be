#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn captured<'t>(filter: &str, topic: &'t str) -> Option<Vec<&'t str>> {
    let filter = TopicFilter::parse(filter).unwrap();
    filter.captures(topic).map(|captures| captures.values)
}

#[test]
fn named_levels_are_captured_from_left_to_right() {
    let filter = TopicFilter::parse("plant/+line/+machine/vibration").unwrap();
    assert_eq!(filter.tag_names(), ["line", "machine"]);
    assert_eq!(filter.mqtt_filter(), "plant/+/+/vibration");
    assert_eq!(filter.as_str(), "plant/+line/+machine/vibration");
    let captures = filter.captures("plant/l1/press 7/vibration").unwrap();
    assert_eq!(captures.values(), ["l1", "press 7"]);
}

#[test]
fn matching_follows_mqtt() {
    assert_eq!(captured("a/+x/c", "a/b/c"), Some(vec!["b"]));
    assert_eq!(captured("a/+x/c", "a/b/d"), None);
    assert_eq!(captured("a/+x/c", "a/b"), None);
    assert_eq!(captured("a/+x/c", "a/b/c/d"), None);
    assert_eq!(captured("a/+x", "a/"), Some(vec![""]));
    assert_eq!(captured("+/+x", "/finish"), Some(vec!["finish"]));
    assert_eq!(captured("a/#", "a"), Some(vec![]));
    assert_eq!(captured("a/#rest", "a"), Some(vec![""]));
    assert_eq!(captured("a/#rest", "a/b/c"), Some(vec!["b/c"]));
    assert_eq!(captured("a/#rest", "ab"), None);
    assert_eq!(captured("+x/#rest", "a/b/c"), Some(vec!["a", "b/c"]));
    assert_eq!(captured("#", "$SYS/broker/uptime"), None);
    assert_eq!(captured("+/broker/uptime", "$SYS/broker/uptime"), None);
    assert_eq!(
        captured("$SYS/broker/+what", "$SYS/broker/uptime"),
        Some(vec!["uptime"])
    );
}

#[test]
fn a_shared_subscription_matches_without_its_group() {
    let filter = TopicFilter::parse("$share/agents/plant/+line/#rest").unwrap();
    assert_eq!(filter.mqtt_filter(), "$share/agents/plant/+/#");
    let captures = filter.captures("plant/a/b/c").unwrap();
    assert_eq!(captures.values(), ["a", "b/c"]);
}

#[test]
fn a_mistake_is_named_with_its_place() {
    let too_long = format!("a/+{}", "n".repeat(65));
    for (text, position, hint) in [
        ("", 1, "nothing to subscribe to"),
        ("a/b+", 4, "opens its level"),
        ("ä/b+", 4, "opens its level"),
        ("a/#/b", 4, "must come last"),
        ("a/#x/b", 5, "must come last"),
        ("a/+1st", 4, "letters, digits"),
        ("a/+x y", 4, "letters, digits"),
        ("a/++", 4, "letters, digits"),
        (&too_long, 4, "letters, digits"),
        ("a/+device", 4, "`device`"),
        ("a/+x/+x", 7, "already"),
        ("a/+x/#X", 7, "already"),
        ("a/../b", 3, "`..`"),
        ("a/b`c", 3, "a back-tick"),
        ("a/b\0c", 3, "a NUL"),
        ("$share/", 8, "GROUP"),
        ("$share/g", 9, "missing"),
        ("$share/g/", 10, "nothing"),
        ("$share/+/a", 8, "GROUP"),
    ] {
        let error = TopicFilter::parse(text).unwrap_err();
        assert_eq!(error.position, position, "{text:?}: {error}");
        assert!(error.problem.contains(hint), "{text:?}: {error}");
    }
    assert!(TopicFilter::parse(&"a".repeat(65_536)).is_err());
}

proptest! {
    #[test]
    fn any_text_parses_or_says_where(text in "[a-c+#/$\\PC]{0,24}") {
        match TopicFilter::parse(&text) {
            Ok(filter) => {
                let plain = filter.mqtt_filter();
                let again = TopicFilter::parse(&plain).unwrap();
                prop_assert_eq!(again.mqtt_filter(), plain);
                prop_assert!(again.tag_names().is_empty());
            }
            Err(error) => prop_assert!(error.position <= text.chars().count() + 1),
        }
    }

    #[test]
    fn captures_put_back_give_the_topic(levels in prop::collection::vec("[a-z0-9 ]{0,4}", 1..6), wild in 0u8..64, rest in any::<bool>()) {
        let mut filter = String::new();
        for (at, level) in levels.iter().enumerate() {
            let last = at + 1 == levels.len();
            if at > 0 {
                filter.push('/');
            }
            match (wild >> at & 1 == 1, last && rest) {
                (true, true) => filter.push_str("#rest"),
                (true, false) => filter.extend(["+n", &at.to_string()]),
                (false, _) => filter.push_str(level),
            }
        }
        prop_assume!(!filter.is_empty());
        let topic = levels.join("/");
        let filter = TopicFilter::parse(&filter).unwrap();
        let captures = filter.captures(&topic).unwrap();
        let expected: Vec<&str> = levels
            .iter()
            .enumerate()
            .filter(|(at, _)| wild >> at & 1 == 1)
            .map(|(_, level)| level.as_str())
            .collect();
        prop_assert_eq!(captures.values(), expected);
        prop_assert_eq!(captures.values().len(), filter.tag_names().len());
    }
}
