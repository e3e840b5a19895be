//! What happens when the disk fails, lies or forgets. Random sequences: `tests/buffer_model.rs`.

#![allow(clippy::unwrap_used)]

use std::{fs, path::Path, sync::atomic::Ordering::Relaxed};

use crate::{
    buffer::{
        catalog::stream_entries,
        space::{generation_dir, summary_path},
        tests::{Device, small},
        *,
    },
    generation::GenerationError,
    sample::{Field, FieldType},
};

/// A buffer with `commits` commits of 10,000 rows, some 80 KB each.
fn filled(dir: &Path, commits: usize) -> Device {
    let (mut device, _) = Device::open(small(dir));
    for _ in 0..commits {
        device.push("x", 10_000);
        device.commit().unwrap();
    }
    device
}

fn set_fault(generation: &Generation, fault: Option<fn() -> GenerationError>) {
    *generation.read_fault.lock().unwrap() = fault;
}

fn device_fails() -> GenerationError {
    GenerationError::Unreadable("Input/output error".into())
}

fn checksum_fails() -> GenerationError {
    GenerationError::Damaged("checksum".into())
}

#[test]
fn a_look_never_waits_for_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let device = filled(dir.path(), 20);
    let before = device.buffer.shape();
    // As a commit does while the disk makes it wait.
    let committing = device.buffer.lock();
    assert_eq!(device.buffer.shape(), before);
    assert_eq!(device.buffer.next_seq(), before.next_seq);
    assert_eq!(device.buffer.oldest_seq(), before.oldest_seq);
    drop(committing);
}

#[test]
fn a_failing_device_is_asked_again_before_a_block_counts_as_lost() {
    let dir = tempfile::tempdir().unwrap();
    let mut device = filled(dir.path(), 20);
    let sealed = device.buffer.lock().sealed[0].id;
    let handles = [
        Arc::clone(&device.buffer.lock().active.generation),
        device.buffer.open_generation(sealed).unwrap(),
    ];
    let last = device.buffer.next_seq() - 1;
    let corrupt = |device: &Device| device.buffer.stats().blocks_corrupt.load(Relaxed);
    for (seq, generation) in [(last, &handles[0]), (0, &handles[1])] {
        set_fault(generation, Some(device_fails));
        assert!(device.buffer.read_block(seq).is_err());
        assert!(device.buffer.times(seq).is_err());
        set_fault(
            generation,
            Some(|| GenerationError::Refused("too many open files".into())),
        );
        assert!(device.buffer.read_block(seq).is_err());
        set_fault(generation, None);
        assert!(device.buffer.read_block(seq).unwrap().is_some());
    }
    assert_eq!(corrupt(&device), 0);

    device.buffer.patience = Duration::ZERO;
    set_fault(&handles[0], Some(device_fails));
    for _ in 0..3 {
        assert_eq!(device.buffer.read_block(last).unwrap(), None);
    }
    assert_eq!(corrupt(&device), 1, "counted once");
}

#[test]
fn counting_rows_while_the_device_fails_ends_soon() {
    let dir = tempfile::tempdir().unwrap();
    let device = filled(dir.path(), 20);
    let (sealed, end) = {
        let inner = device.buffer.lock();
        (inner.sealed[0].id, inner.sealed[0].extent)
    };
    let generation = device.buffer.open_generation(sealed).unwrap();
    set_fault(&generation, Some(device_fails));
    assert_eq!(device.buffer.rows_before(1), end.next_row);
}

#[test]
fn a_newest_generation_found_damaged_takes_no_more_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let mut device = filled(dir.path(), 1);
    let active = Arc::clone(&device.buffer.lock().active.generation);
    set_fault(&active, Some(checksum_fails));
    assert_eq!(device.buffer.read_block(0).unwrap(), None);
    device.push("x", 10);
    device.commit().unwrap();
    assert_eq!(device.buffer.shape().generations, 2);
    set_fault(&active, None);
    assert_eq!(device.all_ts().len(), 10_010);
}

#[test]
fn a_block_missing_from_its_generation_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let device = filled(dir.path(), 1);
    let active = Arc::clone(&device.buffer.lock().active.generation);
    active.remove(&[parts::key(1, 0)]).unwrap();
    assert_eq!(device.buffer.read_block(1).unwrap(), None);
    assert_eq!(device.buffer.read_block(1).unwrap(), None);
    assert_eq!(device.buffer.stats().blocks_corrupt.load(Relaxed), 1);
}

#[test]
fn numbers_of_unreadable_blocks_at_the_end_are_not_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let device = filled(dir.path(), 1);
    let next_seq = device.buffer.next_seq();
    let active = Arc::clone(&device.buffer.lock().active.generation);
    for seq in 0..next_seq {
        active
            .put(vec![(parts::key(seq, 0), b"no block".to_vec())])
            .unwrap();
    }
    drop((active, device));
    let (device, _) = Device::open(small(dir.path()));
    assert_eq!(device.buffer.next_seq(), next_seq);
}

/// `bytes` as a newer version would have sealed them.
fn of_a_newer_version(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes[0] = crate::files::frame::FORMAT + 1;
    bytes.truncate(bytes.len() - 4);
    bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
    bytes
}

#[test]
fn what_a_newer_version_wrote_is_refused_and_not_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let device = filled(dir.path(), 1);
    let path = generation_dir(dir.path(), device.buffer.lock().active.id);
    let last = parts::key(device.buffer.next_seq() - 1, 0);
    drop(device);
    let refused = || {
        let refused = Buffer::open(small(dir.path())).map(|_| ());
        assert!(
            matches!(refused, Err(OpenError::Newer { format, .. }) if format == crate::files::frame::FORMAT + 1),
            "{refused:?}"
        );
        assert!(path.is_dir());
    };
    let put = |key: &[u8], value: Vec<u8>| {
        let generation = Generation::open_existing(&path).unwrap();
        generation.put(vec![(key.to_vec(), value)]).unwrap();
    };
    for key in [&last[..], b"m"] {
        let generation = Generation::open_existing(&path).unwrap();
        let known = generation.get(key).unwrap().unwrap().to_vec();
        drop(generation);
        put(key, of_a_newer_version(known.clone()));
        refused();
        put(key, known);
    }
    let corrections = dir.path().join("corrections");
    let known = fs::read(&corrections).ok();
    let newer = of_a_newer_version(crate::files::frame::seal(b"more than we know"));
    fs::write(&corrections, &newer).unwrap();
    refused();
    assert_eq!(fs::read(&corrections).unwrap(), newer);
    match known {
        Some(known) => fs::write(&corrections, known).unwrap(),
        None => fs::remove_file(&corrections).unwrap(),
    }
    let (device, recovery) = Device::open(small(dir.path()));
    assert!(recovery.set_aside.is_empty(), "{recovery:?}");
    assert_eq!(device.all_ts().len(), 10_000);
}

#[test]
fn a_reader_that_holds_a_generation_keeps_nobody_else_out() {
    let dir = tempfile::tempdir().unwrap();
    let device = filled(dir.path(), 60);
    let ids: Vec<u64> = device
        .buffer
        .lock()
        .sealed
        .iter()
        .map(|sealed| sealed.id)
        .collect();
    let held = device.buffer.open_generation(ids[0]).unwrap();
    for id in &ids[1..4] {
        device.buffer.open_generation(*id).unwrap();
    }
    let again = device.buffer.open_generation(ids[0]).unwrap();
    assert!(Arc::ptr_eq(&held, &again));
}

#[test]
fn a_generation_that_nobody_reads_any_more_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let device = filled(dir.path(), 60);
    let id = device.buffer.lock().sealed[0].id;
    let open = Arc::downgrade(&device.buffer.open_generation(id).unwrap());
    device.buffer.close_unread();
    assert!(open.upgrade().is_some(), "just read");
    device.buffer.open_generation(id).unwrap();
    device.buffer.close_unread();
    assert!(open.upgrade().is_some(), "read again");
    device.buffer.close_unread();
    assert!(open.upgrade().is_none());
    device.buffer.open_generation(id).unwrap();
}

#[test]
fn a_damaged_sealed_generation_is_set_aside_when_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let device = filled(dir.path(), 40);
    let (id, extent) = {
        let inner = device.buffer.lock();
        (inner.sealed[0].id, inner.sealed[0].extent)
    };
    drop(device);
    fs::write(generation_dir(dir.path(), id).join("db"), b"").unwrap();
    let (device, recovery) = Device::open(small(dir.path()));
    assert_eq!(recovery, Recovery::default());
    assert_eq!(device.buffer.read_block(0).unwrap(), None);
    assert_eq!(device.buffer.oldest_seq(), extent.next_seq);
    let stats = device.buffer.stats();
    assert_eq!(stats.generations_set_aside.load(Relaxed), 1);
    assert_eq!(stats.rows_set_aside.load(Relaxed), extent.next_row);
    assert_eq!(stats.blocks_corrupt.load(Relaxed), 0);
}

#[test]
fn a_lost_mark_loses_no_generation() {
    let dir = tempfile::tempdir().unwrap();
    let mut device = filled(dir.path(), 40);
    let expected = device.all_ts();
    let newest = device.buffer.lock().active.id;
    drop(device);
    for id in 1..=newest {
        fs::remove_file(generation_dir(dir.path(), id).join("complete")).unwrap();
    }
    device = Device::open(small(dir.path())).0;
    assert_eq!(device.all_ts(), expected);
}

#[test]
fn a_generation_with_a_summary_is_not_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let device = filled(dir.path(), 20);
    let newest = device.buffer.lock().active.id;
    drop(device);
    // The newest one is as if its creation had been cut short.
    fs::remove_dir_all(generation_dir(dir.path(), newest)).unwrap();
    let (mut device, _) = Device::open(small(dir.path()));
    assert!(summary_path(dir.path(), newest - 1).exists());
    let before = device.all_ts().len();
    device.push("x", 10);
    device.commit().unwrap();
    drop(device);
    let (mut device, _) = Device::open(small(dir.path()));
    device.push("y", 10);
    device.commit().unwrap();
    assert_eq!(device.all_ts().len(), before + 20);
}

#[test]
fn a_commit_without_blocks_adds_to_the_fingerprints() {
    let dir = tempfile::tempdir().unwrap();
    let (mut device, _) = Device::open(small(dir.path()));
    device.push("x", 10);
    let blocks = device.finish();
    device.buffer.commit(&blocks, &[1, 2]).unwrap();
    device.buffer.commit(&[], &[3]).unwrap();
    drop(device);
    let (device, _) = Device::open(small(dir.path()));
    device.buffer.commit(&[], &[4]).unwrap();
    assert_eq!(device.buffer.fingerprints(), [1, 2, 3, 4]);
    drop(device);
    let (device, _) = Device::open(small(dir.path()));
    assert_eq!(device.buffer.fingerprints(), [1, 2, 3, 4]);
}

#[test]
fn a_missing_name_moves_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let (mut device, _) = Device::open(small(dir.path()));
    for name in ["a", "b", "c"] {
        device.push(name, 1);
    }
    device.commit().unwrap();
    let key = stream_entries(device.buffer.catalog().stream(1).unwrap())[0]
        .0
        .clone();
    let active = Arc::clone(&device.buffer.lock().active.generation);
    active.remove(&[key]).unwrap();
    drop((active, device));
    let (device, _) = Device::open(small(dir.path()));
    let catalog = device.buffer.catalog();
    let names = catalog
        .streams()
        .map(|stream| (stream.id, stream.name.as_str()));
    assert_eq!(names.collect::<Vec<_>>(), [(0, "a"), (2, "c")]);
    assert_eq!(device.stream("b").id, 3);
}

#[test]
fn names_of_any_length_stay_out_of_blobs() {
    let dir = tempfile::tempdir().unwrap();
    let (device, _) = Device::open(small(dir.path()));
    let fields: Vec<Field> = (0..1_000)
        .map(|n| Field {
            name: format!("{n:060}"),
            kind: FieldType::F64,
        })
        .collect();
    let long = "t".repeat(60_000);
    let schema = device
        .buffer
        .declare_schema("wide", &["tag".into()], &fields)
        .unwrap();
    device
        .buffer
        .declare_stream(schema.id, &long, std::slice::from_ref(&long));
    device.buffer.commit(&[], &[1]).unwrap();
    let catalog = device.buffer.catalog();
    drop(device);
    let (device, _) = Device::open(small(dir.path()));
    assert_eq!(device.buffer.catalog(), catalog);
    let blobs = generation_dir(dir.path(), 1).join("blobs");
    assert_eq!(blobs.read_dir().unwrap().count(), 0);
}

#[test]
fn corrections_survive_the_loss_of_either_file() {
    let dir = tempfile::tempdir().unwrap();
    let (mut device, _) = Device::open(small(dir.path()));
    device.push("x", 10);
    device.commit().unwrap();
    device.buffer.correct(0, 5_000_000).unwrap();
    let expected = device.all_ts();
    drop(device);
    for name in ["corrections", "corrections-copy", "corrections"] {
        fs::write(dir.path().join(name), b"torn").unwrap();
        let (device, recovery) = Device::open(small(dir.path()));
        assert_eq!(recovery.set_aside.len(), 1, "{recovery:?}");
        assert!(!recovery.newest_lost);
        assert_eq!(device.all_ts(), expected);
    }
}

#[test]
fn numbers_that_were_corrected_do_not_come_again_with_another_clock() {
    let dir = tempfile::tempdir().unwrap();
    let (mut device, _) = Device::open(small(dir.path()));
    for round in 0..3 {
        device.push("x", 10);
        device.commit().unwrap();
        device
            .buffer
            .correct(device.buffer.oldest_seq(), 7_000)
            .unwrap();
        let (last, id) = (device.buffer.next_seq(), device.buffer.lock().active.id);
        drop(device);
        fs::write(generation_dir(dir.path(), id).join("db"), b"").unwrap();
        let recovery;
        (device, recovery) = Device::open(small(dir.path()));
        assert!(recovery.newest_lost);
        assert!(device.buffer.next_seq() > last, "round {round}");
    }
}

#[test]
fn corrections_that_add_up_beyond_all_bounds_do_not_overflow() {
    let dir = tempfile::tempdir().unwrap();
    let (mut device, _) = Device::open(small(dir.path()));
    device.push("x", 10);
    device.commit().unwrap();
    for _ in 0..3 {
        device.buffer.correct(0, i64::MAX / 2).unwrap();
    }
    assert_eq!(device.buffer.times(0).unwrap(), Some((i64::MAX, i64::MAX)));
}

#[test]
fn the_newest_timestamp_is_corrected_when_its_block_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = small(dir.path());
    options.replay_bytes_max = 0;
    let (mut device, _) = Device::open(options);
    device.push("x", 10);
    device.commit().unwrap();
    device.buffer.correct(0, 5_000).unwrap();
    let newest = device.buffer.shape().newest_ts;
    device.buffer.rotate(&mut device.buffer.change()).unwrap();
    assert_eq!(device.buffer.shape().newest_ts, newest);
    device.buffer.uploaded_to(device.buffer.next_seq());
    assert_eq!(device.buffer.shape().generations, 1);
    assert_eq!(device.buffer.shape().newest_ts, newest);
}
