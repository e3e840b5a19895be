//! Checkpoints, as they are kept, mixed up and damaged.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::learn::{scheduler::task::TaskState, tests::task};

fn of(dir: &Path, id: u64, seed: u64) -> Checkpoint {
    let task = Task {
        seed,
        ..task(id, TaskState::Training)
    };
    Checkpoint::new(dir, &task)
}

#[test]
fn a_checkpoint_comes_back_to_its_own_task_alone() {
    let dir = tempfile::tempdir().unwrap();
    let of = |id, seed| of(dir.path(), id, seed);
    assert_eq!(of(1, 10).load(), None);
    of(1, 10).save(b"first").unwrap();
    of(1, 10).save(b"second").unwrap();
    assert_eq!(of(1, 10).load().unwrap(), b"second");
    assert_eq!(of(2, 10).load(), None);
    assert_eq!(of(1, 11).load(), None);
    let path = dir.path().join("checkpoint-1");
    fs::rename(&path, dir.path().join("checkpoint-2")).unwrap();
    assert_eq!(of(2, 10).load(), None);
    fs::rename(dir.path().join("checkpoint-2"), &path).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert_eq!(of(1, 10).load(), None);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let refused = of(1, 10).save(b"third");
    assert!(refused.unwrap_err().contains("checkpoint"));
}

#[test]
fn a_checkpoint_lies_on_disk_as_number_seed_and_bytes() {
    let dir = tempfile::tempdir().unwrap();
    of(dir.path(), 7, 10).save(b"kept").unwrap();
    let kept: Option<(u64, u64, Vec<u8>)> =
        state_file::read(&dir.path().join("checkpoint-7")).unwrap();
    assert_eq!(kept.unwrap(), (7, 10, b"kept".to_vec()));
}
