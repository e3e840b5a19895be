//! Models that the fleet has released, tried on this device.

use dunlin_sync::centre::blobs::BlobHash;

use super::*;
use crate::{learn::released::Tried, release::verdict::Outcome};

fn key() -> ModelKey {
    ModelKey::new("pca", "plant/press")
}

/// A version of another device: trained on its first 1,000 records, each shifted by so much.
fn from_elsewhere(shift: f64) -> Vec<u8> {
    let mut bench = Bench::new(vec![rule("pca")]);
    bench.shift = shift;
    bench.commit(1_000);
    let mut scheduler = scheduler(&bench);
    scheduler.look();
    scheduler.settle_one();
    let models = &bench.shared.models;
    let version = models.version(&key(), 1).unwrap();
    models.bytes(&version).unwrap()
}

fn offer(bench: &Bench, serial: u64, bytes: &[u8]) {
    let file = bench.dir().join(format!("release-{serial}"));
    std::fs::write(&file, bytes).unwrap();
    let candidate = Candidate {
        serial,
        sha256: BlobHash::of(bytes).to_string(),
        file,
    };
    bench.shared.released.offer("pca", candidate);
}

fn tried(bench: &Bench) -> Tried {
    let (_, tried) = bench.shared.released.tried("pca").unwrap();
    tried["plant/press"].clone()
}

#[test]
fn a_released_model_is_tried_before_anything_is_learnt_and_once() {
    let bytes = from_elsewhere(0.0);
    let mut bench = Bench::new(vec![rule("pca")]);
    let mut scheduler = scheduler(&bench);
    offer(&bench, 1, &bytes);
    bench.commit(999);
    scheduler.look();
    assert!(scheduler.tasks.all().is_empty(), "too little to judge by");
    bench.commit(1);
    scheduler.look();
    assert_eq!(scheduler.tasks.all()[0].kind, TaskKind::Released);
    assert_eq!(scheduler.tasks.all()[0].reason, "release 1");
    scheduler.settle_one();
    let found = tried(&bench);
    assert_eq!((found.outcome, found.version), (Outcome::Serves, Some(1)));
    let models = &bench.shared.models;
    assert_eq!(models.current_number(&key()), Some(1));
    let version = models.version(&key(), 1).unwrap();
    assert_eq!(version.sha256, BlobHash::of(&bytes).to_string());
    assert_eq!((version.lineage.rows, version.lineage.last_ts), (0, 1_000));
    assert!(version.lineage.query.starts_with("released as 1 "));
    // What came is what there is to build upon, and fine-tuning begins behind what it was judged on.
    bench.commit(1_999);
    scheduler.look();
    assert!(scheduler.tasks.all().is_empty());
    bench.commit(1);
    scheduler.look();
    assert_eq!(scheduler.tasks.all()[0].kind, TaskKind::FineTune);
    scheduler.settle_one();
}

#[test]
fn a_worse_one_is_refused_with_the_reason_and_what_serves_serves_on() {
    let (worse, same) = (from_elsewhere(3.0), from_elsewhere(0.0));
    let mut bench = Bench::new(vec![rule("pca")]);
    bench.commit(1_000);
    let mut scheduler = scheduler(&bench);
    scheduler.look();
    scheduler.settle_one();
    offer(&bench, 1, &worse);
    scheduler.look();
    scheduler.settle_one();
    let found = tried(&bench);
    assert_eq!((found.outcome, found.version), (Outcome::Refused, Some(2)));
    assert!(found.reason.contains("incumbent"), "{found:?}");
    let models = &bench.shared.models;
    assert_eq!(models.current_number(&key()), Some(1));
    // What serves already needs no trial.
    offer(&bench, 2, &same);
    scheduler.look();
    scheduler.settle_one();
    let found = tried(&bench);
    assert_eq!((found.outcome, found.version), (Outcome::Serves, Some(1)));
    assert_eq!(models.versions(&key()).unwrap().len(), 2);
}

#[test]
fn one_that_was_refused_keeps_nobody_from_learning() {
    let mut bench = Bench::new(vec![rule("pca")]);
    bench.commit(1_000);
    let mut scheduler = scheduler(&bench);
    offer(&bench, 1, &from_elsewhere(3.0));
    scheduler.look();
    scheduler.settle_one();
    assert_eq!(tried(&bench).outcome, Outcome::Refused);
    assert_eq!(bench.shared.models.current_number(&key()), None);
    scheduler.look();
    assert_eq!(scheduler.tasks.all()[0].kind, TaskKind::Scratch);
    scheduler.settle_one();
    assert_eq!(bench.shared.models.current_number(&key()), Some(2));
}

#[test]
fn what_is_no_model_for_these_records_fails_with_the_reason() {
    let mut bench = Bench::new(vec![rule("pca")]);
    bench.commit(1_000);
    let mut scheduler = scheduler(&bench);
    let bytes = from_elsewhere(0.0);
    let mut other = dunlin_models::artifact::Artifact::from_bytes(&bytes).unwrap();
    other.features = vec!["y".into(), "x".into()];
    let others = other.to_bytes().unwrap();
    for (serial, bytes, why) in [
        (1, b"nothing of the kind".as_slice(), "does not fit"),
        (2, &others, "for the fields"),
    ] {
        offer(&bench, serial, bytes);
        scheduler.look();
        scheduler.settle_one();
        let found = tried(&bench);
        assert_eq!(found.outcome, Outcome::Failed);
        assert!(found.reason.contains(why), "{found:?}");
    }
    // A file that is not what was fetched.
    offer(&bench, 3, &bytes);
    std::fs::write(bench.dir().join("release-3"), &others).unwrap();
    scheduler.look();
    scheduler.settle_one();
    assert!(tried(&bench).reason.contains("not what was released"));
    // None of it is held against the device's own.
    scheduler.look();
    assert_eq!(scheduler.tasks.all()[0].kind, TaskKind::Scratch);
    scheduler.settle_one();
}

#[test]
fn what_is_withdrawn_is_not_tried_and_a_trial_survives_a_restart() {
    let mut bench = Bench::new(vec![rule("pca")]);
    bench.commit(1_000);
    let bytes = from_elsewhere(0.0);
    offer(&bench, 1, &bytes);
    let mut before = scheduler(&bench);
    before.fill_queues();
    assert_eq!(before.tasks.all()[0].kind, TaskKind::Released);
    drop(before);
    let mut after = scheduler(&bench);
    after.look();
    after.settle_one();
    assert_eq!(tried(&bench).outcome, Outcome::Serves);
    offer(&bench, 2, &from_elsewhere(3.0));
    bench.shared.released.withdraw("pca");
    after.look();
    assert!(after.tasks.all().is_empty());
}
