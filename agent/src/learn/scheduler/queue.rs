//! The two queues: which of them a line joins, and which task is next.

use std::collections::VecDeque;

use crate::{
    config::settings::RecipeRule,
    learn::scheduler::task::{Task, TaskKind},
};

/// What is known of one recipe on one stream without an open task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LineState {
    /// A version is available to it.
    pub(super) has_model: bool,
    /// Records there are.
    pub(super) rows: u64,
    /// Records since the newest version's data, or since a task last failed; `None` while they cannot be counted.
    pub(super) rows_new: Option<u64>,
    /// Drift was noticed since then.
    pub(super) has_drifted: bool,
    /// It was tried before, and there is nothing to serve yet.
    pub(super) was_tried: bool,
}

/// The queue that a line joins now, if any: no model and enough records means scratch, a model and enough new
/// records, or drift, means fine-tuning. A recipe that makes no models here joins none.
pub(super) fn queue_for(rule: &RecipeRule, state: &LineState) -> Option<TaskKind> {
    if !rule.train {
        return None;
    }
    let rows_new = state.rows_new.unwrap_or(0);
    if !state.has_model {
        // What was refused or has failed is tried again when there is something new to learn.
        let has_news = !state.was_tried || rows_new >= rule.min_update_count;
        return (state.rows >= rule.min_start_count && has_news).then_some(TaskKind::Scratch);
    }
    let after_drift = state.has_drifted && rows_new >= rule.gate.windows_min;
    (rows_new >= rule.min_update_count || after_drift).then_some(TaskKind::FineTune)
}

/// Tasks that wait for a worker, by number.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Queue {
    released: VecDeque<u64>,
    scratch: VecDeque<u64>,
    fine_tune: VecDeque<u64>,
}

impl Queue {
    /// The task waits behind all others of its kind.
    pub(super) fn push(&mut self, task: &Task) {
        match task.kind {
            TaskKind::Released => self.released.push_back(task.id),
            TaskKind::Scratch => self.scratch.push_back(task.id),
            TaskKind::FineTune => self.fine_tune.push_back(task.id),
        }
    }

    /// Takes the one whose turn it is: what is only to be judged comes first, then a stream without any model.
    pub(super) fn pop(&mut self) -> Option<u64> {
        let next = self.released.pop_front();
        let next = next.or_else(|| self.scratch.pop_front());
        next.or_else(|| self.fine_tune.pop_front())
    }
}

#[cfg(test)]
mod tests;
