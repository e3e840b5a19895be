//! The ceiling, its record, and what a restart makes of them.

use super::*;

#[test]
fn a_restart_in_the_same_boot_goes_on() {
    let hands = Manual::new(0, Some(false));
    let mut device = Device::new(&hands);
    device.run(50);
    let from_ts = device
        .record
        .as_ref()
        .unwrap()
        .doubt
        .as_ref()
        .unwrap()
        .from_ts;
    assert_eq!(from_ts, Some(device.issued[0]));
    hands.advance(Duration::from_secs(1000));
    device.restart(Loss::Nothing);
    assert!(!device.clock.uploads_held(), "the hold does not begin anew");
    let ts = device.issue();
    assert!(
        (ts - EARLIEST_NS - 1050 * SECOND_NS).abs() < SECOND_NS,
        "{}",
        ts - EARLIEST_NS
    );
    hands.set_wall(NOW);
    hands.set_synchronised(Some(true));
    let events = device.run(40);
    assert_eq!(corrections(&events)[0].0, from_ts.unwrap());
}

#[test]
fn a_damaged_buffer_starts_above_the_ceiling() {
    let hands = Manual::new(NOW, Some(true));
    let mut device = Device::new(&hands);
    device.run(10);
    let (newest, ceiling) = (
        *device.issued.last().unwrap(),
        device.record.as_ref().unwrap().ceiling_ns,
    );
    device.restart(Loss::Newest);
    // The next start finds the buffer whole.
    device.restart(Loss::Nothing);
    assert!(device.issue() > ceiling && ceiling > newest);
    // Closed in order, the ceiling is the last timestamp itself.
    let record = Device::new(&hands).clock.close();
    assert_eq!(record.ceiling_ns, i64::MIN);
    let mut device = Device::new(&hands);
    let ts = device.issue();
    assert_eq!(device.clock.close().ceiling_ns, ts);
}

#[test]
fn starts_before_the_first_timestamp_leave_the_ceiling_aside() {
    let hands = Manual::new(NOW, Some(true));
    let mut device = Device::new(&hands);
    for orderly in [true, false, true, false] {
        hands.advance(Duration::from_secs(1));
        device.tick();
        if orderly {
            let past = Past::default();
            let clock = Clock::new(Box::new(hands.clone()), &settings(), &past);
            let record = std::mem::replace(&mut device.clock, clock).close();
            device.store(record);
        }
        device.restart(Loss::Nothing);
    }
    assert_eq!(device.skew(), 0);
    // From the first one on the ceiling counts, also if nothing of it was committed.
    let ceiling = device.record.as_ref().unwrap().ceiling_ns;
    device.restart(Loss::All);
    assert!(device.issue() > ceiling);
}

#[test]
fn that_a_timestamp_is_issued_is_durable_before_it_is() {
    let hands = Manual::new(NOW, Some(true));
    let mut device = Device::new(&hands);
    device.tick();
    let record = device.record.clone().unwrap();
    assert!(!record.issued && record.ceiling_ns > NOW);
    let Err(ClockError::RaiseCeiling(record)) = device.clock.next(1) else {
        panic!("issued before the record says so")
    };
    assert!(record.issued && device.clock.next(1).is_err());
    device.store(*record);
    assert!(device.clock.next(1).is_ok());
}

#[test]
fn a_record_of_format_1_counts_as_issued() {
    let ceiling = NOW + CEILING_AHEAD_NS;
    let text = format!(
        r#"{{"format":1,"ceiling_ns":{ceiling},"boot_id":null,"offset_ns":0,"anchored":false,"doubt":null}}"#
    );
    let past = Past {
        record: Some(ClockRecord::from_bytes(text.as_bytes()).unwrap()),
        ..Past::default()
    };
    let mut device = Device::with(&Manual::new(NOW, Some(true)), &past);
    assert!(device.issue() > ceiling);
}

#[test]
fn nothing_is_issued_above_the_durable_ceiling() {
    let hands = Manual::new(NOW, Some(true));
    let mut device = Device::new(&hands);
    let Err(ClockError::RaiseCeiling(record)) = device.clock.next(1) else {
        panic!("issued without a ceiling")
    };
    assert_eq!(record.ceiling_ns, NOW + CEILING_AHEAD_NS);
    assert!(device.clock.next(1).is_err());
    device.store(*record);
    assert!(device.clock.next(1).is_ok());
    assert_eq!(device.clock.ceiling_due(), None);
    hands.advance(Duration::from_secs(61));
    device.clock.tick();
    assert!(device.clock.ceiling_due().is_some());
    hands.advance(Duration::from_mins(1));
    assert!(matches!(
        device.clock.next(1),
        Err(ClockError::RaiseCeiling(_))
    ));
}

#[test]
fn nothing_is_corrected_beyond_the_durable_ceiling() {
    let hands = Manual::new(0, Some(true));
    let mut device = Device::new(&hands);
    let first = device.issue();
    hands.set_wall(NOW);
    device.clock.tick();
    hands.advance(Duration::from_secs(30));
    assert_eq!(corrections(&device.clock.tick()), []);
    let record = device.clock.ceiling_due().unwrap();
    assert!(record.ceiling_ns > hands.wall_ns());
    device.store(record);
    let delta_ns = NOW - EARLIEST_NS;
    assert_eq!(corrections(&device.clock.tick()), [(first, delta_ns)]);
    // Until it is answered the old offset holds, and the event is repeated.
    assert!(device.issue() < EARLIEST_NS + HOUR_NS);
    assert_eq!(corrections(&device.clock.tick()).len(), 1);
    assert_eq!(device.correct(first, delta_ns), delta_ns);
    assert_eq!(device.skew(), 1);
}

#[test]
fn the_end_of_time_is_an_error() {
    let past = Past {
        newest: Some(i64::MAX),
        ..Past::default()
    };
    let hands = Manual::new(NOW, Some(true));
    let mut clock = Clock::new(Box::new(hands), &settings(), &past);
    assert_eq!(clock.next(1), Err(ClockError::Exhausted));
    clock.tick();
}

#[test]
fn safe_delta_keeps_order() {
    assert_eq!(safe_delta(5, 10, Some(9)), 5);
    assert_eq!(safe_delta(-5, 10, Some(9)), 0);
    assert_eq!(safe_delta(-5, 10, Some(6)), -3);
    assert_eq!(safe_delta(-5, 10, Some(1)), -5);
    assert_eq!(safe_delta(-5, 10, None), -5);
    assert_eq!(safe_delta(-5, i64::MAX, Some(i64::MIN)), -5);
}

#[test]
fn damaged_records_are_refused() {
    let good = Device::new(&Manual::new(NOW, None)).clock.record(NOW);
    assert!(ClockRecord::from_bytes(&good.to_bytes()).is_ok());
    for (from, to) in [
        ("\"format\":2", "\"format\":3"),
        ("ceiling_ns\":1", "ceiling_ns\":9"),
        ("{", ""),
    ] {
        let text = String::from_utf8(good.to_bytes())
            .unwrap()
            .replacen(from, to, 1);
        assert!(ClockRecord::from_bytes(text.as_bytes()).is_err(), "{text}");
    }
    assert!(ClockRecord::from_bytes(b"").is_err());
}

#[test]
fn the_system_can_be_read() {
    let system = System::default();
    assert!(system.wall_ns() > EARLIEST_NS);
    let boot = system.boot_ns();
    assert!(boot > 0 && system.boot_ns() >= boot);
    assert_eq!(system.synchronised(), system.synchronised());
    assert_eq!(system.boot_id().is_some(), cfg!(target_os = "linux"));
}
