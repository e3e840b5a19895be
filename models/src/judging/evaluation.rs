//! How good a model is, on windows it has not learnt from.
//!
//! Promises: candidate, incumbent and baseline are judged on the very same windows with one scale;
//! an error is less the better the model is, whatever the problem.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    data::{DataError, Rows, Source, Subset, Window, WindowShape, scale::Scale},
    recipe::{Model, Output, Problem, Scratch},
};

/// Sums over windows, from which every figure follows; two of them can be added.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Windows judged.
    pub windows: u64,
    /// Sum of the errors that the gate compares; see [`Evaluation::count`].
    pub error_sum: f64,
    /// Sum of absolute errors per feature (forecast) or of the number (regress), in the same units.
    pub absolute_sums: Vec<f64>,
    /// Sum of squared errors per feature (forecast) or of the number (regress).
    pub squared_sums: Vec<f64>,
    /// Anomaly: windows flagged, by whether their last row has a label other than 0: `[no, yes]`.
    pub flagged: [u64; 2],
    /// Anomaly: windows not flagged, likewise.
    pub unflagged: [u64; 2],
}

impl Evaluation {
    /// Mean error; infinite without windows.
    pub fn error(&self) -> f64 {
        if self.windows == 0 {
            f64::INFINITY
        } else {
            self.error_sum / self.windows as f64
        }
    }

    /// Mean absolute error over all features.
    pub fn mae(&self) -> f64 {
        let terms = self.windows as f64 * self.absolute_sums.len() as f64;
        self.absolute_sums.iter().sum::<f64>() / terms
    }

    /// Mean squared error of each feature.
    pub fn mse_by_feature(&self) -> Vec<f64> {
        let windows = self.windows as f64;
        self.squared_sums.iter().map(|sum| sum / windows).collect()
    }

    /// Mean absolute error of each feature.
    pub fn mae_by_feature(&self) -> Vec<f64> {
        let windows = self.windows as f64;
        self.absolute_sums.iter().map(|sum| sum / windows).collect()
    }

    /// Share of windows with label 0 that were flagged; none labelled otherwise: share of all.
    pub fn false_alarm_rate(&self) -> f64 {
        self.flagged[0] as f64 / (self.flagged[0] + self.unflagged[0]).max(1) as f64
    }

    /// Share of windows with another label that were not flagged.
    pub fn missed_alarm_rate(&self) -> f64 {
        self.unflagged[1] as f64 / (self.flagged[1] + self.unflagged[1]).max(1) as f64
    }

    /// Harmonic mean of precision and recall of the flags.
    pub fn f1(&self) -> f64 {
        let wrong = self.flagged[0] + self.unflagged[1];
        2.0 * self.flagged[1] as f64 / (2 * self.flagged[1] + wrong).max(1) as f64
    }

    /// Adds what was counted elsewhere.
    pub fn add(&mut self, other: &Self) {
        self.windows += other.windows;
        self.error_sum += other.error_sum;
        add_each(&mut self.absolute_sums, &other.absolute_sums);
        add_each(&mut self.squared_sums, &other.squared_sums);
        for outcome in 0..2 {
            self.flagged[outcome] += other.flagged[outcome];
            self.unflagged[outcome] += other.unflagged[outcome];
        }
    }

    /// Counts the answer `output` to `window`; returns its error, `None` if it cannot be judged (the
    /// model has no idea of what should have been). How the error is measured:
    /// - forecast: mean over horizon and features of the squared error, in standard deviations;
    /// - anomaly: mean over features of the squared distance of the last row from what it should have
    ///   been, in standard deviations;
    /// - classify: 0 if the most likely class is the label, otherwise 1;
    /// - regress: squared error, in the label's units.
    pub fn count(
        &mut self,
        problem: Problem,
        scale: &Scale,
        rows: &Rows,
        window: Window,
        output: &Output,
    ) -> Option<f64> {
        if problem == Problem::Anomaly {
            let label = rows.label.get(window.end - 1);
            let is_anomaly = label.is_some_and(|label| label.is_finite() && *label != 0.0);
            let counts = if output.flag {
                &mut self.flagged
            } else {
                &mut self.unflagged
            };
            counts[usize::from(is_anomaly)] += 1;
        }
        let error = self.window_error(problem, scale, rows, window, output)?;
        self.windows += 1;
        self.error_sum += error;
        Some(error)
    }

    /// The error of one answer; see [`Self::count`].
    fn window_error(
        &mut self,
        problem: Problem,
        scale: &Scale,
        rows: &Rows,
        window: Window,
        output: &Output,
    ) -> Option<f64> {
        let features = scale.mean.len();
        let target = match problem {
            Problem::Forecast => window.split_at..window.end,
            Problem::Anomaly => window.end - 1..window.end,
            Problem::Classify => {
                let label = *rows.label.get(window.end - 1)?;
                let likeliest = argmax(&output.values)?;
                return Some(f64::from(u8::from(likeliest != label as usize)));
            }
            Problem::Regress => {
                let error = f64::from(output.values.first()? - rows.label.get(window.end - 1)?);
                add_each(&mut self.absolute_sums, &[error.abs()]);
                add_each(&mut self.squared_sums, &[error * error]);
                return Some(error * error);
            }
        };
        let actual = rows.values_of(target.clone(), features);
        if output.values.len() != actual.len() || actual.is_empty() {
            return None;
        }
        let steps = target.len() as f64;
        self.absolute_sums.resize(features, 0.0);
        self.squared_sums.resize(features, 0.0);
        let mut sum = 0.0;
        for (at, (answer, actual)) in output.values.iter().zip(actual).enumerate() {
            let feature = at % features;
            let error = f64::from(answer - actual) / f64::from(scale.std[feature]);
            self.absolute_sums[feature] += error.abs() / steps;
            self.squared_sums[feature] += error * error / steps;
            sum += error * error;
        }
        Some(sum / actual.len() as f64)
    }
}

fn add_each(sums: &mut Vec<f64>, more: &[f64]) {
    sums.resize(sums.len().max(more.len()), 0.0);
    for (sum, more) in sums.iter_mut().zip(more) {
        *sum += more;
    }
}

/// Position of the greatest number; the first of several; `None` if there is none.
pub fn argmax(values: &[f32]) -> Option<usize> {
    let numbered = values.iter().enumerate();
    let best = numbered.reduce(|best, next| if next.1 > best.1 { next } else { best });
    best.map(|(at, _)| at)
}

/// Judges `model` on every window of `subset`.
///
/// # Errors
/// [`DataError`] if a chunk cannot be read.
pub fn evaluate(
    model: &dyn Model,
    (problem, shape): (Problem, WindowShape),
    scale: &Scale,
    source: &dyn Source,
    subset: Subset,
) -> Result<Evaluation, DataError> {
    let mut evaluation = Evaluation::default();
    answer(
        model,
        (problem, shape),
        source,
        subset,
        |rows, window, output| {
            evaluation.count(problem, scale, rows, window, output);
        },
    )?;
    Ok(evaluation)
}

/// As [`evaluate`], with the figures of each stream that has windows beside those of all.
///
/// # Errors
/// [`DataError`] if a chunk cannot be read.
pub fn evaluate_by_stream(
    model: &dyn Model,
    (problem, shape): (Problem, WindowShape),
    scale: &Scale,
    source: &dyn Source,
    subset: Subset,
) -> Result<(Evaluation, BTreeMap<Arc<str>, Evaluation>), DataError> {
    let mut all = Evaluation::default();
    let mut streams: BTreeMap<Arc<str>, Evaluation> = BTreeMap::new();
    answer(
        model,
        (problem, shape),
        source,
        subset,
        |rows, window, output| {
            all.count(problem, scale, rows, window, output);
            let stream = streams.entry(Arc::clone(&rows.stream)).or_default();
            stream.count(problem, scale, rows, window, output);
        },
    )?;
    Ok((all, streams))
}

/// Has `model` answer every window of `subset`, and gives each answer to `each`.
fn answer(
    model: &dyn Model,
    (problem, shape): (Problem, WindowShape),
    source: &dyn Source,
    subset: Subset,
    mut each: impl FnMut(&Rows, Window, &Output),
) -> Result<(), DataError> {
    let features = source.columns().features.len();
    let (mut scratch, mut output) = (Scratch::default(), Output::default());
    for index in 0..source.chunks() {
        let rows = source.read(index)?;
        for window in rows.windows(shape, features, problem.wants_label(), subset) {
            let input = rows.values_of(window.start..window.split_at, features);
            model.infer(input, &mut scratch, &mut output);
            each(&rows, window, &output);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
