//! What the tests here share.

use std::time::Duration;

use dunlin_models::{
    data::WindowShape,
    gate::GateSettings,
    recipes::{Algorithm, RecipeSettings},
    registry::ModelKey,
};

use super::task::{Task, TaskKind};
use crate::settings::{LearnSettings, RecipeRule, StatusWords};

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
        min_start_count: 1_000,
        min_update_count: 2_000,
        rows_max: 20_000,
        replay_share: 0.5,
        gap_ns_max: None,
        gate: GateSettings::default(),
        available_status: vec!["available".into()],
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
        limit: Duration::from_secs(60),
        rows_per_chunk_max: 1_000,
        versions_max: 4,
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

pub(super) fn task(id: u64, status: &str) -> Task {
    Task {
        id,
        key: ModelKey::new("pca", "plant/press"),
        kind: TaskKind::Scratch,
        status: status.into(),
        started_ns: 1_000,
        seed: 1,
        to_ts: i64::MAX,
        parent: None,
        version: None,
        query: String::new(),
        reason: String::new(),
    }
}
