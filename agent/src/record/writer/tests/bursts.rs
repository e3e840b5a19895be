//! Bursts of as many samples as may be: one publish, one commit.

use std::sync::atomic::Ordering::Relaxed;

use super::*;
use crate::{
    config::settings::{Feature, Pointer, SampleType, SamplesRule},
    record::decode::SAMPLES_MAX,
};

/// A writer of bursts, of their samples and features.
fn device() -> Device {
    Device::with(|settings| {
        settings.mqtt.payload_bytes_max = 1 << 20;
        let rule = &mut settings.streams[0];
        rule.samples = Some(SamplesRule {
            channels: vec![("x".into(), Pointer::parse("/x"))],
            rate: None,
            sample_type: SampleType::F32,
            reduce: vec![Feature::Peak],
            keeps_samples: true,
        });
        rule.payload_tags = vec![crate::config::settings::PayloadTag {
            name: crate::base::own_names::PART_TAG.into(),
            at: None,
        }];
    })
}

fn burst(packet_id: u16) -> Incoming {
    let samples: Vec<String> = (0..SAMPLES_MAX).map(|sample| sample.to_string()).collect();
    publish(packet_id, format!("{{\"x\":[{}]}}", samples.join(",")))
}

/// Samples by value, and the streams there are.
fn stored(device: &mut Device) -> (Vec<f64>, Vec<String>) {
    let values = device.stored().values();
    let catalog = device.w().parts.buffer.catalog();
    let streams = catalog.streams().map(|s| s.name.clone());
    (values, streams.collect())
}

#[test]
fn a_burst_is_stored_whole_or_not_at_all_and_whole_once_it_comes_again() {
    let mut device = device();
    let nothing = || unreachable!("not marked DUP");
    assert!(device.w().take(&burst(1), nothing, Instant::now()).is_ok());
    assert!(device.acked().is_empty());
    // Cut off before the commit.
    let mut device = device.restart();
    assert!(device.stored().is_empty());
    device.arrive([again(burst(1))]);
    device.turn_after_gap();
    assert_eq!(device.acked(), [1]);
    assert_eq!(device.w().parts.buffer.stats().commits.load(Relaxed), 1);
    // And once more after it, the PUBACK being lost.
    let mut device = device.restart();
    device.arrive([again(again(burst(1)))]);
    device.turn_after_gap();
    assert_eq!(device.acked(), [1]);
    let (values, streams) = stored(&mut device);
    let samples = (0..SAMPLES_MAX).map(|sample| sample as f64);
    // The record of features has nothing in the first field.
    let expected: Vec<f64> = samples.chain([0.0]).collect();
    assert_eq!(values, expected);
    assert_eq!(streams, ["plant/press/samples", "plant/press/features"]);
}
