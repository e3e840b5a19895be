//! What the tests here share.

#![allow(clippy::unwrap_used)]

#[cfg(feature = "sqlite")]
mod own;

use std::{
    sync::{Arc, atomic::AtomicBool, mpsc},
    time::Duration,
};

use dunlin_models::{
    data::WindowShape,
    judging::gate::GateSettings,
    recipes::{Algorithm, RecipeSettings},
    registry::{ModelKey, Registry, RegistryOptions},
};
use dunlin_sync::{
    block::{builder::BlockBuilder, pack::Compression},
    buffer::{Buffer, BufferOptions},
    sample::{Field, FieldType, Sample, Schema, Split, Timestamp, Value},
};
use tempfile::TempDir;

use crate::{
    config::settings::{LearnSettings, RecipeRule, Sampling, StatusWords},
    learn::{
        LearnStats, Shared,
        released::Released,
        scheduler::{
            drifted::Drifted,
            task::{Task, TaskKind, TaskState},
        },
        tables::Tables,
    },
    recipes::ChosenRecipe,
    record::writer::{Request, RequestContent, Requests},
};

/// The present of every test, nanoseconds UTC.
pub(super) const NOW_NS: i64 = 1_000_000_000_000;

/// A device with one stream, `plant/press`, and what it writes about its learning.
pub(super) struct Bench {
    dir: TempDir,
    pub(super) shared: Arc<Shared>,
    requests: mpsc::Receiver<Vec<Request>>,
    next_ts: i64,
    /// Added to the first value of what is committed.
    pub(super) shift: f64,
    /// Between two records, nanoseconds.
    pub(super) tick_ns: i64,
    /// So long before its arrival a record was measured, nanoseconds, if it says when.
    pub(super) measured_before_ns: Option<i64>,
}

impl Bench {
    pub(super) fn new(rules: Vec<RecipeRule>) -> Self {
        Self::with_buffer(rules, |_| {})
    }

    #[cfg(feature = "demo")]
    pub(super) fn with_settings(settings: LearnSettings) -> Self {
        Self::of(settings, |_| {})
    }

    pub(super) fn with_buffer(
        rules: Vec<RecipeRule>,
        change: impl FnOnce(&mut BufferOptions),
    ) -> Self {
        Self::of(settings(rules), change)
    }

    fn of(settings: LearnSettings, change: impl FnOnce(&mut BufferOptions)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut options = BufferOptions::new(dir.path().join("buffer"), 64 << 20);
        change(&mut options);
        let (buffer, _) = Buffer::open(options).unwrap();
        let models = Registry::open(RegistryOptions::new(dir.path().join("models"))).unwrap();
        let state_dir = dir.path().join("state");
        std::fs::create_dir(&state_dir).unwrap();
        let (requests, received) = Requests::to_nobody(100_000);
        let stats = Arc::new(LearnStats::default());
        let shared = Shared {
            rules: settings.recipes.iter().cloned().map(Arc::new).collect(),
            settings,
            buffer: Arc::new(buffer),
            models: Arc::new(models),
            tables: Tables::new(requests, Arc::clone(&stats)),
            stats,
            drifted: Drifted::open(&state_dir),
            released: Arc::new(Released::open(&state_dir)),
            state_dir,
            publisher: crate::mqtt::outgoing::channel().0,
            stop: Arc::new(AtomicBool::new(false)),
            wall_ns: || NOW_NS,
        };
        Self {
            dir,
            shared: Arc::new(shared),
            requests: received,
            next_ts: 1,
            shift: 0.0,
            tick_ns: 1,
            measured_before_ns: None,
        }
    }

    pub(super) fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// What is written from now on, for somebody who answers.
    pub(super) fn take_requests(&mut self) -> mpsc::Receiver<Vec<Request>> {
        std::mem::replace(&mut self.requests, mpsc::channel().1)
    }

    /// Commits the next `count` records: two values that go round together.
    pub(super) fn commit(&mut self, count: i64) {
        self.commit_to("plant/press", count);
    }

    /// The same to another stream.
    pub(super) fn commit_to(&mut self, stream: &str, count: i64) {
        let fields = ["x", "y"].map(|name| Field {
            name: name.into(),
            kind: FieldType::F64,
        });
        let buffer = &self.shared.buffer;
        let tags = ["device".to_owned()];
        let schema = buffer.declare_schema("plant", &tags, &fields).unwrap();
        let stream = buffer.declare_stream(schema.id, stream, &["pi".to_owned()]);
        let mut builder = BlockBuilder::new(Compression::Pco);
        for tick in self.next_ts..self.next_ts + count {
            let (ts, is_train) = (tick * self.tick_ns, tick % 5 != 0);
            let angle = tick as f64 / 5.0;
            let wobble = 0.05 * (tick as f64 * 12.9898).sin();
            let sample = Sample {
                stream: stream.id,
                ts: Timestamp(ts),
                split: Split { is_train, fold: 0 },
                source_ts: self.measured_before_ns.map(|before| ts - before),
                values: vec![
                    Some(Value::F64(angle.sin() + wobble + self.shift)),
                    Some(Value::F64(angle.sin() * 2.0 - wobble)),
                ]
                .into(),
            };
            builder.push(&schema, sample).unwrap();
        }
        buffer.commit(&builder.finish(), &[]).unwrap();
        self.next_ts += count;
    }

    /// So many records do not come.
    pub(super) fn pass_over(&mut self, count: i64) {
        self.next_ts += count;
    }

    /// Texts in the rows written since the last call to the table `schema`, row by row.
    pub(super) fn rows(&self, schema: &str) -> Vec<Vec<String>> {
        let contents =
            self.requests
                .try_iter()
                .flatten()
                .filter_map(|request| match request.content {
                    RequestContent::Records {
                        schema: name,
                        records,
                        ..
                    } if name == schema => Some(records),
                    _ => None,
                });
        let texts = contents.flatten().map(|record| {
            let values = record.values.into_iter();
            values
                .filter_map(|(_, value)| match value {
                    Value::Text(text) => Some(text.to_string()),
                    _ => None,
                })
                .collect()
        });
        texts.collect()
    }
}

/// Commits records of one value each: when, at which position of `schema`, which.
pub(super) fn commit_values(
    buffer: &Buffer,
    schema: &Schema,
    values: impl IntoIterator<Item = (i64, u32, Value)>,
) {
    let stream = buffer.declare_stream(schema.id, "s", &[]);
    let mut builder = BlockBuilder::new(Compression::Pco);
    for (ts, column, value) in values {
        let sample = Sample {
            stream: stream.id,
            ts: Timestamp(ts),
            split: Split {
                is_train: true,
                fold: 0,
            },
            source_ts: None,
            values: vec![(column, value)].into(),
        };
        builder.push(schema, sample).unwrap();
    }
    buffer.commit(&builder.finish(), &[]).unwrap();
}

/// The settings of a rule's built-in recipe.
pub(super) fn settings_of(rule: &mut RecipeRule) -> &mut RecipeSettings {
    match &mut rule.recipe {
        ChosenRecipe::BuiltIn(settings) => settings,
        ChosenRecipe::Own(_) => panic!("not built in"),
    }
}

pub(super) fn rule(name: &str) -> RecipeRule {
    let shape = WindowShape {
        lookback: 2,
        horizon: 0,
    };
    RecipeRule {
        name: name.into(),
        streams: "plant/*".into(),
        recipe: RecipeSettings::new(Algorithm::Pca, shape).into(),
        features: Vec::new(),
        label: None,
        condition: None,
        sampling: Sampling::default(),
        min_start_count: 1_000,
        min_update_count: 2_000,
        rows_max: 20_000,
        replay_share: 0.5,
        gap_ns_max: None,
        grid: None,
        gate: GateSettings::default(),
        available_status: vec!["available".into()],
        train: true,
        outputs: true,
        publish: None,
    }
}

pub(super) fn settings(recipes: Vec<RecipeRule>) -> LearnSettings {
    LearnSettings {
        recipes,
        scan: Duration::from_millis(10),
        workers: 1,
        cpu_share: 1.0,
        temperature_c_max: 200.0,
        limit: Duration::from_mins(1),
        rows_per_chunk_max: 1_000,
        versions_max: 4,
        bytes_max: u64::MAX,
        status: StatusWords {
            queued: "queued".into(),
            training: "training".into(),
            available: "available".into(),
            rejected: "rejected".into(),
            retired: "retired".into(),
            rolled_back: "rolled_back".into(),
            failed: "failed".into(),
            dead: "dead".into(),
        },
        working_status: vec!["queued".into(), "training".into()],
    }
}

pub(super) fn task(id: u64, state: TaskState) -> Task {
    Task {
        id,
        key: ModelKey::new("pca", "plant/press"),
        kind: TaskKind::Scratch,
        state,
        started_ns: 1_000,
        seed: 1,
        to_ts: i64::MAX,
        parent: None,
        version: None,
        query: String::new(),
        reason: String::new(),
    }
}
