//! The buffer measured: commit, memory, disk, reopening, space coming back.
//!
//! `cargo run --release -p dunlin-tests --bin bench_buffer [-- --dir DIR --rows N]` prints one JSON
//! line. Reading back is measured by `bench_cohort`.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use dunlin_sync::{
    block::{builder::BlockBuilder, pack::Compression},
    buffer::{Buffer, BufferOptions},
};
use dunlin_tests::{
    measure::{rss_bytes, written_bytes},
    vibration::{Vibration, fill},
};

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
    println!(
        "{}",
        serde_json::json!({
            "commit_one_stream": one, "commit_1000_streams": many, "slow_streams": slow,
            "backlog": backlog,
        })
    );
    Ok(())
}

fn open(dir: &Path, bytes_max: u64) -> Result<Buffer, Box<dyn std::error::Error>> {
    Ok(Buffer::open(BufferOptions::new(dir, bytes_max))?.0)
}

fn commit(
    dir: &Path,
    rows: u64,
    streams: u32,
) -> Result<serde_json::Value, Box<dyn std::error::Error>> {
    let before = written_bytes();
    let buffer = open(dir, 4 << 30)?;
    let started = Instant::now();
    fill(&buffer, rows, streams)?;
    let seconds = started.elapsed().as_secs_f64();
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
        let (schema, ids) = Vibration::declare(&buffer, streams)?;
        buffer.commit(&[], &[])?;
        let mut builder = BlockBuilder::new(Compression::default());
        let mut signal = Vibration::default();
        let before = written_bytes();
        for row in 0..20_000_u64 {
            let stream = ids[(row % u64::from(streams)) as usize];
            builder.push(&schema, signal.sample(stream))?;
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
