//! The files of open tasks, as they grow and as a cut leaves them.

#![allow(clippy::unwrap_used)]

use std::fs;

use super::*;
use crate::learn::tests::{settings, task};

fn change(table: &mut Table, file: &mut TasksFile, change: TaskChange) {
    table.apply(change.clone());
    file.note(&vec![change], table.open.len(), &|| table.clone());
}

fn queued(id: u64) -> StoredTask {
    StoredTask::new(&task(id, TaskState::Queued), &settings(Vec::new()).status)
}

fn bytes(dir: &Path) -> u64 {
    let size = |name| fs::metadata(dir.join(name)).map_or(0, |meta| meta.len());
    size(TABLE) + size(LOG)
}

#[test]
fn thousands_of_tasks_come_and_go_for_what_each_of_them_takes() {
    let dir = tempfile::tempdir().unwrap();
    let (mut file, mut table) = TasksFile::open(dir.path());
    let mut rewritten = 0;
    for id in 1..=2_000 {
        let before = fs::metadata(dir.path().join(TABLE)).map_or(0, |meta| meta.len());
        let opened = TaskChange::Open(queued(id));
        change(&mut table, &mut file, opened);
        let after = fs::metadata(dir.path().join(TABLE)).map_or(0, |meta| meta.len());
        rewritten += if after == before { 0 } else { after };
    }
    let once = bytes(dir.path());
    assert!(rewritten < 8 * once, "{rewritten} bytes for {once}");
    for id in 1..=1_990 {
        change(&mut table, &mut file, TaskChange::Closed(id));
    }
    let key = table.open[0].key.clone();
    change(&mut table, &mut file, TaskChange::Tried(key, Some(7)));
    assert!(bytes(dir.path()) < 3 * once);
    drop(file);
    let (_, again) = TasksFile::open(dir.path());
    assert_eq!(again, table);
    assert_eq!(open_tasks(dir.path()).unwrap(), table.open);
}

#[test]
fn a_cut_between_table_and_log_does_no_harm_and_either_alone_is_of_use() {
    let dir = tempfile::tempdir().unwrap();
    let (mut file, mut table) = TasksFile::open(dir.path());
    for id in 1..=3 {
        let opened = TaskChange::Open(queued(id));
        change(&mut table, &mut file, opened);
    }
    change(&mut table, &mut file, TaskChange::Closed(2));
    // The table was written, and the log not cleared yet.
    state_file::write(&dir.path().join(TABLE), &table).unwrap();
    assert_eq!(TasksFile::open(dir.path()).1, table);
    fs::write(dir.path().join(TABLE), "rubbish").unwrap();
    assert_eq!(TasksFile::open(dir.path()).1, table);
    // As an older version leaves it.
    state_file::write(&dir.path().join(TABLE), &table).unwrap();
    fs::remove_file(dir.path().join(LOG)).unwrap();
    assert_eq!(TasksFile::open(dir.path()).1, table);
}

#[test]
fn a_task_lies_on_disk_under_the_configured_word() {
    let mut words = settings(Vec::new()).status;
    words.training = "at school".into();
    let training = task(7, TaskState::Training);
    let stored = StoredTask::new(&training, &words);
    assert_eq!(stored.status, "at school");
    assert_eq!(stored.clone().into_task(&words), training);
    words.training = "training".into();
    let other = stored.clone().into_task(&words);
    assert_eq!(other.state, TaskState::Other("at school".into()));
    assert_eq!(StoredTask::new(&other, &words), stored);
}

#[test]
fn tables_and_changes_lie_on_disk_field_by_field() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = |value: &dyn Fn(&Path) -> io::Result<()>| {
        let path = dir.path().join("bytes");
        value(&path).unwrap();
        fs::read(&path).unwrap()
    };
    let key = ModelKey::new("pca", "plant/press");
    let tried_to = HashMap::from([(key.clone(), 5)]);
    let table = Table {
        next_id: 9,
        open: vec![queued(7)],
        tried_to: tried_to.clone(),
    };
    let from = (1_000_i64, 1_u64, i64::MAX);
    let ends = (None::<u64>, None::<u64>, "", "");
    let task = (7_u64, &key, TaskKind::Scratch, "queued", from, ends);
    let fields = (9_u64, vec![task], tried_to);
    assert_eq!(
        bytes(&|path| state_file::write(path, &table)),
        bytes(&|path| state_file::write(path, &fields))
    );
    let change = TaskChange::Open(queued(7));
    assert_eq!(
        bytes(&|path| state_file::write(path, &change)),
        bytes(&|path| state_file::write(path, &(0_u32, task)))
    );
}
