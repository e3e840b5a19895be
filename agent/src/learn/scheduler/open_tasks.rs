//! Tasks that wait or work, and how far the lines whose last task failed were seen.
//!
//! Promises: what was changed is durable once [`OpenTasks::save`] has returned, if the disk takes it; what it
//! does not take is known until the agent ends.

use std::{collections::HashMap, path::Path};

use dunlin_models::registry::ModelKey;

use crate::{
    config::settings::StatusWords,
    learn::scheduler::{
        store::{StoredTask, Table, TaskChange, TasksFile},
        task::Task,
    },
};

pub(super) struct OpenTasks {
    words: StatusWords,
    file: TasksFile,
    last_id: u64,
    tasks: Vec<Task>,
    tried_to: HashMap<ModelKey, i64>,
    ends: u64,
    /// Not stored yet.
    changes: Vec<TaskChange>,
}

impl OpenTasks {
    /// Takes up the tasks that were open when the agent ended, by the files in `state_dir`.
    pub(super) fn open(state_dir: &Path, words: &StatusWords) -> Self {
        let (file, table) = TasksFile::open(state_dir);
        let tasks = table.open.into_iter().map(|task| task.into_task(words));
        Self {
            file,
            last_id: table.next_id,
            tasks: tasks.collect(),
            tried_to: table.tried_to,
            ends: 0,
            changes: Vec::new(),
            words: words.clone(),
        }
    }

    /// A number that no task has had.
    pub(super) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// All of them, in the order in which they were opened.
    pub(super) fn all(&self) -> &[Task] {
        &self.tasks
    }

    pub(super) fn get(&self, id: u64) -> Option<&Task> {
        self.tasks.iter().find(|task| task.id == id)
    }

    /// The task is open, and is like this now.
    pub(super) fn put(&mut self, task: Task) {
        let stored = StoredTask::new(&task, &self.words);
        self.changes.push(TaskChange::Open(stored));
        match self.tasks.iter_mut().find(|open| open.id == task.id) {
            Some(open) => *open = task,
            None => self.tasks.push(task),
        }
    }

    /// The task has come to its end.
    pub(super) fn remove(&mut self, id: u64) {
        self.ends += 1;
        self.changes.push(TaskChange::Closed(id));
        self.tasks.retain(|open| open.id != id);
    }

    /// Differs whenever a task has come to its end.
    pub(super) fn ends(&self) -> u64 {
        self.ends
    }

    /// Newest record that the last task of a line saw, if that failed, nanoseconds UTC.
    pub(super) fn tried_to(&self, key: &ModelKey) -> Option<i64> {
        self.tried_to.get(key).copied()
    }

    /// The last task of a line has failed, and saw records up to `to_ts`, nanoseconds UTC.
    pub(super) fn set_tried_to(&mut self, key: &ModelKey, to_ts: i64) {
        self.tried_to.insert(key.clone(), to_ts);
        self.changes
            .push(TaskChange::Tried(key.clone(), Some(to_ts)));
    }

    /// The last task of a line has not failed.
    pub(super) fn forget_tried_to(&mut self, key: &ModelKey) {
        self.tried_to.remove(key);
        self.changes.push(TaskChange::Tried(key.clone(), None));
    }

    /// Forgets how far the lines that are gone were seen.
    pub(super) fn forget_gone(&mut self, is_gone: impl Fn(&ModelKey) -> bool) {
        self.tried_to.retain(|key, _| !is_gone(key));
    }

    /// Stores what has changed.
    pub(super) fn save(&mut self) {
        if self.changes.is_empty() {
            return;
        }
        let changes = std::mem::take(&mut self.changes);
        let Self {
            words,
            file,
            last_id,
            tasks,
            tried_to,
            ..
        } = self;
        let table = || Table {
            next_id: *last_id,
            open: tasks.iter().map(|t| StoredTask::new(t, words)).collect(),
            tried_to: tried_to.clone(),
        };
        file.note(&changes, tasks.len(), &table);
    }
}
