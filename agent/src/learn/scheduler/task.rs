//! Tasks, and what the scan makes of them: pure, so that every rule can be tried without a clock.

use dunlin_models::registry::ModelKey;
use serde::{Deserialize, Serialize};

use crate::config::settings::{LearnSettings, RecipeRule};

/// Where a task starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskKind {
    /// From nothing.
    Scratch,
    /// From the version that serves.
    FineTune,
}

impl TaskKind {
    /// As it is written into rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scratch => "scratch",
            Self::FineTune => "fine_tune",
        }
    }
}

/// One training job. Those that are not at an end survive a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Number, rising on this device.
    pub id: u64,
    /// Which recipe on which stream.
    pub key: ModelKey,
    /// From what.
    pub kind: TaskKind,
    /// In the user's words.
    pub status: String,
    /// When it joined its queue; once a worker has taken it, when that was. Nanoseconds UTC.
    pub started_ns: i64,
    /// Seed of its training.
    pub seed: u64,
    /// Newest record it may see, nanoseconds UTC: the data set is the same after a restart.
    pub to_ts: i64,
    /// Version it starts from.
    pub parent: Option<u64>,
    /// Version it made.
    pub version: Option<u64>,
    /// The data set, in words.
    pub query: String,
    /// Why it is where it is.
    pub reason: String,
}

/// What is known of one recipe on one stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineState {
    /// A version is available to it.
    pub has_model: bool,
    /// Records there are.
    pub rows: u64,
    /// Records since the newest version's data, or since a task last failed.
    pub rows_new: u64,
    /// Drift was noticed since then.
    pub has_drifted: bool,
    /// A task for it waits or works.
    pub has_task: bool,
    /// It was tried before, and there is nothing to serve yet.
    pub was_tried: bool,
}

/// The queue that a stream joins now, if any: no model and enough records means scratch, a model and
/// enough new records, or drift, means fine-tuning.
pub fn queue_for(rule: &RecipeRule, state: &LineState) -> Option<TaskKind> {
    if state.has_task {
        return None;
    }
    if !state.has_model {
        // What was refused or has failed is tried again when there is something new to learn.
        let has_news = !state.was_tried || state.rows_new >= rule.min_update_count;
        return (state.rows >= rule.min_start_count && has_news).then_some(TaskKind::Scratch);
    }
    let after_drift = state.has_drifted && state.rows_new >= rule.gate.windows_min;
    (state.rows_new >= rule.min_update_count || after_drift).then_some(TaskKind::FineTune)
}

/// Whether a task is dead: still at work by its status, and older than the limit.
pub fn is_dead(task: &Task, settings: &LearnSettings, now_ns: i64) -> bool {
    let age_ns = now_ns.saturating_sub(task.started_ns);
    settings.working_status.contains(&task.status)
        && u128::try_from(age_ns).is_ok_and(|age_ns| age_ns > settings.limit.as_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule() -> RecipeRule {
        crate::learn::tests::rule("pca")
    }

    const NEW: LineState = LineState {
        has_model: false,
        rows: 1_000,
        rows_new: 1_000,
        has_drifted: false,
        has_task: false,
        was_tried: false,
    };
    const SERVED: LineState = LineState {
        has_model: true,
        rows_new: 0,
        was_tried: true,
        ..NEW
    };

    #[test]
    fn no_model_and_enough_records_is_scratch() {
        let of = |state| queue_for(&rule(), &state);
        assert_eq!(of(NEW), Some(TaskKind::Scratch));
        assert_eq!(of(LineState { rows: 999, ..NEW }), None);
        let has_task = LineState {
            has_task: true,
            ..NEW
        };
        assert_eq!(of(has_task), None);
    }

    #[test]
    fn a_model_and_enough_new_records_or_drift_is_fine_tuning() {
        let of = |state| queue_for(&rule(), &state);
        assert_eq!(of(SERVED), None);
        let more = |rows_new| LineState { rows_new, ..SERVED };
        assert_eq!(of(more(1_999)), None);
        assert_eq!(of(more(2_000)), Some(TaskKind::FineTune));
        let drifted = |rows_new| LineState {
            has_drifted: true,
            ..more(rows_new)
        };
        assert_eq!(of(drifted(99)), None);
        assert_eq!(of(drifted(100)), Some(TaskKind::FineTune));
    }

    #[test]
    fn what_failed_is_tried_again_only_with_new_records() {
        let failed = LineState {
            was_tried: true,
            rows_new: 10,
            ..NEW
        };
        assert_eq!(queue_for(&rule(), &failed), None);
        let later = LineState {
            rows_new: 2_000,
            ..failed
        };
        assert_eq!(queue_for(&rule(), &later), Some(TaskKind::Scratch));
    }

    #[test]
    fn a_task_at_work_for_too_long_is_dead_and_one_at_an_end_never() {
        let settings = crate::learn::tests::settings(vec![]);
        let mut task = crate::learn::tests::task(1, "training");
        let limit_ns = settings.limit.as_nanos() as i64;
        assert!(!is_dead(&task, &settings, task.started_ns + limit_ns));
        assert!(is_dead(&task, &settings, task.started_ns + limit_ns + 1));
        // A clock that went back makes nothing dead.
        assert!(!is_dead(&task, &settings, task.started_ns - 1));
        task.status = settings.status.failed.clone();
        assert!(!is_dead(&task, &settings, i64::MAX));
    }
}
