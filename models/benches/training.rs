//! Training and inference measured: windows a second, memory, the cost of the step log.
//!
//! `cargo bench -p dunlin-models --bench training` prints one JSON line, each model measured in a
//! process of its own; `tests/compare/training.py` prints the same figures for JAX, `PyTorch` and
//! onnxruntime. Pin both to one core (`taskset -c 0`). Both are measured in processor time, training
//! per epoch, batches included, so that a busy machine changes little.
//!
//! - `nlinear`: 336 -> 96, windows of one channel, seven channels of 8,640 rows, 32 windows a step;
//! - `nlinear_7`: the same with the seven channels side by side: 32 x 7 windows of one channel a step;
//! - `autoencoder`: 512-128-16-128-512 over windows of one channel, 64 windows a step.

use std::{collections::VecDeque, error::Error, process::Command, sync::Arc, time::Instant};

use dunlin_models::{
    data::{Columns, InMemory, Rows, WindowShape},
    recipe::{EpochEnd, Host, Output, Scratch, Step, Stopped},
    recipes::{Algorithm, RecipeSettings, gradient},
};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

const ROWS: usize = 8640;
const CHANNELS: usize = 7;
const EPOCHS: u32 = 7;
const RING_STEPS_MAX: usize = 4096;

fn main() -> Result<(), Box<dyn Error>> {
    // `cargo bench` adds `--bench`.
    let case = std::env::args().skip(1).find(|arg| !arg.starts_with("--"));
    if let Some(case) = case {
        println!("{}", measure(&case)?);
        return Ok(());
    }
    let mut all = serde_json::Map::new();
    for case in ["nlinear", "nlinear_7", "autoencoder"] {
        let output = Command::new(std::env::current_exe()?).arg(case).output()?;
        let figures: Value = serde_json::from_slice(&output.stdout)?;
        all.insert(case.into(), figures);
    }
    println!("{}", Value::Object(all));
    Ok(())
}

fn measure(case: &str) -> Result<Value, Box<dyn Error>> {
    let (algorithm, shape, batch_size, features) = match case {
        "nlinear" => (Algorithm::Nlinear, (336, 96), 32, 1),
        "nlinear_7" => (Algorithm::Nlinear, (336, 96), 32, CHANNELS),
        "autoencoder" => (Algorithm::Autoencoder, (512, 0), 64, 1),
        other => return Err(format!("there is no case {other}").into()),
    };
    let shape = WindowShape {
        lookback: shape.0,
        horizon: shape.1,
    };
    let settings = RecipeSettings {
        hidden: vec![128, 16],
        epochs_max: EPOCHS,
        patience_epochs: EPOCHS,
        batch_size,
        ..RecipeSettings::new(algorithm, shape)
    };
    let source = source(features);
    let length = shape.lookback + shape.horizon;
    let windows = source.chunks.len() * (ROWS - length);
    let mut host = Meter::new();
    let recipe = gradient::build(&settings)?;
    let model = recipe.train(&source, None, 1, &mut host)?;

    let input = source.chunks[0].values[..shape.lookback * features].to_vec();
    let (mut scratch, mut output) = (Scratch::default(), Output::default());
    let rounds: Vec<f64> = (0..11)
        .map(|_| {
            let start_s = processor_s();
            for _ in 0..20_000 {
                model.infer(std::hint::black_box(&input), &mut scratch, &mut output);
                std::hint::black_box(&output);
            }
            (processor_s() - start_s) * 1e9 / 20_000.0
        })
        .collect();
    let epoch_s = median(&host.epochs_s);
    let steps = windows.div_ceil(batch_size);
    Ok(json!({
        "batch_windows": batch_size,
        "channel_windows_per_s": ((windows * features) as f64 / epoch_s).round(),
        "steps_per_s": (steps as f64 / epoch_s).round(),
        "step_us": host.step_us(0.5),
        "peak_rss_mb": peak_rss_mb(),
        "inference_ns": median(&rounds).round(),
        "step_log_p99_ns": host.log_ns(0.99),
        "step_log_p50_ns": host.log_ns(0.5),
        "parameters_mb": model.save().to_bytes()?.len() as f64 / 1e6,
    }))
}

/// Waves and noise; the channels side by side, or one chunk each. The last row of each chunk
/// validates.
fn source(features: usize) -> InMemory {
    let mut state = 1u64;
    let mut value = |row: usize, channel: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005);
        state = state.wrapping_add(1_442_695_040_888_963_407);
        let noise = (state >> 40) as f32 / (1 << 24) as f32 - 0.5;
        let phase = row as f32 * std::f32::consts::TAU / 24.0 * (1.0 + 0.1 * channel as f32);
        phase.sin() + 0.3 * noise
    };
    let chunks = (0..CHANNELS / features).map(|chunk| {
        let cells = (0..ROWS).flat_map(|row| (0..features).map(move |channel| (row, channel)));
        Arc::new(Rows {
            ts: (0..ROWS as i64).collect(),
            values: cells
                .map(|(row, channel)| value(row, chunk + channel))
                .collect(),
            is_train: (0..ROWS).map(|row| row + 1 < ROWS).collect(),
            ..Rows::default()
        })
    });
    InMemory {
        chunks: chunks.collect(),
        columns: Columns {
            features: (0..features).map(|channel| format!("c{channel}")).collect(),
            ..Columns::default()
        },
        ..InMemory::default()
    }
}

/// Keeps the step log in a bounded ring, as an agent's host does, and times what the loop waits for.
struct Meter {
    start: Instant,
    ring: VecDeque<Step>,
    epoch_start_s: Option<f64>,
    epochs_s: Vec<f64>,
    steps_ns: Vec<f64>,
    logs_ns: Vec<f64>,
}

impl Meter {
    fn new() -> Self {
        let steps = 16_000 * EPOCHS as usize;
        Self {
            start: Instant::now(),
            ring: VecDeque::with_capacity(RING_STEPS_MAX),
            epoch_start_s: None,
            epochs_s: Vec::new(),
            steps_ns: Vec::with_capacity(steps),
            logs_ns: Vec::with_capacity(steps),
        }
    }

    fn step_us(&self, share: f64) -> f64 {
        quantile(&self.steps_ns, share) / 1e3
    }

    fn log_ns(&self, share: f64) -> f64 {
        quantile(&self.logs_ns, share)
    }
}

impl Host for Meter {
    fn pace(&mut self) -> Result<(), Stopped> {
        Ok(())
    }

    fn step(&mut self, step: Step) {
        // The epoch's first step has just ended.
        self.epoch_start_s
            .get_or_insert_with(|| processor_s() - step.ns as f64 / 1e9);
        let start = Instant::now();
        if self.ring.len() == RING_STEPS_MAX {
            self.ring.pop_front();
        }
        self.ring.push_back(step);
        self.logs_ns.push(start.elapsed().as_nanos() as f64);
        self.steps_ns.push(step.ns as f64);
    }

    fn epoch(&mut self, _: EpochEnd) {
        if let Some(start_s) = self.epoch_start_s.take() {
            self.epochs_s.push(processor_s() - start_s);
        }
    }

    fn save_checkpoint(&mut self, _: &[u8]) -> Result<(), String> {
        Ok(())
    }

    fn load_checkpoint(&mut self) -> Option<Vec<u8>> {
        None
    }

    fn elapsed_ns(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }
}

/// Processor time of this thread: another process on the same core costs it nothing.
fn processor_s() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn median(figures: &[f64]) -> f64 {
    quantile(figures, 0.5)
}

fn quantile(figures: &[f64], share: f64) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = (share * sorted.len() as f64) as usize;
    sorted
        .get(place.min(sorted.len().max(1) - 1))
        .copied()
        .unwrap_or(f64::NAN)
}

/// Most memory this process has ever held.
fn peak_rss_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kib.unwrap_or(f64::NAN) / 1024.0
}
