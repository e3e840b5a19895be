#![allow(clippy::unwrap_used)]

mod catalog;
mod fault;
mod wide;

use std::{fs, sync::atomic::Ordering::Relaxed};

use super::{space::generation_dir, *};
use crate::{
    block::{builder::BlockBuilder, codec::BlockBody, pack::Compression},
    files::frame,
    sample::{Field, FieldType, Sample, Split, Stream, TimeRange, Timestamp, Value},
};

pub(super) struct Device {
    pub(super) buffer: Buffer,
    builder: BlockBuilder,
    pub(super) ts: i64,
}

impl Device {
    pub(super) fn open(options: BufferOptions) -> (Self, Recovery) {
        let (buffer, recovery) = Buffer::open(options).unwrap();
        let ts = buffer.shape().newest_ts.unwrap_or(1_000);
        (
            Self {
                buffer,
                builder: BlockBuilder::new(Compression::Pco),
                ts,
            },
            recovery,
        )
    }

    pub(super) fn stream(&self, name: &str) -> Arc<Stream> {
        let fields = [Field {
            name: "a".into(),
            kind: FieldType::F64,
        }];
        let schema = self
            .buffer
            .declare_schema("s", &["device".into()], &fields)
            .unwrap();
        self.buffer.declare_stream(schema.id, name, &["d".into()])
    }

    /// Pushes `rows` records of noise; values are what the position in the sequence makes them.
    pub(super) fn push(&mut self, name: &str, rows: usize) {
        let stream = self.stream(name);
        let catalog = self.buffer.catalog();
        for _ in 0..rows {
            self.ts += 1;
            let noise = (self.ts as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let sample = Sample {
                stream: stream.id,
                ts: Timestamp(self.ts),
                split: Split {
                    is_train: !noise.is_multiple_of(5),
                    fold: (noise % 3) as u8,
                },
                source_ts: None,
                values: vec![Some(Value::F64(noise as f64))].into(),
            };
            self.builder
                .push(&catalog.schemas()[stream.schema as usize], sample)
                .unwrap();
        }
    }

    pub(super) fn finish(&mut self) -> Vec<BlockBody> {
        self.builder.finish()
    }

    pub(super) fn commit(&mut self) -> Result<u64, CommitError> {
        self.buffer.commit(&self.builder.finish(), &[])
    }

    pub(super) fn all_ts(&self) -> Vec<i64> {
        let mut seq = self.buffer.oldest_seq();
        let mut all = Vec::new();
        while seq < self.buffer.next_seq() {
            if let Some(block) = self.buffer.read_block(seq).unwrap() {
                let mut ts: Vec<i64> = block
                    .sections
                    .iter()
                    .flat_map(|s| s.rows.ts.iter().copied())
                    .collect();
                ts.sort_unstable();
                all.extend(ts);
            }
            seq = self.buffer.next_stored(seq);
        }
        all
    }
}

pub(super) fn small(dir: &std::path::Path) -> BufferOptions {
    BufferOptions::new(dir, 8 << 20)
}

#[test]
fn committed_records_come_back_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let (mut device, _) = Device::open(small(dir.path()));
    device.push("x", 3_000);
    device.commit().unwrap();
    device.push("y", 500);
    device.commit().unwrap();
    let (expected, catalog, shape) = (
        device.all_ts(),
        device.buffer.catalog(),
        device.buffer.shape(),
    );
    assert_eq!(expected.len(), 3_500);
    drop(device);

    let (device, recovery) = Device::open(small(dir.path()));
    assert_eq!(recovery, Recovery::default());
    assert_eq!(device.all_ts(), expected);
    assert_eq!(device.buffer.catalog(), catalog);
    let again = device.buffer.shape();
    assert_eq!(
        (again.next_seq, again.rows_total),
        (shape.next_seq, shape.rows_total)
    );
    assert_eq!(again.newest_ts, Some(4_500));
}

#[test]
fn what_was_not_committed_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let (mut device, _) = Device::open(small(dir.path()));
    device.push("x", 10);
    device.commit().unwrap();
    device.push("x", 10);
    drop(device);
    assert_eq!(Device::open(small(dir.path())).0.all_ts().len(), 10);
}

#[test]
fn generations_rotate_and_are_deleted_once_uploaded_and_out_of_the_replay_window() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = small(dir.path());
    options.replay_bytes_max = 2 << 20;
    let (mut device, _) = Device::open(options.clone());
    for _ in 0..40 {
        device.push("x", 10_000);
        device.commit().unwrap();
    }
    let full = device.buffer.shape();
    assert!(full.generations >= 4, "{full:?}");
    device.buffer.uploaded_to(full.next_seq);
    let drained = device.buffer.shape();
    assert!(
        drained.generations < full.generations && drained.bytes <= 4 << 20,
        "{drained:?}"
    );
    assert!(drained.rows > 0, "the replay window stays");
    assert_eq!(drained.rows_total, 400_000);
    assert_eq!(device.all_ts().len() as u64, drained.rows);
    drop(device);
    let (device, _) = Device::open(options);
    assert_eq!(device.buffer.shape().rows, drained.rows);
}

#[test]
fn a_commit_that_may_overwrite_what_it_moves_begins_a_generation() {
    let dir = tempfile::tempdir().unwrap();
    let (mut device, _) = Device::open(small(dir.path()));
    let mut generations = Vec::new();
    // Small ones share a generation, and a new generation takes a large one whole.
    for rows in [1_000, 10_000, 60_000, 1_000, 60_000] {
        device.push("x", rows);
        device.commit().unwrap();
        generations.push(device.buffer.shape().generations);
    }
    assert_eq!(generations, [1, 1, 2, 2, 3]);
    assert_eq!(device.all_ts().len(), 132_000);
}

#[test]
fn nothing_is_trimmed_past_the_uploader() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = small(dir.path());
    options.replay_bytes_max = 0;
    let (mut device, _) = Device::open(options);
    for _ in 0..30 {
        device.push("x", 10_000);
        device.commit().unwrap();
    }
    let reached = device.buffer.shape().next_seq / 2;
    device.buffer.uploaded_to(reached);
    let shape = device.buffer.shape();
    assert!(
        shape.oldest_seq <= reached && shape.oldest_seq > 0,
        "{shape:?}"
    );
    let kept = device.all_ts();
    assert_eq!(kept.last(), Some(&301_000));
    assert!(kept.windows(2).all(|pair| pair[1] == pair[0] + 1));
}

#[test]
fn what_is_still_read_is_kept_until_space_is_short() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = small(dir.path());
    options.replay_bytes_max = 0;
    let (mut device, _) = Device::open(options);
    for _ in 0..30 {
        device.push("x", 10_000);
        device.commit().unwrap();
    }
    let reached = device.buffer.next_seq() / 2;
    device.buffer.wanted_from(reached);
    device.buffer.uploaded_to(device.buffer.next_seq());
    let kept = device.buffer.oldest_seq();
    assert!(kept <= reached && kept > 0, "{kept} of {reached}");
    for _ in 0..120 {
        device.push("x", 10_000);
        device.commit().unwrap();
        device.buffer.uploaded_to(device.buffer.next_seq());
    }
    assert!(
        device.buffer.oldest_seq() > reached,
        "new records come first"
    );
    device.buffer.wanted_from(u64::MAX);
    device.buffer.uploaded_to(device.buffer.next_seq());
    assert_eq!(device.buffer.shape().generations, 1);
}

#[test]
fn full_blocks_until_something_is_uploaded() {
    let dir = tempfile::tempdir().unwrap();
    let (mut device, _) = Device::open(small(dir.path()));
    device.push("x", 10_000);
    let blocks = loop {
        let blocks = device.builder.finish();
        match device.buffer.commit(&blocks, &[]) {
            Ok(_) => device.push("x", 10_000),
            Err(CommitError::Full(_)) => break blocks,
            Err(error) => panic!("{error}"),
        }
    };
    assert!(device.buffer.shape().bytes <= 8 << 20);
    device.buffer.uploaded_to(device.buffer.next_seq());
    device.buffer.commit(&blocks, &[]).unwrap();
}

#[test]
fn drop_oldest_counts_what_it_drops() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = small(dir.path());
    options.when_full = WhenFull::DropOldest;
    let (mut device, _) = Device::open(options);
    for _ in 0..120 {
        device.push("x", 10_000);
        device.commit().unwrap();
    }
    let shape = device.buffer.shape();
    let dropped = device.buffer.stats().rows_dropped.load(Relaxed);
    assert!(dropped > 0 && shape.bytes <= 8 << 20);
    assert_eq!(shape.rows + dropped, 1_200_000);
}

#[test]
fn a_damaged_generation_is_set_aside_alone_and_its_numbers_are_not_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let (mut device, _) = Device::open(small(dir.path()));
    for _ in 0..20 {
        device.push("x", 10_000);
        device.commit().unwrap();
    }
    let before = device.all_ts();
    let newest = device.buffer.lock().active.id;
    let next_seq = device.buffer.next_seq();
    drop(device);
    let db = generation_dir(dir.path(), newest).join("db");
    let mut bytes = fs::read(&db).unwrap();
    for byte in &mut bytes {
        *byte = !*byte;
    }
    fs::write(&db, bytes).unwrap();
    fs::write(generation_dir(dir.path(), newest).join("conf"), b"rubbish").unwrap();

    let (mut device, recovery) = Device::open(small(dir.path()));
    assert!(recovery.newest_lost, "{recovery:?}");
    let after = device.all_ts();
    assert!(!after.is_empty() && before.starts_with(&after));
    assert!(device.buffer.next_seq() > next_seq);
    device.ts = before.len() as i64 + 5_000;
    device.push("x", 10);
    device.commit().unwrap();
    assert_eq!(device.all_ts().len(), after.len() + 10);
    assert_eq!(
        device.buffer.rows_before(u64::MAX),
        device.buffer.shape().rows_total
    );
    assert!(dir.path().join("set_aside").read_dir().unwrap().count() == 1);
}

#[test]
fn a_buffer_that_lost_its_tail_without_a_trace_never_reuses_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let (mut device, _) = Device::open(small(dir.path()));
    device.push("x", 1_000);
    let next_seq = device.commit().unwrap();
    drop(device);
    let options = BufferOptions {
        seq_floor: next_seq + 5,
        ..small(dir.path())
    };
    let (mut device, recovery) = Device::open(options);
    assert!(recovery.newest_lost);
    assert!(device.buffer.next_seq() > next_seq + 5);
    device.push("x", 10);
    device.commit().unwrap();
    assert_eq!(device.all_ts().len(), 1_010);
}

#[test]
fn a_creation_cut_short_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let (mut device, _) = Device::open(small(dir.path()));
    device.push("x", 100);
    device.commit().unwrap();
    drop(device);
    drop(sled::open(generation_dir(dir.path(), 2)).unwrap());
    fs::create_dir_all(dir.path().join("trash-7").join("blobs")).unwrap();
    let (device, recovery) = Device::open(small(dir.path()));
    assert_eq!(recovery, Recovery::default());
    assert_eq!(device.all_ts().len(), 100);
    assert_eq!(device.buffer.catalog().streams().len(), 1);
    assert!(!dir.path().join("trash-7").exists());
}

#[test]
fn a_correction_moves_timestamps_and_survives_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let (mut device, _) = Device::open(small(dir.path()));
    device.push("x", 100);
    let first = device.commit().unwrap();
    device.push("x", 100);
    device.commit().unwrap();
    device.buffer.correct(first, 1_000_000).unwrap();
    drop(device);
    let (device, _) = Device::open(small(dir.path()));
    let ts = device.all_ts();
    assert_eq!((ts[99], ts[100], ts[199]), (1_100, 1_001_101, 1_001_200));
    assert_eq!(device.buffer.shape().newest_ts, Some(1_001_200));
    let query = Query {
        range: TimeRange {
            from: Timestamp(1_001_150),
            to: Timestamp(1_001_160),
        },
        ..Query::all(0, vec![0])
    };
    assert_eq!(device.buffer.matrix(&query).unwrap().ts.len(), 11);
}

#[test]
fn fingerprints_of_the_newest_commits_are_kept_over_rotation_and_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = small(dir.path());
    options.fingerprints_max = 1_000;
    let (mut device, _) = Device::open(options.clone());
    for commit in 0..30_u64 {
        device.push("x", 10_000);
        let prints: Vec<u64> = (commit * 600..(commit + 1) * 600).collect();
        device
            .buffer
            .commit(&device.builder.finish(), &prints)
            .unwrap();
    }
    assert!(device.buffer.shape().generations > 2);
    drop(device);
    let (device, _) = Device::open(options);
    assert_eq!(
        device.buffer.fingerprints(),
        (17_000..18_000).collect::<Vec<u64>>()
    );
}

#[test]
fn queries_select_by_stream_time_split_and_count() {
    let dir = tempfile::tempdir().unwrap();
    let (mut device, _) = Device::open(small(dir.path()));
    for _ in 0..50 {
        device.push("x", 300);
        device.push("y", 200);
        device.commit().unwrap();
    }
    let x = device.stream("x").id;
    let all = device.buffer.matrix(&Query::all(x, vec![0])).unwrap();
    assert_eq!((all.ts.len(), all.columns[0].len()), (15_000, 15_000));
    assert!(all.ts.is_sorted());

    let last = device.buffer.matrix(&Query::last(x, vec![0], 700)).unwrap();
    let expected: Vec<i64> = all.ts.iter().rev().take(700).copied().collect();
    assert_eq!(last.ts, expected);
    assert_eq!(
        last.columns[0][0].to_bits(),
        all.columns[0][14_999].to_bits()
    );

    let range = TimeRange {
        from: Timestamp(all.ts[777]),
        to: Timestamp(all.ts[9_999]),
    };
    let middle = device
        .buffer
        .matrix(&Query {
            range,
            ..Query::all(x, vec![0])
        })
        .unwrap();
    assert_eq!(middle.ts, all.ts[777..=9_999]);

    let half = |split| {
        device
            .buffer
            .matrix(&Query {
                split,
                ..Query::all(x, vec![0])
            })
            .unwrap()
            .ts
    };
    let (train, validation) = (half(SplitFilter::Train), half(SplitFilter::Validation));
    assert_eq!(train.len() + validation.len(), 15_000);
    let noise = |ts: i64| (ts as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    assert!(train.iter().all(|ts| noise(*ts) % 5 != 0));
    assert!(
        half(SplitFilter::Fold(2))
            .iter()
            .all(|ts| noise(*ts) % 3 == 2)
    );
}

#[test]
fn two_processes_cannot_share_a_buffer() {
    let dir = tempfile::tempdir().unwrap();
    let _device = Device::open(small(dir.path()));
    assert!(matches!(
        Buffer::open(small(dir.path())),
        Err(OpenError::InUse(_))
    ));
}

#[test]
fn no_blob_is_ever_written() {
    let dir = tempfile::tempdir().unwrap();
    let (mut device, _) = Device::open(small(dir.path()));
    for _ in 0..30 {
        device.push("x", 10_000);
        device.commit().unwrap();
        device.buffer.uploaded_to(device.buffer.next_seq());
    }
    for id in 1..20 {
        let blobs = generation_dir(dir.path(), id).join("blobs");
        if let Ok(entries) = blobs.read_dir() {
            assert_eq!(entries.count(), 0);
        }
    }
}

#[test]
fn some_fields_are_read_as_in_the_whole_block() {
    let dir = tempfile::tempdir().unwrap();
    let (mut device, _) = Device::open(small(dir.path()));
    let stream = device.stream("x");
    let other = [Field {
        name: "t".into(),
        kind: FieldType::Text,
    }];
    let late = device
        .buffer
        .declare_schema("s", &["device".into()], &other)
        .unwrap();
    device.push("x", 700);
    device.push("y", 300);
    device.commit().unwrap();
    let fields = Fields::from([(
        stream.schema,
        vec![(1, late.fields[1].kind), (0, FieldType::F64)],
    )]);
    let mut reader = device.buffer.read_fields(&fields);
    let none = Fields::new();
    for seq in device.buffer.oldest_seq()..device.buffer.next_seq() {
        let whole = device.buffer.read_block(seq).unwrap().unwrap();
        let some = reader.block(seq).unwrap().unwrap();
        for (whole, some) in whole.sections.iter().zip(&some.sections) {
            assert_eq!((&whole.runs, &whole.rows.ts), (&some.runs, &some.rows.ts));
            assert_eq!(whole.rows.is_train, some.rows.is_train);
            assert_eq!(whole.rows.fold, some.rows.fold);
            assert_eq!(some.rows.columns.len(), 2);
            assert_eq!(some.rows.columns[1], whole.rows.columns[0]);
            assert!(!some.rows.columns[0].is_present(0));
        }
        let outline = reader.outline(seq).unwrap().unwrap();
        let runs = whole.sections.iter().flat_map(|section| &section.runs);
        assert!(runs.eq(&outline.runs));
        assert_eq!(
            (outline.first_ts, outline.last_ts),
            (whole.first_ts, whole.last_ts)
        );
        let block = device.buffer.read_fields(&none).block(seq).unwrap();
        assert!(block.unwrap().sections.is_empty());
        let outline = device.buffer.read_fields(&none).outline(seq).unwrap();
        assert!(outline.unwrap().runs.is_empty());
    }
    assert_eq!(reader.block(device.buffer.next_seq()).unwrap(), None);
    assert_eq!(reader.outline(device.buffer.next_seq()).unwrap(), None);
}

#[test]
fn a_block_that_was_given_up_has_no_outline() {
    let dir = tempfile::tempdir().unwrap();
    let (mut device, _) = Device::open(small(dir.path()));
    let fields = Fields::from([(device.stream("x").schema, Vec::new())]);
    device.push("x", 10);
    let seq = device.commit().unwrap() - 1;
    let mut reader = device.buffer.read_fields(&fields);
    assert!(reader.outline(seq).unwrap().is_some());
    // Its frame is whole, so that only unpacking a column has told.
    device.buffer.lose_block(seq, "a column cannot be unpacked");
    assert_eq!(reader.outline(seq).unwrap(), None);
}

#[test]
fn a_stream_takes_on_other_tags_durably_and_remembers_its_first() {
    let dir = tempfile::tempdir().unwrap();
    let tags = |tags: &[&str]| -> Vec<String> { tags.iter().map(ToString::to_string).collect() };
    let open = || {
        Buffer::open(BufferOptions::new(dir.path(), 8 << 20))
            .unwrap()
            .0
    };
    let buffer = open();
    let schema = buffer
        .declare_schema("s", &tags(&["device", "site"]), &[])
        .unwrap();
    let stream = buffer.declare_stream(schema.id, "s", &tags(&["d", "north"]));
    assert_eq!(
        (stream.naming_tags(), &stream.first_tags),
        (&tags(&["d", "north"])[..], &None)
    );
    buffer.commit(&[], &[1]).unwrap();
    let grown = buffer
        .declare_schema("s", &tags(&["device", "area", "site"]), &[])
        .unwrap();
    assert_eq!(grown.tag_names, ["device", "site", "area"]);
    buffer.declare_stream(schema.id, "s", &tags(&["d", "south", "a"]));
    buffer.commit(&[], &[2]).unwrap();
    drop(buffer);
    let buffer = open();
    let catalog = buffer.catalog();
    assert_eq!(catalog.schemas(), [grown]);
    let stream = catalog.stream_named("s").unwrap();
    assert_eq!((stream.id, &stream.tags), (0, &tags(&["d", "south", "a"])));
    assert_eq!(stream.naming_tags(), tags(&["d", "north"]));
    // What it had at first, it has had all along.
    let back = buffer.declare_stream(schema.id, "s", &tags(&["d", "north"]));
    assert_eq!(back.first_tags, None);
}

/// Format 1 ended with the tags.
#[test]
fn a_stream_of_format_1_is_read() {
    let old = frame::to_bytes(&(
        3_u32,
        1_u32,
        "s/m1",
        ["d", "m1"].map(str::to_owned).to_vec(),
    ));
    let stream: Stream = frame::from_bytes(&old.unwrap()).unwrap();
    let tags = vec!["d".to_owned(), "m1".to_owned()];
    assert_eq!(
        stream,
        Stream {
            id: 3,
            schema: 1,
            name: "s/m1".into(),
            tags,
            first_tags: None
        }
    );
    let again = frame::to_bytes(&stream).unwrap();
    assert_eq!(frame::from_bytes::<Stream>(&again).unwrap(), stream);
}
