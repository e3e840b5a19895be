#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::record::decode::tests::rule;

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
    let route = |topic: &str| router.route(topic.as_bytes()).unwrap();
    assert_eq!(
        *route("plant/l1/m2"),
        Route {
            rule: 0,
            captures: vec!["m2".into()],
            stream: "s0/m2".into()
        }
    );
    assert_eq!(route("plant/l2/m2").rule, 1);
    assert_eq!(route("plant/l2/m2").stream, "s1/l2/m2");
    assert_eq!(route("plant/l2/m2/x").captures, ["l2/m2/x"]);
    // A second time, from the cache.
    assert!(Arc::ptr_eq(&route("plant/l2/m2"), &route("plant/l2/m2")));
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
            .map(|(topic, route)| topic.len() + route.stream.len());
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
        match router(&["a/+x/#rest", "+x", "#all"]).route(&topic) {
            Ok(route) => for value in &route.captures {
                prop_assert!(value.len() <= CAPTURE_BYTES_MAX);
                prop_assert!(hostile_part(value).is_none());
            },
            Err(reject) => prop_assert!(matches!(reject.reason, Reason::BadTopic | Reason::UnknownTopic)),
        }
    }
}
