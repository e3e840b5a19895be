//! Whether a candidate may serve: a pure decision over figures.
//!
//! Promises: promoted only if it beats incumbent and baseline by the margin, on the same windows, of
//! which there are enough; every refusal has its reason; figures that are no numbers are refused.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::judging::evaluation::Evaluation;

/// What a candidate must show.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateSettings {
    /// By which share its error must be less than each other one's, 0..1.
    pub margin: f64,
    /// Fewest windows to judge by.
    pub windows_min: u64,
}

impl Default for GateSettings {
    fn default() -> Self {
        Self {
            margin: 0.01,
            windows_min: 100,
        }
    }
}

/// Whose figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Whose {
    /// The new model.
    Candidate,
    /// The model that serves.
    Incumbent,
    /// The naive one.
    Baseline,
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Candidate => "candidate",
            Self::Incumbent => "incumbent",
            Self::Baseline => "baseline",
        })
    }
}

/// Why a candidate may serve or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It beats everybody.
    Better,
    /// There are too few windows to tell.
    TooFewWindows,
    /// Somebody was judged on other windows than the candidate.
    OtherWindows(Whose),
    /// Somebody's error is no number, or negative.
    NotFinite(Whose),
    /// It does not beat this one by the margin.
    NotBetterThan(Whose),
}

/// What the gate says, with all figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Whether the candidate may serve.
    pub promoted: bool,
    /// Why.
    pub reason: Reason,
    /// Windows the candidate was judged on.
    pub windows: u64,
    /// Mean error of the candidate.
    pub candidate_error: f64,
    /// Mean error of the incumbent, if there is one.
    pub incumbent_error: Option<f64>,
    /// Mean error of the baseline.
    pub baseline_error: f64,
    /// What was asked for.
    pub settings: GateSettings,
}

impl Decision {
    /// The reason as a sentence.
    pub fn explain(&self) -> String {
        let windows = self.windows;
        match self.reason {
            Reason::Better => format!("better than all others on {windows} windows"),
            Reason::TooFewWindows => format!(
                "{windows} validation windows are too few to tell; {} are asked for",
                self.settings.windows_min
            ),
            Reason::OtherWindows(whose) => {
                format!("the {whose} was not judged on the candidate's {windows} windows")
            }
            Reason::NotFinite(whose) => format!("the {whose}'s error is no number"),
            Reason::NotBetterThan(whose) => {
                let other = match whose {
                    Whose::Incumbent => self.incumbent_error.unwrap_or(f64::NAN),
                    Whose::Candidate => self.candidate_error,
                    Whose::Baseline => self.baseline_error,
                };
                format!(
                    "an error of {:.6} is not {} % less than the {whose}'s {other:.6}",
                    self.candidate_error,
                    self.settings.margin * 100.0
                )
            }
        }
    }

    /// JSON knows no NaN and no infinity: errors that are not finite become the largest number.
    #[must_use]
    pub fn finite(mut self) -> Self {
        let errors = [&mut self.candidate_error, &mut self.baseline_error];
        for error in errors.into_iter().chain(&mut self.incumbent_error) {
            if !error.is_finite() {
                *error = f64::MAX;
            }
        }
        self
    }
}

/// Whether `candidate` may serve. An `incumbent` judged on no window at all counts as beaten only
/// if the caller leaves it out.
pub fn decide(
    settings: &GateSettings,
    candidate: &Evaluation,
    incumbent: Option<&Evaluation>,
    baseline: &Evaluation,
) -> Decision {
    let reason = judge(settings, candidate, incumbent, baseline);
    Decision {
        promoted: reason == Reason::Better,
        reason,
        windows: candidate.windows,
        candidate_error: candidate.error(),
        incumbent_error: incumbent.map(Evaluation::error),
        baseline_error: baseline.error(),
        settings: *settings,
    }
}

fn judge(
    settings: &GateSettings,
    candidate: &Evaluation,
    incumbent: Option<&Evaluation>,
    baseline: &Evaluation,
) -> Reason {
    if candidate.windows < settings.windows_min.max(1) {
        return Reason::TooFewWindows;
    }
    let incumbent = incumbent.map(|evaluation| (Whose::Incumbent, evaluation));
    let others = || incumbent.into_iter().chain([(Whose::Baseline, baseline)]);
    for (whose, other) in others() {
        if other.windows != candidate.windows {
            return Reason::OtherWindows(whose);
        }
    }
    for (whose, evaluation) in [(Whose::Candidate, candidate)].into_iter().chain(others()) {
        if !evaluation.error().is_finite() || evaluation.error() < 0.0 {
            return Reason::NotFinite(whose);
        }
    }
    for (whose, other) in others() {
        // A margin that is no number is never met.
        let is_better = candidate.error() < other.error() * (1.0 - settings.margin);
        if !is_better {
            return Reason::NotBetterThan(whose);
        }
    }
    Reason::Better
}

#[cfg(test)]
mod tests;
