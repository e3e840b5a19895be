//! What is known of a version beside its numbers.

use serde::{Deserialize, Serialize};

use super::key::ModelKey;
use crate::{
    data::Lineage,
    judging::{evaluation::Evaluation, gate::Decision},
};

/// Figures of candidate, incumbent and baseline on the same windows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evaluations {
    /// This version, before it served.
    pub candidate: Option<Evaluation>,
    /// The version that served then.
    pub incumbent: Option<Evaluation>,
    /// The naive baseline.
    pub baseline: Option<Evaluation>,
}

impl Evaluations {
    /// JSON knows no NaN and no infinity: sums that are not finite become the largest number.
    pub(super) fn finite(mut self) -> Self {
        let all = [&mut self.candidate, &mut self.incumbent, &mut self.baseline];
        for evaluation in all.into_iter().flatten() {
            let sums = evaluation.absolute_sums.iter_mut();
            let sums = sums.chain(&mut evaluation.squared_sums);
            for sum in sums.chain([&mut evaluation.error_sum]) {
                if !sum.is_finite() {
                    *sum = f64::MAX;
                }
            }
        }
        self
    }
}

/// What the caller tells of a version that is added.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewVersion {
    /// Version it was fine-tuned from; `None` if from nothing.
    pub parent: Option<u64>,
    /// When it was made, nanoseconds UTC.
    pub created_ns: i64,
    /// Seed of its training.
    pub seed: u64,
    /// What it was trained on.
    pub lineage: Lineage,
    /// How good it is.
    pub evaluations: Evaluations,
    /// What the gate said, if it was asked.
    pub decision: Option<Decision>,
    /// In the caller's words.
    pub status: String,
}

/// One version of a line of models. Only its status and whether it is current ever change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Version {
    /// Its line.
    #[serde(flatten)]
    pub key: ModelKey,
    /// Its number: 1, 2, ... in its line; never used again.
    pub number: u64,
    /// In the caller's words.
    pub status: String,
    /// Whether the line's pointer names it.
    #[serde(default)]
    pub is_current: bool,
    /// Kind of its artifact.
    pub kind: String,
    /// Version it was fine-tuned from.
    pub parent: Option<u64>,
    /// When it was made, nanoseconds UTC.
    pub created_ns: i64,
    /// Seed of its training.
    pub seed: u64,
    /// What it was trained on.
    pub lineage: Lineage,
    /// How good it is.
    pub evaluations: Evaluations,
    /// What the gate said, if it was asked.
    pub decision: Option<Decision>,
    /// Bytes of its artifact.
    pub artifact_bytes: u64,
    /// SHA-256 of its artifact, lower-case hexadecimal.
    pub sha256: String,
}
