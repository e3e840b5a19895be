//! Damage on disk: what is altered is found, told, set aside, and disturbs nobody else.

#![allow(clippy::unwrap_used)]
use std::{fs, path::Path};

use crate::registry::{
    tests::{artifact, filled, key, new, of, open, statuses},
    *,
};

#[test]
fn a_damaged_model_is_set_aside_and_the_one_before_serves() {
    let (dir, registry) = filled(3);
    let third = registry.version(&key(), 3).unwrap();
    let model = registry.version_dir(&key(), 3).join(MODEL);
    let mut bytes = fs::read(&model).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&model, bytes).unwrap();
    let changes = registry.changes();
    let error = registry.load(&third).unwrap_err();
    assert!(matches!(error, RegistryError::Damaged(_)), "{error}");
    assert!(registry.changes() > changes);
    assert_eq!(statuses(&registry), of(&[(1, RETIRED), (2, AVAILABLE)]));
    let second = registry.current(&key()).unwrap().unwrap();
    assert_eq!(registry.load(&second).unwrap(), artifact(2.0));
    let damage = registry.take_damage();
    assert_eq!(
        (damage[0].key.clone(), damage[0].number),
        (Some(key()), Some(3))
    );
    assert_eq!(disk::names(&dir.path().join("damaged")).unwrap().len(), 1);
    // Its number is not used again, not even after a restart.
    drop(registry);
    let registry = open(dir.path());
    assert_eq!(
        registry
            .add(&key(), &artifact(4.0), new(CANDIDATE))
            .unwrap()
            .number,
        4
    );
    assert_eq!(registry.rollback(&key(), ROLLED_BACK).unwrap().number, 1);
    let error = registry.load(&third).unwrap_err();
    assert!(matches!(error, RegistryError::Unknown(_)), "{error}");
}

/// Alters a file in ways that must all be seen.
fn alterations(path: &Path) -> Vec<Option<Vec<u8>>> {
    let whole = fs::read(path).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    vec![
        None,
        Some(Vec::new()),
        Some(whole[..whole.len() - 2].to_vec()),
        Some(flipped),
    ]
}

fn alter(path: &Path, to: Option<Vec<u8>>) {
    match to {
        Some(bytes) => fs::write(path, bytes).unwrap(),
        None => fs::remove_file(path).unwrap(),
    }
}

#[test]
fn a_damaged_manifest_is_found_at_open_or_when_it_is_asked_for() {
    for index in 0..4 {
        for number in [1, 3] {
            let (dir, registry) = filled(3);
            let manifest = registry.version_dir(&key(), number).join(MANIFEST);
            drop(registry);
            alter(&manifest, alterations(&manifest).swap_remove(index));
            let registry = open(dir.path());
            let left: Vec<u64> = statuses(&registry)
                .iter()
                .map(|(number, _)| *number)
                .collect();
            assert_eq!(left, if number == 1 { [2, 3] } else { [1, 2] });
            assert_eq!(registry.take_damage().len(), 1);
            assert_eq!(registry.damaged(), 1);
            assert!(registry.current(&key()).unwrap().is_some());
        }
    }
}

#[test]
fn a_damaged_pointer_is_mended_from_its_copy_or_from_the_manifests() {
    for index in 1..4 {
        for with_copy in [true, false] {
            let (dir, registry) = filled(3);
            let line_dir = registry.line_dir(&key());
            drop(registry);
            let line = line_dir.join(LINE);
            alter(&line, alterations(&line).swap_remove(index));
            if !with_copy {
                fs::write(line_dir.join(LINE_BEFORE), b"?").unwrap();
            }
            let registry = open(dir.path());
            let damage = registry.take_damage();
            assert_eq!((damage.len(), damage[0].key.clone()), (1, Some(key())));
            assert_eq!(statuses(&registry).len(), 3);
            // Without any state, no version is known to have passed the gate.
            let current = if with_copy { Some(2) } else { None };
            assert_eq!(registry.current_number(&key()), current);
            registry.promote(&key(), 3, AVAILABLE, RETIRED).unwrap();
            drop(registry);
            let registry = open(dir.path());
            assert_eq!(registry.current_number(&key()), Some(3));
            assert!(registry.take_damage().is_empty());
        }
    }
}

#[test]
fn without_any_state_the_newest_that_passed_the_gate_serves() {
    let (dir, registry) = filled(0);
    let of = |error_sum| crate::judging::evaluation::Evaluation {
        windows: 1_000,
        error_sum,
        ..Default::default()
    };
    for (number, error) in [(1.0, 1.0), (2.0, 1.0), (3.0, 9.0)] {
        let decision = crate::judging::gate::decide(
            &crate::judging::gate::GateSettings::default(),
            &of(error),
            None,
            &of(5.0),
        );
        let version = NewVersion {
            decision: Some(decision),
            ..new(CANDIDATE)
        };
        registry.add(&key(), &artifact(number), version).unwrap();
    }
    let line_dir = registry.line_dir(&key());
    drop(registry);
    for name in [LINE, LINE_BEFORE] {
        fs::write(line_dir.join(name), b"?").unwrap();
    }
    assert_eq!(open(dir.path()).current_number(&key()), Some(2));
}

#[test]
fn a_line_of_another_format_is_left_alone_and_disturbs_nobody() {
    let (dir, registry) = filled(1);
    let path = registry.line_dir(&key()).join(LINE);
    drop(registry);
    let newer = fs::read_to_string(&path)
        .unwrap()
        .replacen("\"format\":1", "\"format\":2", 1);
    fs::write(&path, &newer).unwrap();
    let registry = open(dir.path());
    assert_eq!(registry.keys(), []);
    let error = registry
        .add(&key(), &artifact(1.0), new(CANDIDATE))
        .unwrap_err();
    assert!(error.to_string().contains("format 2"), "{error}");
    let other = ModelKey::new("ridge", "other");
    registry
        .add(&other, &artifact(1.0), new(CANDIDATE))
        .unwrap();
    drop(registry);
    assert_eq!(fs::read_to_string(&path).unwrap(), newer);
}

#[test]
fn a_line_in_which_nothing_can_be_read_is_set_aside() {
    let (dir, registry) = filled(1);
    let line_dir = registry.line_dir(&key());
    let manifest = registry.version_dir(&key(), 1).join(MANIFEST);
    drop(registry);
    for path in [line_dir.join(LINE), line_dir.join(LINE_BEFORE), manifest] {
        fs::write(path, b"?").unwrap();
    }
    fs::write(dir.path().join("lines/stray"), b"").unwrap();
    let of_others = dir.path().join("lines/backup");
    fs::create_dir(&of_others).unwrap();
    let empty = dir
        .path()
        .join("lines")
        .join(ModelKey::new("a", "b").directory_name());
    fs::create_dir(&empty).unwrap();
    let registry = open(dir.path());
    assert_eq!(registry.keys(), []);
    assert!(!line_dir.exists());
    assert!(of_others.exists() && !empty.exists());
    assert!(registry.damaged() > 0);
    assert_eq!(
        registry
            .add(&key(), &artifact(1.0), new(CANDIDATE))
            .unwrap()
            .number,
        1
    );
}

#[test]
fn a_line_in_the_wrong_place_is_not_taken_for_another() {
    let (dir, registry) = filled(1);
    let other = ModelKey::new("ridge", "other");
    registry
        .add(&other, &artifact(1.0), new(CANDIDATE))
        .unwrap();
    let (from, to) = (registry.line_dir(&key()), registry.line_dir(&other));
    drop(registry);
    fs::remove_dir_all(&to).unwrap();
    fs::rename(from, to).unwrap();
    let registry = open(dir.path());
    assert_eq!(registry.current(&other).unwrap(), None);
    assert!(registry.damaged() > 0);
}

#[test]
fn only_so_much_is_set_aside() {
    let (dir, registry) = filled(0);
    for _ in 0..40 {
        let version = registry
            .add(&key(), &artifact(1.0), new(CANDIDATE))
            .unwrap();
        fs::write(
            registry.version_dir(&key(), version.number).join(MODEL),
            b"",
        )
        .unwrap();
        assert!(registry.versions(&key()).unwrap().is_empty());
    }
    let names = disk::names(&dir.path().join("damaged")).unwrap();
    assert_eq!(names.len(), 16);
    assert!(names[15].starts_with("0000000040-"), "{names:?}");
    assert_eq!(registry.damaged(), 40);
}
