//! Reading back, measured: a training set against a raw file of the same floats, and the training log
//! by query.
//!
//! `cargo run --release -p dunlin-tests --bin bench_cohort [-- --dir DIR --rows N]` prints one JSON
//! line. All ways of reading take turns in the same run; times are medians, ratios are to the raw
//! file. Warm is from the page cache, cold after dropping it (needs root). CPU is that of all threads.

use std::{
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use dunlin_agent::cohort::{CohortQuery, Condition, resolve};
use dunlin_models::{
    data::{Source, WindowShape},
    recipe::NullHost,
    recipes::{self, Algorithm, RecipeSettings},
};
use dunlin_sync::{
    batch::BatchBuilder,
    block::{builder::BlockBuilder, pack::Compression},
    buffer::{Buffer, BufferOptions, Query},
    sample::{Field, FieldType, Sample, Split, Timestamp, Value},
    upstream::{self, UpstreamOptions},
};
use dunlin_tests::{
    measure::{cpu_seconds, drop_page_cache, median, peak_rss_bytes},
    vibration::{self, FIELDS},
};

type Error = Box<dyn std::error::Error>;

const WARM_ROUNDS: usize = 9;
const COLD_ROUNDS: usize = 5;
/// What a forecaster asks for.
const WINDOWS: WindowShape = WindowShape {
    lookback: 64,
    horizon: 16,
};
const SHORT_WINDOWS: WindowShape = WindowShape {
    lookback: 4,
    horizon: 0,
};
const ROWS: WindowShape = WindowShape {
    lookback: 1,
    horizon: 0,
};
/// Holds for about two thirds of the records.
const CONDITION: &str = "c0 > -0.5";

fn main() -> Result<(), Error> {
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
    let set = TrainingSet::make(dir.path(), rows)?;
    let training = set.train()?;
    let warm = set.warm()?;
    let cold = set.cold()?;
    let small = training_log(&dir.path().join("small"), 10_000)?;
    let large = training_log(&dir.path().join("large"), 100_000)?;
    println!(
        "{}",
        serde_json::json!({
            "floats": rows * FIELDS as u64, "training": training, "warm": warm, "cold": cold,
            "training_log_10k": small, "training_log_100k": large,
        })
    );
    Ok(())
}

fn open(dir: &Path) -> Result<Arc<Buffer>, Error> {
    Ok(Arc::new(Buffer::open(BufferOptions::new(dir, 4 << 30))?.0))
}

/// A buffer and a raw file with the same floats.
struct TrainingSet {
    buffer: PathBuf,
    raw: PathBuf,
    rows: u64,
}

/// A way to read the training set.
#[derive(Clone, Copy, Debug)]
enum Way {
    Raw,
    Matrix,
    /// A cohort resolved, then all of it read chunk by chunk.
    Cohort(WindowShape, Option<&'static str>),
    /// A cohort resolved alone.
    Resolve,
}

const WAYS: [(&str, Way); 6] = [
    ("raw_file", Way::Raw),
    ("matrix", Way::Matrix),
    ("resolve_alone", Way::Resolve),
    ("cohort", Way::Cohort(ROWS, None)),
    ("cohort_for_windows", Way::Cohort(WINDOWS, None)),
    ("cohort_with_condition", Way::Cohort(ROWS, Some(CONDITION))),
];

impl TrainingSet {
    fn make(dir: &Path, rows: u64) -> Result<Self, Error> {
        let (place, raw) = (dir.join("buffer"), dir.join("raw.f32"));
        let buffer = open(&place)?;
        vibration::fill(&buffer, rows, 1)?;
        let matrix = buffer.matrix(&Query::all(0, (0..FIELDS).collect()))?;
        assert_eq!(matrix.ts.len() as u64, rows);
        let mut file = fs::File::create(&raw)?;
        for column in &matrix.columns {
            let bytes: Vec<u8> = column.iter().flat_map(|v| v.to_le_bytes()).collect();
            file.write_all(&bytes)?;
        }
        file.sync_all()?;
        Ok(Self {
            buffer: place,
            raw,
            rows,
        })
    }

    fn read(&self, buffer: &Arc<Buffer>, way: Way) -> Result<u64, Error> {
        Ok(match way {
            Way::Raw => {
                let mut bytes = Vec::new();
                fs::File::open(&self.raw)?.read_to_end(&mut bytes)?;
                let floats = bytes.chunks_exact(4);
                let floats: Vec<f32> = floats
                    .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                    .collect();
                floats.len() as u64 / FIELDS as u64
            }
            Way::Matrix => {
                let matrix = buffer.matrix(&Query::all(0, (0..FIELDS).collect()))?;
                matrix.ts.len() as u64
            }
            Way::Cohort(shape, condition) => {
                let query = CohortQuery {
                    condition: condition.map(Condition::parse).transpose()?,
                    ..CohortQuery::of("bench/*")
                };
                let cohort = resolve(buffer, &query, shape)?;
                let mut rows = 0;
                for index in 0..cohort.chunks() {
                    let chunk = cohort.read(index)?;
                    rows += (chunk.len() - chunk.lead) as u64;
                }
                assert_eq!(rows, cohort.lineage().rows);
                rows
            }
            Way::Resolve => {
                let cohort = resolve(buffer, &CohortQuery::of("bench/*"), ROWS)?;
                cohort.lineage().rows
            }
        })
    }

    /// Memory of training on all of it; first of all, so that nothing else has left any.
    fn train(&self) -> Result<serde_json::Value, Error> {
        let buffer = open(&self.buffer)?;
        let recipe = recipes::build(&RecipeSettings::new(Algorithm::Pca, SHORT_WINDOWS))?;
        let (trained, bytes) = peak_rss_bytes(|| -> Result<f64, Error> {
            let started = Instant::now();
            let cohort = resolve(&buffer, &CohortQuery::of("bench/*"), SHORT_WINDOWS)?;
            recipe.train(&cohort, None, 1, &mut NullHost::default())?;
            Ok(started.elapsed().as_secs_f64())
        });
        Ok(serde_json::json!({ "pca_s": round(trained?), "peak_mb": bytes as f64 / 1e6 }))
    }

    fn warm(&self) -> Result<serde_json::Value, Error> {
        let buffer = open(&self.buffer)?;
        self.rounds(WARM_ROUNDS, || Ok(Arc::clone(&buffer)))
    }

    /// Nothing, if the page cache cannot be dropped.
    fn cold(&self) -> Result<Option<serde_json::Value>, Error> {
        if !drop_page_cache() {
            return Ok(None);
        }
        let cold = self.rounds(COLD_ROUNDS, || {
            let buffer = open(&self.buffer)?;
            drop_page_cache();
            Ok(buffer)
        });
        cold.map(Some)
    }

    /// Every way in turn, again and again.
    fn rounds(
        &self,
        rounds: usize,
        open: impl Fn() -> Result<Arc<Buffer>, Error>,
    ) -> Result<serde_json::Value, Error> {
        let mut times = vec![(Vec::new(), Vec::new(), 0); WAYS.len()];
        for _ in 0..rounds {
            for ((_, way), (wall, cpu, rows)) in WAYS.iter().zip(&mut times) {
                let buffer = open()?;
                let (started, cpu_before) = (Instant::now(), cpu_seconds());
                *rows = self.read(&buffer, *way)?;
                wall.push(started.elapsed().as_secs_f64());
                cpu.push(cpu_seconds() - cpu_before);
            }
        }
        let (raw_wall, raw_cpu) = (median(&times[0].0), median(&times[0].1));
        let figures = WAYS.iter().zip(&times).map(|((name, way), figures)| {
            let (wall, cpu, rows) = (median(&figures.0), median(&figures.1), figures.2);
            let is_whole = !matches!(way, Way::Cohort(_, Some(_)));
            assert!(!is_whole || rows == self.rows, "{name} gave {rows} rows");
            let figures = serde_json::json!({
                "rows": rows, "s": round(wall), "cpu_s": round(cpu),
                "ratio": round(wall / raw_wall), "cpu_ratio": round(cpu / raw_cpu),
            });
            ((*name).to_owned(), figures)
        });
        Ok(serde_json::Value::Object(figures.collect()))
    }
}

fn round(figure: f64) -> f64 {
    (figure * 10_000.0).round() / 10_000.0
}

/// Steps of one training task.
const STEPS: u64 = 500;
/// As many records as training hands over at a time.
const STEPS_PER_COMMIT: u64 = 256;
const LOG_ROUNDS: usize = 25;

/// All steps of one task out of a training log of `rows` steps: from the buffer, and from `SQLite`
/// after the upload.
fn training_log(dir: &Path, rows: u64) -> Result<serde_json::Value, Error> {
    fs::create_dir_all(dir)?;
    let buffer = open(&dir.join("buffer"))?;
    log_steps(&buffer, rows)?;
    let central = dir.join("central.db");
    upload(&buffer, &central)?;
    let task = (rows / STEPS / 2) as i64;
    let query = CohortQuery {
        features: vec!["step".into(), "loss".into()],
        condition: Some(Condition::parse(&format!("task = {task}"))?),
        ..CohortQuery::of("dunlin_training_log/*")
    };
    let database = rusqlite::Connection::open(&central)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..LOG_ROUNDS {
        let started = Instant::now();
        let cohort = resolve(&buffer, &query, ROWS)?;
        let mut found = 0;
        for index in 0..cohort.chunks() {
            found += cohort.read(index)?.len() as u64;
        }
        ours.push(started.elapsed().as_secs_f64() * 1e3);
        assert_eq!(found, STEPS);

        let started = Instant::now();
        let mut statement = database.prepare_cached(
            "SELECT step, loss FROM dunlin_training_log WHERE task = ?1 ORDER BY stream, ts",
        )?;
        let steps = statement.query_map([task], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let steps: Vec<(i64, f64)> = steps.collect::<Result<_, _>>()?;
        theirs.push(started.elapsed().as_secs_f64() * 1e3);
        assert_eq!(steps.len() as u64, STEPS);
    }
    Ok(serde_json::json!({
        "buffer_ms": round(median(&ours)), "sqlite_ms": round(median(&theirs)),
    }))
}

fn log_steps(buffer: &Buffer, rows: u64) -> Result<(), Error> {
    let kinds = [
        ("task", FieldType::I64),
        ("epoch", FieldType::I64),
        ("step", FieldType::I64),
        ("loss", FieldType::F64),
        ("learning_rate", FieldType::F64),
        ("ns", FieldType::I64),
    ];
    let fields = kinds.map(|(name, kind)| Field {
        name: name.into(),
        kind,
    });
    let tags = ["device", "recipe", "source"].map(String::from);
    let schema = buffer.declare_schema("dunlin_training_log", &tags, &fields)?;
    let name = "dunlin_training_log/forecast/bench/0";
    let tags = ["d", "forecast", "bench/0"].map(String::from);
    let stream = buffer.declare_stream(schema.id, name, &tags).id;
    let mut builder = BlockBuilder::new(Compression::default());
    for row in 0..rows {
        let (task, step) = (row / STEPS, row % STEPS);
        // Falls with the step, jitters with the batch.
        let jitter = (row.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as f64 / f64::from(1 << 24);
        let loss = (1.0 + 0.2 * jitter) / (1.0 + step as f64 / 50.0);
        let integer = |number: u64| Some(Value::I64(number as i64));
        let sample = Sample {
            stream,
            ts: Timestamp(1_800_000_000_000_000_000 + row as i64 * 130_000),
            split: Split {
                is_train: !row.is_multiple_of(5),
                fold: 0,
            },
            source_ts: None,
            values: vec![
                integer(task),
                integer(step / 100),
                integer(step),
                Some(Value::F64(loss)),
                Some(Value::F64(0.001)),
                integer(118_000 + (jitter * 9_000.0) as u64),
            ]
            .into(),
        };
        builder.push(&schema, sample)?;
        if row % STEPS_PER_COMMIT == STEPS_PER_COMMIT - 1 {
            buffer.commit(&builder.finish(), &[])?;
        }
    }
    buffer.commit(&builder.finish(), &[])?;
    Ok(())
}

fn upload(buffer: &Buffer, file: &Path) -> Result<(), Error> {
    let mut rows = BatchBuilder::default();
    for seq in buffer.oldest_seq()..buffer.next_seq() {
        let block = buffer.read_block(seq)?.ok_or("a block is missing")?;
        rows.append(&block, &buffer.catalog(), |_| true);
    }
    let sqlite = upstream::connect(&UpstreamOptions::new(
        format!("sqlite:{}", file.display()),
        Duration::from_mins(1),
    ))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(sqlite.write(&rows.finish().0))?;
    Ok(())
}
