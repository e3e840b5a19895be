//! One task, from its data set to the registry.
//!
//! Promises: whatever goes wrong is an outcome with its reason, never the end of the agent, and
//! leaves the version that serves alone; candidate, incumbent and baseline are judged on the same
//! validation windows.

use std::{
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
};

use dunlin_models::{
    data::{Source, Subset, scale::Scale},
    judging::{baseline::baseline, evaluation::evaluate, gate},
    recipe::{Model, Problem, Recipe, Stopped, TrainError},
    registry::{Evaluations, NewVersion, RegistryError, Version},
};

use crate::{
    config::settings::RecipeRule,
    learn::{
        Shared,
        inference::predictor,
        scheduler::task::{Task as Job, TaskKind},
        tables::Event,
        training::{data_set::data_set, governor::Governor},
    },
};

/// How a task has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::learn) enum Outcome {
    /// Its version serves.
    Promoted(u64),
    /// Its version does not, for this reason.
    Rejected(u64, String),
    /// There is no version, for this reason.
    Failed(String),
    /// It was older than it may be; there is no version.
    TimedOut,
    /// The agent ends; the task goes on at the next start.
    Interrupted,
}

/// Does `task`, until it is `given_up`; never panics.
pub(in crate::learn) fn run(
    shared: &Shared,
    rule: &RecipeRule,
    task: &mut Job,
    given_up: &Arc<AtomicBool>,
) -> Outcome {
    let attempt = || {
        let recipe = rule.recipe.build().map_err(TrainError::Recipe)?;
        attempt(shared, rule, &*recipe, task, given_up)
    };
    guarded(attempt)
}

/// What `attempt` comes to, even if it panics.
fn guarded(attempt: impl FnOnce() -> Result<Outcome, TrainError>) -> Outcome {
    match predictor::guarded(attempt) {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(TrainError::Stopped(Stopped::TimeLimit))) => Outcome::TimedOut,
        Ok(Err(TrainError::Stopped(Stopped::Shutdown))) => Outcome::Interrupted,
        Ok(Err(error)) => Outcome::Failed(error.to_string()),
        Err(panic) => Outcome::Failed(format!("the recipe panicked: {panic}")),
    }
}

fn attempt(
    shared: &Shared,
    rule: &RecipeRule,
    recipe: &dyn Recipe,
    task: &mut Job,
    given_up: &Arc<AtomicBool>,
) -> Result<Outcome, TrainError> {
    if let Some(version) = made_before(shared, task)? {
        task.query.clone_from(&version.lineage.query);
        return settled(shared, task, &version);
    }
    let parent = match (task.kind, task.parent) {
        (TaskKind::FineTune, Some(parent)) => loaded(shared, recipe, task, parent)?,
        _ => None,
    };
    let after = parent.as_ref().map(|(version, _)| version.lineage.last_ts);
    let mut data = data_set(shared, rule, task, after)?;
    if let Some((_, model)) = &parent
        && recipe.problem() == Problem::Anomaly
    {
        data.leave_out_flagged(shared, rule, task, &**model)?;
    }
    task.query.clone_from(&data.lineage().query);

    let mut host = Governor::new(
        task,
        shared.journal.clone(),
        &shared.settings,
        (Arc::clone(&shared.stop), Arc::clone(given_up)),
        checkpoint_path(shared, task),
        (shared.wall_ns)(),
    );
    let before = parent.as_ref().map(|(_, model)| &**model);
    let model = recipe.train(&data, before, task.seed, &mut host)?;

    // What serves now: somebody may have promoted another one meanwhile.
    let serves = shared
        .models
        .number_among(&task.key, &rule.available_status);
    let is_parent = |number| parent.as_ref().is_some_and(|(v, _)| v.number == number);
    let another = match serves {
        Some(number) if !is_parent(number) => loaded(shared, recipe, task, number)?,
        _ => None,
    };
    let incumbent = match (&another, &parent) {
        (Some((_, another)), _) => Some(&**another),
        (None, Some((version, model))) if serves == Some(version.number) => Some(&**model),
        _ => None,
    };
    let scale = Scale::fit(&data)?;
    let judged = (recipe.problem(), recipe.shape());
    let judge = |model: &dyn Model| evaluate(model, judged, &scale, &data, Subset::Validation);
    let naive = baseline(recipe.problem(), recipe.shape(), &data)?;
    let candidate = judge(&*model)?;
    let incumbent = incumbent.map(judge).transpose()?;
    let naive = judge(&*naive)?;
    let decision = gate::decide(&rule.gate, &candidate, incumbent.as_ref(), &naive);
    // Whoever was given up while judging must not come back with a version.
    host.check()?;
    drop(host);
    let version = shared.models.add(
        &task.key,
        &model.save(),
        NewVersion {
            parent: after.and(task.parent),
            created_ns: (shared.wall_ns)(),
            seed: task.seed,
            lineage: data.lineage().clone(),
            evaluations: Evaluations {
                candidate: Some(candidate),
                incumbent,
                baseline: Some(naive),
            },
            decision: Some(decision),
            status: shared.settings.status.rejected.clone(),
        },
    );
    settled(shared, task, &version.map_err(|error| failed(&error))?)
}

/// A version with the model that it is.
type Loaded = (Version, Box<dyn Model>);

fn failed(error: &dyn std::fmt::Display) -> TrainError {
    TrainError::Recipe(error.to_string())
}

/// The version that this very task has made, if the agent ended before the task was closed.
fn made_before(shared: &Shared, task: &Job) -> Result<Option<Version>, TrainError> {
    let versions = shared.models.versions(&task.key);
    let mut versions = versions.map_err(|error| failed(&error))?.into_iter();
    Ok(versions.find(|version| version.seed == task.seed))
}

/// Version `number`; `None` if this recipe cannot use it (damaged, gone, of another shape): then it
/// cannot serve either, and nobody is to wait for it.
fn loaded(
    shared: &Shared,
    recipe: &dyn Recipe,
    task: &Job,
    number: u64,
) -> Result<Option<Loaded>, TrainError> {
    let unusable = |error: &dyn std::fmt::Display| {
        let (key, task) = (&task.key, task.id);
        tracing::warn!(task, %key, version = number, %error, "cannot be built upon");
        Ok(None)
    };
    let version = shared.models.version(&task.key, number);
    let artifact = version.and_then(|version| {
        let artifact = shared.models.load(&version)?;
        Ok((version, artifact))
    });
    match artifact {
        Ok((version, artifact)) => match recipe.load(&artifact) {
            Ok(model) => Ok(Some((version, model))),
            Err(error) => unusable(&error),
        },
        Err(error @ RegistryError::Io { .. }) => Err(failed(&error)),
        Err(error) => unusable(&error),
    }
}

/// Tells what the gate decided about `version`, and lets it serve if it may.
fn settled(shared: &Shared, task: &Job, version: &Version) -> Result<Outcome, TrainError> {
    let (number, words) = (version.number, &shared.settings.status);
    let Some(decision) = &version.decision else {
        return Err(TrainError::Data("nothing was judged".into()));
    };
    if version.status != words.rejected {
        // Promoted already, just before the agent ended.
        return Ok(Outcome::Promoted(number));
    }
    if let Some(candidate) = &version.evaluations.candidate {
        shared.journal.evaluation(task, number, candidate, decision);
    }
    if !decision.promoted {
        return Ok(Outcome::Rejected(number, decision.explain()));
    }
    shared
        .models
        .promote(&task.key, number, &words.available, &words.retired)
        .map_err(|error| failed(&error))?;
    shared.journal.event(
        &task.key,
        &Event {
            kind: "promoted",
            version: Some(number),
            what: decision.explain(),
            figures: Some((decision.candidate_error, decision.baseline_error)),
        },
    );
    Ok(Outcome::Promoted(number))
}

/// How the names of checkpoints begin.
pub(in crate::learn) const CHECKPOINT: &str = "checkpoint-";

/// Where the checkpoint of a task lies.
pub(in crate::learn) fn checkpoint_path(shared: &Shared, task: &Job) -> PathBuf {
    shared.state_dir.join(format!("{CHECKPOINT}{}", task.id))
}

#[cfg(test)]
mod tests;
