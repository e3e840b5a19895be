//! How tasks end: with an outcome, or because their time is over; and what goes with them.

use std::sync::atomic::Ordering::Relaxed;

use crate::{
    config::settings::LearnSettings,
    learn::{
        scheduler::{
            DRIFT, Scan,
            task::{Task, TaskState, is_dead},
        },
        training::{
            checkpoint::{self, Checkpoint},
            run::Outcome,
        },
    },
};

impl Scan {
    pub(super) fn bury_dead(&mut self) {
        let now_ns = (self.shared.wall_ns)();
        let settings = self.shared.settings.clone();
        let mut dead = self.tasks.all().to_vec();
        dead.retain(|task| is_dead(task, &settings, now_ns));
        for mut task in dead {
            let was_working = self.working.iter().any(|(id, _)| *id == task.id);
            if let Some(at) = self.working.iter().position(|(id, _)| *id == task.id) {
                self.working.remove(at).1.store(true, Relaxed);
                self.lost_workers += 1;
                tracing::error!(
                    task = task.id,
                    "a task never came back; its worker is given up"
                );
            }
            if !was_working && task.reason == DRIFT {
                // Nobody has looked into it yet.
                self.shared.drifted.note(&task.key);
            }
            task.state = TaskState::Dead;
            task.reason = too_old(&settings);
            self.close(&task, was_working);
            self.shared.stats.failed.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn settle(&mut self, mut task: Task, outcome: Outcome) {
        if let Some(at) = self.working.iter().position(|(id, _)| *id == task.id) {
            self.working.remove(at);
        } else if self.tasks.get(task.id).is_none() {
            // It was given up, and has come back after all.
            self.lost_workers = self.lost_workers.saturating_sub(1);
            return;
        }
        let stats = &self.shared.stats;
        match outcome {
            Outcome::Interrupted => return,
            Outcome::Promoted(version) => {
                stats.promoted.fetch_add(1, Relaxed);
                task.version = Some(version);
                task.state = TaskState::Available;
                task.reason = "passed the gate".into();
            }
            Outcome::Rejected(version, why) => {
                stats.rejected.fetch_add(1, Relaxed);
                task.version = Some(version);
                task.state = TaskState::Rejected;
                task.reason = why;
            }
            Outcome::Failed(why) => {
                stats.failed.fetch_add(1, Relaxed);
                task.state = TaskState::Failed;
                task.reason = why;
            }
            Outcome::TimedOut => {
                stats.failed.fetch_add(1, Relaxed);
                task.state = TaskState::Dead;
                task.reason = too_old(&self.shared.settings);
            }
        }
        self.close(&task, true);
        let keep = self.shared.settings.versions_max;
        if let Err(error) = self.shared.models.prune(&task.key, keep) {
            tracing::warn!(key = %task.key, %error, "cannot delete old versions");
        }
    }

    /// A task has come to its end; if it `was_tried`, it is not tried again without new records.
    fn close(&mut self, task: &Task, was_tried: bool) {
        self.has_news = true;
        let words = &self.shared.settings.status;
        let status = task.state.word(words);
        let (id, key, reason) = (task.id, &task.key, &task.reason);
        tracing::info!(task = id, %key, status, reason, "task ended");
        if task.version.is_some() {
            // What it has seen is told by its version, as long as there is one.
            self.tasks.forget_tried_to(key);
        } else if was_tried {
            self.tasks.set_tried_to(key, task.to_ts);
        }
        self.tasks.remove(id);
        self.shared.journal.task(task, words);
        self.tasks.save();
        Checkpoint::new(&self.shared.state_dir, task).remove();
    }

    /// Deletes the checkpoints of tasks that nobody knows any more.
    pub(super) fn forget_checkpoints(&self) {
        checkpoint::sweep(&self.shared.state_dir, self.tasks.all());
    }
}

fn too_old(settings: &LearnSettings) -> String {
    format!("older than {} s (learn.limit_s)", settings.limit.as_secs())
}
