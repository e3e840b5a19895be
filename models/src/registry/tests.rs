#![allow(clippy::unwrap_used)]
use std::{fs, path::Path, sync::Arc};

use tempfile::TempDir;

use super::*;

fn artifact(number: f32) -> Artifact {
    let mut artifact = Artifact {
        kind: "test".into(),
        features: vec!["x".into()],
        settings: "{}".into(),
        ..Artifact::default()
    };
    artifact.insert_f32("w", &[1], vec![number]);
    artifact
}

fn new(status: &str) -> NewVersion {
    NewVersion {
        created_ns: 5,
        seed: u64::MAX,
        status: status.into(),
        ..NewVersion::default()
    }
}

fn open(dir: &Path) -> Registry {
    Registry::open(RegistryOptions::new(dir)).unwrap()
}

fn key() -> ModelKey {
    ModelKey::new("ridge", "plant/m1")
}

fn ok() -> [String; 1] {
    [AVAILABLE.to_owned()]
}

/// A registry with `versions` versions, each promoted after the one before.
fn filled(versions: u64) -> (TempDir, Registry) {
    let dir = tempfile::tempdir().unwrap();
    let registry = open(dir.path());
    for number in 1..=versions {
        let version = registry.add(&key(), &artifact(number as f32), new(CANDIDATE));
        assert_eq!(version.unwrap().number, number);
        registry
            .promote(&key(), number, AVAILABLE, RETIRED)
            .unwrap();
    }
    (dir, registry)
}

fn statuses(registry: &Registry) -> Vec<(u64, String)> {
    let versions = registry.versions(&key()).unwrap();
    versions
        .into_iter()
        .map(|version| (version.number, version.status))
        .collect()
}

fn of(statuses: &[(u64, &str)]) -> Vec<(u64, String)> {
    statuses
        .iter()
        .map(|(number, status)| (*number, (*status).to_owned()))
        .collect()
}

#[test]
fn versions_are_added_promoted_and_taken_back() {
    let (dir, registry) = filled(2);
    let changes = registry.changes();
    let third = registry
        .add(&key(), &artifact(3.0), new(CANDIDATE))
        .unwrap();
    assert!(registry.changes() > changes);
    assert_eq!(registry.current_number(&key()), Some(2));
    assert_eq!(
        statuses(&registry),
        of(&[(1, RETIRED), (2, AVAILABLE), (3, CANDIDATE)])
    );
    assert_eq!(registry.load(&third).unwrap(), artifact(3.0));
    registry.promote(&key(), 3, AVAILABLE, RETIRED).unwrap();
    let back = registry.rollback(&key(), ROLLED_BACK).unwrap();
    assert_eq!(
        (back.number, back.status.as_str(), back.is_current),
        (2, AVAILABLE, true)
    );
    drop(registry);
    let registry = open(dir.path());
    assert_eq!(
        statuses(&registry),
        of(&[(1, RETIRED), (2, AVAILABLE), (3, ROLLED_BACK)])
    );
    assert_eq!(registry.current(&key()).unwrap().unwrap(), back);
    assert_eq!(registry.rollback(&key(), ROLLED_BACK).unwrap().number, 1);
    let error = registry.rollback(&key(), ROLLED_BACK).unwrap_err();
    assert!(matches!(error, RegistryError::Refused(_)), "{error}");
    assert_eq!(registry.keys(), [key()]);
    assert!(registry.take_damage().is_empty());
}
