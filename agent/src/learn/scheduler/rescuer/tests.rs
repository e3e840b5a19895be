//! Who is dead, without a clock.

use super::*;
use crate::learn::scheduler::task::TaskState;

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
