//! Rows of a file as ranges, of which a bounded number is kept.

use serde::{Deserialize, Serialize};

/// Ranges kept; rows of others are only counted.
const RANGES_MAX: usize = 128;

/// Rows, from and one past the last of each range; rising and apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ranges {
    ranges: Vec<(u64, u64)>,
    /// Rows beside these, for which there was no room.
    more: u64,
}

impl Ranges {
    /// Adds a range that begins where all others have ended, or behind that.
    pub fn add(&mut self, from: u64, to: u64) {
        let has_room = self.ranges.len() < RANGES_MAX;
        match self.ranges.last_mut() {
            _ if from >= to => {}
            Some((_, end)) if *end >= from => *end = to.max(*end),
            _ if has_room => self.ranges.push((from, to)),
            _ => self.more = self.more.saturating_add(to - from),
        }
    }

    /// Whether `row` is in one of those that are kept.
    pub fn contains(&self, row: u64) -> bool {
        let behind = self.ranges.partition_point(|(from, _)| *from <= row);
        let before = behind.checked_sub(1).and_then(|at| self.ranges.get(at));
        before.is_some_and(|(_, to)| row < *to)
    }

    /// What of these lies in `from..to`; those that are only counted stay so.
    pub fn within(&self, from: u64, to: u64) -> Self {
        let parts = self.ranges.iter();
        let parts = parts.map(|(start, end)| (*start.max(&from), *end.min(&to)));
        Self {
            ranges: parts.filter(|(start, end)| start < end).collect(),
            more: self.more,
        }
    }

    /// What is in both; those that are only counted stay so.
    pub fn common(&self, other: &Self) -> Self {
        let mut both = Self::default();
        for (from, to) in &self.ranges {
            for (from, to) in other.within(*from, *to).ranges {
                both.add(from, to);
            }
        }
        both.more = both.more.max(self.more).max(other.more);
        both
    }

    /// Adds `others`, which begin where these have ended, or behind that.
    pub fn extend(&mut self, others: &Self) {
        for (from, to) in &others.ranges {
            self.add(*from, *to);
        }
        self.more = self.more.max(others.more);
    }

    /// How many rows there are, at least.
    pub fn rows(&self) -> u64 {
        let kept = self
            .ranges
            .iter()
            .map(|(from, to)| to.saturating_sub(*from));
        kept.fold(self.more, u64::saturating_add)
    }

    /// Rows that are only counted.
    pub fn more(&self) -> u64 {
        self.more
    }

    /// Whether there are no more than there may be.
    pub fn is_bounded(&self) -> bool {
        self.ranges.len() <= RANGES_MAX
    }
}

#[cfg(test)]
mod tests;
