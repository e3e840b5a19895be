//! Answering over a real buffer and registry; predictions go to a thread that keeps them all.

#![allow(clippy::unwrap_used)]

use std::sync::Mutex;

use dunlin_models::{data::WindowShape, recipe::Quiet, registry::NewVersion};
use dunlin_sync::sample::Value;

use super::*;
use crate::{
    learn::tests::{Bench, rule, settings_of},
    writer::RequestContent,
};

/// Source time and version of every prediction.
type Kept = Arc<Mutex<Vec<(i64, i64)>>>;

/// Keeps predictions as the writer would, until the device is gone.
fn keeper(bench: &mut Bench) -> Kept {
    let (kept, requests) = (Kept::default(), bench.take_requests());
    let ours = Arc::clone(&kept);
    thread::spawn(move || {
        for request in requests {
            let RequestContent::Records {
                schema, records, ..
            } = request.content
            else {
                continue;
            };
            if schema == PREDICTIONS {
                let of = |record: &crate::decode::Record| match record.values[0] {
                    Some(Value::I64(version)) => (record.source_ts.unwrap(), version),
                    ref other => panic!("{other:?}"),
                };
                ours.lock().unwrap().extend(records.iter().map(of));
            }
            // Events are not waited for.
            let _nobody = request.reply.send(Ok(records.len() as u64));
        }
    });
    kept
}

fn key() -> ModelKey {
    ModelKey::new("pca", "plant/press")
}

/// Trains on what there is with these features, and lets it serve.
fn promote(bench: &Bench, features: &[&str]) -> u64 {
    let shape = WindowShape {
        lookback: 2,
        horizon: 0,
    };
    let query = crate::cohort::CohortQuery {
        features: features.iter().map(ToString::to_string).collect(),
        ..crate::cohort::CohortQuery::of("plant/*")
    };
    let cohort = crate::cohort::resolve(&bench.shared.buffer, &query, shape).unwrap();
    let recipe = rule("pca").recipe.build().unwrap();
    let model = recipe
        .train(&cohort, None, 1, &mut Quiet::default())
        .unwrap();
    let models = &bench.shared.models;
    let new = NewVersion {
        lineage: dunlin_models::data::Source::lineage(&cohort).clone(),
        status: "candidate".into(),
        ..NewVersion::default()
    };
    let number = models.add(&key(), &model.save(), new).unwrap().number;
    models
        .promote(&key(), number, "available", "retired")
        .unwrap();
    number
}

#[test]
fn a_version_that_looks_at_other_fields_goes_on_where_the_one_before_ended() {
    let mut bench = Bench::new(vec![rule("pca")]);
    bench.commit(500);
    let kept = keeper(&mut bench);
    let shared = Arc::clone(&bench.shared);
    let mut answering = Answering::new(&shared);
    answering.resume();
    let mut expected = Vec::new();
    let fields: [&[&str]; 5] = [&["x", "y"], &["y"], &["y", "x"], &["x", "y"], &["x", "y"]];
    for features in fields {
        let version = promote(&bench, features) as i64;
        answering.refresh();
        let first = 501 + expected.len() as i64;
        bench.commit(40);
        answering.catch_up();
        expected.extend((first..first + 40).map(|ts| (ts, version)));
    }
    assert_eq!(*kept.lock().unwrap(), expected);
}

#[test]
fn a_damaged_version_gives_way_to_the_one_before() {
    let mut bench = Bench::new(vec![rule("pca")]);
    bench.commit(500);
    let kept = keeper(&mut bench);
    promote(&bench, &["x", "y"]);
    promote(&bench, &["x", "y"]);
    let mut dirs = vec![bench.dir().join("models")];
    let mut artifacts = Vec::new();
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.ends_with("model.safetensors") {
                artifacts.push(path);
            }
        }
    }
    artifacts.sort();
    std::fs::write(&artifacts[1], "rubbish").unwrap();
    let shared = Arc::clone(&bench.shared);
    let mut answering = Answering::new(&shared);
    answering.resume();
    answering.refresh();
    bench.commit(100);
    answering.catch_up();
    let expected: Vec<_> = (501..=600).map(|ts| (ts, 1)).collect();
    assert_eq!(*kept.lock().unwrap(), expected);
    assert!(answering.unusable.contains(&(key(), 2)));
}

#[test]
fn a_line_that_comes_to_serve_late_does_not_disturb_the_others() {
    let mut other = rule("other");
    settings_of(&mut other).lookback = 2;
    let mut bench = Bench::new(vec![rule("pca"), other]);
    bench.commit(500);
    let kept = keeper(&mut bench);
    promote(&bench, &["x"]);
    let shared = Arc::clone(&bench.shared);
    let mut answering = Answering::new(&shared);
    answering.resume();
    answering.refresh();
    bench.commit(50);
    answering.catch_up();
    // As after a restart in which its version could not be read at first.
    let late = ModelKey::new("other", "plant/press");
    answering.resume.insert(own_stream(PREDICTIONS, &late), 520);
    let version = bench.shared.models.version(&key(), 1).unwrap();
    let artifact = bench.shared.models.load(&version).unwrap();
    let new = NewVersion {
        status: "candidate".into(),
        ..NewVersion::default()
    };
    let models = &bench.shared.models;
    models.add(&late, &artifact, new).unwrap();
    models.promote(&late, 1, "available", "retired").unwrap();
    answering.refresh();
    answering.catch_up();
    bench.commit(10);
    answering.catch_up();
    let mut answered: Vec<i64> = kept.lock().unwrap().iter().map(|(ts, _)| *ts).collect();
    answered.sort_unstable();
    let mut expected: Vec<i64> = (501..=560).chain(521..=560).collect();
    expected.sort_unstable();
    assert_eq!(answered, expected);
}
