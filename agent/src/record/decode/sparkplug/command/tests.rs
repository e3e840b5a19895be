#![allow(clippy::unwrap_used)]

use super::*;
use crate::record::decode::sparkplug::{
    payload::{Message, Value},
    topic::{MessageKind, Topic},
    value::Scalar,
};

#[test]
fn a_request_reads_as_the_specification_has_it() {
    let (topic, payload) = rebirth_request("plant", "edge 1", 1_777_888_000_123);
    assert_eq!(topic, "spBv1.0/plant/NCMD/edge 1");
    let Ok(Topic::Edge(edge)) = Topic::parse(&topic) else {
        panic!("{topic}");
    };
    assert_eq!((edge.kind, edge.device), (MessageKind::Command, None));
    let message = Message::decode(payload.into()).unwrap();
    let payload = message.payload().unwrap();
    assert_eq!(
        (payload.timestamp_ms, payload.seq),
        (Some(1_777_888_000_123), None)
    );
    let [metric] = &payload.metrics[..] else {
        panic!("{payload:?}");
    };
    assert_eq!(metric.name, Some("Node Control/Rebirth"));
    assert_eq!(metric.datatype, Some(DataType::Boolean));
    assert_eq!(metric.value, Value::Scalar(Scalar::Boolean(true)));
}
