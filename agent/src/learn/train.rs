//! One task, from its data set to the registry.
//!
//! Promises: whatever goes wrong is an outcome with its reason, never the end of the agent, and
//! leaves the version that serves alone; candidate, incumbent and baseline are judged on the same
//! validation windows.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::Arc,
};

use dunlin_models::{
    baseline::baseline,
    data::{Columns, DataError, Half, Lineage, Rows, Source, WindowShape},
    evaluation::evaluate,
    gate,
    recipe::{Model, Output, Scratch, Stopped, Task, TrainError},
    registry::{Evaluations, NewVersion},
    scale::Scale,
};
use rand::{SeedableRng, rngs::SmallRng, seq::index};

use super::{
    Shared,
    governor::Governor,
    journal::Event,
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
    /// The agent ends; the task goes on at the next start.
    Interrupted,
}

/// Does `task`; never panics.
pub(super) fn run(shared: &Shared, rule: &RecipeRule, task: &mut Job) -> Outcome {
    match catch_unwind(AssertUnwindSafe(|| attempt(shared, rule, task))) {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(TrainError::Stopped(Stopped::Shutdown))) => Outcome::Interrupted,
        Ok(Err(error)) => Outcome::Failed(error.to_string()),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Outcome::Failed(format!("the recipe panicked: {}", text.unwrap_or("?")))
        }
    }
}

fn attempt(shared: &Shared, rule: &RecipeRule, task: &mut Job) -> Result<Outcome, TrainError> {
    let recipe = rule.recipe.build().map_err(TrainError::Recipe)?;
    let failed = |error: &dyn std::fmt::Display| TrainError::Recipe(error.to_string());
    let incumbent = match (task.kind, task.parent) {
        (TaskKind::FineTune, Some(parent)) => {
            let version = shared.models.version(&task.key, parent);
            let version = version.map_err(|error| failed(&error))?;
            let artifact = shared.models.load(&version).map_err(|e| failed(&e))?;
            let model = recipe.load(&artifact).map_err(|error| failed(&error))?;
            Some((version, model))
        }
        _ => None,
    };
    let after = incumbent
        .as_ref()
        .map(|(version, _)| version.lineage.last_ts);
    let mut data = data_set(shared, rule, task, after)?;
    if let Some((_, model)) = &incumbent
        && recipe.task() == Task::Anomaly
    {
        data.leave_out_flagged(&**model, recipe.shape())?;
    }
    task.query.clone_from(&data.lineage().query);

    let mut host = Governor::new(
        task,
        shared.journal.clone(),
        &shared.settings,
        Arc::clone(&shared.stop),
        checkpoint_path(shared, task),
    );
    let before = incumbent.as_ref().map(|(_, model)| &**model);
    let model = recipe.train(&data, before, task.seed, &mut host)?;
    drop(host);

    let scale = Scale::fit(&data)?;
    let judged = (recipe.task(), recipe.shape());
    let judge = |model: &dyn Model| evaluate(model, judged, &scale, &data, Half::Validation);
    let naive = baseline(recipe.task(), recipe.shape(), &data)?;
    let evaluations = Evaluations {
        candidate: Some(judge(&*model)?),
        incumbent: before.map(judge).transpose()?,
        baseline: Some(judge(&*naive)?),
    };
    let (Some(candidate), Some(baseline)) = (&evaluations.candidate, &evaluations.baseline) else {
        return Err(TrainError::Data("nothing was judged".into()));
    };
    let decision = gate::decide(
        &rule.gate,
        candidate,
        evaluations.incumbent.as_ref(),
        baseline,
    );
    let words = &shared.settings.status;
    let (key, candidate) = (&task.key, candidate.clone());
    let version = shared.models.add(
        key,
        &model.save(),
        NewVersion {
            parent: task.parent,
            created_ns: (shared.wall_ns)(),
            seed: task.seed,
            lineage: data.lineage().clone(),
            evaluations,
            decision: Some(decision.clone()),
            status: words.rejected.clone(),
        },
    );
    let number = version.map_err(|error| failed(&error))?.number;
    shared
        .journal
        .evaluation(task, number, &candidate, &decision);
    if !decision.promoted {
        return Ok(Outcome::Rejected(number, decision.explain()));
    }
    shared
        .models
        .promote(key, number, &words.available, &words.retired)
        .map_err(|error| failed(&error))?;
    shared.journal.event(
        key,
        &Event {
            kind: "promoted",
            version: Some(number),
            what: decision.explain(),
            figures: Some((decision.candidate_error, decision.baseline_error)),
        },
    );
    Ok(Outcome::Promoted(number))
}

/// Where the checkpoint of a task lies.
pub(super) fn checkpoint_path(shared: &Shared, task: &Job) -> PathBuf {
    shared.state_dir.join(format!("checkpoint-{}", task.id))
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
mod tests {
    use dunlin_models::artifact::Artifact;

    use super::*;

    /// Flags what is above 10.
    struct Above10;

    impl Model for Above10 {
        fn infer(&self, input: &[f32], _: &mut Scratch, output: &mut Output) {
            output.flag = input.iter().any(|value| *value > 10.0);
        }

        fn save(&self) -> Artifact {
            Artifact::default()
        }

        fn as_any(&self) -> &dyn std::any::Any {
            self
        }
    }

    #[test]
    fn what_is_flagged_is_not_learnt_as_usual() {
        let shape = WindowShape {
            lookback: 2,
            horizon: 0,
        };
        let mut rows = Rows {
            ts: (0..6).collect(),
            values: vec![0.0, 1.0, 11.0, 1.0, 1.0, 1.0],
            is_train: vec![true; 6],
            ..Rows::default()
        };
        assert_eq!(leave_out_flagged(&mut rows, &Above10, shape, 1), 2);
        let left = rows.windows(shape, 1, false, Half::Both);
        let ends: Vec<usize> = left.map(|window| window.end - 1).collect();
        assert_eq!(ends, [1, 4, 5]);
    }
}
