//! How wrong answers are, as soon as that can be known.

use dunlin_models::{
    data::scale::Scale,
    judging::evaluation::Evaluation,
    recipe::{Output, Problem},
};

use crate::learn::inference::predictor::{forecasts::Forecasts, history::History};

/// Measures errors as training did.
pub(super) struct Judge {
    pub(super) task: Problem,
    /// That of the serving version's training records.
    pub(super) scale: Scale,
}

impl Judge {
    /// The error that the newest record makes known: of the answer to it (`None` if there is none),
    /// or of the forecast that it completes.
    pub(super) fn live_error(
        &self,
        history: &History,
        answer: Option<&Output>,
        forecasts: &mut Forecasts,
    ) -> Option<f64> {
        if self.task != Problem::Forecast {
            return self.error_of(history, answer?);
        }
        let values = forecasts.push(answer.map(|answer| answer.values.clone()))?;
        let due = Output {
            values,
            ..Output::default()
        };
        self.error_of(history, &due)
    }

    fn error_of(&self, history: &History, answer: &Output) -> Option<f64> {
        let rows = history.rows();
        if self.task.wants_label() && !rows.label.last()?.is_finite() {
            // Nobody has said what would have been right.
            return None;
        }
        let window = history.window()?;
        let error = Evaluation::default().count(self.task, &self.scale, rows, window, answer);
        error.filter(|error| error.is_finite())
    }
}
