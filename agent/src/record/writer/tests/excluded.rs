//! What a rule leaves out is counted: sent = stored + counted.

use std::sync::atomic::Ordering::Relaxed;

use super::*;
use crate::config::settings::PayloadFormat;

/// A writer of lines whose debug fields are left out.
fn device() -> Device {
    Device::with(|settings| {
        let rule = &mut settings.streams[0];
        rule.format = PayloadFormat::NdJson;
        rule.exclude_fields = vec!["debug*".into()];
    })
}

/// `(publishes, records)` counted as excluded.
fn excluded(device: &mut Device) -> (u64, u64) {
    let stats = device.w().stats();
    (
        stats.excluded.load(Relaxed),
        stats.records_excluded.load(Relaxed),
    )
}

#[test]
fn records_of_which_the_rule_leaves_nothing_are_counted_beside_those_that_are_stored() {
    let mut device = device();
    let lines = |numbers: std::ops::Range<u32>| {
        let line = |n: u32| match n % 3 {
            2 => format!("{{\"debug\":{n}}}\n"),
            _ => format!("{{\"x\":{n},\"debug\":{n}}}\n"),
        };
        numbers.map(line).collect::<String>()
    };
    device.arrive([publish(1, lines(0..10))]);
    device.turn_after_gap();
    assert_eq!(device.acked(), [1]);
    assert_eq!(device.stored().values().len(), 7);
    assert_eq!(excluded(&mut device), (0, 3));
    // Sent again, it is known.
    device.arrive([again(publish(1, lines(0..10)))]);
    device.turn_after_gap();
    assert_eq!(excluded(&mut device), (0, 3));
    // A publish of which nothing is left.
    device.arrive([publish(2, "{\"debug\":1}\n{\"debug_2\":1}\n")]);
    device.turn_after_gap();
    assert_eq!(device.acked(), [1, 2]);
    assert_eq!(excluded(&mut device), (1, 5));
    let stats = device.w().stats();
    assert_eq!(stats.records_received.load(Relaxed), 7);
    assert!(device.quarantined().is_empty());
}
