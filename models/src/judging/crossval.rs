//! Mean and spread of figures over folds.

use serde::{Deserialize, Serialize};

use crate::{data::scale::Moments, judging::evaluation::Evaluation};

/// A figure over folds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Folds that gave a finite figure.
    pub folds: u64,
    /// Mean over these; 0 if there are none.
    pub mean: f64,
    /// Sample standard deviation (n - 1 below the line); 0 for fewer than two.
    pub std: f64,
    /// Least; 0 if there are none.
    pub min: f64,
    /// Greatest; 0 if there are none.
    pub max: f64,
}

impl Spread {
    /// Of these figures; those that are not finite do not count.
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Self {
        let mut moments = Moments::default();
        let (mut min, mut max) = (f64::INFINITY, f64::NEG_INFINITY);
        for figure in figures.into_iter().filter(|figure| figure.is_finite()) {
            moments.add(figure);
            (min, max) = (min.min(figure), max.max(figure));
        }
        if moments.count == 0 {
            return Self::default();
        }
        let freedom = moments.count.saturating_sub(1).max(1) as f64;
        Self {
            folds: moments.count,
            mean: moments.mean,
            std: (moments.squares / freedom).sqrt(),
            min,
            max,
        }
    }
}

/// One model's figures over folds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Folds {
    /// Folds judged.
    pub folds: u64,
    /// Windows judged in all of them.
    pub windows: u64,
    /// The error that the gate compares.
    pub error: Spread,
    /// Mean absolute error (forecast, regress).
    pub mae: Spread,
    /// Share of usual windows flagged (anomaly).
    pub false_alarm_rate: Spread,
    /// F1 of the flags (anomaly).
    pub f1: Spread,
}

impl Folds {
    /// Of one evaluation a fold.
    pub fn of(evaluations: &[Evaluation]) -> Self {
        let of = |figure: fn(&Evaluation) -> f64| Spread::of(evaluations.iter().map(figure));
        Self {
            folds: evaluations.len() as u64,
            windows: evaluations.iter().map(|fold| fold.windows).sum(),
            error: of(Evaluation::error),
            mae: of(Evaluation::mae),
            false_alarm_rate: of(Evaluation::false_alarm_rate),
            f1: of(Evaluation::f1),
        }
    }
}

#[cfg(test)]
mod tests;
