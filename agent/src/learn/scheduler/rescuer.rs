//! The rescuer: gives up tasks that are past their deadline, so that their lines are tried again.

use crate::{
    config::settings::LearnSettings,
    learn::{
        Shared,
        scheduler::{
            ending::{self, Ending},
            open_tasks::OpenTasks,
            task::Task,
            workers::Workers,
        },
    },
};

/// Ends the tasks that are dead now. One that a worker had is tried again with new records, one that waited
/// at once.
pub(super) fn bury_dead(shared: &Shared, tasks: &mut OpenTasks, workers: &mut Workers) {
    let now_ns = (shared.wall_ns)();
    let mut dead = tasks.all().to_vec();
    dead.retain(|task| is_dead(task, &shared.settings, now_ns));
    for task in dead {
        let ending = if workers.give_up(task.id) {
            let task = task.id;
            tracing::error!(task, "a task never came back; its worker is given up");
            Ending::GivenUp
        } else {
            Ending::Unbegun
        };
        ending::close(shared, tasks, task, ending);
    }
}

/// Whether a task is dead: still at work, and older than the limit.
fn is_dead(task: &Task, settings: &LearnSettings, now_ns: i64) -> bool {
    let age_ns = now_ns.saturating_sub(task.started_ns);
    task.state.is_at_work(settings)
        && u128::try_from(age_ns).is_ok_and(|age_ns| age_ns > settings.limit.as_nanos())
}

#[cfg(test)]
mod tests;
