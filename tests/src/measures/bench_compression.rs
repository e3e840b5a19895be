//! Compression of blocks measured: bytes, time to encode, time to decode, for each method.
//!
//! `cargo run --release -p dunlin-tests --bin bench_compression [-- FILE.csv ...]` prints a table. The
//! numeric columns of the files (any delimiter of `,` `;`) are taken as `f64`, as an agent would take
//! them from JSON; without files, a simulated signal. Blocks are filled as the writer fills them, once
//! with many records to a commit and once with 25 (a slow plant at the smallest gap).

use std::{fs, time::Instant};

use dunlin_sync::{
    block::{
        builder::BlockBuilder,
        codec::{self, BlockBody},
        pack::Compression,
    },
    sample::{Field, FieldType, Sample, Schema, Split, Timestamp, Value},
};

const REPEATS: usize = 5;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files: Vec<String> = std::env::args().skip(1).collect();
    let mut tables = Vec::new();
    for file in &files {
        tables.push((
            file.rsplit('/').next().unwrap_or(file).to_owned(),
            read_numbers(file)?,
        ));
    }
    if tables.is_empty() {
        tables.push(("simulated".into(), simulated()));
    }
    println!(
        "{:<28} {:>7} {:>6} {:>13} {:>11} {:>11}",
        "data", "commit", "method", "bytes/record", "encode ns", "decode ns"
    );
    for (name, rows) in &tables {
        for commit in [5_000, 25] {
            for method in [Compression::None, Compression::Lz4, Compression::Pco] {
                measure(name, rows, commit, method)?;
            }
        }
    }
    Ok(())
}

fn read_numbers(file: &str) -> Result<Vec<Vec<f64>>, Box<dyn std::error::Error>> {
    let text = fs::read_to_string(file)?;
    let delimiter = if text.lines().next().is_some_and(|l| l.contains(';')) {
        ';'
    } else {
        ','
    };
    let numbers = |line: &str| {
        line.split(delimiter)
            .filter_map(|cell| cell.trim().parse().ok())
            .collect()
    };
    let rows: Vec<Vec<f64>> = text
        .lines()
        .skip(1)
        .map(numbers)
        .filter(|r: &Vec<f64>| !r.is_empty())
        .collect();
    Ok(rows)
}

fn simulated() -> Vec<Vec<f64>> {
    let mut state = 1_u64;
    let row = |step: usize| {
        (0..4)
            .map(|channel| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695);
                let noise = (state >> 40) as f64 / f64::from(1 << 24) - 0.5;
                let value = (step as f64 * 0.01 * f64::from(channel + 1)).sin() + 0.1 * noise;
                (value * 1000.0).round() / 1000.0
            })
            .collect()
    };
    (0..20_000).map(row).collect()
}

fn measure(
    name: &str,
    rows: &[Vec<f64>],
    commit: usize,
    method: Compression,
) -> Result<(), Box<dyn std::error::Error>> {
    let width = rows.iter().map(Vec::len).max().unwrap_or_default();
    let fields = (0..width)
        .map(|i| Field {
            name: format!("c{i}"),
            kind: FieldType::F64,
        })
        .collect();
    let schema = Schema {
        id: 0,
        name: "bench".into(),
        tag_names: vec!["device".into()],
        fields,
        origins: Vec::new(),
    };
    let (mut encode_ns, mut decode_ns) = (f64::INFINITY, f64::INFINITY);
    let mut bytes = 0;
    for _ in 0..REPEATS {
        let samples: Vec<Sample> = rows
            .iter()
            .enumerate()
            .map(|(index, row)| Sample {
                stream: (index % 5) as u32,
                ts: Timestamp(1_800_000_000_000_000_000 + index as i64 * 10_000_019),
                split: Split {
                    is_train: index % 5 != 0,
                    fold: 0,
                },
                source_ts: None,
                values: row.iter().map(|v| Some(Value::F64(*v))).collect(),
            })
            .collect();
        let mut builder = BlockBuilder::new(method);
        let mut bodies: Vec<BlockBody> = Vec::new();
        let started = Instant::now();
        for (index, sample) in samples.into_iter().enumerate() {
            builder.push(&schema, sample)?;
            if index % commit == commit - 1 {
                bodies.extend(builder.finish());
            }
        }
        bodies.extend(builder.finish());
        encode_ns = encode_ns.min(started.elapsed().as_nanos() as f64);
        let stored: Vec<Vec<u8>> = bodies
            .iter()
            .map(|b| b.stored(0))
            .collect::<Result<_, _>>()?;
        bytes = stored.iter().map(Vec::len).sum();
        let started = Instant::now();
        for (seq, block) in stored.iter().enumerate() {
            codec::decode(seq as u64, block, 0)?;
        }
        decode_ns = decode_ns.min(started.elapsed().as_nanos() as f64);
    }
    let per = |total: f64| total / rows.len() as f64;
    println!(
        "{name:<28} {commit:>7} {:>6} {:>13.1} {:>11.0} {:>11.0}",
        format!("{method:?}").to_lowercase(),
        per(bytes as f64),
        per(encode_ns),
        per(decode_ns)
    );
    Ok(())
}
