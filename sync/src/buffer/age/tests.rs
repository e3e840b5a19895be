#![allow(clippy::unwrap_used)]

use std::path::Path;

use super::super::{
    BufferOptions,
    tests::{Device, small},
};

const SECOND_NS: i64 = 1_000_000_000;

fn options(dir: &Path) -> BufferOptions {
    BufferOptions {
        replay_bytes_max: 0,
        ..small(dir)
    }
}

fn commit(device: &mut Device, name: &str, second: i64) {
    device.ts = second * SECOND_NS;
    device.push(name, 1);
    device.commit().unwrap();
}

fn upload(device: &Device) {
    device.buffer.uploaded_to(device.buffer.next_seq());
}

/// As the writer does, at `second`, for streams that are idle after `idle_s`.
fn look(device: &Device, second: i64, idle_s: i64) -> Vec<String> {
    let now_ts = second * SECOND_NS;
    let before_ts = now_ts - idle_s * SECOND_NS;
    device.buffer.seal_old(now_ts, before_ts);
    let forgotten = device.buffer.forget_idle(before_ts);
    forgotten.iter().map(|stream| stream.name.clone()).collect()
}

#[test]
fn idle_streams_are_forgotten_however_little_arrives() {
    let dir = tempfile::tempdir().unwrap();
    let (mut device, _) = Device::open(options(dir.path()));
    for name in ["a", "b", "c"] {
        commit(&mut device, name, 1_000);
    }
    commit(&mut device, "a", 1_095);
    assert!(look(&device, 1_100, 50).is_empty(), "not uploaded");
    upload(&device);
    assert!(look(&device, 1_100, 200).is_empty(), "not idle");
    device.buffer.wanted_from(0);
    assert!(look(&device, 1_100, 50).is_empty(), "still read");
    device.buffer.wanted_from(u64::MAX);
    let window = |bytes| {
        let mut options = options(dir.path());
        options.replay_bytes_max = bytes;
        device.buffer.set_limits(&options);
    };
    window(4 << 20);
    assert!(look(&device, 1_100, 50).is_empty(), "kept for training");
    window(0);
    let kept = ["b".to_owned(), "c".to_owned()];
    device.buffer.keep_streams(kept.into());
    assert!(look(&device, 1_100, 50).is_empty(), "with open tasks");
    assert_eq!(device.buffer.shape().rows, 4);
    device.buffer.keep_streams(["c".to_owned()].into());
    assert_eq!(look(&device, 1_100, 50), ["b"]);
    let shape = device.buffer.shape();
    assert_eq!((shape.generations, shape.rows), (1, 0));
    device.buffer.keep_streams([].into());
    assert_eq!(look(&device, 1_100, 50), ["c"]);
    commit(&mut device, "b", 1_101);
    assert_eq!(device.all_ts().len(), 1);
    assert_eq!(device.stream("b").id, 3);
}

#[test]
fn idle_streams_are_forgotten_however_often_the_device_starts() {
    let dir = tempfile::tempdir().unwrap();
    let (mut device, _) = Device::open(options(dir.path()));
    for name in ["a", "b"] {
        commit(&mut device, name, 1_000);
    }
    for second in [1_040, 1_080, 1_120] {
        drop(device);
        device = Device::open(options(dir.path())).0;
        commit(&mut device, "a", second);
        upload(&device);
        let forgotten = look(&device, second, 100);
        let expected: &[&str] = if second == 1_120 { &["b"] } else { &[] };
        assert_eq!(forgotten, expected, "{second}");
    }
}

#[test]
fn records_too_old_for_the_replay_window_go_however_little_arrives() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path());
    options.replay_bytes_max = 4 << 20;
    options.replay_age_ns_max = Some(100 * SECOND_NS);
    let (mut device, _) = Device::open(options);
    let mut oldest = Vec::new();
    for second in (1_000..2_000).step_by(10) {
        commit(&mut device, "a", second);
        upload(&device);
        assert!(look(&device, second + 5, 86_400).is_empty());
        oldest.push(second - device.all_ts()[0] / SECOND_NS);
    }
    // A generation holds up to one age, and goes one age after its last record.
    assert!(oldest.iter().all(|age| *age <= 240), "{oldest:?}");
    assert!(oldest[20..].iter().all(|age| *age >= 100), "{oldest:?}");
    assert!(device.buffer.lock().next_id <= 12);
}

#[test]
fn generations_are_sealed_for_their_age_once_in_an_age_at_most() {
    for (idle_s, replay_age_s, at_most) in
        [(5, None, 120), (86_400, Some(5), 120), (600, Some(900), 6)]
    {
        let dir = tempfile::tempdir().unwrap();
        let mut options = options(dir.path());
        options.replay_age_ns_max = replay_age_s.map(|age| age * SECOND_NS);
        let (mut device, _) = Device::open(options);
        // Each machine is seen once, and one always.
        for second in (10_000..13_600).step_by(20) {
            commit(&mut device, &format!("s/{second}"), second);
            commit(&mut device, "s", second);
            upload(&device);
            let _forgotten = look(&device, second + 10, idle_s);
            let _forgotten = look(&device, second + 19, idle_s);
        }
        let sealed = device.buffer.lock().active.id;
        assert!(
            (at_most / 4..=at_most + 1).contains(&sealed),
            "{sealed} for {idle_s}, {replay_age_s:?}"
        );
        let streams = device.buffer.catalog().streams().len() as i64;
        assert!(
            streams <= 2 + idle_s.max(60) * 2 / 20 + 2 || idle_s > 3_600,
            "{streams} after {idle_s} s"
        );
    }
}
