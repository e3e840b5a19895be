//! What is said to an edge node.

use prost::{Message as _, bytes::Bytes};

use super::{
    data_type::DataType,
    protobuf::{Metric, MetricValue, Payload},
    topic::NAMESPACE,
};

/// Topic and payload of the command to announce itself again; `now_ms` is the present, milliseconds since
/// 1970 UTC.
pub(crate) fn rebirth_request(group: &str, edge_node: &str, now_ms: u64) -> (String, Vec<u8>) {
    let metric = Metric {
        name: Some(Bytes::from_static(b"Node Control/Rebirth")),
        timestamp: Some(now_ms),
        datatype: Some(DataType::Boolean as u32),
        value: Some(MetricValue::Boolean(true)),
        ..Metric::default()
    };
    let payload = Payload {
        timestamp: Some(now_ms),
        metrics: vec![metric],
        ..Payload::default()
    };
    let topic = format!("{NAMESPACE}/{group}/NCMD/{edge_node}");
    (topic, payload.encode_to_vec())
}

#[cfg(test)]
mod tests;
