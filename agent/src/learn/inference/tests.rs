//! Inference over a real buffer and registry; predictions go to a thread that keeps them all.

#![allow(clippy::unwrap_used)]

mod gridded;
mod restart;

use std::{
    sync::{Arc, Mutex},
    thread,
};

use dunlin_models::{
    recipe::NullHost,
    registry::{ModelKey, NewVersion},
};
use dunlin_sync::sample::{StreamId, Value};

use super::{round::PREDICTIONS_MAX, *};
use crate::{
    config::settings::RecipeRule,
    learn::{
        released::{Candidate, Tried},
        tables::{PREDICTIONS, own_stream},
        tests::{Bench, rule, settings_of},
    },
    record::writer::{Refused, RequestContent},
    release::verdict::Outcome,
};

/// Source time and version of every prediction.
type Kept = Arc<Mutex<Vec<(i64, i64)>>>;

/// Keeps predictions as the writer would, until the device is gone.
fn keeper(bench: &mut Bench) -> Kept {
    let (kept, requests) = (Kept::default(), bench.take_requests());
    let ours = Arc::clone(&kept);
    thread::spawn(move || {
        for request in requests.into_iter().flatten() {
            let RequestContent::Records {
                schema, records, ..
            } = request.content
            else {
                continue;
            };
            if schema == PREDICTIONS {
                let of = |record: &crate::record::decode::Record| match record.values.get(0) {
                    Some(Value::I64(version)) => (record.source_ts.unwrap(), *version),
                    other => panic!("{other:?}"),
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

/// As at the start of the agent.
fn started(shared: &Shared) -> Inference<'_> {
    let mut inference = Inference::resume(shared);
    inference.refresh();
    inference
}

/// As after a restart.
fn restarted<'a>(shared: &'a Shared, kept: &Kept) -> Inference<'a> {
    let mut inference = Inference::resume(shared);
    let last = kept.lock().unwrap().last().map(|(ts, _)| *ts);
    if let Some(last) = last {
        let stream = own_stream(PREDICTIONS, &key());
        inference.resume.note(&stream, last);
    }
    inference.refresh();
    inference
}

/// Trains on what there is with these features, and lets it serve.
fn promote(bench: &Bench, features: &[&str]) -> u64 {
    promote_by(bench, &rule("pca"), features)
}

fn promote_by(bench: &Bench, rule: &RecipeRule, features: &[&str]) -> u64 {
    let query = crate::cohort::CohortQuery {
        features: features.iter().map(ToString::to_string).collect(),
        ..crate::cohort::CohortQuery::of("plant/*")
    };
    promote_query(bench, rule, &query)
}

fn promote_query(bench: &Bench, rule: &RecipeRule, query: &crate::cohort::CohortQuery) -> u64 {
    let cohort = crate::cohort::resolve(&bench.shared.buffer, query, rule.recipe.shape()).unwrap();
    let recipe = rule.recipe.build().unwrap();
    let model = recipe
        .train(&cohort, None, 1, &mut NullHost::default())
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

impl Inference<'_> {
    /// Answers everything there is, in as many rounds as it takes.
    pub(in crate::learn) fn catch_up(&mut self) {
        while self.round() == RoundEnd::More {}
    }
}

#[test]
fn a_version_that_looks_at_other_fields_goes_on_where_the_one_before_ended() {
    let mut bench = Bench::new(vec![rule("pca")]);
    bench.commit(500);
    let kept = keeper(&mut bench);
    let shared = Arc::clone(&bench.shared);
    let mut inference = Inference::resume(&shared);
    let mut expected = Vec::new();
    let fields: [&[&str]; 5] = [&["x", "y"], &["y"], &["y", "x"], &["x", "y"], &["x", "y"]];
    for features in fields {
        let version = promote(&bench, features) as i64;
        inference.refresh();
        let first = 501 + expected.len() as i64;
        bench.commit(40);
        inference.catch_up();
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
    let mut inference = started(&shared);
    bench.commit(100);
    inference.catch_up();
    let expected: Vec<_> = (501..=600).map(|ts| (ts, 1)).collect();
    assert_eq!(*kept.lock().unwrap(), expected);
    assert!(inference.rollout.has_told_unusable(&key(), 2));
}

#[test]
fn a_version_of_another_shape_gives_way_and_nobody_waits_for_it_after_a_restart() {
    let mut longer = rule("longer");
    settings_of(&mut longer).lookback = 7;
    let mut bench = Bench::new(vec![rule("pca")]);
    bench.commit(500);
    let kept = keeper(&mut bench);
    promote(&bench, &["x", "y"]);
    promote_by(&bench, &longer, &["x", "y"]);
    let shared = Arc::clone(&bench.shared);
    for first in [501, 601] {
        let mut inference = restarted(&shared, &kept);
        bench.commit(100);
        inference.catch_up();
        let expected: Vec<_> = (501..first + 100).map(|ts| (ts, 1)).collect();
        assert_eq!(*kept.lock().unwrap(), expected);
    }
    let models = &bench.shared.models;
    assert_eq!(models.current_number(&key()), Some(1));
    let failed = models.version(&key(), 2).unwrap();
    assert_eq!(failed.status, bench.shared.settings.status.failed);
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
    let mut inference = started(&shared);
    bench.commit(50);
    inference.catch_up();
    // As after a restart in which its version could not be read at first.
    let late = ModelKey::new("other", "plant/press");
    inference.resume.note(&own_stream(PREDICTIONS, &late), 520);
    let version = bench.shared.models.version(&key(), 1).unwrap();
    let artifact = bench.shared.models.load(&version).unwrap();
    let new = NewVersion {
        status: "candidate".into(),
        ..NewVersion::default()
    };
    let models = &bench.shared.models;
    models.add(&late, &artifact, new).unwrap();
    models.promote(&late, 1, "available", "retired").unwrap();
    inference.refresh();
    inference.catch_up();
    bench.commit(10);
    inference.catch_up();
    let mut answered: Vec<i64> = kept.lock().unwrap().iter().map(|(ts, _)| *ts).collect();
    answered.sort_unstable();
    let mut expected: Vec<i64> = (501..=560).chain(521..=560).collect();
    expected.sort_unstable();
    assert_eq!(answered, expected);
}

#[test]
fn a_version_promoted_amidst_a_backlog_answers_from_the_next_round_on() {
    let mut bench = Bench::new(vec![rule("pca")]);
    bench.commit(500);
    let kept = keeper(&mut bench);
    promote(&bench, &["x", "y"]);
    let shared = Arc::clone(&bench.shared);
    let mut inference = started(&shared);
    for _ in 0..50 {
        bench.commit(100);
    }
    assert_eq!(inference.round(), RoundEnd::More);
    promote(&bench, &["x", "y"]);
    inference.refresh();
    inference.catch_up();
    let kept = kept.lock().unwrap();
    let times: Vec<i64> = kept.iter().map(|(ts, _)| *ts).collect();
    assert_eq!(times, (501..=5_500).collect::<Vec<_>>());
    let of_the_first = kept.iter().filter(|(_, version)| *version == 1).count();
    assert_eq!(of_the_first, PREDICTIONS_MAX, "a round is bounded");
}

#[test]
fn the_answers_of_all_lines_are_handed_over_before_the_first_is_waited_for() {
    let names = ["pca", "second", "third"];
    let mut bench = Bench::new(names.map(rule).to_vec());
    bench.commit(500);
    let artifact = {
        promote(&bench, &["x"]);
        let version = bench.shared.models.version(&key(), 1).unwrap();
        bench.shared.models.load(&version).unwrap()
    };
    for name in &names[1..] {
        let (key, models) = (ModelKey::new(*name, "plant/press"), &bench.shared.models);
        let new = NewVersion {
            status: "available".into(),
            ..NewVersion::default()
        };
        models.add(&key, &artifact, new).unwrap();
    }
    let requests = bench.take_requests();
    let writer = thread::spawn(move || {
        let mut together: Vec<_> = requests.recv().unwrap();
        // The first attempt fails for one of them alone.
        let one = together.remove(1);
        let count = together.len();
        one.reply
            .send(Err(Refused::Transient("no room".into())))
            .unwrap();
        for request in together {
            request.reply.send(Ok(1)).unwrap();
        }
        let again = requests.recv().unwrap();
        for request in &again {
            request.reply.send(Ok(1)).unwrap();
        }
        (count, again.len())
    });
    let shared = Arc::clone(&bench.shared);
    let mut inference = started(&shared);
    bench.commit(1);
    assert_eq!(inference.round(), RoundEnd::Done);
    assert_eq!(
        writer.join().unwrap(),
        (2, 1),
        "nothing is handed over twice"
    );
    assert_eq!(shared.stats.predictions.load(Relaxed), 3);
}

#[test]
fn answers_that_can_never_be_stored_hold_no_others_and_are_told_once() {
    let names = ["pca", "second"];
    let mut bench = Bench::new(names.map(rule).to_vec());
    bench.commit(500);
    promote(&bench, &["x"]);
    let artifact = {
        let version = bench.shared.models.version(&key(), 1).unwrap();
        bench.shared.models.load(&version).unwrap()
    };
    let new = NewVersion {
        status: "available".into(),
        ..NewVersion::default()
    };
    let second = ModelKey::new("second", "plant/press");
    bench.shared.models.add(&second, &artifact, new).unwrap();
    let requests = bench.take_requests();
    let writer = thread::spawn(move || {
        let mut stored = 0;
        for request in requests.into_iter().flatten() {
            let RequestContent::Records { stream, .. } = &request.content else {
                continue;
            };
            let answer = if stream.contains("/second/") {
                Err(Refused::Permanent("no stream is left".into()))
            } else {
                stored += 1;
                Ok(1)
            };
            // Events are not waited for.
            let _nobody = request.reply.send(answer);
        }
        stored
    });
    let shared = Arc::clone(&bench.shared);
    let mut inference = started(&shared);
    for _ in 0..3 {
        bench.commit(10);
        assert_eq!(inference.round(), RoundEnd::Done);
    }
    let stats = &shared.stats;
    assert_eq!(stats.predictions.load(Relaxed), 30);
    assert_eq!(stats.refused.load(Relaxed), 30);
    let mut refused = 0;
    for predictor in inference.predictors.iter_mut() {
        assert!(predictor.outbox.waiting().is_empty());
        refused += usize::from(!predictor.outbox.refuse());
    }
    assert_eq!(refused, 1, "told already");
    drop(inference);
    drop((shared, bench));
    assert!(writer.join().unwrap() >= 3);
}

/// Number of the stream that is watched.
fn stream_id(shared: &Shared) -> StreamId {
    let catalog = shared.buffer.catalog();
    let mut streams = catalog.streams();
    streams
        .find(|stream| stream.name == key().stream)
        .unwrap()
        .id
}

#[test]
fn a_stream_that_is_forgotten_and_comes_back_is_answered_by_its_model() {
    let mut bench = Bench::with_buffer(vec![rule("pca")], |options| {
        options.bytes_max = 8 << 20;
        options.replay_bytes_max = 0;
    });
    bench.commit(500);
    let kept = keeper(&mut bench);
    promote(&bench, &["x"]);
    let shared = Arc::clone(&bench.shared);
    let mut inference = started(&shared);
    bench.commit(5);
    inference.catch_up();
    let before = stream_id(&shared);
    assert!(inference.predictors.find(before, &key()).is_some());
    // Everything is uploaded, and nothing of it is left.
    let mut is_forgotten = false;
    for _ in 0..500 {
        bench.commit_to("other", 5_000);
        shared.buffer.uploaded_to(shared.buffer.next_seq());
        inference.catch_up();
        let forgotten = shared.buffer.forget_idle(i64::MAX);
        is_forgotten |= forgotten.iter().any(|stream| stream.id == before);
        if is_forgotten {
            break;
        }
    }
    assert!(is_forgotten);
    inference.refresh();
    assert!(inference.predictors.is_empty());
    bench.commit(7);
    // A look at the records just before they have a line must not pass them over.
    inference.round();
    inference.refresh();
    let after = stream_id(&shared);
    assert!(inference.predictors.find(after, &key()).is_some());
    assert_ne!(after, before);
    inference.catch_up();
    // The first of the seven makes no window by itself, and what came before it is gone.
    assert_eq!(kept.lock().unwrap().len(), 5 + 6);
}

#[test]
fn a_version_that_loses_its_status_answers_no_more() {
    let mut bench = Bench::new(vec![rule("pca")]);
    bench.commit(500);
    let kept = keeper(&mut bench);
    promote(&bench, &["x"]);
    let shared = Arc::clone(&bench.shared);
    let mut inference = Inference::resume(&shared);
    let mut pass = |status: &str| {
        bench.shared.models.set_status(&key(), 1, status).unwrap();
        inference.refresh();
        bench.commit(10);
        inference.catch_up();
    };
    pass("available");
    pass("in quarantine");
    pass("available");
    let times: Vec<i64> = kept.lock().unwrap().iter().map(|(ts, _)| *ts).collect();
    assert_eq!(times, (501..=510).chain(521..=530).collect::<Vec<_>>());
}

#[test]
fn a_released_version_that_is_taken_back_is_told() {
    let mut bench = Bench::new(vec![rule("pca")]);
    bench.commit(1_000);
    promote(&bench, &["x", "y"]);
    let version = promote(&bench, &["x", "y"]);
    let candidate = Candidate {
        serial: 1,
        sha256: "ab".repeat(32),
        file: "/release".into(),
    };
    let (released, seed) = (&bench.shared.released, candidate.seed(&key()));
    released.offer("pca", candidate);
    let tried = Tried {
        outcome: Outcome::Serves,
        version: Some(version),
        reason: "passed the gate".into(),
    };
    released.ended(&key(), seed, tried);
    assert!(rollout::withdraw::roll_back(&bench.shared, &key(), version));
    let (_, tried) = released.tried("pca").unwrap();
    let tried = &tried["plant/press"];
    assert_eq!(tried.outcome, Outcome::RolledBack);
    assert!(tried.reason.contains("version 1 serves again"), "{tried:?}");
}
