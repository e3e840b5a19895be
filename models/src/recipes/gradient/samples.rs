//! Windows as the samples that a network learns from.

use super::plan::{NetworkPlan, View};
use crate::{
    data::{Rows, Subset, Window, scale::Scale},
    recipe::Problem,
    training::{MiniBatch, Samples, wide},
};

/// Rows of the moving mean that `DLinear` takes for the trend.
const TREND_ROWS: usize = 25;

/// Windows standardised by `scale`, seen as `plan` wants them.
pub(super) struct Windows<'a> {
    pub(super) plan: &'a NetworkPlan,
    pub(super) scale: &'a Scale,
    /// Mean and standard deviation of the label, if it is a number to be estimated.
    pub(super) label: [f32; 2],
}

impl Samples for Windows<'_> {
    fn prepare(&self, rows: &Rows, prepared: &mut Vec<f32>) {
        prepared.clear();
        prepared.extend_from_slice(&rows.values);
        self.scale.apply(prepared);
        if let View::Channels { .. } = self.plan.view
            && self.plan.features > 1
        {
            // Feature after feature, so that what a sample sees lies together.
            let by_row = std::mem::take(prepared);
            let features = self.plan.features;
            for feature in 0..features {
                prepared.extend(by_row.iter().skip(feature).step_by(features));
            }
        }
    }

    fn windows(&self, rows: &Rows, subset: Subset) -> Vec<Window> {
        let settings = &self.plan.settings;
        let wants_label = settings.algorithm.problem().wants_label();
        rows.windows(settings.shape(), self.plan.features, wants_label, subset)
            .collect()
    }

    fn add(&self, rows: &Rows, prepared: &[f32], window: Window, batch: &mut MiniBatch) {
        batch.windows += 1;
        let features = self.plan.features;
        let View::Channels {
            minus_last,
            with_trend,
        } = self.plan.view
        else {
            let inputs = &prepared[window.start * features..window.split_at * features];
            batch.inputs.extend_from_slice(inputs);
            batch.samples += 1;
            match self.plan.settings.algorithm.problem() {
                Problem::Classify => batch.targets.push(rows.label[window.end - 1]),
                Problem::Regress => {
                    let [mean, std] = self.label;
                    batch
                        .targets
                        .push((rows.label[window.end - 1] - mean) / std);
                }
                Problem::Anomaly | Problem::Forecast => batch.targets.extend_from_slice(inputs),
            }
            return;
        };
        for series in prepared.chunks_exact(rows.len()) {
            let inputs = &series[window.start..window.split_at];
            let level = if minus_last {
                inputs[inputs.len() - 1]
            } else {
                0.0
            };
            let at = batch.inputs.len();
            add_less(inputs, level, &mut batch.inputs);
            if with_trend {
                put_trend_beside(&mut batch.inputs, at);
            }
            let targets = &series[window.split_at..window.end];
            add_less(targets, level, &mut batch.targets);
            batch.samples += 1;
        }
    }
}

/// Adds `values`, each less `level`, to `to`.
fn add_less(values: &[f32], level: f32, to: &mut Vec<f32>) {
    let at = to.len();
    to.extend_from_slice(values);
    wide::map(&mut to[at..], |value| value - level);
}

/// Puts the moving mean of `values[from..]` behind them, and leaves what is left without it. Beyond
/// the ends the first and the last value go on.
pub(super) fn put_trend_beside(values: &mut Vec<f32>, from: usize) {
    let end = values.len();
    let last = end - 1;
    let half = TREND_ROWS / 2;
    let clamped = |at: usize| (at.max(from + half) - half).min(last);
    let mut sum: f64 = (from..from + TREND_ROWS)
        .map(|at| f64::from(values[clamped(at)]))
        .sum();
    for at in from..end {
        values.push((sum / TREND_ROWS as f64) as f32);
        let (gone, new) = (values[clamped(at)], values[clamped(at + TREND_ROWS)]);
        sum += f64::from(new) - f64::from(gone);
    }
    let (values, trend) = values[from..].split_at_mut(end - from);
    for (value, trend) in values.iter_mut().zip(trend) {
        *value -= *trend;
    }
}

#[cfg(test)]
mod tests;
