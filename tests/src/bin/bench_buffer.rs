//! The buffer measured: commit, memory, disk, reopening, space coming back, reading a training set.
//!
//! `cargo run --release -p dunlin-tests --bin bench_buffer [-- --dir DIR --rows N]` prints one JSON
//! line. The training set is compared in the same run with reading the same floats from a raw file:
//! both warm (page cache) and cold (page cache dropped; needs root).

use std::{
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
    time::Instant,
};

use dunlin_sync::{
    buffer::{Buffer, BufferOptions, Query},
    builder::BlockBuilder,
    pack::Compression,
    sample::{Field, FieldType, Sample, Split, Timestamp, Value},
};
use dunlin_tests::measure::{drop_page_cache, median, rss_bytes, written_bytes};

const FIELDS: usize = 4;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut rows = 4_000_000_u64;
    let mut dir = std::env::temp_dir();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let value = args.next().ok_or("every option takes a value")?;
        match arg.as_str() {
            "--rows" => rows = value.parse()?,
            "--dir" => dir = PathBuf::from(value),
            other => return Err(format!("unknown option {other}").into()),
        }
    }
    let dir = tempfile::tempdir_in(dir)?;
    let one = commit(&dir.path().join("one"), rows, 1)?;
    let many = commit(&dir.path().join("many"), rows / 4, 1_000)?;
    let slow = slow_streams(&dir.path().join("slow"))?;
    let backlog = backlog(&dir.path().join("backlog"), rows)?;
    let training = training_set(&dir.path().join("one"), dir.path(), rows)?;
    println!(
        "{}",
        serde_json::json!({
            "commit_one_stream": one, "commit_1000_streams": many, "slow_streams": slow,
            "backlog": backlog, "training_set": training,
        })
    );
    Ok(())
}

/// A vibration-like signal: a few harmonics and noise, as `f32`.
struct Signal {
    state: u64,
    step: u64,
}

impl Signal {
    fn next(&mut self) -> [f32; FIELDS] {
        self.step += 1;
        let t = self.step as f32 * 0.01;
        std::array::from_fn(|channel| {
            self.state = self
                .state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695);
            let noise = (self.state >> 40) as f32 / (1 << 24) as f32 - 0.5;
            // Sensors have a resolution; 1/4096 is a 16-bit converter over +-8.
            let value = (t * (channel + 1) as f32).sin() + 0.1 * noise;
            (value * 4096.0).round() / 4096.0
        })
    }
}

fn fields() -> Vec<Field> {
    (0..FIELDS)
        .map(|i| Field {
            name: format!("c{i}"),
            kind: FieldType::F32,
        })
        .collect()
}

fn open(dir: &Path, bytes_max: u64) -> Result<Buffer, Box<dyn std::error::Error>> {
    Ok(Buffer::open(BufferOptions::new(dir, bytes_max))?.0)
}

/// Fills a buffer with `rows` records in commits of about a thousand; every commit durable.
fn fill(buffer: &Buffer, rows: u64, streams: u32) -> Result<f64, Box<dyn std::error::Error>> {
    let schema = buffer.declare_schema("bench", &["device".into()], &fields())?;
    let ids: Vec<u32> = (0..streams)
        .map(|i| {
            buffer
                .declare_stream(schema.id, &format!("bench/{i}"), &["d".into()])
                .id
        })
        .collect();
    let mut builder = BlockBuilder::new(Compression::default());
    let mut signal = Signal { state: 1, step: 0 };
    let start_ts = 1_800_000_000_000_000_000_i64;
    let started = Instant::now();
    for row in 0..rows {
        let values = signal.next().map(|v| Some(Value::F32(v))).to_vec();
        let sample = Sample {
            stream: ids[(row % u64::from(streams)) as usize],
            ts: Timestamp(start_ts + row as i64 * 1_000_003),
            split: Split {
                is_train: row % 5 != 0,
                fold: 0,
            },
            source_ts: None,
            values,
        };
        builder.push(&schema, sample)?;
        // What arrives at full speed while one commit waits for the disk.
        if builder.full_bytes() >= 64 << 10 {
            buffer.commit(&builder.finish(), &[])?;
        }
    }
    buffer.commit(&builder.finish(), &[])?;
    Ok(started.elapsed().as_secs_f64())
}

fn commit(
    dir: &Path,
    rows: u64,
    streams: u32,
) -> Result<serde_json::Value, Box<dyn std::error::Error>> {
    let before = written_bytes();
    let buffer = open(dir, 4 << 30)?;
    let seconds = fill(&buffer, rows, streams)?;
    let shape = buffer.shape();
    let live = buffer
        .stats()
        .bytes_committed
        .load(std::sync::atomic::Ordering::Relaxed);
    let commits = buffer
        .stats()
        .commits
        .load(std::sync::atomic::Ordering::Relaxed);
    Ok(serde_json::json!({
        "samples_per_s": (rows as f64 / seconds).round(),
        "commits_per_s": (commits as f64 / seconds).round(),
        "encoded_bytes_per_sample": live as f64 / rows as f64,
        "written_bytes_per_sample": (written_bytes() - before) as f64 / rows as f64,
        "disk_per_live_byte": shape.bytes as f64 / live as f64,
        "rss_mb": rss_bytes() as f64 / 1e6,
    }))
}

/// A thousand streams at 1 Hz against one at 1 kHz: 20 s of records in commits 250 ms apart.
fn slow_streams(dir: &Path) -> Result<serde_json::Value, Box<dyn std::error::Error>> {
    let mut written = Vec::new();
    for streams in [1_u32, 1_000] {
        let buffer = open(&dir.join(streams.to_string()), 1 << 30)?;
        let schema = buffer.declare_schema("bench", &["device".into()], &fields())?;
        let ids: Vec<u32> = (0..streams)
            .map(|i| {
                buffer
                    .declare_stream(schema.id, &format!("bench/{i}"), &["d".into()])
                    .id
            })
            .collect();
        buffer.commit(&[], &[])?;
        let mut builder = BlockBuilder::new(Compression::default());
        let mut signal = Signal { state: 1, step: 0 };
        let before = written_bytes();
        for row in 0..20_000_u64 {
            let sample = Sample {
                stream: ids[(row % u64::from(streams)) as usize],
                ts: Timestamp(1_800_000_000_000_000_000 + row as i64 * 1_000_003),
                split: Split {
                    is_train: row % 5 != 0,
                    fold: 0,
                },
                source_ts: None,
                values: signal.next().map(|v| Some(Value::F32(v))).to_vec(),
            };
            builder.push(&schema, sample)?;
            if row % 250 == 249 {
                buffer.commit(&builder.finish(), &[])?;
            }
        }
        written.push((written_bytes() - before) as f64 / 20.0 * 86_400.0 / 1e9);
    }
    Ok(serde_json::json!({
        "one_at_1_khz_gb_per_day": written[0],
        "thousand_at_1_hz_gb_per_day": written[1],
        "ratio": written[1] / written[0],
    }))
}

/// Fill, reopen, drain: how long opening takes and what disk is left.
fn backlog(dir: &Path, rows: u64) -> Result<serde_json::Value, Box<dyn std::error::Error>> {
    let buffer = open(dir, 4 << 30)?;
    fill(&buffer, rows, 10)?;
    let full = buffer.shape();
    drop(buffer);
    let started = Instant::now();
    let mut options = BufferOptions::new(dir, 4 << 30);
    options.replay_bytes_max = 0;
    let (buffer, _) = Buffer::open(options)?;
    let reopen_s = started.elapsed().as_secs_f64();
    buffer.uploaded_to(buffer.next_seq());
    let drained = buffer.shape();
    Ok(serde_json::json!({
        "rows": rows, "disk_mb": full.bytes as f64 / 1e6, "reopen_s": reopen_s,
        "disk_mb_after_drain": drained.bytes as f64 / 1e6,
        "rss_mb": rss_bytes() as f64 / 1e6,
    }))
}

fn training_set(
    dir: &Path,
    scratch: &Path,
    rows: u64,
) -> Result<serde_json::Value, Box<dyn std::error::Error>> {
    let buffer = open(dir, 4 << 30)?;
    let query = Query::all(0, (0..FIELDS).collect());
    let matrix = buffer.matrix(&query)?;
    assert_eq!(matrix.ts.len() as u64, rows);
    let raw = scratch.join("raw.f32");
    let mut file = fs::File::create(&raw)?;
    for column in &matrix.columns {
        let bytes: Vec<u8> = column.iter().flat_map(|v| v.to_le_bytes()).collect();
        file.write_all(&bytes)?;
    }
    file.sync_all()?;
    drop(matrix);
    let read_raw = || -> Result<f64, Box<dyn std::error::Error>> {
        let started = Instant::now();
        let mut bytes = Vec::new();
        fs::File::open(&raw)?.read_to_end(&mut bytes)?;
        let floats: Vec<f32> = bytes
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect();
        assert_eq!(floats.len() as u64, rows * FIELDS as u64);
        Ok(started.elapsed().as_secs_f64())
    };
    let read_buffer = |buffer: &Buffer| -> Result<f64, Box<dyn std::error::Error>> {
        let started = Instant::now();
        let matrix = buffer.matrix(&query)?;
        assert_eq!(matrix.ts.len() as u64, rows);
        Ok(started.elapsed().as_secs_f64())
    };
    let (mut warm_raw, mut warm_buffer) = (Vec::new(), Vec::new());
    for _ in 0..7 {
        warm_raw.push(read_raw()?);
        warm_buffer.push(read_buffer(&buffer)?);
    }
    let (mut cold_raw, mut cold_buffer) = (Vec::new(), Vec::new());
    drop(buffer);
    for _ in 0..5 {
        if !drop_page_cache() {
            break;
        }
        cold_raw.push(read_raw()?);
        let buffer = open(dir, 4 << 30)?;
        drop_page_cache();
        cold_buffer.push(read_buffer(&buffer)?);
    }
    let ratio =
        |ours: &[f64], theirs: &[f64]| (!ours.is_empty()).then(|| median(ours) / median(theirs));
    Ok(serde_json::json!({
        "floats": rows * FIELDS as u64,
        "warm_raw_s": median(&warm_raw), "warm_buffer_s": median(&warm_buffer),
        "warm_ratio": ratio(&warm_buffer, &warm_raw),
        "cold_raw_s": (!cold_raw.is_empty()).then(|| median(&cold_raw)),
        "cold_buffer_s": (!cold_buffer.is_empty()).then(|| median(&cold_buffer)),
        "cold_ratio": ratio(&cold_buffer, &cold_raw),
    }))
}
