//! What edge nodes of Sparkplug B say of themselves.

use super::*;
use crate::config::settings::PayloadFormat;

/// A writer of edge nodes, by a rule that takes at most `instances_max` streams.
fn device(instances_max: Option<usize>) -> Device {
    Device::with(|settings| {
        let rule = &mut settings.streams[0];
        rule.filter = TopicFilter::parse("spBv1.0/#").unwrap();
        rule.format = PayloadFormat::SparkplugB;
        rule.instances_max = instances_max;
    })
}

/// A message with one metric of alias 1, an integer: with its name, type and no number, or with that alone.
fn message(kind: &str, packet_id: u16, seq: Option<u8>) -> Incoming {
    let metric: &[u8] = match seq {
        None => b"\x0a\x04load\x10\x01\x20\x03\x50\x05",
        Some(_) => b"\x10\x01\x50\x07",
    };
    let mut payload = vec![2 << 3 | 2, metric.len() as u8];
    payload.extend(metric);
    payload.extend([3 << 3, seq.unwrap_or(0)]);
    let payload = String::from_utf8(payload).unwrap();
    on(&format!("spBv1.0/g/{kind}/n"), packet_id, payload)
}

#[test]
fn a_death_whose_record_is_refused_ends_what_aliases_stood_for() {
    let mut device = device(Some(0));
    device.arrive([
        message("NBIRTH", 1, None),
        message("NDATA", 2, Some(1)),
        on("spBv1.0/g/NDEATH/n", 3, ""),
        message("NDATA", 4, Some(2)),
    ]);
    device.turn_after_gap();
    assert_eq!(device.acked(), [1, 2, 3, 4]);
    let reasons = device.quarantined().into_iter().map(|item| item.reason);
    let full = "too_many_streams";
    assert_eq!(
        reasons.collect::<Vec<_>>(),
        [full, full, full, "unknown_alias"]
    );
}
