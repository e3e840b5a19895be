#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::record::decode::tests::rule;

fn route_of(router: &Router, topic: &str) -> Route {
    match &*router.route(topic.as_bytes()).unwrap() {
        Destination::Stream(route) => route.clone(),
        Destination::Excluded => panic!("{topic} is excluded"),
    }
}

fn router(filters: &[&str]) -> Router {
    let rules: Vec<StreamRule> = filters
        .iter()
        .enumerate()
        .map(|(number, filter)| StreamRule {
            name: format!("s{number}"),
            filter: TopicFilter::parse(filter).unwrap(),
            ..rule()
        })
        .collect();
    Router::new(&rules)
}

#[test]
fn the_first_rule_that_matches_wins() {
    let router = router(&["plant/l1/+machine", "plant/+line/+machine", "plant/#rest"]);
    let route = |topic: &str| route_of(&router, topic);
    assert_eq!(
        route("plant/l1/m2"),
        Route {
            rule: 0,
            captures: vec!["m2".into()],
            stream: "s0/m2".into(),
            field: None,
        }
    );
    assert_eq!(route("plant/l2/m2").rule, 1);
    assert_eq!(route("plant/l2/m2").stream, "s1/l2/m2");
    assert_eq!(route("plant/l2/m2/x").captures, ["l2/m2/x"]);
    // A second time, from the cache.
    let again = || router.route(b"plant/l2/m2").unwrap();
    assert!(Arc::ptr_eq(&again(), &again()));
}

#[test]
fn a_topic_nobody_takes_is_unknown() {
    let reject = router(&["a/+x"]).route(b"b/c").unwrap_err();
    assert_eq!((reject.reason, reject.records), (Reason::UnknownTopic, 1));
    assert!(reject.detail.contains("b/c"));
}

#[test]
fn hostile_topics_are_bad_whatever_rule_would_take_them() {
    let router = router(&["#all"]);
    let long = format!("a/{}", "x".repeat(127));
    for topic in [
        &b""[..],
        b"a/`",
        b"a/..",
        b"a..b",
        b"a/\0",
        b"a/\x1b[2J",
        b"a/it's",
        b"a/\"",
        b"a/\xff",
        b"a/+",
        b"#",
        long.as_bytes(),
    ] {
        let reject = router.route(topic).unwrap_err();
        assert_eq!(reject.reason, Reason::BadTopic, "{topic:?}");
        assert!(!reject.detail.contains(char::is_control));
    }
    assert!(router.route(&long.as_bytes()[1..]).is_ok());
}

#[test]
fn the_cache_is_bounded() {
    let few = router(&["#all"]);
    for topic in 0..=CACHED_TOPICS_MAX {
        few.route(topic.to_string().as_bytes()).unwrap();
        let cache = few.cache.lock().unwrap();
        assert!(cache.routes.len() <= CACHED_TOPICS_MAX);
    }
    let level = "x".repeat(120);
    let long = router(&["#all"]);
    let mut most = 0;
    for topic in 0..CACHED_TOPICS_MAX {
        long.route(format!("{topic}{level}").as_bytes()).unwrap();
        let cache = long.cache.lock().unwrap();
        let texts = cache
            .routes
            .iter()
            .map(|(topic, destination)| match &**destination {
                Destination::Stream(route) => topic.len() + route.stream.len(),
                Destination::Excluded => topic.len(),
            });
        if topic.is_multiple_of(512) {
            assert!(texts.sum::<usize>() < CACHED_BYTES_MAX);
        }
        most = most.max(cache.bytes);
    }
    assert!(
        (CACHED_BYTES_MAX / 2..=CACHED_BYTES_MAX).contains(&most),
        "{most}"
    );
}

proptest! {
    #[test]
    fn any_topic_is_routed_or_refused(topic in prop::collection::vec(any::<u8>(), 0..40)) {
        match router(&["a/+x/#rest", "+x", "#all"]).route(&topic).as_deref() {
            Ok(Destination::Excluded) => prop_assert!(false, "nothing is excluded"),
            Ok(Destination::Stream(route)) => for value in &route.captures {
                prop_assert!(value.len() <= CAPTURE_BYTES_MAX);
                prop_assert!(hostile_part(value).is_none());
            },
            Err(reject) => prop_assert!(matches!(reject.reason, Reason::BadTopic | Reason::UnknownTopic)),
        }
    }
}

#[test]
fn what_a_rule_excludes_goes_to_another_rule_or_nowhere() {
    let rule = |name: &str, filter: &str, exclude: &[&str]| {
        let exclude = exclude
            .iter()
            .map(|filter| TopicFilter::parse(filter).unwrap());
        StreamRule {
            exclude: exclude.collect(),
            ..StreamRule::new(name.into(), TopicFilter::parse(filter).unwrap())
        }
    };
    let router = Router::new(&[
        rule(
            "zigbee",
            "zigbee2mqtt/#sensor",
            &["zigbee2mqtt/bridge/#", "zigbee2mqtt/+/set"],
        ),
        rule("log", "zigbee2mqtt/bridge/logging", &[]),
    ]);
    assert_eq!(
        route_of(&router, "zigbee2mqtt/cellar").stream,
        "zigbee/cellar"
    );
    assert_eq!(route_of(&router, "zigbee2mqtt/bridge/logging").rule, 1);
    for topic in ["zigbee2mqtt/bridge/state", "zigbee2mqtt/lamp/set"] {
        let destination = router.route(topic.as_bytes()).unwrap();
        assert_eq!(*destination, Destination::Excluded, "{topic}");
    }
    assert!(router.route(b"other").is_err());
}

#[test]
fn a_level_names_the_field() {
    let router = router(&[
        "N/+site/#{field}",
        "homie/+unit/+node/{field}",
        "a/{field}/b",
    ]);
    let named = |topic| {
        let route = route_of(&router, topic);
        (route.stream, route.field.unwrap())
    };
    let both = |stream: &str, field: &str| (stream.to_owned(), field.to_owned());
    assert_eq!(
        named("N/c0/battery/512/Soc"),
        both("s0/c0", "battery.512.Soc")
    );
    assert_eq!(
        named("homie/boiler/heater/on"),
        both("s1/boiler/heater", "on")
    );
    assert_eq!(named("a/x/b"), both("s2", "x"));
    // Without a level there is no name.
    assert!(router.route(b"N/c0").is_err());
}
