//! The data set of a task: what is new, a sample of what is old, and without what is no part of the usual.

use std::sync::Arc;

use dunlin_models::{
    data::{Columns, DataError, Lineage, Rows, Source, Subset, WindowShape},
    recipe::{Model, Output, Scratch, TrainError},
};
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus, seq::index};
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    cohort::{self, Cohort, CohortQuery},
    config::settings::RecipeRule,
    learn::{Shared, scheduler::task::Task as Job},
};

/// Windows in a row that are not flagged, after which an episode is over: faults make themselves felt
/// in bursts.
const QUIET_WINDOWS: usize = 20;

/// The data set of `task`: the newest records, or those after `after` with a sample of those before.
pub(super) fn data_set(
    shared: &Shared,
    rule: &RecipeRule,
    task: &Job,
    after: Option<i64>,
) -> Result<Mixed<'static>, TrainError> {
    let query = cohort_query(shared, rule, &task.key.stream, task.to_ts)?;
    let resolve = |query: CohortQuery| resolve(shared, rule, &query);
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

fn resolve(shared: &Shared, rule: &RecipeRule, query: &CohortQuery) -> Result<Cohort, TrainError> {
    let resolved = cohort::resolve(&shared.buffer, query, rule.recipe.shape());
    resolved.map_err(|error| TrainError::Data(error.to_string()))
}

/// Chunks of `old` with about `wanted` rows in all, in order; the same for the same seed, on any processor.
fn sample(old: &Cohort, wanted: u64, seed: u64) -> Vec<usize> {
    let chunks = old.chunks();
    let rows = old.lineage().rows.max(1);
    let share = wanted as f64 / rows as f64;
    let count = ((chunks as f64 * share).ceil() as usize).min(chunks);
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
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
    let stream = shared.buffer.catalog().name_shown(stream);
    rule.query(&stream, to_ts, shared.settings.rows_per_chunk_max)
        .map_err(TrainError::Recipe)
}

/// New records first, a sample of old ones behind them.
pub(super) struct Mixed<'a> {
    new: Cohort,
    replay: Option<(Cohort, Vec<usize>)>,
    lineage: Lineage,
    /// Whose flags are left out.
    filter: Option<AnomalyFilter<'a>>,
}

impl<'a> Mixed<'a> {
    /// What the version that serves calls an anomaly is not learnt as usual, unless it is the new usual.
    pub(super) fn leave_out_flagged(
        &mut self,
        shared: &Shared,
        rule: &RecipeRule,
        task: &Job,
        model: &'a dyn Model,
    ) -> Result<(), TrainError> {
        let shape = rule.recipe.shape();
        let query = CohortQuery {
            last: Some(rule.min_update_count.max(self.new.lineage().rows)),
            ..cohort_query(shared, rule, &task.key.stream, task.to_ts)?
        };
        let recent = resolve(shared, rule, &query)?;
        let usual_from = new_usual_from(&recent, model, shape, rule.min_update_count)?;
        let until = usual_from.map_or_else(String::new, |from| format!(" before {from}"));
        let parent = task.parent.unwrap_or_default();
        let left_out = format!("; without what version {parent} flags{until}");
        self.lineage.query.push_str(&left_out);
        self.filter = Some(AnomalyFilter {
            model,
            shape,
            usual_from,
        });
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
            filter: None,
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

/// A model whose flags keep windows out of a data set.
struct AnomalyFilter<'a> {
    model: &'a dyn Model,
    shape: WindowShape,
    /// From here on what it flags is the new usual, nanoseconds UTC.
    usual_from: Option<i64>,
}

impl AnomalyFilter<'_> {
    /// Lets no window end in these rows where the model flags one that is not the new usual.
    fn leave_out_flagged(&self, rows: &mut Rows, features: usize) {
        let flagged = flags(self.model, rows, self.shape, features);
        let is_unusual = |ts: i64| self.usual_from.is_none_or(|from| ts < from);
        let left_out = flagged.filter(|(end, is_flagged)| *is_flagged && is_unusual(rows.ts[*end]));
        let left_out: Vec<usize> = left_out.map(|(end, _)| end).collect();
        rows.ends.resize(rows.ts.len(), true);
        for end in left_out {
            rows.ends[end] = false;
        }
    }
}

/// The last row of every window, and whether `model` flags that window.
fn flags<'a>(
    model: &'a dyn Model,
    rows: &'a Rows,
    shape: WindowShape,
    features: usize,
) -> impl Iterator<Item = (usize, bool)> + 'a {
    let (mut scratch, mut output) = (Scratch::default(), Output::default());
    let windows = rows.windows(shape, features, false, Subset::All);
    windows.map(move |window| {
        let input = rows.values_of(window.start..window.split_at, features);
        model.infer(input, &mut scratch, &mut output);
        (window.end - 1, output.flag)
    })
}

/// Since when `model` has flagged what it sees, if that has lasted to the end for `rows_min` rows: then
/// it is no fault but the new usual. Nanoseconds UTC.
fn new_usual_from(
    recent: &dyn Source,
    model: &dyn Model,
    shape: WindowShape,
    rows_min: u64,
) -> Result<Option<i64>, DataError> {
    let features = recent.columns().features.len();
    let (mut rows_before, mut quiet, mut since) = (0, 0, None);
    for index in 0..recent.chunks() {
        let rows = recent.read(index)?;
        for (end, is_flagged) in flags(model, &rows, shape, features) {
            if is_flagged {
                quiet = 0;
                since = since.or(Some((rows_before + end - rows.lead, rows.ts[end])));
            } else {
                quiet += 1;
                since = since.filter(|_| quiet <= QUIET_WINDOWS);
            }
        }
        rows_before += rows.len() - rows.lead;
    }
    // The first window has rows before its last one, of which nobody knows better.
    let lasted = |since: usize| (rows_before - since + shape.lookback - 1) as u64;
    Ok(since
        .filter(|(row, _)| lasted(*row) >= rows_min)
        .map(|(_, ts)| ts))
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
        let Some(filter) = &self.filter else {
            return Ok(rows);
        };
        let mut rows = Arc::unwrap_or_clone(rows);
        filter.leave_out_flagged(&mut rows, self.columns().features.len());
        Ok(Arc::new(rows))
    }

    fn lineage(&self) -> &Lineage {
        &self.lineage
    }
}

#[cfg(test)]
mod tests;
