#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, fs, path::Path};

use super::{
    catalog::{file_path, schema_entries, stream_entries},
    space::{generation_dir, summary_path},
    tests::{Device, small},
    *,
};
use crate::{frame, sample::Stream, state_file};

/// Commits a record of each stream, `together` at a time.
fn commit_each(device: &mut Device, names: impl Iterator<Item = String>, together: usize) {
    let names: Vec<String> = names.collect();
    for some in names.chunks(together) {
        for name in some {
            device.push(name, 1);
        }
        device.commit().unwrap();
    }
}

fn rotate(device: &Device) {
    device.buffer.rotate(&mut device.buffer.change()).unwrap();
}

fn names(device: &Device) -> BTreeMap<u32, String> {
    let catalog = device.buffer.catalog();
    let streams = catalog.streams();
    streams
        .map(|stream| (stream.id, stream.name.clone()))
        .collect()
}

fn machine(n: usize) -> String {
    format!("s/line-{}/machine-{n:05}-{}", n % 7, "x".repeat(200))
}

#[test]
fn a_generation_begins_without_streams_and_names_those_in_its_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let (mut device, _) = Device::open(BufferOptions::new(dir.path(), 256 << 20));
    commit_each(&mut device, (0..3_000).map(machine), 1_000);
    let known = names(&device);
    assert_eq!(known.len(), 3_000);
    rotate(&device);
    let begun = device.buffer.lock().active.generation.disk_bytes();
    assert!(begun < 600 << 10, "{begun} bytes before anything is in it");
    // What a commit writes does not depend on how many streams there are.
    let file = || fs::metadata(file_path(dir.path())).unwrap();
    let stored = (file().len(), file().modified().unwrap());
    for _ in 0..20 {
        commit_each(&mut device, (0..3).map(machine), 3);
    }
    assert_eq!((file().len(), file().modified().unwrap()), stored);
    let named = device.buffer.lock().active.named.len();
    assert_eq!(named, 3);
    drop(device);
    let (device, recovery) = Device::open(BufferOptions::new(dir.path(), 256 << 20));
    assert_eq!(recovery, Recovery::default());
    assert_eq!(names(&device), known);
    assert_eq!(device.buffer.lock().active.named.len(), 3);
    assert_eq!(device.buffer.rows_of(0), 21);
    assert_eq!(device.buffer.rows_of(2_999), 1);
}

#[test]
fn names_of_many_new_streams_are_put_in_parts() {
    let dir = tempfile::tempdir().unwrap();
    let (mut device, _) = Device::open(BufferOptions::new(dir.path(), 256 << 20));
    commit_each(&mut device, (0..3).map(machine), 3);
    for from in [10, 1_010, 2_010] {
        commit_each(&mut device, (from..from + 1_000).map(machine), 1_000);
    }
    let inner = device.buffer.lock();
    assert_eq!(inner.active.id, 1, "no generation was begun for them");
    let puts = inner.active.generation.puts.lock().unwrap().clone();
    let largest = puts[1..].iter().max().unwrap();
    assert!(
        *largest as u64 <= space::PUT_BYTES_MAX,
        "{largest} bytes put at once"
    );
    assert!(puts.len() > 12, "{puts:?}");
}

#[test]
fn without_its_file_the_catalog_is_what_the_blocks_need() {
    for damage in ["gone", "flipped", "cut"] {
        let dir = tempfile::tempdir().unwrap();
        let options = || BufferOptions::new(dir.path(), 64 << 20);
        let (mut device, _) = Device::open(options());
        // Without a record, but carried by the first commit.
        device.stream("idle");
        for from in [0, 10, 20] {
            commit_each(&mut device, (from..from + 10).map(machine), 10);
            rotate(&device);
        }
        commit_each(&mut device, (30..40).map(machine), 10);
        let known = names(&device);
        drop(device);
        let path = file_path(dir.path());
        let mut bytes = fs::read(&path).unwrap();
        match damage {
            "gone" => fs::remove_file(&path).unwrap(),
            "cut" => fs::write(&path, &bytes[..bytes.len() - 9]).unwrap(),
            _ => {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                fs::write(&path, bytes).unwrap();
            }
        }
        let (device, recovery) = Device::open(options());
        assert!(!recovery.newest_lost);
        assert_eq!(recovery.set_aside.len(), usize::from(damage != "gone"));
        assert_eq!(names(&device), known, "{damage}");
        assert_eq!(device.stream("new").id, 41, "no number comes again");
    }
}

#[test]
fn idle_streams_are_forgotten_and_come_back_as_others() {
    let dir = tempfile::tempdir().unwrap();
    let options = || BufferOptions {
        replay_bytes_max: 0,
        ..small(dir.path())
    };
    let (mut device, _) = Device::open(options());
    for name in ["a", "b", "c"] {
        device.push(name, 5);
        device.commit().unwrap();
    }
    rotate(&device);
    device.push("a", 1);
    device.commit().unwrap();
    assert!(
        device.buffer.forget_idle(i64::MAX).is_empty(),
        "all are in the buffer"
    );
    device.buffer.uploaded_to(device.buffer.next_seq());
    device.buffer.keep_streams(["c".to_owned()].into());
    assert!(
        device.buffer.forget_idle(1_010).is_empty(),
        "b has a record later than that"
    );
    let gone = device.buffer.forget_idle(i64::MAX);
    assert_eq!(
        gone.iter().map(|stream| &*stream.name).collect::<Vec<_>>(),
        ["b"]
    );
    assert!(device.buffer.forget_idle(i64::MAX).is_empty());
    rotate(&device);
    drop(device);
    let (device, _) = Device::open(options());
    let known = names(&device);
    assert_eq!(known.into_values().collect::<Vec<_>>(), ["a", "c"]);
    assert_eq!(device.stream("b").id, 3, "its number is not used again");
    // When c was seen last is known after a restart as well.
    device.buffer.keep_streams(HashSet::new());
    assert!(device.buffer.forget_idle(1_015).is_empty());
    let gone = device.buffer.forget_idle(i64::MAX);
    assert_eq!(gone.len(), 1, "and b never had a record");
}

#[test]
fn rows_are_counted_as_they_come_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let options = || BufferOptions {
        replay_bytes_max: 0,
        ..small(dir.path())
    };
    let (mut device, _) = Device::open(options());
    let stream = device.stream("x").id;
    let mut edges = Vec::new();
    for round in 0..4 {
        device.push("x", 700);
        device.push("y", 3);
        device.commit().unwrap();
        device.push("x", 50);
        device.commit().unwrap();
        edges.push(device.buffer.shape().newest_ts.unwrap());
        if round < 3 {
            rotate(&device);
        }
    }
    let check = |device: &Device, oldest: usize| {
        let all = device.all_ts();
        assert_eq!(device.buffer.rows_of(stream), 750 * (4 - oldest as u64));
        for ts in edges
            .iter()
            .flat_map(|ts| [*ts - 760, *ts - 749, *ts - 51, *ts - 20, *ts])
        {
            // The three of y lie between the 700 and the 50.
            let y = |at: i64| (at > 0).then_some(at).map_or(0, |at| at.min(3));
            let later: i64 = edges[oldest..]
                .iter()
                .map(|edge| {
                    let rows = (edge - ts).clamp(0, 753);
                    rows - y(rows - 50)
                })
                .sum();
            let counted = device.buffer.rows_after(stream, ts).unwrap();
            assert_eq!(counted.rows as i64, later, "after {ts}, {} rows", all.len());
        }
    };
    check(&device, 0);
    let seen = device.buffer.rows_seen(stream);
    let seq = device.buffer.lock().sealed[1].extent.next_seq;
    device.buffer.uploaded_to(seq);
    check(&device, 2);
    assert_eq!(device.buffer.rows_seen(stream), seen);
    drop(device);
    for torn in [false, true] {
        let (device, _) = Device::open(options());
        check(&device, 2);
        drop(device);
        if !torn {
            fs::write(summary_path(dir.path(), 3), b"torn").unwrap();
        }
    }
}

/// A directory as the first format left it: every generation begins with the whole catalog, summaries count
/// nothing, and there is no file of the catalog.
fn first_format(dir: &Path) -> BTreeMap<u32, String> {
    let (mut device, _) = Device::open(small(dir));
    let idle = device.stream("idle");
    for name in ["a", "b"] {
        device.push(name, 10);
        device.commit().unwrap();
        rotate(&device);
    }
    device.push("a", 5);
    device.commit().unwrap();
    let catalog = device.buffer.catalog();
    let mut old: Vec<(u64, Extent, Vec<Entry>)> = Vec::new();
    {
        let inner = device.buffer.lock();
        let sealed = inner.sealed.iter().map(|sealed| (sealed.id, sealed.extent));
        for (id, extent) in sealed.chain([(inner.active.id, inner.active.extent)]) {
            let start = Extent::starting(extent.first_seq, extent.first_row, None);
            let mut entries = vec![(vec![b'm'], frame::to_bytes(&start).unwrap())];
            entries.extend(catalog.schemas().iter().flat_map(|s| schema_entries(s)));
            let streams = catalog.streams().map(|stream| Stream::clone(stream));
            entries.extend(streams.flat_map(|stream| stream_entries(&stream)));
            old.push((id, extent, entries));
        }
    }
    for (_, extent, entries) in &mut old {
        for seq in extent.first_seq..extent.next_seq {
            let (stored, _) = device.buffer.stored(seq).unwrap().unwrap();
            entries.push((parts::key(seq, 0), stored.to_vec()));
        }
    }
    let known = names(&device);
    assert_eq!(known[&idle.id], "idle");
    drop(device);
    fs::remove_file(file_path(dir)).unwrap();
    let newest = old.len() - 1;
    for (at, (id, extent, entries)) in old.into_iter().enumerate() {
        let path = generation_dir(dir, id);
        fs::remove_dir_all(&path).unwrap();
        drop(Generation::create(&path, entries).unwrap());
        if at != newest {
            state_file::write(&summary_path(dir, id), &extent).unwrap();
        }
    }
    known
}

#[test]
fn a_directory_of_the_first_format_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let known = first_format(dir.path());
    for _ in 0..2 {
        let (mut device, recovery) = Device::open(small(dir.path()));
        assert_eq!(recovery, Recovery::default());
        assert_eq!(names(&device), known);
        assert_eq!(device.all_ts().len(), 25);
        let rows = known.keys().map(|id| device.buffer.rows_of(*id));
        assert_eq!(rows.collect::<Vec<_>>(), [0, 15, 10]);
        assert!(
            device.buffer.forget_idle(0).is_empty(),
            "as if seen just now"
        );
        let _ = device.finish();
    }
    let (mut device, _) = Device::open(small(dir.path()));
    device.push("c", 1);
    device.commit().unwrap();
    assert_eq!(device.stream("c").id, 3);
    rotate(&device);
    drop(device);
    let (device, _) = Device::open(small(dir.path()));
    assert_eq!(device.all_ts().len(), 26);
    assert_eq!(names(&device).len(), 4);
}
