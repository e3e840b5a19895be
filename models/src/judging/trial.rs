//! Tries a version after its promotion: its live error against that of the version before, on the
//! same rows, each predicted before it was learnt from.
//!
//! Promises: pure and small, fed a pair of errors at a time; worse for long enough means back, one
//! bad moment does not; a trial comes to an end.
//!
//! Rows are taken in blocks. A block is bad if the mean error of the new version is greater by the
//! margin, and the difference is more than chance: the paired t statistic of the block is above 2
//! (Student 1908). Errors of neighbouring rows resemble each other, which t does not know;
//! so several blocks in a row must be bad.

use serde::{Deserialize, Serialize};

use crate::data::scale::Moments;

/// Least paired t statistic of a bad block.
const T_MIN: f64 = 2.0;

/// When to go back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrialSettings {
    /// Rows a block.
    pub block_rows: u64,
    /// By how many hundredths the new error must be greater for a block to be bad.
    pub margin_percent: u32,
    /// Bad blocks in a row that mean back.
    pub bad_blocks: u32,
    /// Blocks after which the version is trusted.
    pub blocks_max: u32,
}

impl Default for TrialSettings {
    fn default() -> Self {
        Self {
            block_rows: 100,
            margin_percent: 5,
            bad_blocks: 3,
            blocks_max: 100,
        }
    }
}

/// What a trial says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Not known yet.
    #[serde(rename = "watching")]
    Undecided,
    /// Worse for long enough; final.
    RollBack,
    /// Good enough for long enough; final.
    Trusted,
}

/// The trial of one promotion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    settings: TrialSettings,
    verdict: Verdict,
    differences: Moments,
    /// Sum of the version before's errors in this block.
    before_sum: f64,
    /// Rows of this block that only the new version could not answer with a number.
    failed: u64,
    bad_in_a_row: u32,
    blocks: u32,
    totals: Totals,
}

/// What a trial has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// Pairs compared.
    pub pairs: u64,
    /// Pairs in which only the new version's error is no number: against it.
    pub failed: u64,
    /// Pairs in which the error of the version before is no number: they do not count.
    pub ignored: u64,
    /// Sum of the new version's errors over the pairs compared.
    pub new_sum: f64,
    /// Sum of the errors of the version before.
    pub before_sum: f64,
}

impl Trial {
    /// A trial that begins now.
    pub fn new(settings: TrialSettings) -> Self {
        Self {
            settings,
            verdict: Verdict::Undecided,
            differences: Moments::default(),
            before_sum: 0.0,
            failed: 0,
            bad_in_a_row: 0,
            blocks: 0,
            totals: Totals::default(),
        }
    }

    /// What it says now.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// What it has seen.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Takes the errors of both versions on one row. After a final verdict nothing changes.
    pub fn add(&mut self, new_error: f64, before_error: f64) -> Verdict {
        if self.verdict != Verdict::Undecided {
            return self.verdict;
        }
        if !before_error.is_finite() {
            self.totals.ignored += 1;
            return self.verdict;
        }
        if new_error.is_finite() {
            self.totals.pairs += 1;
            self.totals.new_sum += new_error;
            self.totals.before_sum += before_error;
            self.differences.add(new_error - before_error);
            self.before_sum += before_error;
        } else {
            self.totals.failed += 1;
            self.failed += 1;
        }
        if self.differences.count + self.failed >= self.settings.block_rows.max(2) {
            self.end_block();
        }
        self.verdict
    }

    fn end_block(&mut self) {
        if self.is_bad() {
            self.bad_in_a_row += 1;
        } else {
            self.bad_in_a_row = 0;
        }
        self.blocks += 1;
        if self.bad_in_a_row >= self.settings.bad_blocks.max(1) {
            self.verdict = Verdict::RollBack;
        } else if self.blocks >= self.settings.blocks_max && self.bad_in_a_row == 0 {
            self.verdict = Verdict::Trusted;
        }
        (self.differences, self.before_sum, self.failed) = (Moments::default(), 0.0, 0);
    }

    fn is_bad(&self) -> bool {
        let Moments {
            count,
            mean,
            squares,
        } = self.differences;
        if self.failed > count {
            return true;
        }
        let count = count as f64;
        let margin = f64::from(self.settings.margin_percent) / 100.0;
        let is_greater = mean > self.before_sum / count * margin && mean > 0.0;
        let standard_error = (squares / (count - 1.0).max(1.0) / count).sqrt();
        is_greater && mean > T_MIN * standard_error
    }
}

#[cfg(test)]
mod tests;
