//! Rows of a file as ranges, of which a bounded number is kept.

use dunlin_sync::interval_set::IntervalSet;
use serde::{Deserialize, Serialize};

/// Ranges kept; rows of others are only counted.
const RANGES_MAX: usize = 128;

/// Rows that are added in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ranges {
    kept: IntervalSet,
    /// Rows beside these, for which there was no room.
    more: u64,
}

impl Ranges {
    /// Adds a range that begins where all others have ended, or behind that.
    pub fn add(&mut self, from: u64, to: u64) {
        let is_next = !self.kept.is_empty() && self.kept.end() >= from;
        if is_next || self.kept.len() < RANGES_MAX {
            self.kept.insert(from..to);
        } else {
            self.more = self.more.saturating_add(to.saturating_sub(from));
        }
    }

    /// Whether `row` is in one of those that are kept.
    pub fn contains(&self, row: u64) -> bool {
        self.kept.contains(row)
    }

    /// What of these lies in `from..to`; those that are only counted stay so.
    pub fn within(&self, from: u64, to: u64) -> Self {
        let mut kept = self.kept.clone();
        kept.remove(0..from);
        kept.remove(to..u64::MAX);
        Self {
            kept,
            more: self.more,
        }
    }

    /// What is in both; those that are only counted stay so.
    pub fn common(&self, other: &Self) -> Self {
        let mut both = Self::default();
        for range in self.kept.ranges() {
            both.extend(&other.within(range.start, range.end));
        }
        both.more = both.more.max(self.more).max(other.more);
        both
    }

    /// Adds `others`, which begin where these have ended, or behind that.
    pub fn extend(&mut self, others: &Self) {
        for range in others.kept.ranges() {
            self.add(range.start, range.end);
        }
        self.more = self.more.max(others.more);
    }

    /// How many rows there are, at least.
    pub fn rows(&self) -> u64 {
        let kept = self.kept.ranges().map(|range| range.end - range.start);
        kept.fold(self.more, u64::saturating_add)
    }

    /// Rows that are only counted.
    pub fn more(&self) -> u64 {
        self.more
    }

    /// Whether there are no more than there may be.
    pub fn is_bounded(&self) -> bool {
        self.kept.len() <= RANGES_MAX
    }
}

#[cfg(test)]
mod tests;
