//! One recipe on one stream, answering record by record.
//!
//! Promises: every record after the line began is answered once, if its window is whole; a version
//! is swapped between two records, so none is skipped and none answered twice; a missing value or a
//! gap costs the windows that it lies in, nothing else; a model that panics is given up and ends
//! nothing else.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use dunlin_models::{
    data::{Rows, Window, WindowShape, scale::Scale},
    drift::{
        Alarm,
        error::{ErrorDrift, ErrorDriftSettings},
        population::InputDrift,
    },
    judging::{
        evaluation::{Evaluation, argmax},
        trial::{Verdict, Watch, WatchSettings},
    },
    recipe::{Model, Output, Scratch, Task},
    registry::ModelKey,
};
use dunlin_sync::rows::Columns;

use crate::{cohort::Labels, config::settings::RecipeRule, learn::tables::Prediction};

/// Rows kept beyond a window before the oldest are let go, all at once.
const SLACK_ROWS: usize = 512;
/// Numbers of an answer that are kept.
const OUTPUTS_MAX: usize = 64;

/// A model that serves.
#[derive(Clone)]
pub(in crate::learn) struct Serving {
    pub(in crate::learn) version: u64,
    pub(in crate::learn) model: Arc<dyn Model>,
    pub(in crate::learn) classes: Arc<[String]>,
    /// What labels are to it.
    pub(in crate::learn) labels: Arc<Labels>,
}

/// What a record has brought to light.
#[derive(Debug, Default)]
pub(in crate::learn) struct Findings {
    pub(in crate::learn) prediction: Option<Prediction>,
    pub(in crate::learn) alarms: Vec<Alarm>,
    /// The version that serves is worse than the one before.
    pub(in crate::learn) must_roll_back: bool,
    /// The version that serves has panicked, saying this; it answers no more.
    pub(in crate::learn) broke: Option<String>,
}

/// The version before, answering along for comparison.
pub(in crate::learn) struct Shadow {
    pub(in crate::learn) serving: Serving,
    pub(in crate::learn) forecasts: VecDeque<Option<Vec<f32>>>,
    pub(in crate::learn) watch: Watch,
}

/// One recipe on one stream.
pub(in crate::learn) struct Line {
    pub(in crate::learn) key: ModelKey,
    pub(in crate::learn) rule: Arc<RecipeRule>,
    /// Positions of the features in the stream's schema, in the model's order.
    pub(in crate::learn) fields: Vec<usize>,
    /// Position of the label.
    pub(in crate::learn) label: Option<usize>,
    /// Where its answers are published.
    pub(in crate::learn) topic: Option<String>,
    task: Task,
    shape: WindowShape,
    pub(in crate::learn) serving: Serving,
    /// The version that serves has panicked.
    is_broken: bool,
    pub(in crate::learn) shadow: Option<Shadow>,
    /// On which errors are measured: that of the serving version's training records.
    pub(in crate::learn) scale: Scale,
    rows: Rows,
    /// Forecasts that wait for what they forecast, oldest first; `None` where there was no answer.
    forecasts: VecDeque<Option<Vec<f32>>>,
    pub(in crate::learn) error_drift: ErrorDrift,
    pub(in crate::learn) input_drift: Option<InputDrift>,
    scratch: Scratch,
    output: Output,
    /// Answers that are not durable yet.
    pub(in crate::learn) waiting: Vec<Prediction>,
    /// Answers of this line were refused, and that was told.
    pub(in crate::learn) is_refused: bool,
    /// Timestamp of the last record taken, nanoseconds UTC.
    pub(in crate::learn) seen_to: i64,
    /// Timestamp of the last record answered, or passed before the line began, nanoseconds UTC. What
    /// is taken up to there is looked at, and not answered again.
    pub(in crate::learn) answered_to: i64,
    /// Records without an answer: their window was not whole.
    pub(in crate::learn) unanswered: u64,
}

impl Line {
    #[allow(clippy::too_many_arguments)] // One of each, named where it is called.
    pub(in crate::learn) fn new(
        key: ModelKey,
        rule: Arc<RecipeRule>,
        fields: Vec<usize>,
        label: Option<usize>,
        serving: Serving,
        scale: Scale,
        input_drift: Option<InputDrift>,
        answered_to: i64,
    ) -> Self {
        Self {
            task: rule.recipe.task(),
            shape: rule.recipe.shape(),
            key,
            rule,
            fields,
            label,
            topic: None,
            serving,
            is_broken: false,
            shadow: None,
            scale,
            rows: Rows::default(),
            forecasts: VecDeque::new(),
            error_drift: ErrorDrift::new(ErrorDriftSettings::default()),
            input_drift,
            scratch: Scratch::default(),
            output: Output::default(),
            waiting: Vec::new(),
            is_refused: false,
            seen_to: answered_to,
            answered_to,
            unanswered: 0,
        }
    }

    /// Rows that a window takes, target included.
    pub(in crate::learn) fn window_rows(&self) -> usize {
        self.shape.lookback + self.shape.horizon
    }

    pub(in crate::learn) fn version(&self) -> u64 {
        self.serving.version
    }

    /// The label of a row as the model counts it, NaN if there is none.
    pub(in crate::learn) fn label_at(&self, columns: &Columns, row: usize) -> f32 {
        let column = self.label.and_then(|label| columns.get(label));
        column.map_or(f32::NAN, |column| self.serving.labels.of(column, row))
    }

    /// Another version serves from the next record on. If `is_watched`, the one before answers along
    /// for a while, to see which is better.
    pub(in crate::learn) fn swap(
        &mut self,
        serving: Serving,
        input_drift: Option<InputDrift>,
        is_watched: bool,
    ) {
        let before = std::mem::replace(&mut self.serving, serving);
        let forecasts = std::mem::take(&mut self.forecasts);
        let was_broken = std::mem::take(&mut self.is_broken);
        // Labels are places among the classes: with other classes there is nothing to compare.
        let is_watched = is_watched && !was_broken && before.classes == self.serving.classes;
        self.shadow = is_watched.then(|| Shadow {
            serving: before,
            forecasts,
            watch: Watch::new(WatchSettings::default()),
        });
        // As many as the shadow has, so that both are compared on the same records.
        self.forecasts = match &self.shadow {
            Some(shadow) => shadow.forecasts.iter().map(|_| None).collect(),
            None => VecDeque::new(),
        };
        self.error_drift = ErrorDrift::new(ErrorDriftSettings::default());
        self.input_drift = input_drift;
    }

    /// Takes a record from before the line began: part of windows, and of forecasts not due yet.
    pub(in crate::learn) fn recall(&mut self, ts: i64, features: &[f32]) {
        // Only the label of the record that is answered is looked at.
        self.remember(ts, features, f32::NAN);
        let Some(start) = self.rows.len().checked_sub(self.shape.lookback) else {
            return;
        };
        if self.task == Task::Forecast {
            let is_whole = self.is_whole(start);
            // A model that panics here does so again, and is given up then.
            let _known = guarded(|| self.infer(start, is_whole));
            let _known = guarded(|| self.shadow_error(is_whole));
        }
    }

    fn remember(&mut self, ts: i64, features: &[f32], label: f32) {
        let is_gap = self.rule.gap_ns_max.is_some_and(|gap| {
            self.rows
                .ts
                .last()
                .is_some_and(|last| ts.saturating_sub(*last) > gap)
        });
        if is_gap {
            self.forget(self.rows.len());
            self.forecasts.clear();
            if let Some(shadow) = &mut self.shadow {
                shadow.forecasts.clear();
            }
        }
        let whole = self.window_rows();
        if self.rows.len() >= whole + SLACK_ROWS {
            self.forget(self.rows.len() + 1 - whole);
        }
        self.rows.ts.push(ts);
        self.rows.values.extend_from_slice(features);
        self.rows.label.push(label);
        self.rows.is_train.push(false);
        self.seen_to = self.seen_to.max(ts);
    }

    fn forget(&mut self, rows: usize) {
        self.rows.ts.drain(..rows);
        self.rows.values.drain(..rows * self.fields.len());
        self.rows.label.drain(..rows);
        self.rows.is_train.drain(..rows);
    }

    /// Takes a record and answers it, if it is not answered.
    pub(in crate::learn) fn answer(&mut self, ts: i64, features: &[f32], label: f32) -> Findings {
        self.remember(ts, features, label);
        let is_answered = ts <= self.answered_to;
        self.answered_to = self.answered_to.max(ts);
        let mut found = Findings::default();
        if let Some(drift) = &mut self.input_drift {
            found.alarms.extend(drift.add(features));
        }
        let end = self.rows.len();
        let Some(start) = end.checked_sub(self.shape.lookback) else {
            self.unanswered += 1;
            return found;
        };
        let is_whole = self.is_whole(start);
        if self.is_broken || !is_whole {
            self.unanswered += 1;
        }
        if self.is_broken {
            return found;
        }
        let error = match guarded(|| self.infer(start, is_whole)) {
            Ok(error) => error,
            Err(what) => {
                self.give_up();
                found.broke = Some(what);
                return found;
            }
        };
        if let Some(error) = error {
            found.alarms.extend(self.error_drift.add(error));
        }
        // One that panics as a shadow is lost for comparison, no more: it does not serve.
        let before = guarded(|| self.shadow_error(is_whole)).unwrap_or_default();
        if let Some(before) = before
            && let Some(error) = error
            && let Some(shadow) = &mut self.shadow
        {
            match shadow.watch.add(error, before) {
                Verdict::Watching => {}
                Verdict::Trusted => self.shadow = None,
                Verdict::RollBack => {
                    self.shadow = None;
                    found.must_roll_back = true;
                }
            }
        }
        if is_whole && !is_answered {
            found.prediction = Some(self.prediction(start, end, error));
        }
        found
    }

    fn is_whole(&self, start: usize) -> bool {
        let input = self
            .rows
            .values_of(start..self.rows.len(), self.fields.len());
        input.iter().all(|value| value.is_finite())
    }

    /// Has the version that serves answer the newest window, if it is whole; the error known by now.
    fn infer(&mut self, start: usize, is_whole: bool) -> Option<f64> {
        if is_whole {
            let rows = start..self.rows.len();
            let input = self.rows.values_of(rows, self.fields.len());
            let (scratch, output) = (&mut self.scratch, &mut self.output);
            self.serving.model.infer(input, scratch, output);
        }
        self.live_error(is_whole)
    }

    /// The version that serves answers no more; what it knew is let go.
    fn give_up(&mut self) {
        self.is_broken = true;
        self.unanswered += 1;
        self.shadow = None;
        self.forecasts.clear();
        (self.scratch, self.output) = (Scratch::default(), Output::default());
    }

    fn prediction(&self, start: usize, end: usize, error: Option<f64>) -> Prediction {
        let output = &self.output;
        let is_classifier = self.task == Task::Classify;
        let class = is_classifier.then(|| argmax(&output.values)).flatten();
        let kept = &output.values[..output.values.len().min(OUTPUTS_MAX)];
        Prediction {
            version: self.serving.version,
            input: (self.rows.ts[start], self.rows.ts[end - 1]),
            score: f64::from(output.score),
            flag: output.flag,
            class: class.and_then(|class| self.serving.classes.get(class).cloned()),
            error: error.filter(|_| self.task != Task::Forecast),
            outputs: (self.rule.outputs && !kept.is_empty())
                .then(|| serde_json::to_string(kept).unwrap_or_default()),
        }
    }

    /// The error that has just become known: of this answer, or of the forecast that ends here.
    fn live_error(&mut self, is_whole: bool) -> Option<f64> {
        if self.task != Task::Forecast {
            return is_whole.then(|| self.error_of(&self.output)).flatten();
        }
        let forecast = is_whole.then(|| self.output.values.clone());
        self.forecasts.push_back(forecast);
        let due = self.forecasts.len() > self.shape.horizon;
        let values = due
            .then(|| self.forecasts.pop_front())
            .flatten()
            .flatten()?;
        self.error_of(&Output {
            values,
            ..Output::default()
        })
    }

    fn shadow_error(&mut self, is_whole: bool) -> Option<f64> {
        let end = self.rows.len();
        let mut shadow = self.shadow.take()?;
        let mut output = Output::default();
        if is_whole {
            let input = self
                .rows
                .values_of(end - self.shape.lookback..end, self.fields.len());
            let model = &shadow.serving.model;
            model.infer(input, &mut self.scratch, &mut output);
        }
        let error = if self.task == Task::Forecast {
            shadow
                .forecasts
                .push_back(is_whole.then_some(output.values));
            let due = shadow.forecasts.len() > self.shape.horizon;
            let values = due
                .then(|| shadow.forecasts.pop_front())
                .flatten()
                .flatten();
            values.and_then(|values| {
                self.error_of(&Output {
                    values,
                    ..Output::default()
                })
            })
        } else {
            is_whole.then(|| self.error_of(&output)).flatten()
        };
        self.shadow = Some(shadow);
        error
    }

    fn error_of(&self, output: &Output) -> Option<f64> {
        let end = self.rows.len();
        if self.task.wants_label() && !self.rows.label.last()?.is_finite() {
            // Nobody has said what would have been right.
            return None;
        }
        let start = end.checked_sub(self.window_rows())?;
        let window = Window {
            start,
            split_at: start + self.shape.lookback,
            end,
        };
        let mut evaluation = Evaluation::default();
        let error = evaluation.count(self.task, &self.scale, &self.rows, window, output);
        error.filter(|error| error.is_finite())
    }
}

/// What `work` gives, or what it said when it panicked.
pub(crate) fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        text.unwrap_or("no reason given").to_owned()
    })
}

#[cfg(test)]
mod broken_tests;
#[cfg(test)]
mod tests;
