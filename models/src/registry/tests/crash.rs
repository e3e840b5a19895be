//! Power cuts: every change of the registry, cut after each of its steps on the disk, under three
//! ideas of what the disk had kept by then.

#![allow(clippy::unwrap_used)]
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::registry::{
    disk::{Step, hook},
    tests::{artifact, key, new, open},
    *,
};

/// What a disk has kept of the steps it was asked for.
#[derive(Clone, Copy, Debug)]
enum Kept {
    /// All of them.
    All,
    /// All entries of directories, but only half of each file that was not synchronised.
    TornFiles,
    /// Only what was synchronised.
    Synchronised,
}

#[derive(Clone, Debug, PartialEq)]
enum Node {
    Dir,
    File(usize),
}

/// A file system that tells what was asked for from what is safe.
#[derive(Default)]
struct Disk {
    files: Vec<(Vec<u8>, bool)>,
    asked: BTreeMap<PathBuf, Node>,
    safe: BTreeMap<PathBuf, Node>,
    /// Changes of entries, in order, until their directory is synchronised.
    pending: Vec<(PathBuf, Step)>,
}

fn above(path: &Path) -> PathBuf {
    path.parent().unwrap().to_owned()
}

impl Disk {
    /// What is in `dir` now, all of it safe.
    fn of(dir: &Path) -> Self {
        let mut disk = Self::default();
        disk.take_in(dir);
        disk.safe = disk.asked.clone();
        disk
    }

    fn take_in(&mut self, dir: &Path) {
        self.asked.insert(dir.to_owned(), Node::Dir);
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                self.take_in(&path);
            } else {
                self.files.push((fs::read(&path).unwrap(), true));
                self.asked.insert(path, Node::File(self.files.len() - 1));
            }
        }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Write(path, bytes) => {
                self.files.push((bytes.clone(), false));
                let made = self.files.len() - 1;
                self.asked.insert(path.clone(), Node::File(made));
                // An entry is made whenever the file is: which file, the link tells.
                self.pending.push((
                    above(path),
                    Step::Write(path.clone(), made.to_le_bytes().to_vec()),
                ));
            }
            Step::Sync(path) => {
                if let Some(Node::File(file)) = self.asked.get(path) {
                    self.files[*file].1 = true;
                }
            }
            Step::SyncDir(dir) => {
                let pending = std::mem::take(&mut self.pending);
                for (of, step) in pending {
                    if of == *dir {
                        change(&mut self.safe, &step);
                    } else {
                        self.pending.push((of, step));
                    }
                }
            }
            Step::Rename(_, to) | Step::Link(_, to) => {
                change(&mut self.asked, step);
                self.pending.push((above(to), step.clone()));
            }
            Step::CreateDir(path) | Step::RemoveFile(path) | Step::RemoveDir(path) => {
                change(&mut self.asked, step);
                self.pending.push((above(path), step.clone()));
            }
        }
    }

    /// Puts what was kept into `to`, in place of `from`.
    fn restore(&self, kept: Kept, from: &Path, to: &Path) {
        let entries = match kept {
            Kept::All | Kept::TornFiles => &self.asked,
            Kept::Synchronised => &self.safe,
        };
        for (path, node) in entries {
            let place = to.join(path.strip_prefix(from).unwrap());
            match node {
                Node::Dir if place.parent().unwrap().is_dir() => {
                    fs::create_dir_all(&place).unwrap();
                }
                Node::File(file) if place.parent().unwrap().is_dir() => {
                    let (bytes, is_safe) = &self.files[*file];
                    let is_whole = *is_safe || matches!(kept, Kept::All);
                    let length = if is_whole {
                        bytes.len()
                    } else {
                        bytes.len() / 2
                    };
                    fs::write(&place, &bytes[..length]).unwrap();
                }
                // The directory above was never made.
                _ => {}
            }
        }
    }
}

fn change(entries: &mut BTreeMap<PathBuf, Node>, step: &Step) {
    match step {
        Step::Write(path, file) => {
            let file = usize::from_le_bytes(file[..].try_into().unwrap());
            entries.insert(path.clone(), Node::File(file));
        }
        Step::Rename(from, to) => {
            let moved: Vec<PathBuf> = entries
                .keys()
                .filter(|path| path.starts_with(from))
                .cloned()
                .collect();
            for path in moved {
                let node = entries.remove(&path).unwrap();
                let rest = path.strip_prefix(from).unwrap();
                let to = if rest.as_os_str().is_empty() {
                    to.clone()
                } else {
                    to.join(rest)
                };
                entries.insert(to, node);
            }
        }
        Step::Link(from, to) => {
            if let Some(node) = entries.get(from).cloned() {
                entries.insert(to.clone(), node);
            }
        }
        Step::CreateDir(path) => {
            entries.insert(path.clone(), Node::Dir);
        }
        Step::RemoveFile(path) | Step::RemoveDir(path) => {
            entries.remove(path);
        }
        Step::Sync(_) | Step::SyncDir(_) => {}
    }
}

/// All that can be seen of a registry.
type State = BTreeMap<ModelKey, (Option<u64>, Vec<(u64, String)>)>;

fn state(registry: &Registry) -> State {
    let keys = registry.keys().into_iter();
    keys.map(|key| {
        let versions = registry.versions(&key).unwrap();
        for version in &versions {
            let number = version.number as f32;
            assert_eq!(
                registry.load(version).unwrap(),
                artifact(number),
                "{version:?}"
            );
        }
        let current = registry
            .current(&key)
            .unwrap()
            .map(|version| version.number);
        let statuses = versions
            .into_iter()
            .map(|version| (version.number, version.status));
        (key, (current, statuses.collect()))
    })
    .collect()
}

/// Files that belong to nothing.
fn leftovers(dir: &Path, registry: &Registry) -> Vec<PathBuf> {
    let mut expected = BTreeSet::new();
    for key in registry.keys() {
        for version in registry.versions(&key).unwrap() {
            expected.insert(registry.version_dir(&key, version.number));
        }
    }
    let lines = fs::read_dir(dir.join("lines"))
        .unwrap()
        .map(|line| line.unwrap().path());
    let mut leftovers = Vec::new();
    for line in lines {
        for entry in fs::read_dir(&line).unwrap() {
            let path = entry.unwrap().path();
            let is_state = path.ends_with(LINE) || path.ends_with(LINE_BEFORE);
            if !is_state && !expected.contains(&path) {
                leftovers.push(path);
            }
        }
    }
    leftovers
}

/// Cuts `change` after each of its steps; what is found then must be what `is_whole` takes: given
/// the state, and how many steps were done of how many.
fn cut_everywhere(
    before: impl FnOnce(&Registry),
    change: impl FnOnce(&Registry),
    damage_is_told: bool,
    is_whole: impl Fn(&State, usize, usize) -> bool,
) {
    let dir = tempfile::tempdir().unwrap();
    let registry = open(dir.path());
    before(&registry);
    let mut disk = Disk::of(dir.path());
    let ((), steps) = hook::record(|| change(&registry));
    assert!(steps.len() > 2, "{steps:?}");
    drop(registry);
    for done in 0..=steps.len() {
        if done > 0 {
            disk.take(&steps[done - 1]);
        }
        for kept in [Kept::All, Kept::TornFiles, Kept::Synchronised] {
            let after_cut = tempfile::tempdir().unwrap();
            disk.restore(kept, dir.path(), after_cut.path());
            check_after_cut(&after_cut, damage_is_told, |state| {
                assert!(
                    is_whole(state, done, steps.len()),
                    "{kept:?}, {done} of {}: {state:?}\n{:?}",
                    steps.len(),
                    steps.get(done.saturating_sub(1))
                );
            });
        }
    }
}

fn check_after_cut(dir: &TempDir, damage_is_told: bool, is_whole: impl Fn(&State)) {
    let registry = open(dir.path());
    let found = state(&registry);
    is_whole(&found);
    let damage = registry.take_damage();
    assert!(damage_is_told || damage.is_empty(), "{damage:?}");
    assert_eq!(leftovers(dir.path(), &registry), Vec::<PathBuf>::new());
    drop(registry);
    // Looking at it again finds the same, and life goes on.
    let registry = open(dir.path());
    assert_eq!(state(&registry), found);
    assert!(registry.take_damage().is_empty());
    let version = registry
        .add(&key(), &artifact(1.0), new(CANDIDATE))
        .unwrap();
    registry
        .promote(&key(), version.number, AVAILABLE, RETIRED)
        .unwrap();
    assert_eq!(registry.current_number(&key()), Some(version.number));
}

fn add(registry: &Registry) {
    let next = registry
        .history(&key())
        .map_or(1, |history| history.next_number);
    let added = registry.add(&key(), &artifact(next as f32), new(CANDIDATE));
    assert_eq!(added.unwrap().number, next);
}

fn promote(registry: &Registry, number: u64) {
    registry
        .promote(&key(), number, AVAILABLE, RETIRED)
        .unwrap();
}

fn three(registry: &Registry) {
    for number in 1..=3 {
        add(registry);
        promote(registry, number);
    }
}

/// Takes the states before and after; at the end, only the one after.
fn old_or_new(
    before: impl Fn(&Registry),
    change: impl Fn(&Registry),
) -> impl Fn(&State, usize, usize) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let registry = open(dir.path());
    before(&registry);
    let old = state(&registry);
    change(&registry);
    let new = state(&registry);
    assert_ne!(old, new);
    move |found, done, of| *found == new || (done < of && *found == old)
}

fn cut(before: impl Fn(&Registry), change: impl Fn(&Registry)) {
    let is_whole = old_or_new(&before, &change);
    cut_everywhere(&before, &change, false, is_whole);
}

#[test]
fn the_first_version_is_there_or_not() {
    cut(|_| {}, add);
}

#[test]
fn another_version_is_there_or_not() {
    cut(three, add);
}

#[test]
fn a_promotion_moves_everything_or_nothing() {
    let before = |registry: &Registry| {
        three(registry);
        add(registry);
    };
    cut(before, |registry| promote(registry, 4));
    cut(before, |registry| promote(registry, 1));
}

#[test]
fn a_rollback_moves_everything_or_nothing() {
    cut(three, |registry| {
        drop(registry.rollback(&key(), ROLLED_BACK).unwrap());
    });
}

#[test]
fn a_status_is_changed_or_not() {
    cut(three, |registry| {
        registry.set_status(&key(), 2, "shadow").unwrap();
    });
}

#[test]
fn versions_are_pruned_or_not() {
    let before = |registry: &Registry| {
        three(registry);
        add(registry);
        add(registry);
    };
    // The state says that they are gone before their files are.
    cut(before, |registry| drop(registry.prune(&key(), 2).unwrap()));
    cut(before, |registry| registry.remove(&key(), 5).unwrap());
}

#[test]
fn a_line_is_forgotten_or_not() {
    cut(three, |registry| registry.forget(&key()).unwrap());
}

#[test]
fn a_damaged_version_gives_way_wherever_the_cut_comes() {
    let before = |registry: &Registry| {
        three(registry);
        let model = registry.version_dir(&key(), 3).join(MODEL);
        fs::write(model, b"short").unwrap();
    };
    let change = |registry: &Registry| {
        assert_eq!(registry.current(&key()).unwrap().unwrap().number, 2);
    };
    let rest = vec![(1, RETIRED.to_owned()), (2, AVAILABLE.to_owned())];
    cut_everywhere(before, change, true, |found, _, _| {
        found[&key()] == (Some(2), rest.clone())
    });
}

#[test]
fn a_cut_while_mending_is_mended_too() {
    let dir = tempfile::tempdir().unwrap();
    let registry = open(dir.path());
    three(&registry);
    let line = registry.line_dir(&key()).join(LINE);
    drop(registry);
    fs::write(&line, b"torn").unwrap();
    let mut disk = Disk::of(dir.path());
    let (registry, steps) = hook::record(|| open(dir.path()));
    drop(registry);
    for done in 0..=steps.len() {
        if done > 0 {
            disk.take(&steps[done - 1]);
        }
        for kept in [Kept::All, Kept::TornFiles, Kept::Synchronised] {
            let after_cut = tempfile::tempdir().unwrap();
            disk.restore(kept, dir.path(), after_cut.path());
            // The copy is the state before the last promotion.
            check_after_cut(&after_cut, true, |found| {
                assert_eq!(found[&key()].0, Some(2), "{kept:?} {done}: {found:?}");
            });
        }
    }
}

#[test]
fn a_disk_that_fails_at_any_step_changes_nothing_and_may_work_later() {
    type Change = fn(&Registry) -> Result<(), RegistryError>;
    let changes: [Change; 6] = [
        |registry| {
            registry
                .add(&key(), &artifact(5.0), new(CANDIDATE))
                .map(drop)
        },
        |registry| registry.promote(&key(), 4, AVAILABLE, RETIRED).map(drop),
        |registry| registry.rollback(&key(), ROLLED_BACK).map(drop),
        |registry| registry.set_status(&key(), 1, "shadow"),
        |registry| registry.remove(&key(), 4),
        |registry| registry.prune(&key(), 2).map(drop),
    ];
    for (index, change) in changes.into_iter().enumerate() {
        for at in 0.. {
            let dir = tempfile::tempdir().unwrap();
            let registry = open(dir.path());
            three(&registry);
            add(&registry);
            let old = state(&registry);
            let done = hook::failing_from(at, || change(&registry));
            if done.is_ok() && at > 0 {
                // A step beyond the last: all others have failed in turn.
                assert_ne!(state(&registry), old);
                break;
            }
            let now = state(&registry);
            // A removal is done once the state says so; its files follow at the next open.
            let is_removal = index >= 4;
            assert!(is_removal || now == old, "change {index} at {at}: {now:?}");
            assert!(done.is_err() || index == 1, "change {index} at {at}");
            drop(registry);
            let registry = open(dir.path());
            let _either = state(&registry);
            assert!(registry.take_damage().is_empty(), "change {index} at {at}");
            let left = leftovers(dir.path(), &registry);
            assert!(left.is_empty(), "change {index} at {at}: {left:?}");
            assert!(registry.add(&key(), &artifact(9.0), new(CANDIDATE)).is_ok());
        }
    }
}
