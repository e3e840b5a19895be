#![allow(clippy::unwrap_used)]

mod crash;
mod damage;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

pub(super) fn artifact(number: f32) -> Artifact {
    let mut artifact = Artifact {
        kind: "test".into(),
        features: vec!["x".into()],
        settings: "{}".into(),
        ..Artifact::default()
    };
    artifact.insert_f32("w", &[1], vec![number]);
    artifact
}

pub(super) fn new(status: &str) -> NewVersion {
    NewVersion {
        created_ns: 5,
        seed: u64::MAX,
        status: status.into(),
        ..NewVersion::default()
    }
}

pub(super) fn open(dir: &Path) -> Registry {
    Registry::open(RegistryOptions::new(dir)).unwrap()
}

pub(super) fn key() -> ModelKey {
    ModelKey::new("ridge", "plant/m1")
}

pub(super) fn ok() -> [String; 1] {
    [AVAILABLE.to_owned()]
}

/// A registry with `versions` versions, each promoted after the one before.
pub(super) fn filled(versions: u64) -> (TempDir, Registry) {
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

pub(super) fn statuses(registry: &Registry) -> Vec<(u64, String)> {
    let versions = registry.versions(&key()).unwrap();
    versions
        .into_iter()
        .map(|version| (version.number, version.status))
        .collect()
}

pub(super) fn of(statuses: &[(u64, &str)]) -> Vec<(u64, String)> {
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

#[test]
fn somebody_who_accepts_more_statuses_may_be_served_another_version() {
    let (_dir, registry) = filled(2);
    let shadow = [AVAILABLE.to_owned(), CANDIDATE.to_owned()];
    assert_eq!(registry.number_among(&key(), &shadow), Some(2));
    registry
        .add(&key(), &artifact(3.0), new(CANDIDATE))
        .unwrap();
    let number = |statuses: &[String]| {
        let version = registry.current_among(&key(), statuses).unwrap();
        version.map(|version| version.number)
    };
    assert_eq!((number(&shadow), number(&ok())), (Some(3), Some(2)));
    assert_eq!(number(&["nothing".to_owned()]), None);
    registry.promote(&key(), 1, AVAILABLE, AVAILABLE).unwrap();
    assert_eq!(number(&ok()), Some(1), "not the one promoted earlier");
    let other = ModelKey::new("ridge", "other");
    assert_eq!(registry.current_among(&other, &shadow).unwrap(), None);
}

#[test]
fn the_oldest_give_way_but_not_what_serves_nor_where_a_rollback_goes() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::open(RegistryOptions {
        versions_max: 1,
        keys_max: 2,
        artifact_bytes_max: 1_000,
        ..RegistryOptions::new(dir.path())
    })
    .unwrap();
    for number in 1..=2 {
        registry
            .add(&key(), &artifact(1.0), new(CANDIDATE))
            .unwrap();
        registry
            .promote(&key(), number, AVAILABLE, RETIRED)
            .unwrap();
    }
    for _ in 0..5 {
        registry
            .add(&key(), &artifact(1.0), new(CANDIDATE))
            .unwrap();
    }
    assert_eq!(
        statuses(&registry),
        of(&[(1, RETIRED), (2, AVAILABLE), (7, CANDIDATE)])
    );
    for protected in [1, 2] {
        let error = registry.remove(&key(), protected).unwrap_err();
        assert!(matches!(error, RegistryError::Refused(_)), "{error}");
    }
    assert_eq!(registry.prune(&key(), 0).unwrap(), [7]);
    assert_eq!(fs::read_dir(registry.line_dir(&key())).unwrap().count(), 4);

    let second = ModelKey::new("ridge", "second");
    registry
        .add(&second, &artifact(1.0), new(CANDIDATE))
        .unwrap();
    let third = ModelKey::new("ridge", "third");
    let error = registry
        .add(&third, &artifact(1.0), new(CANDIDATE))
        .unwrap_err();
    assert!(matches!(error, RegistryError::Refused(_)), "{error}");
    registry.forget(&second).unwrap();
    registry
        .add(&third, &artifact(1.0), new(CANDIDATE))
        .unwrap();
    let mut large = artifact(1.0);
    large.insert_f32("more", &[1_000], vec![0.0; 1_000]);
    let error = registry.add(&third, &large, new(CANDIDATE)).unwrap_err();
    assert!(matches!(error, RegistryError::Refused(_)), "{error}");
}

#[test]
fn what_is_exported_can_be_imported_elsewhere_and_nothing_else() {
    let (_dir, registry) = filled(1);
    let version = registry.current(&key()).unwrap().unwrap();
    let bytes = registry.bytes(&version).unwrap();
    let (_there, elsewhere) = filled(0);
    let imported = elsewhere.import(&key(), &bytes, new(IMPORTED)).unwrap();
    assert_eq!(
        (&imported.sha256, &imported.kind),
        (&version.sha256, &version.kind)
    );
    assert_eq!(
        elsewhere.current_number(&key()),
        None,
        "not before it is promoted"
    );

    let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![1], &[0; 4]);
    let of_others = safetensors::serialize([("w", view.unwrap())], None).unwrap();
    let mut of_next_year = bytes.clone();
    let at = bytes
        .windows(10)
        .position(|part| part == b"format\\\":1")
        .unwrap();
    of_next_year[at + 9] = b'2';
    for foreign in [
        &b""[..],
        b"MZ",
        &[0xff; 64],
        &of_others,
        &bytes[..bytes.len() - 1],
        &of_next_year,
    ] {
        let error = elsewhere
            .import(&key(), foreign, new(IMPORTED))
            .unwrap_err();
        assert!(matches!(error, RegistryError::Artifact(_)), "{error}");
    }
    assert_eq!(elsewhere.versions(&key()).unwrap().len(), 1);
}

#[test]
fn figures_that_are_no_numbers_do_not_spoil_a_manifest() {
    let (dir, registry) = filled(0);
    let evaluation = crate::judging::evaluation::Evaluation {
        windows: 1,
        error_sum: f64::NAN,
        absolute_sums: vec![f64::INFINITY, 1.0],
        ..Default::default()
    };
    let decision = crate::judging::gate::decide(
        &crate::judging::gate::GateSettings::default(),
        &evaluation,
        None,
        &evaluation,
    );
    let version = NewVersion {
        evaluations: Evaluations {
            candidate: Some(evaluation),
            ..Evaluations::default()
        },
        decision: Some(decision),
        ..new(CANDIDATE)
    };
    let added = registry.add(&key(), &artifact(1.0), version).unwrap();
    drop(registry);
    let found = open(dir.path()).version(&key(), 1).unwrap();
    assert_eq!(found, added);
    assert_eq!(found.seed, u64::MAX);
    assert_eq!(
        found.evaluations.candidate.unwrap().absolute_sums,
        [f64::MAX, 1.0]
    );
}

#[test]
fn hostile_names_stay_below_the_directory_and_come_back_as_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let inside = dir.path().join("models");
    let registry = open(&inside);
    let mut keys: Vec<ModelKey> = [
        "..",
        "../../x",
        "/",
        ".",
        "a\0b",
        "line.json",
        "x.gone",
        "\u{1b}[2J",
    ]
    .iter()
    .flat_map(|name| [ModelKey::new(*name, "s"), ModelKey::new("r", *name)])
    .collect();
    for key in &keys {
        registry.add(key, &artifact(1.0), new(CANDIDATE)).unwrap();
        registry.promote(key, 1, AVAILABLE, RETIRED).unwrap();
    }
    drop(registry);
    keys.sort_unstable();
    let registry = open(&inside);
    assert_eq!(registry.keys(), keys);
    assert_eq!(disk::names(dir.path()).unwrap(), ["models"]);
    assert_eq!(disk::names(&inside).unwrap(), ["lines", "lock"]);
    for key in [
        ModelKey::new("", "s"),
        ModelKey::new("r", "x".repeat(NAME_BYTES_MAX + 1)),
    ] {
        let error = registry
            .add(&key, &artifact(1.0), new(CANDIDATE))
            .unwrap_err();
        assert!(matches!(error, RegistryError::Refused(_)), "{error}");
    }
    for status in ["", "a\nb", &"x".repeat(STATUS_BYTES_MAX + 1)] {
        let error = registry
            .add(&key(), &artifact(1.0), new(status))
            .unwrap_err();
        assert!(matches!(error, RegistryError::Refused(_)), "{error}");
    }
}

#[test]
fn what_is_not_there_is_named() {
    let (_dir, registry) = filled(2);
    let error = registry.promote(&key(), 7, AVAILABLE, RETIRED).unwrap_err();
    assert!(error.to_string().contains("it has 1, 2"), "{error}");
    let nobody = ModelKey::new("ridge", "no\u{1b}body");
    let error = registry.rollback(&nobody, ROLLED_BACK).unwrap_err();
    assert!(matches!(error, RegistryError::Unknown(_)), "{error}");
    assert!(error.to_string().contains("no\\u{1b}body"), "{error}");
    assert!(registry.versions(&nobody).unwrap().is_empty());
    registry.forget(&nobody).unwrap();
}

#[test]
fn threads_that_read_never_see_half_a_change() {
    let (_dir, registry) = filled(2);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..200 {
                    let current = registry.current_among(&key(), &ok()).unwrap().unwrap();
                    // It may have been pruned since, but it is never half there.
                    match registry.load(&current) {
                        Ok(loaded) => assert_eq!(loaded, artifact(current.number as f32)),
                        Err(error) => {
                            assert!(matches!(error, RegistryError::Unknown(_)), "{error}");
                        }
                    }
                }
            });
        }
        for number in 3..20 {
            registry
                .add(&key(), &artifact(number as f32), new(CANDIDATE))
                .unwrap();
            registry
                .promote(&key(), number, AVAILABLE, RETIRED)
                .unwrap();
            registry.prune(&key(), 2).unwrap();
        }
    });
    assert!(registry.take_damage().is_empty());
}

const HELD: &str = "DUNLIN_TEST_REGISTRY";

/// Not a test of its own: the other process of the next one.
#[test]
fn holds_the_registry_until_its_input_ends() {
    let Ok(dir) = std::env::var(HELD) else {
        return;
    };
    let _registry = open(Path::new(&dir));
    println!("\nheld");
    std::io::stdin()
        .lock()
        .read_line(&mut String::new())
        .unwrap();
}

#[test]
fn two_processes_cannot_have_it_open() {
    let (dir, registry) = filled(1);
    drop(registry);
    let mut other = Command::new(std::env::current_exe().unwrap())
        .args([
            "registry::tests::holds_the_registry_until_its_input_ends",
            "--exact",
            "--nocapture",
        ])
        .env(HELD, dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(other.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "held"));
    let error = Registry::open(RegistryOptions::new(dir.path()))
        .err()
        .unwrap();
    assert!(matches!(error, RegistryError::InUse(_)), "{error}");
    other.kill().unwrap();
    other.wait().unwrap();
    assert_eq!(open(dir.path()).current_number(&key()), Some(1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Whatever is done and wherever it is opened again, it agrees with a line held in memory.
    #[test]
    fn it_does_what_the_line_does(changes in proptest::collection::vec((0u8..7, 1u64..6), 1..25)) {
        let dir = tempfile::tempdir().unwrap();
        let mut registry = open(dir.path());
        let mut line = ModelHistory::new(key());
        for (change, number) in changes {
            let is_there = line.entries.contains_key(&number);
            match change {
                0 | 1 => {
                    let added = registry.add(&key(), &artifact(0.0), new(CANDIDATE)).unwrap();
                    prop_assert_eq!(added.number, line.next_number);
                    line.add(added.number, CANDIDATE);
                }
                2 => {
                    let done = registry.promote(&key(), number, AVAILABLE, RETIRED);
                    prop_assert_eq!(done.is_ok(), is_there);
                    if is_there {
                        line.promote(number, AVAILABLE, RETIRED);
                    }
                }
                3 => {
                    let done = registry.rollback(&key(), ROLLED_BACK).ok().map(|v| v.number);
                    prop_assert_eq!(done, line.roll_back(ROLLED_BACK));
                }
                4 => {
                    let done = registry.remove(&key(), number);
                    let can = is_there && !line.is_protected(number);
                    prop_assert_eq!(done.is_ok(), can);
                    if can {
                        line.lose(number);
                    }
                }
                5 => {
                    let pruned = registry.prune(&key(), 2).unwrap();
                    prop_assert_eq!(&pruned, &line.surplus(2));
                    for number in pruned {
 line.lose(number);
}
                }
                _ => {
                    drop(registry);
                    registry = open(dir.path());
                }
            }
            let known = registry.history(&key()).unwrap_or_else(|| ModelHistory::new(key()));
            prop_assert_eq!(&known, &line);
        }
    }
}
