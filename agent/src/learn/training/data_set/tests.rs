//! What a fine-tuning learns as usual, over a real buffer.

#![allow(clippy::unwrap_used)]

use dunlin_models::{artifact::Artifact, data::InMemory, registry::ModelKey};

use super::*;
use crate::learn::{
    scheduler::task::{TaskKind, TaskState},
    tests::{Bench, NOW_NS, rule},
    training::run::run,
};

/// Flags what is above 10.
struct Above10;

impl Model for Above10 {
    fn infer(&self, input: &[f32], _: &mut Scratch, output: &mut Output) {
        output.flag = input.iter().any(|value| *value > 10.0);
    }

    fn save(&self) -> Artifact {
        Artifact::default()
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

const SHAPE: WindowShape = WindowShape {
    lookback: 2,
    horizon: 0,
};

fn rows(values: Vec<f32>) -> Rows {
    Rows {
        ts: (0..values.len() as i64).collect(),
        is_train: vec![true; values.len()],
        values,
        ..Rows::default()
    }
}

#[test]
fn no_window_ends_where_one_is_flagged_unless_it_is_the_new_usual() {
    let ends = |usual_from| {
        let mut rows = rows(vec![0.0, 1.0, 11.0, 1.0, 1.0, 11.0, 11.0]);
        let filter = AnomalyFilter {
            model: &Above10,
            shape: SHAPE,
            usual_from,
        };
        filter.leave_out_flagged(&mut rows, 1);
        let left = rows.windows(SHAPE, 1, false, Subset::All);
        left.map(|window| window.end - 1).collect::<Vec<_>>()
    };
    assert_eq!(ends(None), [1, 4]);
    assert_eq!(ends(Some(5)), [1, 4, 5, 6]);
}

#[test]
fn an_episode_reaches_over_short_silences_and_to_the_end() {
    let since = |values: Vec<f32>, rows_min| {
        let half = values.len() / 2;
        let mut chunks = vec![
            rows(values[..half].to_vec()),
            rows(values[half - 1..].to_vec()),
        ];
        // The row before is there for the first window.
        chunks[1].lead = 1;
        chunks[1]
            .ts
            .iter_mut()
            .for_each(|ts| *ts += half as i64 - 1);
        let source = InMemory {
            columns: Columns {
                features: vec!["x".into()],
                ..Columns::default()
            },
            chunks: chunks.into_iter().map(Arc::new).collect(),
            ..InMemory::default()
        };
        new_usual_from(&source, &Above10, SHAPE, rows_min).unwrap()
    };
    let bursts = |from: usize, to: usize| -> Vec<f32> {
        let loud = |row: usize| (from..to).contains(&row) && row.is_multiple_of(10);
        (0..100)
            .map(|row| if loud(row) { 11.0 } else { 0.0 })
            .collect()
    };
    assert_eq!(since(bursts(40, 100), 61), Some(40));
    assert_eq!(since(bursts(40, 100), 62), None, "not for long enough");
    assert_eq!(
        since(bursts(0, 100), 100),
        Some(1),
        "nobody knows what was before"
    );
    assert_eq!(since(bursts(0, 60), 10), None, "it is over");
    assert_eq!(since(vec![0.0; 100], 0), None);
    let mut twice = bursts(0, 20);
    twice.splice(50.., bursts(50, 100).split_off(50));
    assert_eq!(since(twice, 10), Some(50), "only what has not ceased since");
}

fn task(to_ts: i64) -> Job {
    Job {
        kind: TaskKind::FineTune,
        parent: Some(1),
        started_ns: NOW_NS,
        to_ts,
        ..crate::learn::tests::task(2, TaskState::Training)
    }
}

/// Last rows of the windows that a fine-tuning up to `to_ts` takes for usual.
fn usual(bench: &Bench, to_ts: i64) -> Vec<i64> {
    let (rule, task) = (rule("pca"), task(to_ts));
    let models = &bench.shared.models;
    let version = models.version(&ModelKey::new("pca", "plant/press"), 1);
    let artifact = models.load(&version.unwrap()).unwrap();
    let model = rule.recipe.build().unwrap().load(&artifact).unwrap();
    let mut data = data_set(&bench.shared, &rule, &task, Some(1_000)).unwrap();
    data.leave_out_flagged(&bench.shared, &rule, &task, &*model)
        .unwrap();
    let mut ends = Vec::new();
    for chunk in 0..data.chunks() {
        let rows = data.read(chunk).unwrap();
        if !rows.is_replay {
            let windows = rows.windows(SHAPE, 2, false, Subset::All);
            ends.extend(windows.map(|window| rows.ts[window.end - 1]));
        }
    }
    ends
}

#[test]
fn what_is_flagged_is_the_new_usual_only_if_it_lasts() {
    let mut bench = Bench::new(vec![rule("pca")]);
    bench.commit(1_000);
    let first = Job {
        kind: TaskKind::Scratch,
        parent: None,
        ..task(1_000)
    };
    run(
        &bench.shared,
        &rule("pca"),
        &mut first.clone(),
        &Arc::default(),
    );
    let within = |ends: &[i64], from: i64, to: i64| {
        ends.iter().filter(|ts| (from..=to).contains(ts)).count()
    };
    // 2,000 records (`min_update_count`) are lasting. A fault that is most of what is new is not.
    bench.commit(100);
    bench.shift = 5.0;
    bench.commit(1_500);
    let ends = usual(&bench, 2_600);
    assert_eq!(within(&ends, 1_101, 2_600), 0);
    assert!(within(&ends, 1_001, 1_100) > 80);
    // Nor is it once it is over.
    bench.shift = 0.0;
    bench.commit(600);
    let ends = usual(&bench, 3_200);
    assert_eq!(within(&ends, 1_101, 2_600), 0);
    assert!(within(&ends, 2_602, 3_200) > 500);
    // Another point of operation that stays is; the fault before it still is none.
    bench.shift = -5.0;
    bench.commit(1_990);
    assert_eq!(within(&usual(&bench, 5_190), 3_201, 5_190), 0);
    bench.commit(10);
    let ends = usual(&bench, 5_200);
    assert_eq!(within(&ends, 3_201, 5_200), 2_000);
    assert_eq!(within(&ends, 1_101, 2_600), 0);
}
