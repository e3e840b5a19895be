//! Cohorts over a real buffer in a temporary directory.

#![allow(clippy::unwrap_used, clippy::float_cmp)]

use std::sync::Arc;

use dunlin_models::data::{Rows, Source, WindowShape};
use dunlin_sync::{
    block::{builder::BlockBuilder, pack::Compression},
    buffer::{Buffer, BufferOptions},
    sample::{Field, FieldType, Sample, Split, Timestamp, Value},
};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::*;

mod choosing;
mod gridded;
mod joined;
mod refusing;
mod windows;

const ROWS: WindowShape = WindowShape {
    lookback: 1,
    horizon: 0,
};
const WINDOWS: WindowShape = WindowShape {
    lookback: 3,
    horizon: 1,
};

struct Device {
    dir: tempfile::TempDir,
    buffer: Arc<Buffer>,
    builder: BlockBuilder,
}

fn fields(all: &[(&str, FieldType)]) -> Vec<Field> {
    let fields = all.iter().map(|(name, kind)| Field {
        name: (*name).into(),
        kind: *kind,
    });
    fields.collect()
}

impl Device {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (buffer, _) = Buffer::open(BufferOptions::new(dir.path(), 8 << 20)).unwrap();
        Self {
            dir,
            buffer: Arc::new(buffer),
            builder: BlockBuilder::new(Compression::Pco),
        }
    }

    /// One record of a press: temperature, a speed that may be missing, what it does.
    fn press(&mut self, machine: &str, ts: i64, values: [Option<Value>; 3]) {
        let kinds = fields(&[
            ("temperature", FieldType::F64),
            ("speed", FieldType::I64),
            ("state", FieldType::Text),
        ]);
        let tags = ["device".into(), "machine".into()];
        let schema = self.buffer.declare_schema("press", &tags, &kinds).unwrap();
        let (name, tags) = (format!("press/{machine}"), ["pi".into(), machine.into()]);
        let stream = self.buffer.declare_stream(schema.id, &name, &tags);
        let sample = Sample {
            stream: stream.id,
            ts: Timestamp(ts),
            split: Split {
                is_train: ts % 5 != 0,
                fold: (ts % 3) as u8,
            },
            source_ts: None,
            values: values.into_iter().collect(),
        };
        self.builder.push(&schema, sample).unwrap();
    }

    /// Records `from..to` of one press, whose temperature is the time.
    fn presses(&mut self, machine: &str, times: std::ops::Range<i64>) {
        for ts in times {
            let state = if ts % 10 == 0 { "stopped" } else { "running" };
            let values = [
                Some(Value::F64(ts as f64)),
                Some(Value::I64(ts % 7)),
                Some(Value::Text(state.into())),
            ];
            self.press(machine, ts, values);
        }
    }

    fn commit(&mut self) {
        self.buffer.commit(&self.builder.finish(), &[]).unwrap();
    }

    /// Two presses, the records of each in several blocks.
    fn with_presses() -> Self {
        let mut device = Self::new();
        for from in (1..1_001).step_by(250) {
            device.presses("b", from..from + 125);
            device.presses("a", from + 125..from + 250);
            device.commit();
        }
        device
    }

    fn resolve(&self, query: &CohortQuery, shape: WindowShape) -> Cohort {
        resolve(&self.buffer, query, shape).unwrap()
    }

    fn refused(&self, query: &CohortQuery) -> String {
        let Err(error) = resolve(&self.buffer, query, ROWS) else {
            panic!("{query} is not refused");
        };
        error.to_string()
    }

    /// Timestamps of the rows that count.
    fn times(&self, query: &CohortQuery) -> Vec<i64> {
        times(&self.resolve(query, ROWS))
    }
}

fn chunks(cohort: &Cohort) -> Vec<Arc<Rows>> {
    (0..cohort.chunks())
        .map(|index| cohort.read(index).unwrap())
        .collect()
}

fn times(cohort: &Cohort) -> Vec<i64> {
    let rows = chunks(cohort);
    let times: Vec<i64> = rows.iter().flat_map(|rows| rows.ts.clone()).collect();
    assert_eq!(times.len() as u64, cohort.lineage().rows);
    times
}

fn condition(text: &str) -> Condition {
    Condition::parse(text).unwrap()
}

#[test]
fn a_query_gives_columns_rows_and_lineage() {
    let device = Device::with_presses();
    let cohort = device.resolve(&CohortQuery::of("press/*"), ROWS);
    assert_eq!(cohort.columns().features, ["temperature", "speed"]);
    let lineage = cohort.lineage().clone();
    assert_eq!(
        (lineage.rows, lineage.first_ts, lineage.last_ts),
        (1_000, 1, 1_000)
    );
    assert_eq!(lineage.query, "--streams='press/*'");
    let streams = cohort.streams().into_iter().map(|s| (s.stream, s.rows));
    let expected = [("press/a".into(), 500), ("press/b".into(), 500)];
    assert_eq!(streams.collect::<Vec<(String, u64)>>(), expected);
    for rows in chunks(&cohort) {
        assert!(rows.ts.is_sorted());
        for (row, ts) in rows.ts.iter().enumerate() {
            assert_eq!(
                rows.values_of(row..row + 1, 2),
                [*ts as f32, (ts % 7) as f32]
            );
            assert_eq!(rows.is_train[row], ts % 5 != 0);
        }
    }
    let again = device.resolve(&CohortQuery::of("press/*"), ROWS);
    assert_eq!(*again.lineage(), lineage);
    let fewer = device.resolve(
        &CohortQuery {
            to: Some(999),
            ..CohortQuery::of("press/*")
        },
        ROWS,
    );
    assert_ne!(fewer.lineage().rows_hash, lineage.rows_hash);
}

#[test]
fn the_hash_is_of_streams_counts_and_timestamps() {
    let device = Device::with_presses();
    let query = CohortQuery {
        split: SplitPart::Train,
        gap_ns_max: Some(100),
        rows_per_chunk_max: 7,
        ..CohortQuery::of("*")
    };
    let mut expected = Xxh3::new();
    for (name, first) in [("press/a", 126_i64), ("press/b", 1)] {
        let times = (0..4).flat_map(|i| first + 250 * i..first + 125 + 250 * i);
        let times: Vec<i64> = times.filter(|ts| ts % 5 != 0).collect();
        let bytes: Vec<u8> = times.iter().flat_map(|ts| ts.to_le_bytes()).collect();
        expected.update(&(name.len() as u64).to_le_bytes());
        expected.update(name.as_bytes());
        expected.update(&(times.len() as u64).to_le_bytes());
        expected.update(&xxh3_64(&bytes).to_le_bytes());
    }
    // Stored with every version of a model: it must mean the same for ever.
    for shape in [ROWS, WINDOWS] {
        let found = device.resolve(&query, shape).lineage().rows_hash;
        assert_eq!(found, expected.digest());
    }
}

#[test]
fn what_arrives_or_is_trimmed_later_changes_nothing_unnoticed() {
    let mut device = Device::with_presses();
    let cohort = device.resolve(&CohortQuery::of("*"), ROWS);
    let (before, lineage) = (times(&cohort), cohort.lineage().clone());
    device.presses("a", 1_001..1_100);
    device.commit();
    assert_eq!(times(&cohort), before);
    assert_eq!(*cohort.lineage(), lineage);
    assert_eq!(device.times(&CohortQuery::of("*")).len(), 1_099);
    // Noise fills the buffer until the first records are deleted, once uploaded.
    let mut ts = 2_000;
    while device.buffer.oldest_seq() == 0 {
        for _ in 0..20_000 {
            ts += 1;
            let noise = (ts as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            device.press(
                "c",
                ts,
                [
                    Some(Value::F64(f64::from_bits(noise))),
                    Some(Value::I64(noise as i64)),
                    None,
                ],
            );
        }
        device.commit();
        device.buffer.uploaded_to(device.buffer.next_seq());
    }
    let error = cohort.read(0).unwrap_err().to_string();
    assert!(error.contains("was trimmed or lost since"), "{error}");
    assert!(cohort.read(99).is_err());
    drop(device.dir);
}
