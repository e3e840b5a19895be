//! One task, from its data set to a version in the registry.
//!
//! Promises: whatever goes wrong is an outcome with its reason, never the end of the agent, and
//! leaves the version that serves alone; candidate, incumbent and baseline are judged on the same
//! validation windows.

use std::{
    rc::Rc,
    sync::{Arc, atomic::AtomicBool},
};

use dunlin_models::{
    data::Source,
    recipe::{Model, Problem, Recipe, Stopped, TrainError},
    registry::{NewVersion, RegistryError, Version},
};

use crate::{
    config::settings::RecipeRule,
    learn::{
        Shared, guarded,
        scheduler::task::{Task as Job, TaskKind},
        training::{
            data_set::{Mixed, data_set},
            governor::Governor,
            judge::judge,
            trial::Trial,
        },
    },
};

/// What a task has come to.
#[derive(Clone, Debug)]
pub(in crate::learn) enum Outcome {
    /// A version, with what the gate says about it.
    Made(Box<Version>),
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
    outcome_of(|| {
        let recipe = rule.recipe.build().map_err(TrainError::Recipe)?;
        let work = Work {
            shared,
            rule,
            recipe: &*recipe,
            given_up,
        };
        work.attempt(task)
    })
}

/// What `attempt` comes to, even if it panics.
fn outcome_of(attempt: impl FnOnce() -> Result<Version, TrainError>) -> Outcome {
    match guarded(attempt) {
        Ok(Ok(version)) => Outcome::Made(Box::new(version)),
        Ok(Err(TrainError::Stopped(Stopped::TimeLimit))) => Outcome::TimedOut,
        Ok(Err(TrainError::Stopped(Stopped::Shutdown))) => Outcome::Interrupted,
        Ok(Err(error)) => Outcome::Failed(error.to_string()),
        Err(panic) => Outcome::Failed(format!("the recipe panicked: {panic}")),
    }
}

/// What a task is done with.
struct Work<'a> {
    shared: &'a Shared,
    rule: &'a RecipeRule,
    recipe: &'a dyn Recipe,
    given_up: &'a Arc<AtomicBool>,
}

/// A version with the model that it is.
struct Loaded {
    version: Version,
    model: Rc<dyn Model>,
}

impl Work<'_> {
    fn attempt(&self, task: &mut Job) -> Result<Version, TrainError> {
        if let Some(version) = self.made_before(task)? {
            task.query.clone_from(&version.lineage.query);
            return Ok(version);
        }
        if task.kind == TaskKind::Released {
            return self.try_released(task);
        }
        let parent = self.parent(task)?;
        let parent = parent.as_ref();
        let data = self.data(task, parent)?;
        task.query.clone_from(&data.lineage().query);

        let mut host = Governor::new(self.shared, task, self.given_up);
        let before = parent.map(|parent| &*parent.model);
        let model = self.recipe.train(&data, before, task.seed, &mut host)?;
        let incumbent = self.incumbent(task, parent)?;
        let models = (&*model, incumbent.as_deref());
        let judged = judge(self.recipe, &self.rule.gate, &data, models)?;
        // Whoever was given up while judging must not come back with a version.
        host.check()?;
        drop(host);
        let new = NewVersion {
            parent: parent.map(|parent| parent.version.number),
            created_ns: (self.shared.wall_ns)(),
            seed: task.seed,
            lineage: data.lineage().clone(),
            evaluations: judged.evaluations,
            decision: Some(judged.decision),
            status: self.shared.settings.status.rejected.clone(),
        };
        let added = self.shared.models.add(&task.key, &model.save(), new);
        added.map_err(|error| failed(&error))
    }

    /// What the fleet has released is not trained but judged all the same.
    fn try_released(&self, task: &mut Job) -> Result<Version, TrainError> {
        let incumbent = self.incumbent(task, None)?;
        let host = Governor::new(self.shared, task, self.given_up);
        let trial = Trial {
            shared: self.shared,
            rule: self.rule,
            recipe: self.recipe,
        };
        trial.run(task, host, incumbent.as_deref())
    }

    /// The version that this very task has made, if the agent ended before the task was closed.
    fn made_before(&self, task: &Job) -> Result<Option<Version>, TrainError> {
        let versions = self.shared.models.versions(&task.key);
        let mut versions = versions.map_err(|error| failed(&error))?.into_iter();
        Ok(versions.find(|version| version.seed == task.seed))
    }

    /// The version that the task starts from, if it does from any.
    fn parent(&self, task: &Job) -> Result<Option<Loaded>, TrainError> {
        match (task.kind, task.parent) {
            (TaskKind::FineTune, Some(parent)) => self.loaded(task, parent),
            _ => Ok(None),
        }
    }

    /// What the task learns from.
    fn data<'m>(&self, task: &Job, parent: Option<&'m Loaded>) -> Result<Mixed<'m>, TrainError> {
        let after = parent.map(|parent| parent.version.lineage.last_ts);
        let mut data = data_set(self.shared, self.rule, task, after)?;
        if let Some(parent) = parent
            && self.recipe.problem() == Problem::Anomaly
        {
            data.leave_out_flagged(self.shared, self.rule, task, &*parent.model)?;
        }
        Ok(data)
    }

    /// The model that serves now, if this recipe can use it: somebody may have promoted another one than the
    /// `parent` meanwhile.
    fn incumbent(
        &self,
        task: &Job,
        parent: Option<&Loaded>,
    ) -> Result<Option<Rc<dyn Model>>, TrainError> {
        let (models, statuses) = (&self.shared.models, &self.rule.available_status);
        let Some(serves) = models.number_among(&task.key, statuses) else {
            return Ok(None);
        };
        if let Some(parent) = parent.filter(|parent| parent.version.number == serves) {
            return Ok(Some(Rc::clone(&parent.model)));
        }
        let another = self.loaded(task, serves)?;
        Ok(another.map(|another| another.model))
    }

    /// Version `number`; `None` if this recipe cannot use it (damaged, gone, of another shape): then it
    /// cannot serve either, and nobody is to wait for it.
    fn loaded(&self, task: &Job, number: u64) -> Result<Option<Loaded>, TrainError> {
        let unusable = |error: &dyn std::fmt::Display| {
            let (key, task) = (&task.key, task.id);
            tracing::warn!(task, %key, version = number, %error, "cannot be built upon");
            Ok(None)
        };
        let models = &self.shared.models;
        let version = models.version(&task.key, number);
        let artifact = version.and_then(|version| {
            let artifact = models.load(&version)?;
            Ok((version, artifact))
        });
        match artifact {
            Ok((version, artifact)) => match self.recipe.load(&artifact) {
                Ok(model) => Ok(Some(Loaded {
                    version,
                    model: model.into(),
                })),
                Err(error) => unusable(&error),
            },
            Err(error @ RegistryError::Io { .. }) => Err(failed(&error)),
            Err(error) => unusable(&error),
        }
    }
}

fn failed(error: &dyn std::fmt::Display) -> TrainError {
    TrainError::Recipe(error.to_string())
}

#[cfg(test)]
mod tests;
