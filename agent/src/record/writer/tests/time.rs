//! The clock's promises as the writer keeps them.

use super::*;

fn tick_after(device: &mut Device, seconds: u64) {
    device.hands.advance(Duration::from_secs(seconds));
    device.w().next_tick = Instant::now();
    device.turn().unwrap();
}

fn unsynchronised(change: impl FnOnce(&mut Settings)) -> Device {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(&dir);
    settings.clock.hold = Duration::from_mins(5);
    settings.clock.confirm = Duration::from_secs(10);
    settings.clock.step_max = Duration::from_secs(1);
    change(&mut settings);
    Device::started(dir, settings, Manual::new(NOW, Some(false)))
}

/// The wall clock is set by the network, and stands.
fn synchronise(device: &mut Device, step_ns: i64) {
    device.hands.step_wall(step_ns);
    device.hands.set_synchronised(Some(true));
    for _ in 0..15 {
        tick_after(device, 1);
    }
}

#[test]
fn records_that_arrive_together_get_consecutive_nanoseconds() {
    let mut device = Device::new();
    device.arrive([publish(1, "[{\"x\":1},{\"x\":2}]"), value(2, 3)]);
    device.turn_after_gap();
    assert_eq!(device.stored().times(), [NOW, NOW + 1, NOW + 2]);
}

#[test]
fn a_source_time_that_cannot_be_one_is_left_out_and_counted() {
    let timed = |synchronised| {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = settings(&dir);
        settings.streams[0].time = Some("/t".into());
        settings.clock.hold = Duration::ZERO;
        settings.clock.confirm = Duration::from_secs(10);
        let hands = Manual::new(NOW, Some(synchronised));
        let mut device = Device::started(dir, settings, hands);
        for _ in 0..15 {
            tick_after(&mut device, 1);
        }
        device
    };
    let day_s = 86_400;
    let at = |id, seconds: i64| publish(id, format!("{{\"x\":1,\"t\":{seconds}}}"));
    let first_s = 946_684_800;
    let now_s = NOW / SECOND_NS;
    for (synchronised, left_out) in [(true, 5), (false, 4)] {
        let mut device = timed(synchronised);
        device.arrive([
            at(1, 0),
            at(2, -1),
            at(3, 123_456),
            at(4, first_s - 1),
            at(5, first_s),
            at(6, now_s + day_s - 1),
            at(7, now_s + day_s + 60),
        ]);
        device.turn_after_gap();
        assert_eq!(device.acked(), [1, 2, 3, 4, 5, 6, 7]);
        assert!(device.quarantined().is_empty());
        let stats = device.w().stats();
        assert_eq!(stats.times_implausible.load(Relaxed), left_out);
        let stored = device.stored().source_times();
        let kept: Vec<i64> = stored.iter().flatten().map(|ns| ns / SECOND_NS).collect();
        let late = (!synchronised).then_some(now_s + day_s + 60);
        let expected: Vec<i64> = [first_s, now_s + day_s - 1]
            .into_iter()
            .chain(late)
            .collect();
        assert_eq!((stored.len(), kept), (7, expected), "{synchronised}");
    }
}

#[test]
fn a_correction_moves_what_is_not_uploaded_and_opens_the_gate() {
    for step_s in [3600, -3600] {
        let mut device = unsynchronised(|_| {});
        assert!(!*device.gate.borrow());
        device.arrive([value(1, 1)]);
        device.turn_after_gap();
        tick_after(&mut device, 1);
        device.arrive([value(2, 2)]);
        device.turn_after_gap();
        // Not committed yet when the correction comes.
        tick_after(&mut device, 1);
        device.arrive([value(3, 3)]);
        tick_after(&mut device, 1);
        assert_eq!(device.stored().times(), [NOW, NOW + SECOND_NS]);
        assert!(!*device.gate.borrow(), "held");
        synchronise(&mut device, step_s * SECOND_NS);
        assert!(*device.gate.borrow());
        let shift = NOW + step_s * SECOND_NS;
        let times = device.stored().times();
        assert_eq!(times[..2], [shift, shift + SECOND_NS]);
        assert_eq!(device.stored().values(), [1.5, 2.5, 3.5]);
        assert_eq!(device.acked(), [1, 2, 3]);
        device.arrive([value(4, 4)]);
        device.turn_after_gap();
        let newest = *device.stored().times().last().unwrap();
        assert!(newest > times[2] && newest < times[2] + 20 * SECOND_NS);
        // And it is durable.
        let device = device.restart();
        assert_eq!(device.stored().times()[..3], times);
        assert_eq!(device.stored().values(), [1.5, 2.5, 3.5, 4.5]);
    }
}

#[test]
fn a_full_buffer_puts_a_correction_off() {
    let mut device = unsynchronised(|_| {});
    device.arrive([value(1, 1)]);
    device.turn_after_gap();
    // A refused publish that cannot be put into quarantine.
    let dir = device.settings.data_dir.join("quarantine");
    fs::remove_dir_all(&dir).unwrap();
    fs::write(&dir, b"").unwrap();
    device.arrive([publish(2, "{")]);
    device.turn_after_gap();
    synchronise(&mut device, 3600 * SECOND_NS);
    assert_eq!(device.stored().times(), [NOW]);
    assert!(!*device.gate.borrow(), "held until it is corrected");
    fs::remove_file(&dir).unwrap();
    tick_after(&mut device, 1);
    tick_after(&mut device, 1);
    assert_eq!(device.stored().times(), [NOW + 3600 * SECOND_NS]);
    assert!(*device.gate.borrow());
}

#[test]
fn the_ceiling_is_durable_before_any_timestamp_below_it() {
    let mut device = Device::new();
    device.arrive([value(1, 1)]);
    device.turn().unwrap();
    let path = clock_path(&device.settings.data_dir);
    let ceiling = load_clock(&path, false).unwrap().ceiling_ns;
    assert!(ceiling > NOW);
    for _ in 0..130 {
        tick_after(&mut device, 1);
        device.arrive([value(0, 1)]);
        device.turn_after_gap();
        let newest = *device.stored().times().last().unwrap();
        assert!(newest <= load_clock(&path, false).unwrap().ceiling_ns);
    }
    assert!(load_clock(&path, false).unwrap().ceiling_ns > ceiling);
    // After a loss the clock starts above what it last issued.
    let mut device = device.restart();
    let newest = *device.stored().times().last().unwrap();
    device.arrive([value(1, 9)]);
    device.turn_after_gap();
    assert!(*device.stored().times().last().unwrap() > newest);
}

#[test]
fn nothing_moves_below_what_was_uploaded_and_deleted() {
    let mut device = unsynchronised(|settings| {
        settings.clock.hold = Duration::ZERO;
        settings.buffer.bytes_max = 16 << 20;
        settings.buffer.replay_bytes_max = 0;
    });
    let mut seed = 0;
    let buffer = Arc::clone(&device.w().parts.buffer);
    while buffer.shape().generations < 2 {
        seed += 1;
        let batch: Vec<String> = (0..60)
            .map(|n| format!("{{\"t\":\"{}\"}}", noise(3000, seed * 60 + n)))
            .collect();
        device.arrive([publish(1, format!("[{}]", batch.join(",")))]);
        device.turn_after_gap();
    }
    // All but the newest generation is upstream and gone.
    buffer.uploaded_to(buffer.next_seq() - 1);
    assert!(buffer.oldest_seq() > 0);
    let uploaded_last = buffer.times(buffer.oldest_seq()).unwrap().unwrap().0 - 1;
    tick_after(&mut device, 1);
    device.arrive([publish(2, "{\"t\":\"a\"}")]);
    device.turn_after_gap();
    synchronise(&mut device, -3600 * SECOND_NS);
    device.arrive([publish(3, "{\"t\":\"b\"}")]);
    device.turn_after_gap();
    let times = device.stored().times();
    assert!(times.iter().all(|ts| *ts > uploaded_last));
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]));
}
