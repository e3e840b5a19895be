//! Every rule of the scheduler, without a clock.

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
    let mut task = crate::learn::tests::task(1, TaskState::Training);
    let limit_ns = settings.limit.as_nanos() as i64;
    assert!(!is_dead(&task, &settings, task.started_ns + limit_ns));
    assert!(is_dead(&task, &settings, task.started_ns + limit_ns + 1));
    // A clock that went back makes nothing dead.
    assert!(!is_dead(&task, &settings, task.started_ns - 1));
    task.state = TaskState::Failed;
    assert!(!is_dead(&task, &settings, i64::MAX));
}

#[test]
fn an_open_task_keeps_a_word_that_was_configured_before_and_is_dead_only_by_words_that_are_now() {
    let mut settings = crate::learn::tests::settings(vec![]);
    let of_open = |word: &str| TaskState::of_open(word.into(), &settings.status);
    assert_eq!(of_open("queued"), TaskState::Queued);
    assert_eq!(of_open("training"), TaskState::Training);
    let before = of_open("at school");
    assert_eq!(before.word(&settings.status), "at school");
    let task = crate::learn::tests::task(1, before);
    assert!(!is_dead(&task, &settings, i64::MAX));
    settings.working_status.push("at school".into());
    assert!(is_dead(&task, &settings, i64::MAX));
}
