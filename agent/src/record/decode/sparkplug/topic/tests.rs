#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::{EdgeTopic, MessageKind, Topic};
use crate::record::decode::Reason;

#[test]
fn every_message_type_is_read() {
    let kinds = [
        ("BIRTH", MessageKind::Birth),
        ("DATA", MessageKind::Data),
        ("DEATH", MessageKind::Death),
        ("CMD", MessageKind::Command),
    ];
    for (name, kind) in kinds {
        for (letter, device) in [("N", None), ("D", Some("pump 1"))] {
            let tail = device
                .map(|device| format!("/{device}"))
                .unwrap_or_default();
            let topic = format!("spBv1.0/Werk Süd/{letter}{name}/gateway-7{tail}");
            let expected = EdgeTopic {
                group: "Werk Süd",
                edge_node: "gateway-7",
                device,
                kind,
            };
            assert_eq!(Topic::parse(&topic), Ok(Topic::Edge(expected)), "{topic}");
        }
    }
}

#[test]
fn the_state_of_a_host_is_read() {
    let host = "scada";
    assert_eq!(
        Topic::parse("spBv1.0/STATE/scada"),
        Ok(Topic::State { host })
    );
    // A group may be called so.
    assert!(matches!(
        Topic::parse("spBv1.0/STATE/NDATA/node"),
        Ok(Topic::Edge(_))
    ));
}

#[test]
fn other_topics_are_refused() {
    for topic in [
        "",
        "spBv1.0",
        "spBv1.0/",
        "spAv1.0/g/NDATA/n",
        "spbv1.0/g/NDATA/n",
        "spBv1.0/g/NDATA",
        "spBv1.0/g/NDATA/",
        "spBv1.0//NDATA/n",
        "spBv1.0/g/NDATA/n/d",
        "spBv1.0/g/DDATA/n",
        "spBv1.0/g/DDATA/n/",
        "spBv1.0/g/DDATA/n/d/e",
        "spBv1.0/g/XDATA/n",
        "spBv1.0/g/ndata/n",
        "spBv1.0/+/NDATA/n",
        "spBv1.0/g/NDATA/#",
        "spBv1.0/g/NDATA/n\0",
        "spBv1.0/STATE/",
        "/spBv1.0/g/NDATA/n",
    ] {
        let reject = Topic::parse(topic).unwrap_err();
        assert_eq!(reject.reason, Reason::BadTopic, "{topic}");
        assert!(reject.detail.len() < 200, "{}", reject.detail);
    }
}

proptest! {
    #[test]
    fn any_text_is_a_topic_or_refused(topic in "(spBv1.0/)?[a-zA-Z/+#\\PC]{0,40}") {
        let _ = Topic::parse(&topic);
    }
}
