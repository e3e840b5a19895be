//! Every rule of the queues, without a clock.

use super::*;
use crate::learn::{scheduler::task::TaskState, tests::task};

fn rule() -> RecipeRule {
    crate::learn::tests::rule("pca")
}

const NEW: LineState = LineState {
    has_model: false,
    rows: 1_000,
    rows_new: Some(1_000),
    has_drifted: false,
    was_tried: false,
};
const SERVED: LineState = LineState {
    has_model: true,
    rows_new: Some(0),
    was_tried: true,
    ..NEW
};

#[test]
fn no_model_and_enough_records_is_scratch() {
    let of = |state| queue_for(&rule(), &state);
    assert_eq!(of(NEW), Some(TaskKind::Scratch));
    assert_eq!(of(LineState { rows: 999, ..NEW }), None);
}

#[test]
fn a_model_and_enough_new_records_or_drift_is_fine_tuning() {
    let of = |state| queue_for(&rule(), &state);
    assert_eq!(of(SERVED), None);
    let more = |rows_new| LineState {
        rows_new: Some(rows_new),
        ..SERVED
    };
    assert_eq!(of(more(1_999)), None);
    assert_eq!(of(more(2_000)), Some(TaskKind::FineTune));
    let drifted = |rows_new| LineState {
        has_drifted: true,
        ..more(rows_new)
    };
    assert_eq!(of(drifted(99)), None);
    assert_eq!(of(drifted(100)), Some(TaskKind::FineTune));
    let uncounted = LineState {
        rows_new: None,
        ..drifted(0)
    };
    assert_eq!(of(uncounted), None);
}

#[test]
fn a_recipe_that_makes_no_models_joins_no_queue() {
    let rule = RecipeRule {
        train: false,
        ..rule()
    };
    let drifted = LineState {
        has_drifted: true,
        rows_new: Some(1_000_000),
        ..SERVED
    };
    assert_eq!(queue_for(&rule, &NEW), None);
    assert_eq!(queue_for(&rule, &drifted), None);
}

#[test]
fn what_failed_is_tried_again_only_with_new_records() {
    let failed = LineState {
        was_tried: true,
        rows_new: Some(10),
        ..NEW
    };
    assert_eq!(queue_for(&rule(), &failed), None);
    let later = LineState {
        rows_new: Some(2_000),
        ..failed
    };
    assert_eq!(queue_for(&rule(), &later), Some(TaskKind::Scratch));
}

#[test]
fn what_has_no_model_comes_first_and_each_kind_in_its_order() {
    let mut queue = Queue::default();
    for (id, kind) in [
        (1, TaskKind::FineTune),
        (2, TaskKind::Scratch),
        (3, TaskKind::FineTune),
        (4, TaskKind::Scratch),
    ] {
        queue.push(&Task {
            kind,
            ..task(id, TaskState::Queued)
        });
    }
    let order: Vec<u64> = std::iter::from_fn(|| queue.pop()).collect();
    assert_eq!(order, [2, 4, 1, 3]);
}
