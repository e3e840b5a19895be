//! One recipe on one stream, answering record by record.
//!
//! Promises: every record after the predictor began is answered once, if its window is whole; a version
//! is swapped between two records, so none is skipped and none answered twice; a missing value or a
//! gap costs the windows that it lies in, nothing else; a model that panics is given up and ends
//! nothing else.

mod forecasts;
mod history;
mod judge;
mod live_grid;
mod outbox;
mod progress;
mod serving;
mod trial;

use std::sync::Arc;

use dunlin_models::{
    data::scale::Scale,
    drift::{Alarm, population::InputDrift},
    judging::{evaluation::argmax, trial::Verdict},
    recipe::Problem,
    registry::ModelKey,
};
use dunlin_sync::{block::StreamRun, rows::Column, sample::Schema};

pub(super) use crate::learn::inference::predictor::{
    live_grid::{GridTaken, LiveGrid},
    outbox::Outbox,
    serving::Serving,
};
use crate::{
    config::settings::RecipeRule,
    learn::{
        guarded::guarded,
        inference::{
            drift::DriftDetectors,
            predictor::{
                forecasts::Forecasts,
                history::{History, Newest},
                judge::Judge,
                progress::Progress,
                serving::{LiveModel, Workspace},
                trial::OnTrial,
            },
            snapshot::{PredictorSnapshot, TrialSnapshot},
        },
        tables::Prediction,
    },
};

/// Numbers of an answer that are kept.
const OUTPUTS_MAX: usize = 64;

/// What a predictor answers: the same whatever version serves.
pub(super) struct PredictorSpec {
    pub(super) key: ModelKey,
    pub(super) rule: Arc<RecipeRule>,
    /// Positions of the features in the stream's schema, in the model's order.
    pub(super) fields: Vec<usize>,
    /// Position of the label.
    pub(super) label: Option<usize>,
    /// Where its answers are published.
    pub(super) topic: Option<String>,
}

/// What a version's training records were like: the yardstick for live ones.
pub(super) struct Reference {
    /// On which errors are measured.
    pub(super) scale: Scale,
    /// Inputs are compared with these bins.
    pub(super) inputs: Option<InputDrift>,
}

/// What comes of a record: its prediction, and what it has shown of the version that serves.
#[derive(Debug, Default)]
pub(super) struct Predicted {
    pub(super) prediction: Option<Prediction>,
    pub(super) alarms: Vec<Alarm>,
    /// The version that serves is worse than the one before.
    pub(super) must_roll_back: bool,
    /// The version that serves has panicked, saying this; it answers no more.
    pub(super) broke: Option<String>,
}

/// One recipe on one stream.
pub(super) struct Predictor {
    pub(super) spec: PredictorSpec,
    /// The version that serves.
    active: LiveModel,
    /// The version before, while the one that serves is on trial.
    trial: Option<OnTrial>,
    judge: Judge,
    drift: DriftDetectors,
    history: History,
    progress: Progress,
    /// Its rows are answered, where the records themselves are not.
    grid: Option<LiveGrid>,
    workspace: Workspace,
    pub(super) outbox: Outbox,
}

impl Predictor {
    /// A predictor that answers what is later than `from`, nanoseconds UTC.
    pub(super) fn new(
        spec: PredictorSpec,
        serving: Serving,
        reference: Reference,
        from: i64,
    ) -> Self {
        let (recipe, shape) = (&spec.rule.recipe, spec.rule.recipe.shape());
        Self {
            active: LiveModel::new(serving, Forecasts::new(shape.horizon)),
            trial: None,
            judge: Judge {
                task: recipe.problem(),
                scale: reference.scale,
            },
            drift: DriftDetectors::new(reference.inputs),
            history: History::new(shape, spec.fields.len(), spec.rule.gap_ns()),
            progress: Progress::behind(from),
            grid: None,
            workspace: Workspace::default(),
            outbox: Outbox::default(),
            spec,
        }
    }

    /// Has the rows of `grid` answered in place of the records.
    pub(super) fn answer_grid(&mut self, grid: LiveGrid) {
        self.grid = Some(grid);
    }

    /// Where the rows of a grid are answered: takes these records, and gives what comes of them, `rows_max`
    /// rows or few more.
    pub(super) fn take_to_grid(
        &mut self,
        run: &StreamRun<'_>,
        schema: Option<&Schema>,
        rows_max: usize,
    ) -> Option<GridTaken> {
        let grid = self.grid.as_mut()?;
        Some(grid.take(run.section, run.rows.clone(), schema, rows_max))
    }

    /// Records that arrived before `ts`, nanoseconds UTC, and have not been taken are missing.
    pub(super) fn forget_before(&mut self, ts: i64) {
        if let Some(grid) = &mut self.grid {
            grid.forget_before(ts);
        }
    }

    /// Times have gone back: what is later than `ts`, nanoseconds UTC, is answered.
    pub(super) fn go_back_to(&mut self, ts: i64) {
        self.progress = Progress::behind(ts.min(self.progress.answered_to()));
    }

    /// Rows that a window takes, target included.
    pub(super) fn window_rows(&self) -> usize {
        self.history.window_rows()
    }

    /// The version that serves.
    pub(super) fn version(&self) -> u64 {
        self.active.serving.version
    }

    /// Timestamp of the last record taken, nanoseconds UTC.
    pub(super) fn seen_to(&self) -> i64 {
        self.progress.seen_to()
    }

    /// Timestamp of the last record answered, nanoseconds UTC; another predictor may go on behind it.
    pub(super) fn answered_to(&self) -> i64 {
        self.progress.answered_to()
    }

    /// The label in a row as the model counts it, NaN if there is none: that of the first of `columns` with one.
    pub(super) fn label_of<'c>(
        &self,
        columns: impl IntoIterator<Item = &'c Column>,
        row: usize,
    ) -> f32 {
        let labels = &self.active.serving.labels;
        let columns = columns.into_iter();
        let mut there = columns.map(|column| labels.of(column, row));
        there.find(|label| !label.is_nan()).unwrap_or(f32::NAN)
    }

    /// Another version serves from the next record on. If `is_on_trial`, the one before answers along
    /// for a while, to see which is better.
    pub(super) fn swap(&mut self, serving: Serving, reference: Reference, is_on_trial: bool) {
        let active = &self.active;
        // Labels are places among the classes: with other classes there is nothing to compare.
        let is_on_trial =
            is_on_trial && !active.is_broken && active.serving.classes == serving.classes;
        let forecasts = if is_on_trial {
            active.forecasts.blank()
        } else {
            active.forecasts.empty()
        };
        let before = std::mem::replace(&mut self.active, LiveModel::new(serving, forecasts));
        self.trial = is_on_trial.then(|| OnTrial::against(before));
        self.drift = DriftDetectors::new(reference.inputs);
        self.judge.scale = reference.scale;
    }

    /// Puts the version that serves on trial against `before`, if the two can be compared.
    pub(super) fn put_on_trial(&mut self, before: Serving) {
        if before.classes == self.active.serving.classes {
            let forecasts = self.active.forecasts.empty();
            self.trial = Some(OnTrial::against(LiveModel::new(before, forecasts)));
        }
    }

    /// What to take along over a restart.
    pub(super) fn snapshot(&self) -> PredictorSnapshot {
        PredictorSnapshot {
            key: self.spec.key.clone(),
            version: self.version(),
            seen_to: self.progress.seen_to(),
            answered_to: self.progress.answered_to(),
            drift: self.drift.clone(),
            trial: self.trial.as_ref().map(|trial| TrialSnapshot {
                before: trial.before.serving.version,
                trial: trial.trial.clone(),
            }),
        }
    }

    /// Goes on from a snapshot of the version that serves; `before` is the one that it is on trial
    /// against, if there still is one.
    pub(super) fn restore(&mut self, snapshot: PredictorSnapshot, before: Option<Serving>) {
        self.drift.restore(snapshot.drift);
        let forecasts = self.active.forecasts.empty();
        let trial = snapshot.trial.zip(before);
        self.trial = trial.map(|(trial, before)| OnTrial {
            before: LiveModel::new(before, forecasts),
            trial: trial.trial,
        });
        self.progress.look_again_behind(snapshot.seen_to);
    }

    /// Takes a record from before the predictor began: part of windows, and of forecasts not due yet.
    pub(super) fn recall(&mut self, ts: i64, features: &[f32]) {
        self.progress.see(ts);
        // Only the label of the record that is answered is looked at.
        self.remember(ts, features, f32::NAN);
        let Some(newest) = self.history.newest() else {
            return;
        };
        if self.judge.task == Problem::Forecast {
            // A model that panics here does so again, and is given up then.
            let (judge, room) = (&self.judge, &mut self.workspace);
            let _known = guarded(|| {
                self.active
                    .infer(newest, judge, &mut room.scratch, &mut room.output)
            });
            let _known = guarded(|| infer_before(&mut self.trial, newest, judge, room));
        }
    }

    /// Takes a record and answers it, if it is not answered.
    pub(super) fn predict(&mut self, ts: i64, features: &[f32], label: f32) -> Predicted {
        let is_due = self.progress.answer(ts);
        self.remember(ts, features, label);
        let mut found = Predicted::default();
        found.alarms.extend(self.drift.add_input(features));
        let Some(newest) = self.history.newest() else {
            return found;
        };
        if self.active.is_broken {
            return found;
        }
        let (judge, room) = (&self.judge, &mut self.workspace);
        let error = match guarded(|| {
            self.active
                .infer(newest, judge, &mut room.scratch, &mut room.output)
        }) {
            Ok(error) => error,
            Err(what) => {
                self.give_up();
                found.broke = Some(what);
                return found;
            }
        };
        let known = error.and_then(|error| self.drift.add_error(error));
        found.alarms.extend(known);
        // One that panics as a shadow is lost for comparison, no more: it does not serve.
        let before = guarded(|| infer_before(&mut self.trial, newest, judge, room));
        if is_due && newest.input.is_some() {
            found.prediction = Some(self.prediction(newest, error));
        }
        if let Some((error, before)) = error.zip(before.unwrap_or_default()) {
            found.must_roll_back = self.compare(error, before);
        }
        found
    }

    fn remember(&mut self, ts: i64, features: &[f32], label: f32) {
        let is_after_gap = self.history.push(ts, features, label);
        if is_after_gap {
            self.active.forecasts.clear();
            if let Some(trial) = &mut self.trial {
                trial.before.forecasts.clear();
            }
        }
    }

    /// The version that serves answers no more; what it knew is let go.
    fn give_up(&mut self) {
        self.active.is_broken = true;
        self.active.forecasts.clear();
        self.trial = None;
        self.workspace = Workspace::default();
    }

    /// Compares both versions' errors about one record; true if the one before is to serve again.
    fn compare(&mut self, error: f64, before: f64) -> bool {
        let Some(trial) = &mut self.trial else {
            return false;
        };
        let verdict = trial.trial.add(error, before);
        if verdict != Verdict::Undecided {
            self.trial = None;
        }
        verdict == Verdict::RollBack
    }

    fn prediction(&self, newest: Newest<'_>, error: Option<f64>) -> Prediction {
        let (serving, output) = (&self.active.serving, &self.workspace.output);
        let is_classifier = self.judge.task == Problem::Classify;
        let class = is_classifier.then(|| argmax(&output.values)).flatten();
        let kept = &output.values[..output.values.len().min(OUTPUTS_MAX)];
        Prediction {
            version: serving.version,
            input: newest.times,
            score: f64::from(output.score),
            flag: output.flag,
            class: class.and_then(|class| serving.classes.get(class).cloned()),
            error: error.filter(|_| self.judge.task != Problem::Forecast),
            outputs: (self.spec.rule.outputs && !kept.is_empty())
                .then(|| serde_json::to_string(kept).unwrap_or_default()),
        }
    }
}

/// Has the version before answer along, if one is compared with; its error that is known by now. One
/// that panics is gone from `trial`.
fn infer_before(
    trial: &mut Option<OnTrial>,
    newest: Newest<'_>,
    judge: &Judge,
    room: &mut Workspace,
) -> Option<f64> {
    let mut taken = trial.take()?;
    let error = taken.infer(newest, judge, &mut room.scratch);
    *trial = Some(taken);
    error
}

#[cfg(test)]
mod tests;
