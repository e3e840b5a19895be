//! Sets of block numbers as few disjoint ranges.

use std::{collections::BTreeMap, ops::Range};

use serde::{Deserialize, Serialize};

/// A set of `u64`, small as long as its members are mostly consecutive.
///
/// For neighbouring ranges `a`, `b` in it: `a.start < a.end < b.start < b.end` (touching ranges are
/// one). Numbers are below `u64::MAX`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(u64, u64)>", into = "Vec<(u64, u64)>")]
pub struct IntervalSet {
    /// Start -> end, end excluded.
    ranges: BTreeMap<u64, u64>,
}

impl IntervalSet {
    /// How many ranges it is.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether `number` is in it.
    pub fn contains(&self, number: u64) -> bool {
        self.range_at(number).is_some()
    }

    /// Adds all of `range`.
    pub fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let (mut start, mut end) = (range.start, range.end);
        // Everything that overlaps or touches becomes part of the new range.
        while let Some((&s, &e)) = self.ranges.range(..=end).next_back()
            && e >= start
        {
            self.ranges.remove(&s);
            start = start.min(s);
            end = end.max(e);
        }
        self.ranges.insert(start, end);
    }

    /// Takes all of `range` out.
    pub fn remove(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        while let Some((&s, &e)) = self.ranges.range(..range.end).next_back()
            && e > range.start
        {
            self.ranges.remove(&s);
            if e > range.end {
                self.ranges.insert(range.end, e);
            }
            if s < range.start {
                self.ranges.insert(s, range.start);
            }
        }
    }

    /// The smallest number that is not in it.
    pub fn first_missing(&self) -> u64 {
        self.range_at(0).map_or(0, |range| range.end)
    }

    /// One past the largest number in it; 0 if empty.
    pub fn end(&self) -> u64 {
        self.ranges.last_key_value().map_or(0, |(_, &end)| end)
    }

    /// The lowest run of numbers below `bound` that are not in it.
    pub fn first_gap(&self, bound: u64) -> Option<Range<u64>> {
        self.gaps(bound).next()
    }

    /// The highest run of numbers below `bound` that are not in it.
    pub fn last_gap(&self, bound: u64) -> Option<Range<u64>> {
        let mut end = bound;
        for (&s, &e) in self.ranges.range(..bound).rev() {
            if e < end {
                return Some(e..end);
            }
            end = s;
        }
        (end > 0).then_some(0..end)
    }

    /// Runs of numbers below `bound` that are not in it, ascending.
    pub fn gaps(&self, bound: u64) -> impl Iterator<Item = Range<u64>> + '_ {
        let starts = std::iter::once(0).chain(self.ranges.values().copied());
        let ends = self.ranges.keys().copied().chain(std::iter::once(bound));
        starts
            .zip(ends)
            .map(move |(start, end)| start..end.min(bound))
            .filter(|gap| !gap.is_empty())
    }

    /// The ranges, ascending.
    pub fn ranges(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.ranges.iter().map(|(&start, &end)| start..end)
    }

    fn range_at(&self, number: u64) -> Option<Range<u64>> {
        let (&start, &end) = self.ranges.range(..=number).next_back()?;
        (number < end).then_some(start..end)
    }
}

impl From<Vec<(u64, u64)>> for IntervalSet {
    fn from(ranges: Vec<(u64, u64)>) -> Self {
        let mut set = Self::default();
        for (start, end) in ranges {
            set.insert(start..end);
        }
        set
    }
}

impl From<IntervalSet> for Vec<(u64, u64)> {
    fn from(set: IntervalSet) -> Self {
        set.ranges.into_iter().collect()
    }
}

#[cfg(test)]
mod tests;
