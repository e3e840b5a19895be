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
    baseline::baseline,
    data::{Columns, DataError, Half, Lineage, Rows, Source, WindowShape},
    evaluation::evaluate,
    gate,
    recipe::{Model, Output, Recipe, Scratch, Stopped, Task, TrainError},
    registry::{Evaluations, NewVersion, RegistryError, Version},
    scale::Scale,
};
use rand::{SeedableRng, rngs::SmallRng, seq::index};
use xxhash_rust::xxh3::xxh3_64;

use super::{
    Shared,
    governor::Governor,
    journal::Event,
    line,
    task::{Task as Job, TaskKind},
};
use crate::{
    cohort::{self, Cohort, CohortQuery},
    settings::RecipeRule,
};

/// How a task has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
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
pub(super) fn run(
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
    match line::guarded(attempt) {
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
        && recipe.task() == Task::Anomaly
    {
        data.leave_out_flagged(&**model, recipe.shape())?;
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
    let judged = (recipe.task(), recipe.shape());
    let judge = |model: &dyn Model| evaluate(model, judged, &scale, &data, Half::Validation);
    let naive = baseline(recipe.task(), recipe.shape(), &data)?;
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
pub(super) const CHECKPOINT: &str = "checkpoint-";

/// Where the checkpoint of a task lies.
pub(super) fn checkpoint_path(shared: &Shared, task: &Job) -> PathBuf {
    shared.state_dir.join(format!("{CHECKPOINT}{}", task.id))
}

/// The data set of `task`: the newest records, or those after `after` with a sample of those before.
fn data_set(
    shared: &Shared,
    rule: &RecipeRule,
    task: &Job,
    after: Option<i64>,
) -> Result<Mixed<'static>, TrainError> {
    let query = cohort_query(shared, rule, &task.key.stream, task.to_ts)?;
    let resolve = |query: CohortQuery| {
        let resolved = cohort::resolve(&shared.buffer, &query, rule.recipe.shape());
        resolved.map_err(|error| TrainError::Data(error.to_string()))
    };
    let Some(after) = after else {
        return Ok(Mixed::new(resolve(query)?, None));
    };
    let new = resolve(CohortQuery {
        after: Some(after),
        ..query.clone()
    })?;
    let wanted = (new.lineage().rows as f64 * rule.replay_share) as u64;
    if wanted == 0 {
        return Ok(Mixed::new(new, None));
    }
    let shape = rule.recipe.shape();
    let window = shape.lookback + shape.horizon;
    let old = resolve(CohortQuery {
        to: Some(after),
        // Small enough that a sample of chunks is spread over all there is.
        rows_per_chunk_max: (4 * window).max(500).min(query.rows_per_chunk_max),
        ..query
    })?;
    let chosen = sample(&old, wanted, task.seed);
    Ok(Mixed::new(new, Some((old, chosen))))
}

/// Chunks of `old` with about `wanted` rows in all, in order; the same for the same seed.
fn sample(old: &Cohort, wanted: u64, seed: u64) -> Vec<usize> {
    let chunks = old.chunks();
    let rows = old.lineage().rows.max(1);
    let share = wanted as f64 / rows as f64;
    let count = ((chunks as f64 * share).ceil() as usize).min(chunks);
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut chosen = index::sample(&mut rng, chunks, count).into_vec();
    chosen.sort_unstable();
    chosen
}

/// What a rule means by its data, on one stream.
pub(super) fn cohort_query(
    shared: &Shared,
    rule: &RecipeRule,
    stream: &str,
    to_ts: i64,
) -> Result<CohortQuery, TrainError> {
    rule.query(stream, to_ts, shared.settings.rows_per_chunk_max)
        .map_err(TrainError::Recipe)
}

/// New records first, a sample of old ones behind them.
struct Mixed<'a> {
    new: Cohort,
    replay: Option<(Cohort, Vec<usize>)>,
    lineage: Lineage,
    /// Whose flags are left out.
    watchman: Option<(&'a dyn Model, WindowShape)>,
}

impl<'a> Mixed<'a> {
    /// What the version that serves calls an anomaly is not learnt as usual; unless that is most of
    /// what is new, for then the usual has changed.
    fn leave_out_flagged(
        &mut self,
        model: &'a dyn Model,
        shape: WindowShape,
    ) -> Result<(), DataError> {
        let (mut windows, mut flagged) = (0, 0);
        for index in 0..self.new.chunks() {
            let mut rows = Arc::unwrap_or_clone(self.new.read(index)?);
            let features = self.columns().features.len();
            windows += rows.windows(shape, features, false, Half::Both).count();
            flagged += leave_out_flagged(&mut rows, model, shape, features);
        }
        if 2 * flagged <= windows {
            self.watchman = Some((model, shape));
        }
        Ok(())
    }

    fn new(new: Cohort, replay: Option<(Cohort, Vec<usize>)>) -> Self {
        let mut lineage = new.lineage().clone();
        if let Some((old, chosen)) = &replay {
            let (all, query) = (old.chunks(), &old.lineage().query);
            // What is replayed is part of what tells this data set, and a checkpoint on it, from others.
            let rows_hash = (lineage.rows_hash, old.lineage().rows_hash);
            lineage.rows_hash = xxh3_64(format!("{rows_hash:?} {chosen:?}").as_bytes());
            let chosen = chosen.len();
            lineage.query = format!(
                "{}; replay {chosen} of {all} chunks of {query}",
                lineage.query
            );
        }
        Self {
            new,
            replay,
            lineage,
            watchman: None,
        }
    }

    fn read_all(&self, index: usize) -> Result<Arc<Rows>, DataError> {
        let Some(at) = index.checked_sub(self.new.chunks()) else {
            return self.new.read(index);
        };
        let replay = self.replay.as_ref();
        let chosen = replay.and_then(|(old, chosen)| Some((old, *chosen.get(at)?)));
        let (old, chunk) = chosen.ok_or_else(|| DataError(format!("there is no chunk {index}")))?;
        let mut rows = Arc::unwrap_or_clone(old.read(chunk)?);
        rows.is_replay = true;
        Ok(Arc::new(rows))
    }
}

/// Lets no window end where `model` flags one; returns how many these are.
fn leave_out_flagged(
    rows: &mut Rows,
    model: &dyn Model,
    shape: WindowShape,
    features: usize,
) -> usize {
    let (mut scratch, mut output) = (Scratch::default(), Output::default());
    let windows: Vec<_> = rows.windows(shape, features, false, Half::Both).collect();
    let flagged = windows.into_iter().filter(|window| {
        let input = rows.values_of(window.start..window.split_at, features);
        model.infer(input, &mut scratch, &mut output);
        output.flag
    });
    let flagged: Vec<usize> = flagged.map(|window| window.end - 1).collect();
    rows.ends.resize(rows.ts.len(), true);
    for row in &flagged {
        rows.ends[*row] = false;
    }
    flagged.len()
}

impl Source for Mixed<'_> {
    fn columns(&self) -> &Columns {
        self.new.columns()
    }

    fn chunks(&self) -> usize {
        let replay = self.replay.as_ref();
        self.new.chunks() + replay.map_or(0, |(_, chosen)| chosen.len())
    }

    fn read(&self, index: usize) -> Result<Arc<Rows>, DataError> {
        let rows = self.read_all(index)?;
        let Some((model, shape)) = self.watchman else {
            return Ok(rows);
        };
        let mut rows = Arc::unwrap_or_clone(rows);
        leave_out_flagged(&mut rows, model, shape, self.columns().features.len());
        Ok(Arc::new(rows))
    }

    fn lineage(&self) -> &Lineage {
        &self.lineage
    }
}

#[cfg(test)]
mod tests;
