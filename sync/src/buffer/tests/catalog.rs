#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, fs, path::Path};

use crate::{
    buffer::{
        catalog::{file_path, schema_entries, stream_entries},
        space::{generation_dir, summary_path},
        tests::{Device, small},
        *,
    },
    files::{frame, state_file},
    generation::Put,
    sample::{Field, FieldType, Stream},
};

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

fn bytes_of(put: &Put) -> u64 {
    let bytes = put.iter().map(|(key, value)| key.len() + value);
    bytes.sum::<usize>() as u64
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
    // Two versions in several entries each, more together than goes before the streams at once.
    let fields: Vec<Field> = (0..1_800)
        .map(|field| Field {
            name: format!("a field with a name of some length {field}"),
            kind: FieldType::F64,
        })
        .collect();
    let other = device.buffer.declare_schema("other", &[], &fields[..400]);
    let other = other.unwrap().id;
    device.buffer.declare_schema("other", &[], &fields).unwrap();
    device.buffer.declare_stream(other, "other/1", &[]);
    for from in [10, 1_010, 2_010] {
        commit_each(&mut device, (from..from + 1_000).map(machine), 1_000);
    }
    let inner = device.buffer.lock();
    assert_eq!(inner.active.id, 1, "no generation was begun for them");
    let puts = inner.active.generation.puts.lock().unwrap().clone();
    let largest = puts[1..].iter().map(bytes_of).max().unwrap();
    assert!(
        largest <= parts::PUT_BYTES_MAX,
        "{largest} bytes put at once"
    );
    assert!(puts.len() > 12, "{}", puts.len());
    for (key, _) in puts[1..].iter().filter_map(|put| put.first()) {
        assert!(
            key[0] != b'c' || key.len() == 6,
            "a put begins amidst {key:?}"
        );
    }
    // A cut between two parts must leave no stream without its schema.
    let keys: Vec<&[u8]> = puts[2..].iter().flatten().map(|(key, _)| &**key).collect();
    let first = |kind: &[u8]| keys.iter().position(|key| key.starts_with(kind)).unwrap();
    assert!(first(b"cs") < first(b"ct"));
}

#[test]
fn many_names_beside_many_blocks_begin_a_generation_in_one_put() {
    let dir = tempfile::tempdir().unwrap();
    let options = || BufferOptions::new(dir.path(), 256 << 20);
    let (mut device, _) = Device::open(options());
    commit_each(&mut device, (0..3).map(machine), 3);
    device.push("x", 30_000);
    commit_each(&mut device, (10..1_010).map(machine), 1_000);
    {
        let inner = device.buffer.lock();
        assert_eq!(inner.sealed.len(), 1, "too many blocks for the first");
        let puts = inner.active.generation.puts.lock().unwrap().clone();
        // Its creation, then all of the commit.
        assert_eq!(puts.len(), 2);
        let bytes = bytes_of(&puts[1]);
        assert!(bytes > 2 * parts::PUT_BYTES_MAX, "{bytes}");
    }
    let known = names(&device);
    drop(device);
    let (device, recovery) = Device::open(options());
    assert_eq!(recovery, Recovery::default());
    assert_eq!((names(&device), device.all_ts().len()), (known, 31_003));
}

#[test]
fn records_of_a_stream_that_the_catalog_lacks_are_refused_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (mut device, _) = Device::open(small(dir.path()));
    device.push("a", 1);
    device.commit().unwrap();
    device.push("b", 1);
    let blocks = device.finish();
    device
        .buffer
        .change_catalog(|catalog| catalog.remove_stream(1));
    device.buffer.lock().declared.clear();
    let refused = device.buffer.commit(&blocks, &[7]);
    assert!(
        matches!(refused, Err(CommitError::Unnamed(1))),
        "{refused:?}"
    );
    assert_eq!(device.all_ts().len(), 1);
    device.push("c", 1);
    device.commit().unwrap();
    drop(device);
    let (device, recovery) = Device::open(small(dir.path()));
    assert_eq!(recovery, Recovery::default());
    assert_eq!(device.all_ts().len(), 2);
    assert!(device.buffer.fingerprints().is_empty());
}

#[test]
fn a_schema_that_the_file_alone_knows_goes_with_the_next_commit() {
    let dir = tempfile::tempdir().unwrap();
    let (mut device, _) = Device::open(small(dir.path()));
    device.buffer.declare_schema("other", &[], &[]).unwrap();
    device.push("a", 1);
    device.commit().unwrap();
    let fields = [Field {
        name: "x".into(),
        kind: FieldType::F64,
    }];
    let grown = device.buffer.declare_schema("other", &[], &fields).unwrap();
    rotate(&device);
    drop(device);
    // A cut before the new generation was there.
    fs::remove_dir_all(generation_dir(dir.path(), 2)).unwrap();
    fs::remove_file(summary_path(dir.path(), 1)).unwrap();
    let (mut device, _) = Device::open(small(dir.path()));
    device.push("a", 1);
    device.commit().unwrap();
    drop(device);
    fs::remove_file(file_path(dir.path())).unwrap();
    let (device, _) = Device::open(small(dir.path()));
    assert_eq!(device.buffer.catalog().schema_named("other"), Some(&grown));
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
fn rows_whose_name_is_lost_are_nobody_elses() {
    let dir = tempfile::tempdir().unwrap();
    let (mut device, _) = Device::open(small(dir.path()));
    for name in ["a", "b"] {
        device.push(name, 2);
        device.commit().unwrap();
    }
    let lost = stream_entries(device.buffer.catalog().stream(1).unwrap());
    let keys: Vec<Vec<u8>> = lost.into_iter().map(|(key, _)| key).collect();
    let active = Arc::clone(&device.buffer.lock().active.generation);
    active.remove(&keys).unwrap();
    drop((active, device));
    let (device, _) = Device::open(small(dir.path()));
    assert_eq!(device.buffer.rows_of(1), 2);
    assert_eq!(device.stream("c").id, 2);
}

/// A buffer whose stream "a" was uploaded, and is gone from it.
fn with_nothing_of_a(options: &BufferOptions, delta_ns: i64) -> Device {
    let (mut device, _) = Device::open(options.clone());
    device.push("a", 5);
    device.commit().unwrap();
    device.buffer.correct(0, delta_ns).unwrap();
    rotate(&device);
    // The device's clock goes on where the correction has put it.
    device.ts += delta_ns;
    device.push("b", 5);
    device.commit().unwrap();
    device.buffer.uploaded_to(1);
    assert_eq!(device.buffer.rows_of(0), 0);
    device
}

#[test]
fn a_cut_after_a_stream_was_forgotten_leaves_none_twice() {
    let dir = tempfile::tempdir().unwrap();
    let options = BufferOptions {
        replay_bytes_max: 0,
        ..small(dir.path())
    };
    let mut device = with_nothing_of_a(&options, 0);
    assert_eq!(device.buffer.forget_idle(i64::MAX).len(), 1);
    // It comes back, and the file of the catalog still has it as it was.
    device.push("a", 1);
    device.commit().unwrap();
    let known = names(&device);
    assert_eq!(known, [(1, "b".into()), (2, "a".into())].into());
    drop(device);
    let (device, _) = Device::open(options);
    assert_eq!(names(&device), known);
}

#[test]
fn a_correction_of_the_clock_makes_nobody_idle_or_busy() {
    for (delta_ns, before_ts) in [(1_000_000, 1_000_000), (0, 1_000_000), (-900, 1_000)] {
        let dir = tempfile::tempdir().unwrap();
        let options = BufferOptions {
            replay_bytes_max: 0,
            ..small(dir.path())
        };
        let mut device = with_nothing_of_a(&options, delta_ns);
        for _ in 0..2 {
            let inner = device.buffer.lock();
            let last_ts = inner.usages.get(0).last_ts.unwrap();
            assert!(
                (1_005 + delta_ns..1_010 + delta_ns).contains(&last_ts),
                "{last_ts} after {delta_ns}"
            );
            drop(inner);
            rotate(&device);
            drop(device);
            device = Device::open(options.clone()).0;
        }
        let forgotten = device.buffer.forget_idle(before_ts);
        assert_eq!(forgotten.len(), usize::from(delta_ns <= 0), "{delta_ns}");
    }
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
