//! How tasks end, all of them here: a version is promoted or refused, and the task is closed.

use std::sync::atomic::Ordering::Relaxed;

use dunlin_models::registry::Version;

use crate::{
    config::settings::LearnSettings,
    learn::{
        Shared,
        guarded::guarded,
        released::Tried,
        scheduler::{
            open_tasks::OpenTasks,
            task::{DRIFT, Task, TaskKind, TaskState},
        },
        tables::Event,
        training::{checkpoint::Checkpoint, run},
    },
    release::verdict::Outcome,
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::learn) enum Ending {
    /// Its version serves.
    Promoted(u64),
    /// Its version does not serve.
    Rejected { version: u64, why: String },
    /// There is no version, for this reason.
    Failed(String),
    /// Its worker has found it older than it may be.
    TimedOut,
    /// It is older than it may be, and its worker has not come back.
    GivenUp,
    /// It was older than it may be before a worker took it.
    Unbegun,
    /// Not yet: the agent ends, and the task goes on at the next start.
    Interrupted,
}

/// How a task ends that has come to this `outcome`; a version that the gate let pass serves from now on. Runs on
/// the worker's thread.
pub(in crate::learn) fn decide(shared: &Shared, task: &Task, outcome: run::Outcome) -> Ending {
    match outcome {
        run::Outcome::Made(version) => guarded(|| judge(shared, task, &version))
            .unwrap_or_else(|panic| Err(format!("panicked: {panic}")))
            .unwrap_or_else(Ending::Failed),
        run::Outcome::Failed(why) => Ending::Failed(why),
        run::Outcome::TimedOut => Ending::TimedOut,
        run::Outcome::Interrupted => Ending::Interrupted,
    }
}

/// Tells what the gate said about `version`, and lets it serve if it may.
fn judge(shared: &Shared, task: &Task, version: &Version) -> Result<Ending, String> {
    let (number, words) = (version.number, &shared.settings.status);
    let Some(decision) = &version.decision else {
        return Err("nothing was judged".into());
    };
    if version.status != words.rejected {
        // Promoted already, just before the agent ended.
        return Ok(Ending::Promoted(number));
    }
    if let Some(candidate) = &version.evaluations.candidate {
        shared.tables.evaluation(task, number, candidate, decision);
    }
    if !decision.promoted {
        return Ok(Ending::Rejected {
            version: number,
            why: decision.explain(),
        });
    }
    shared
        .models
        .promote(&task.key, number, &words.available, &words.retired)
        .map_err(|error| error.to_string())?;
    shared.tables.event(
        &task.key,
        &Event {
            kind: "promoted",
            version: Some(number),
            what: decision.explain(),
            figures: Some((decision.candidate_error, decision.baseline_error)),
        },
    );
    Ok(Ending::Promoted(number))
}

/// Closes `task`, and tells so, unless it is only interrupted; what it leaves behind is tidied up.
pub(super) fn close(shared: &Shared, tasks: &mut OpenTasks, mut task: Task, ending: Ending) {
    let stats = &shared.stats;
    let is_tried = ending != Ending::Unbegun;
    // Whoever still works on a task that was given up may hold the registry.
    let may_prune = !matches!(ending, Ending::GivenUp | Ending::Unbegun);
    let (state, reason, counter) = match ending {
        Ending::Interrupted => return,
        Ending::Promoted(version) => {
            task.version = Some(version);
            let reason = "passed the gate".to_owned();
            (TaskState::Available, reason, &stats.promoted)
        }
        Ending::Rejected { version, why } => {
            task.version = Some(version);
            (TaskState::Rejected, why, &stats.rejected)
        }
        Ending::Failed(why) => (TaskState::Failed, why, &stats.failed),
        Ending::TimedOut | Ending::GivenUp | Ending::Unbegun => {
            (TaskState::Dead, too_old(&shared.settings), &stats.failed)
        }
    };
    if !is_tried && task.reason == DRIFT {
        // Nobody has looked into it yet.
        shared.drifted.note(&task.key);
    }
    (task.state, task.reason) = (state, reason);
    counter.fetch_add(1, Relaxed);
    if is_tried && task.kind == TaskKind::Released {
        tell_released(shared, &task);
    }
    store(shared, tasks, &task, is_tried);
    Checkpoint::new(&shared.state_dir, &task).remove();
    if may_prune {
        prune(shared, &task);
    }
}

/// Whoever follows releases hears what has become of one here.
fn tell_released(shared: &Shared, task: &Task) {
    let tried = Tried {
        outcome: match task.state {
            TaskState::Available => Outcome::Serves,
            TaskState::Rejected => Outcome::Refused,
            _ => Outcome::Failed,
        },
        version: task.version,
        reason: task.reason.clone(),
    };
    shared.released.ended(&task.key, task.seed, tried);
}

/// Notes durably that the task is closed; if it `is_tried`, it is not tried again without new records.
fn store(shared: &Shared, tasks: &mut OpenTasks, task: &Task, is_tried: bool) {
    let words = &shared.settings.status;
    let (id, key, reason) = (task.id, &task.key, &task.reason);
    tracing::info!(task = id, %key, status = task.state.word(words), reason, "task ended");
    if task.kind == TaskKind::Released {
        // What came from elsewhere says nothing about what is to be learnt from these records.
    } else if task.version.is_some() {
        // What it has seen is told by its version, as long as there is one.
        tasks.forget_tried_to(key);
    } else if is_tried {
        tasks.set_tried_to(key, task.to_ts);
    }
    tasks.remove(id);
    shared.tables.task(task, words);
    tasks.save();
}

fn prune(shared: &Shared, task: &Task) {
    let keep = shared.settings.versions_max;
    if let Err(error) = shared.models.prune(&task.key, keep) {
        tracing::warn!(key = %task.key, %error, "cannot delete old versions");
    }
}

fn too_old(settings: &LearnSettings) -> String {
    format!("older than {} s (learn.limit_s)", settings.limit.as_secs())
}
