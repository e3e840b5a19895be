//! Nothing can be made durable: nothing is acknowledged, nothing is lost or doubled, and it passes.

use super::*;

/// A file where a directory has to be, as a stand-in for a disk that takes nothing.
fn block(path: &Path) {
    let _gone = fs::remove_dir_all(path);
    fs::write(path, b"").unwrap();
}

/// A device whose buffer is full.
fn full() -> Device {
    let mut device = Device::with(|settings| {
        settings.buffer.bytes_max = 4 << 20;
        settings.buffer.disk_free_bytes_min = 0;
        settings.buffer.when_full = WhenFull::Block;
        settings.buffer.replay_bytes_max = 0;
    });
    for seed in 0.. {
        if device.w().stalled.is_some() {
            break;
        }
        let batch: Vec<String> = (0..60)
            .map(|n| format!("{{\"t\":\"{}\"}}", noise(3000, seed * 60 + n)))
            .collect();
        device.arrive([publish(1, format!("[{}]", batch.join(",")))]);
        device.turn().unwrap();
    }
    device.acked();
    device
}

#[test]
fn a_full_buffer_stalls_and_resumes_when_uploads_make_room() {
    let mut device = full();
    let before = device.stored().rows().len();
    device.arrive([publish(2, "{"), publish(3, "{\"t\":\"late\"}")]);
    let answer = device.ask(records(1));
    for _ in 0..3 {
        assert!(device.turn().unwrap());
    }
    let stats = device.w().stats();
    assert!(stats.stalled.load(Relaxed));
    assert!(stats.stalled_because().unwrap().contains("full"));
    assert!(device.acked().is_empty());
    assert!(answer.try_recv().is_err());
    assert_eq!(device.stored().rows().len(), before);
    let buffer = Arc::clone(&device.w().parts.buffer);
    buffer.uploaded_to(buffer.next_seq());
    device.turn().unwrap();
    device.turn_after_gap();
    // What waited when it became full, then what came later.
    assert_eq!(device.acked(), [1, 2, 3]);
    assert_eq!(answer.recv().unwrap(), Ok(1));
    assert!(!stats.stalled.load(Relaxed) && stats.stalled_because().is_none());
    assert_eq!(device.quarantined().len(), 1);
}

#[test]
fn what_is_in_quarantine_is_not_put_there_again_while_the_buffer_is_full() {
    let mut device = full();
    // Refused while the blocks beside it wait: in quarantine at the first attempt.
    let publish = publish(2, "{");
    let nothing = || unreachable!("not marked DUP");
    assert!(device.w().take(&publish, nothing, Instant::now()).is_ok());
    for _ in 0..3 {
        assert!(device.turn().unwrap());
        assert_eq!(device.quarantined().len(), 1);
    }
    assert!(device.acked().is_empty(), "its fingerprint is not durable");
    let stats = device.w().stats();
    assert_eq!(stats.records_quarantined.load(Relaxed), 1);
}

#[test]
fn a_stalled_writer_ends_when_told_to_give_up() {
    let mut device = full();
    device.outlet.close();
    let answer = device.ask(records(1));
    assert!(device.turn().unwrap(), "closed, and still waiting for room");
    device.give_up.send_replace(true);
    let error = device.turn().unwrap_err();
    assert!(error.contains("bytes used"), "{error}");
    device.writer = None;
    assert!(answer.recv().is_err(), "whoever asked is told");
    assert!(device.acked().is_empty());
}

#[test]
fn nothing_is_acknowledged_while_the_quarantine_takes_nothing() {
    let mut device = Device::new();
    let dir = device.settings.data_dir.join("quarantine");
    block(&dir);
    device.arrive([value(1, 1), publish(2, "{")]);
    device.turn_after_gap();
    assert!(device.w().stalled.is_some());
    assert!(device.turn().unwrap());
    assert!(device.acked().is_empty());
    assert_eq!(device.w().stats().records_quarantined.load(Relaxed), 0);
    fs::remove_file(&dir).unwrap();
    fs::create_dir(&dir).unwrap();
    device.turn().unwrap();
    assert_eq!(device.acked(), [1, 2]);
    assert_eq!(device.quarantined().len(), 1);
}

#[test]
fn a_ceiling_that_cannot_be_stored_stalls_and_nothing_else_waits_for_it() {
    let mut device = Device::new();
    device.arrive([value(1, 1)]);
    device.turn().unwrap();
    let state = device.settings.data_dir.join("state");
    block(&state);
    // The machine slept: the ceiling is far behind.
    device.hands.advance(Duration::from_hours(2));
    device.arrive([value(2, 2), publish(3, "{"), value(4, 4)]);
    let answer = device.ask(records(1));
    for _ in 0..3 {
        assert!(device.turn().unwrap());
    }
    let stats = device.w().stats();
    assert!(stats.stalled_because().unwrap().contains("ceiling"));
    // What had its timestamp already is durable all the same.
    assert_eq!(device.acked(), [1]);
    let refused = answer.recv().unwrap().unwrap_err();
    assert!(
        matches!(&refused, Refused::Transient(why) if why.contains("ceiling")),
        "{refused}"
    );
    // The clock is judged meanwhile: uploads must not wait for a writer that waits for them.
    device.w().next_tick = Instant::now();
    device.hands.advance(Duration::from_mins(1));
    device.turn().unwrap();
    assert!(device.w().next_tick > Instant::now());
    assert!(*device.gate.borrow());
    fs::remove_file(&state).unwrap();
    device.turn().unwrap();
    device.turn_after_gap();
    assert_eq!(device.acked(), [2, 3, 4]);
    assert_eq!(device.stored().values(), [1.5, 2.5, 4.5]);
    assert_eq!(stats.publishes.load(Relaxed), 4);
    assert!(!stats.stalled.load(Relaxed));
}

#[test]
fn a_writer_without_a_ceiling_ends_when_told_to_give_up() {
    let mut device = Device::new();
    block(&device.settings.data_dir.join("state"));
    device.arrive([value(1, 1)]);
    device.turn().unwrap();
    device.outlet.close();
    device.give_up.send_replace(true);
    let stop = device.give_up.subscribe();
    let error = device.writer.take().unwrap().run(&stop).unwrap_err();
    assert!(error.contains("ceiling"), "{error}");
    assert!(device.acked().is_empty());
}
