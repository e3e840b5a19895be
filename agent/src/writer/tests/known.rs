//! What is known already: publishes sent again, streams, schemas.

use super::*;

#[test]
fn a_publish_sent_again_is_acknowledged_and_not_stored_again() {
    let mut device = Device::new();
    device.arrive([value(1, 1), publish(2, "bad")]);
    device.turn_after_gap();
    device.arrive([again(value(1, 1)), again(publish(2, "bad"))]);
    device.arrive([value(3, 3), again(value(3, 3))]);
    device.turn_after_gap();
    assert_eq!(device.acked(), [1, 2, 1, 2, 3, 3]);
    // The fingerprints survive with the blocks.
    let mut device = device.restart();
    device.arrive([
        again(value(1, 1)),
        again(publish(2, "bad")),
        again(value(3, 3)),
    ]);
    device.turn_after_gap();
    assert_eq!(device.acked(), [1, 2, 3]);
    assert_eq!(device.stored().values(), [1.5, 3.5]);
    assert_eq!(device.quarantined().len(), 1);
    assert_eq!(device.w().stats().duplicates.load(Relaxed), 3);
}

#[test]
fn equal_payloads_are_stored_as_often_as_they_were_sent() {
    let mut device = Device::new();
    device.arrive([
        value(1, 1),
        value(2, 1),
        value(1, 1),
        value(0, 1),
        value(0, 1),
    ]);
    device.turn_after_gap();
    // Marked as sent before, but under an id it was never seen with: a loss before the commit.
    device.arrive([again(value(9, 1))]);
    device.turn_after_gap();
    assert_eq!(device.stored().values(), [1.5; 6]);
    let times = device.stored().times();
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]));
}

#[test]
fn an_id_used_for_something_else_since_does_not_make_a_publish_known() {
    let mut device = Device::new();
    device.arrive([value(1, 1), value(1, 2)]);
    device.turn_after_gap();
    // The broker cannot have used the id again without a PUBACK for what it named first.
    device.arrive([again(value(1, 1)), value(2, 3), again(value(2, 3))]);
    device.turn_after_gap();
    assert_eq!(device.stored().values(), [1.5, 2.5, 1.5, 3.5]);
}

#[test]
fn a_stranger_cannot_make_up_streams_for_ever() {
    let mut device = Device::new();
    let buffer = Arc::clone(&device.w().parts.buffer);
    let schema = buffer
        .declare_schema("plant", &["device".into(), "machine".into()], &[])
        .unwrap();
    // Declared as a whole, because each declaration copies the catalog.
    for n in 0..STREAMS_MAX {
        buffer.declare_stream(schema.id, &format!("plant/m{n}"), &["d".into(), "m".into()]);
    }
    device.arrive([
        on("plant/new/state", 1, "{\"x\":1}"),
        on("plant/m5/state", 2, "{\"x\":2}"),
    ]);
    device.turn_after_gap();
    assert_eq!(device.acked(), [1, 2]);
    assert_eq!(device.stored().values(), [2.0]);
    assert_eq!(device.quarantined()[0].reason, "too_many_streams");
}

#[test]
fn a_rule_with_other_tags_than_stored_is_refused_and_never_mixed_up() {
    let mut device = Device::new();
    device.arrive([value(1, 1)]);
    device.turn_after_gap();
    device.settings.streams[0].tags = [("area".to_owned(), "north".to_owned())].into();
    let mut device = device.restart();
    // What knows its stream already fits, and changes nothing for the rest.
    let known = device.ask(records(1));
    device.turn_after_gap();
    assert_eq!(known.recv().unwrap(), Ok(1));
    device.arrive([on("plant/other/state", 2, "{\"x\":2.5}")]);
    device.turn_after_gap();
    assert_eq!(device.acked(), [2]);
    assert_eq!(device.stored().values(), [1.5, 9.5]);
    assert!(
        device.quarantined()[0]
            .detail
            .contains("rename the stream rule")
    );
}
