//! A buffer of several generations, with every type of field, gaps, and a correction of the clock.

use std::{error::Error, path::Path};

use dunlin_sync::{
    block::{Block, builder::BlockBuilder, pack::Compression},
    buffer::{Buffer, BufferOptions},
    sample::{Field, FieldType, Sample, Split, StreamId, Timestamp, Value},
};
use serde_json::json;

const STREAMS: u64 = 3;
const RECORDS: u64 = 60_000;
const RECORDS_A_COMMIT: u64 = 1_000;
const START_TS: i64 = 1_800_000_000_000_000_000;
/// From the middle of the commits on, the clock is put right by this much.
const CORRECTION_NS: i64 = 1_234_567;

type Done<T> = Result<T, Box<dyn Error>>;

fn open(dir: &Path) -> Done<Buffer> {
    let (buffer, recovery) = Buffer::open(BufferOptions::new(dir, 8 << 20))?;
    match recovery.set_aside.first() {
        Some(what) => Err(what.clone().into()),
        None => Ok(buffer),
    }
}

/// Fills a buffer in `dir`.
pub(crate) fn write(dir: &Path) -> Done<serde_json::Value> {
    let buffer = open(dir)?;
    let field = |(name, kind): (&str, FieldType)| Field {
        name: name.into(),
        kind,
    };
    let fields = [
        ("double", FieldType::F64),
        ("single", FieldType::F32),
        ("count", FieldType::I64),
        ("on", FieldType::Bool),
        ("state", FieldType::Text),
    ];
    let schema = buffer.declare_schema("exchange", &["device".into()], &fields.map(field))?;
    for stream in 0..STREAMS {
        buffer.declare_stream(schema.id, &format!("exchange/{stream}"), &["d".into()]);
    }
    let mut builder = BlockBuilder::new(Compression::default());
    let mut correct_from = 0;
    for n in 0..RECORDS {
        builder.push(&schema, sample(n))?;
        if (n + 1) % RECORDS_A_COMMIT == 0 {
            let next = buffer.commit(&builder.finish(), &[n, !n])?;
            if n + 1 == RECORDS / 2 {
                correct_from = next;
            }
        }
    }
    buffer.correct(correct_from, CORRECTION_NS)?;
    let shape = buffer.shape();
    if shape.generations < 2 {
        return Err("one generation is too few to show anything".into());
    }
    Ok(json!(shape))
}

/// Reads every record of the buffer in `dir`, and compares it with what it must be.
pub(crate) fn read(dir: &Path) -> Done<serde_json::Value> {
    let buffer = open(dir)?;
    let mut next = 0;
    for seq in buffer.oldest_seq()..buffer.next_seq() {
        let block = buffer.read_block(seq)?;
        let mut samples = samples(&block.ok_or_else(|| format!("block {seq} is lost"))?);
        samples.sort_by_key(|sample| sample.ts);
        for found in samples {
            let mut expected = sample(next);
            if next >= RECORDS / 2 {
                expected.ts = expected.ts.shifted(CORRECTION_NS);
            }
            if found != expected {
                return Err(format!("record {next} is {found:?}, not {expected:?}").into());
            }
            next += 1;
        }
    }
    let last = RECORDS - 1;
    if next != RECORDS {
        return Err(format!("{next} records, not {RECORDS}").into());
    }
    if !buffer.fingerprints().ends_with(&[last, !last]) {
        return Err("other fingerprints".into());
    }
    Ok(json!(buffer.shape()))
}

/// The record numbered `n`.
fn sample(n: u64) -> Sample {
    let noise = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let values = [
        Value::F64(noise as f64 / 3.0),
        Value::F32((noise >> 40) as f32 / 7.0),
        Value::I64(noise as i64),
        Value::Bool(noise.is_multiple_of(3)),
        Value::Text(format!("state {}", noise % 1_000).into()),
    ];
    // Each field is missing now and then.
    let values = (0..)
        .zip(values)
        .map(|(at, value)| (n % 7 != at).then_some(value));
    Sample {
        stream: (n % STREAMS) as StreamId,
        ts: Timestamp(START_TS + n as i64 * 1_000_003),
        split: Split {
            is_train: !noise.is_multiple_of(5),
            fold: (noise % 4) as u8,
        },
        source_ts: n.is_multiple_of(2).then_some(START_TS - n as i64),
        values: values.collect(),
    }
}

/// The records of `block`, stream after stream.
fn samples(block: &Block) -> Vec<Sample> {
    let mut samples = Vec::new();
    for section in &block.sections {
        let rows = &section.rows;
        let runs = section.runs.iter();
        let streams = runs.flat_map(|run| (0..run.rows).map(|_| run.stream));
        for (row, stream) in streams.enumerate() {
            samples.push(Sample {
                stream,
                ts: Timestamp(rows.ts[row]),
                split: Split {
                    is_train: rows.is_train[row],
                    fold: rows.fold[row],
                },
                source_ts: rows.source_ts[row],
                values: (0..5)
                    .map(|field| rows.columns.get(field)?.get(row))
                    .collect(),
            });
        }
    }
    samples
}
