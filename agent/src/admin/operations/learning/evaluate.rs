//! k-fold evaluation of a recipe on a stream's buffered records: how good it is, and how sure that is.
//!
//! Promises: nothing is stored and no model in use is touched; every window is judged by a model that
//! has not seen it; recipe and baseline are judged on the same windows.
//!
//! Folds are the stored ones where the stream's rule draws as many (`split = { method = "kfold" }`).
//! Otherwise they are blocks of time with the same number of rows, and a window that reaches over the
//! edge of a fold counts nowhere: neighbours in time would give away what is to be estimated. Stored
//! folds are drawn record by record, so with windows of several rows neighbours do share rows.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use dunlin_models::{
    data::{Columns, DataError, Lineage, Rows, Source, Subset, WindowShape, scale::Scale},
    judging::{
        baseline::baseline,
        crossval::Folds,
        evaluation::{Evaluation, evaluate as judge},
    },
    recipe::{EpochEnd, Host, Problem, Recipe, Step, Stopped, TrainError},
};
use dunlin_sync::buffer::Buffer;
use serde::{Deserialize, Serialize};

use super::{LearningRequest, Listener, Need, Operation, OperationError, OperationParts, Request};
use crate::{
    cohort::{self, Cohort, CohortQuery, SplitPart},
    config::settings::{RecipeRule, SplitRule},
    learn::guarded,
};

/// Folds unless asked for, or stored.
const FOLDS_DEFAULT: u8 = 5;
/// Fewest and most folds.
pub const FOLDS: std::ops::RangeInclusive<u8> = 2..=100;

/// Trains and judges a recipe once a fold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evaluate {
    /// Name of a configured recipe.
    pub recipe: String,
    /// Name of a stream.
    pub stream: String,
    /// How many folds, 2 to 100; `None`: as many as the stream stores, else five.
    pub folds: Option<u8>,
}

/// How rows came to their folds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FoldRule {
    /// As drawn when they arrived.
    Stored,
    /// By blocks of time.
    Time,
}

/// How good a recipe was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluated {
    /// The recipe.
    pub recipe: String,
    /// What it is for.
    pub task: Problem,
    /// Where folds come from.
    pub fold_rule: FoldRule,
    /// The rows.
    pub lineage: Lineage,
    /// The recipe over all folds.
    pub candidate: Folds,
    /// The baseline on the same windows.
    pub baseline: Folds,
    /// Each fold: the recipe's figures and the baseline's.
    pub folds: Vec<(Evaluation, Evaluation)>,
}

impl Operation for Evaluate {
    type Answer = Evaluated;
    const NEED: Need = Need::Upstream;

    fn into_request(self) -> Request {
        Request::Learning(LearningRequest::Evaluate(self))
    }

    fn run(
        self,
        parts: &OperationParts,
        listener: &mut dyn Listener,
    ) -> Result<Evaluated, OperationError> {
        evaluate(parts, &self, listener)
    }
}

fn evaluate(
    parts: &OperationParts,
    wanted: &Evaluate,
    listener: &mut dyn Listener,
) -> Result<Evaluated, OperationError> {
    let (rule, learn) = rule(parts, &wanted.recipe)?;
    let catalog = parts.buffer.catalog();
    let stream = catalog.meant(&wanted.stream);
    let known = stream.and_then(|stream| catalog.resolve(stream.id));
    let (stream, schema) = known.ok_or_else(|| {
        OperationError::Asked(format!(
            "there is no stream {:?} in the buffer",
            wanted.stream
        ))
    })?;
    let split = parts.rules.iter().find(|rule| rule.name == schema.name);
    let stored = split.and_then(|rule| match rule.split {
        SplitRule::KFold { k, .. } => Some(k),
        _ => None,
    });
    let count = wanted.folds.or(stored).unwrap_or(FOLDS_DEFAULT);
    if !FOLDS.contains(&count) {
        let (least, most) = FOLDS.into_inner();
        let what = format!("{count} folds: use {least} to {most}");
        return Err(OperationError::Asked(what));
    }
    let stream = catalog.shown(stream);
    let query = rule.query(&stream, i64::MAX, learn.rows_per_chunk_max);
    let mut folding = Folding {
        buffer: &parts.buffer,
        query: query.map_err(OperationError::Asked)?,
        shape: rule.recipe.shape(),
        fold_rule: if stored == Some(count) {
            FoldRule::Stored
        } else {
            FoldRule::Time
        },
        count,
    };
    let all = folding.resolve(SplitPart::All)?;
    let lineage = all.lineage().clone();
    // What arrives meanwhile belongs to no fold.
    folding.query.to = Some(lineage.last_ts);
    let blocks = folding.blocks(&all)?;
    let recipe = rule.recipe.build().map_err(OperationError::Asked)?;
    let mut folds = Vec::new();
    for fold in 0..count {
        let mut host = Civil {
            listener: &mut *listener,
            at: (u64::from(fold), u64::from(count)),
            share: learn.cpu_share,
            begun: Instant::now(),
            worked_from: Instant::now(),
        };
        let done = match folding.fold_rule {
            FoldRule::Time => {
                let data = TimeFold {
                    all: &all,
                    block: blocks[usize::from(fold)],
                    window_rows: folding.shape.lookback + folding.shape.horizon,
                };
                figures(&*recipe, &data, fold, &mut host)
            }
            FoldRule::Stored => {
                let data = StoredFold {
                    train: folding.resolve(SplitPart::NotFold(fold))?,
                    validation: folding.resolve(SplitPart::Fold(fold))?,
                };
                figures(&*recipe, &data, fold, &mut host)
            }
        };
        folds.push(done.map_err(|error| refused(fold, &error))?);
    }
    let (candidate, naive): (Vec<_>, Vec<_>) = folds.iter().cloned().unzip();
    Ok(Evaluated {
        recipe: wanted.recipe.clone(),
        task: recipe.problem(),
        fold_rule: folding.fold_rule,
        lineage,
        candidate: Folds::of(&candidate),
        baseline: Folds::of(&naive),
        folds,
    })
}

fn rule<'a>(
    parts: &'a OperationParts,
    name: &str,
) -> Result<(&'a RecipeRule, &'a crate::config::settings::LearnSettings), OperationError> {
    let unknown = |known: &[&str]| {
        let known = if known.is_empty() {
            "there are none".to_owned()
        } else {
            format!("there are {}", known.join(", "))
        };
        OperationError::Asked(format!("no recipe called {name:?} is configured; {known}"))
    };
    let learn = parts
        .learning
        .settings
        .as_ref()
        .ok_or_else(|| unknown(&[]))?;
    let found = learn.recipes.iter().find(|rule| rule.name == name);
    let names: Vec<&str> = learn.recipes.iter().map(|rule| &*rule.name).collect();
    Ok((found.ok_or_else(|| unknown(&names))?, learn))
}

fn refused(fold: u8, error: &TrainError) -> OperationError {
    let text = format!("fold {fold}: {error}");
    match error {
        TrainError::Data(_) | TrainError::Recipe(_) => OperationError::Asked(text),
        _ => OperationError::Failed(text),
    }
}

/// Figures of the recipe and of the baseline on one fold; the fold's number is the seed.
fn figures(
    recipe: &dyn Recipe,
    data: &dyn Source,
    fold: u8,
    host: &mut Civil<'_>,
) -> Result<(Evaluation, Evaluation), TrainError> {
    let work = || {
        let model = recipe.train(data, None, u64::from(fold), host)?;
        host.pace()?;
        let scale = Scale::fit(data)?;
        let what = (recipe.problem(), recipe.shape());
        let candidate = judge(&*model, what, &scale, data, Subset::Validation)?;
        let naive = baseline(what.0, what.1, data)?;
        let naive = judge(&*naive, what, &scale, data, Subset::Validation)?;
        Ok((candidate, naive))
    };
    guarded(work).map_err(|what| TrainError::Recipe(format!("the recipe panicked: {what}")))?
}

/// How rows are divided.
struct Folding<'a> {
    buffer: &'a Arc<Buffer>,
    query: CohortQuery,
    shape: WindowShape,
    fold_rule: FoldRule,
    count: u8,
}

impl Folding<'_> {
    fn resolve(&self, split: SplitPart) -> Result<Cohort, OperationError> {
        let query = CohortQuery {
            split,
            ..self.query.clone()
        };
        Ok(cohort::resolve(self.buffer, &query, self.shape)?)
    }

    /// First and last timestamp of each block of time, nanoseconds UTC, with as many rows each.
    fn blocks(&self, all: &Cohort) -> Result<Vec<(i64, i64)>, OperationError> {
        if self.fold_rule == FoldRule::Stored {
            return Ok(Vec::new());
        }
        let (count, rows) = (u64::from(self.count), all.lineage().rows);
        if rows < count {
            let what = format!("{rows} rows are too few for {count} folds");
            return Err(OperationError::Asked(what));
        }
        let mut starts = Vec::new();
        let mut seen = 0;
        for index in 0..all.chunks() {
            let chunk = all.read(index).map_err(OperationError::failed)?;
            for ts in &chunk.ts[chunk.lead..] {
                if seen >= starts.len() as u64 * rows / count && starts.len() < self.count.into() {
                    starts.push(*ts);
                }
                seen += 1;
            }
        }
        let ends = starts.iter().skip(1).map(|next| next - 1);
        let ends = ends.chain([i64::MAX]);
        Ok(starts.iter().copied().zip(ends).collect())
    }
}

/// All rows; those of a block of time validate.
struct TimeFold<'a> {
    all: &'a Cohort,
    /// First and last timestamp, nanoseconds UTC.
    block: (i64, i64),
    window_rows: usize,
}

impl Source for TimeFold<'_> {
    fn columns(&self) -> &Columns {
        self.all.columns()
    }

    fn chunks(&self) -> usize {
        self.all.chunks()
    }

    fn read(&self, index: usize) -> Result<Arc<Rows>, DataError> {
        let mut rows = Arc::unwrap_or_clone(self.all.read(index)?);
        divide(&mut rows, self.block, self.window_rows);
        Ok(Arc::new(rows))
    }

    fn lineage(&self) -> &Lineage {
        self.all.lineage()
    }
}

/// The rows of `block` validate, the others train; no window reaches over an edge.
fn divide(rows: &mut Rows, (first, last): (i64, i64), window_rows: usize) {
    let is_train = rows.ts.iter().map(|ts| !(first..=last).contains(ts));
    rows.is_train = is_train.collect();
    rows.ends.resize(rows.ts.len(), true);
    let mut same_side = 0;
    for row in 0..rows.ts.len() {
        let is_edge = row > 0 && rows.is_train[row] != rows.is_train[row - 1];
        same_side = if is_edge { 1 } else { same_side + 1 };
        // Before the first row of a chunk and its lead there is nothing to reach over.
        let reaches_over = same_side < window_rows && same_side <= row;
        rows.ends[row] &= !reaches_over;
    }
}

/// Rows of every other fold, which train, then those of the fold, which validate.
struct StoredFold {
    train: Cohort,
    validation: Cohort,
}

impl Source for StoredFold {
    fn columns(&self) -> &Columns {
        self.train.columns()
    }

    fn chunks(&self) -> usize {
        self.train.chunks() + self.validation.chunks()
    }

    fn read(&self, index: usize) -> Result<Arc<Rows>, DataError> {
        let (rows, is_train) = match index.checked_sub(self.train.chunks()) {
            None => (self.train.read(index)?, true),
            Some(index) => (self.validation.read(index)?, false),
        };
        let mut rows = Arc::unwrap_or_clone(rows);
        rows.is_train = vec![is_train; rows.ts.len()];
        Ok(Arc::new(rows))
    }

    fn lineage(&self) -> &Lineage {
        self.train.lineage()
    }
}

/// Keeps to the share of a core that learning may take, and ends when nobody listens any more.
struct Civil<'a> {
    listener: &'a mut dyn Listener,
    /// Folds done, and folds in all.
    at: (u64, u64),
    share: f64,
    begun: Instant,
    worked_from: Instant,
}

/// Longest pause at a time.
const PAUSE_MAX: Duration = Duration::from_secs(1);

impl Host for Civil<'_> {
    fn pace(&mut self) -> Result<(), Stopped> {
        let told = self.listener.progress(self.at.0, self.at.1);
        told.map_err(|_| Stopped::Shutdown)?;
        let pause = self.worked_from.elapsed().as_secs_f64() * (1.0 / self.share.max(0.01) - 1.0);
        if pause > 0.001 {
            thread::sleep(Duration::from_secs_f64(pause).min(PAUSE_MAX));
            self.worked_from = Instant::now();
        }
        Ok(())
    }

    fn step(&mut self, _: Step) {}

    fn epoch(&mut self, _: EpochEnd) {}

    fn save_checkpoint(&mut self, _: &[u8]) -> Result<(), String> {
        Ok(())
    }

    fn load_checkpoint(&mut self) -> Option<Vec<u8>> {
        None
    }

    fn elapsed_ns(&self) -> u64 {
        self.begun.elapsed().as_nanos() as u64
    }
}

#[cfg(test)]
mod tests;
