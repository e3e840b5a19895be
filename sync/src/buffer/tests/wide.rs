//! Records of several blocks' worth: stored in parts, read as one.

#![allow(clippy::unwrap_used)]

use std::sync::atomic::Ordering::Relaxed;

use crate::{
    block::{
        Block,
        builder::{BLOCK_BYTES_MAX, BlockBuilder, FIELDS_MAX},
        pack::Compression,
    },
    buffer::{
        tests::{Device, small},
        *,
    },
    sample::{Field, FieldType, Sample, Schema, Split, StreamId, TimeRange, Timestamp, Value},
};

fn mixed(mut n: u64) -> u64 {
    n = (n ^ (n >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    n = (n ^ (n >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    n ^ (n >> 31)
}

/// The record numbered `n` of [`FIELDS_MAX`] numbers.
fn wide(stream: StreamId, n: i64) -> Sample {
    let values = (0..FIELDS_MAX as u64).map(|field| {
        let noise = mixed((n as u64) << 20 | field);
        Some(Value::F64(f64::from_bits(noise >> 2)))
    });
    Sample {
        stream,
        ts: Timestamp(10_000 * (n + 1)),
        split: Split {
            is_train: true,
            fold: 0,
        },
        source_ts: Some(n),
        values: values.collect(),
    }
}

fn declare(buffer: &Buffer) -> (Arc<Schema>, StreamId) {
    let fields = (0..FIELDS_MAX).map(|n| Field {
        name: format!("f{n}"),
        kind: FieldType::F64,
    });
    let fields: Vec<Field> = fields.collect();
    let schema = buffer.declare_schema("wide", &["device".into()], &fields);
    let schema = schema.unwrap();
    let stream = buffer.declare_stream(schema.id, "wide/1", &["d".into()]).id;
    (schema, stream)
}

/// Commits the records `numbers`, each by itself; one past the last block.
fn commit(buffer: &Buffer, numbers: std::ops::Range<i64>) -> u64 {
    let (schema, stream) = declare(buffer);
    for n in numbers {
        let mut builder = BlockBuilder::new(Compression::Pco);
        builder.push(&schema, wide(stream, n)).unwrap();
        let blocks = builder.finish();
        assert_eq!(blocks.len(), 1);
        assert!(blocks[0].encoded_bytes() > 3 * BLOCK_BYTES_MAX);
        buffer.commit(&blocks, &[]).unwrap();
    }
    buffer.next_seq()
}

fn is_whole(block: &Block, n: i64) -> bool {
    let (section, wanted) = (&block.sections[0], wide(0, n));
    let columns = &section.rows.columns;
    section.rows.ts == [wanted.ts.0]
        && columns.len() == FIELDS_MAX
        && wanted.values.iter().all(|(field, value)| {
            columns.get(field).and_then(|column| column.get(0)).as_ref() == Some(value)
        })
}

fn newest(buffer: &Buffer) -> Arc<Generation> {
    Arc::clone(&buffer.lock().active.generation)
}

#[test]
fn a_wide_record_is_stored_in_parts_and_read_as_one_block() {
    let dir = tempfile::tempdir().unwrap();
    let (device, _) = Device::open(small(dir.path()));
    // More than a generation of 1 MiB holds.
    let records = 40_i64;
    assert_eq!(commit(&device.buffer, 0..records), records as u64);
    let shape = device.buffer.shape();
    assert!(shape.generations > 1, "{shape:?}");
    let mut parts = 0;
    let looked = newest(&device.buffer).scan(b"b", |_, value| {
        parts += 1;
        assert!(value.len() <= BLOCK_BYTES_MAX);
        true
    });
    looked.unwrap();
    assert!(parts > 2);
    assert_eq!(fs_blobs(dir.path()), 0);

    let first = device.buffer.lock().sealed[0].id;
    drop(device);
    // Asked then, and its rows counted by reading its blocks.
    std::fs::remove_file(space::summary_path(dir.path(), first)).unwrap();
    let (device, recovery) = Device::open(small(dir.path()));
    assert_eq!(recovery, Recovery::default());
    let again = device.buffer.shape();
    assert_eq!(
        (again.next_seq, again.rows, again.newest_ts),
        (shape.next_seq, shape.rows, shape.newest_ts)
    );
    let buffer = &device.buffer;
    let (schema, stream) = declare(buffer);
    assert_eq!(buffer.rows_of(stream), records as u64);
    let fields = Fields::from([(
        schema.id,
        vec![(4_095, FieldType::F64), (0, FieldType::F64)],
    )]);
    let mut reader = buffer.read_fields(&fields);
    for n in 0..records {
        let seq = n as u64;
        assert!(is_whole(&buffer.read_block(seq).unwrap().unwrap(), n));
        assert_eq!(buffer.rows_before(seq), seq);
        let ts = 10_000 * (n + 1);
        assert_eq!(buffer.times(seq).unwrap(), Some((ts, ts)));
        assert_eq!(buffer.locate(ts, 0).unwrap(), seq);
        let part = reader.block(seq).unwrap().unwrap();
        let last = part.sections[0].rows.columns[0].get(0);
        assert_eq!(last.as_ref(), wide(0, n).values.get(4_095));
        assert_eq!(reader.outline(seq).unwrap().unwrap().runs.len(), 1);
    }
    let query = Query {
        range: TimeRange {
            from: Timestamp(20_000),
            to: Timestamp(50_000),
        },
        ..Query::all(stream, vec![7, 4_000])
    };
    let matrix = buffer.matrix(&query).unwrap();
    assert_eq!(matrix.ts, [20_000, 30_000, 40_000, 50_000]);
    let Some(Value::F64(wanted)) = wide(0, 4).values.get(4_000).cloned() else {
        panic!("no number");
    };
    assert_eq!(matrix.columns[1][3].to_bits(), (wanted as f32).to_bits());
    buffer.uploaded_to(records as u64);
}

fn fs_blobs(dir: &std::path::Path) -> usize {
    let generations = std::fs::read_dir(dir).unwrap();
    let blobs =
        generations.flat_map(|entry| std::fs::read_dir(entry.unwrap().path().join("blobs")));
    blobs.map(Iterator::count).sum()
}

#[test]
fn a_missing_part_is_damage_of_its_block_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (device, _) = Device::open(small(dir.path()));
    commit(&device.buffer, 0..5);
    let generation = newest(&device.buffer);
    // A part in the middle, the last one, the first one.
    generation.remove(&[parts::key(1, 2)]).unwrap();
    let mut last = 0;
    while generation.get(&parts::key(2, last + 1)).unwrap().is_some() {
        last += 1;
    }
    generation.remove(&[parts::key(2, last)]).unwrap();
    generation.remove(&[parts::key(4, 0)]).unwrap();
    drop((generation, device));

    // The last block counts as used, though nothing but later parts of it are left.
    let (device, recovery) = Device::open(small(dir.path()));
    assert_eq!(recovery, Recovery::default());
    assert_eq!(device.buffer.next_seq(), 5);
    for (seq, is_there) in [true, false, false, true, false].into_iter().enumerate() {
        let block = device.buffer.read_block(seq as u64).unwrap();
        assert_eq!(
            block.is_some_and(|block| is_whole(&block, seq as i64)),
            is_there
        );
    }
    assert_eq!(device.buffer.stats().blocks_corrupt.load(Relaxed), 3);
    assert_eq!(device.buffer.stats().generations_set_aside.load(Relaxed), 0);
    assert_eq!(commit(&device.buffer, 5..6), 6);
    let block = device.buffer.read_block(5).unwrap().unwrap();
    assert!(is_whole(&block, 5));
}
