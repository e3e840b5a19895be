//! What the broker has retained, and sends whenever somebody subscribes.

use super::*;

fn retained(publish: Incoming) -> Incoming {
    Incoming {
        retain: true,
        ..publish
    }
}

#[test]
fn a_retained_publish_is_stored_once_over_reconnects_and_restarts() {
    let mut device = Device::new();
    device.arrive([
        retained(value(1, 1)),
        retained(on("plant/n/state", 2, "bad")),
    ]);
    device.turn_after_gap();
    // The next connection; then a loss of power.
    device.arrive([
        retained(value(7, 1)),
        retained(on("plant/n/state", 8, "bad")),
    ]);
    device.turn_after_gap();
    let mut device = device.restart();
    device.arrive([
        retained(value(9, 1)),
        retained(on("plant/n/state", 10, "bad")),
    ]);
    device.turn_after_gap();
    assert_eq!(device.acked(), [9, 10]);
    assert_eq!(device.w().stats().retained_known.load(Relaxed), 2);
    // Another value is data, also when it was one before.
    device.arrive([retained(value(1, 2))]);
    device.turn_after_gap();
    device.arrive([retained(value(1, 1))]);
    device.turn_after_gap();
    // A live one always is, and what the broker then retains of it is no news.
    device.arrive([value(2, 3), value(3, 3), retained(value(4, 3))]);
    device.turn_after_gap();
    assert_eq!(device.stored().values(), [1.5, 2.5, 1.5, 3.5, 3.5]);
    assert_eq!(device.quarantined().len(), 1);
}

#[test]
fn nothing_counts_as_stored_before_it_is_durable() {
    let mut device = Device::new();
    device.arrive([retained(value(1, 1))]);
    // Taken, not committed; the power is cut.
    assert!(device.turn().unwrap());
    assert_eq!(device.acked(), [0; 0]);
    let mut device = device.restart();
    device.arrive([retained(value(2, 1))]);
    device.turn_after_gap();
    assert_eq!(device.acked(), [2]);
    assert_eq!(device.stored().values(), [1.5]);
}

#[test]
fn a_rule_may_ignore_what_is_retained_or_take_it_each_time() {
    for (policy, stored) in [
        (RetainedPolicy::Ignore, &[2.5][..]),
        (RetainedPolicy::Always, &[1.5, 1.5, 2.5]),
    ] {
        let mut device = Device::with(|settings| settings.streams[0].retained = policy);
        device.arrive([retained(value(1, 1)), retained(value(2, 1)), value(3, 2)]);
        device.turn_after_gap();
        assert_eq!(device.acked(), [1, 2, 3]);
        assert_eq!(device.stored().values(), stored, "{policy:?}");
    }
}
