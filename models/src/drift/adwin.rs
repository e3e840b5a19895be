//! ADWIN: a window over the latest values that drops its older part when the means of two parts of
//! it differ by more than chance.
//!
//! A. Bifet, R. Gavaldà: "Learning from time-changing data with adaptive windowing", SDM 2007:
//! ADWIN2 with its exponential histogram, and the bound of its section 4.1 with the variance,
//! `sqrt(2/m * s² * ln(2/d')) + 2/(3m) * ln(2/d')`, where `1/m = 1/n0 + 1/n1`; with `d' = d / ln n`,
//! as in the authors' own program (the paper's proof has `d / n`).

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Buckets of one size before two of them become one of the next.
const BUCKETS_MAX: usize = 5;
/// Sizes of buckets: windows of up to 5 * 2^32 values. Older ones are forgotten.
const ROWS_MAX: usize = 32;
/// Values between two looks.
const LOOK_GAP: u64 = 32;
/// Fewest values in either part.
const PART_MIN: u64 = 16;

/// Values summed up: their sum, and the sum of their squared distances from their mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Bucket {
    sum: f64,
    squares: f64,
}

impl Bucket {
    /// Both together; `each` values in each.
    fn join(self, other: Self, each: f64) -> Self {
        let distance = (self.sum - other.sum) / each;
        Self {
            sum: self.sum + other.sum,
            squares: self.squares + other.squares + distance * distance * each / 2.0,
        }
    }
}

/// A change of the mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cut {
    /// Mean of the older part.
    pub before: f64,
    /// Mean of the newer part.
    pub after: f64,
    /// By how much they may differ by chance.
    pub bound: f64,
}

/// The window. Some 5 kB at most, whatever it holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adwin {
    /// Probability of a false alarm at any one look.
    delta: f64,
    /// Row `i` holds buckets of 2^i values, the newest last.
    rows: Vec<VecDeque<Bucket>>,
    count: u64,
    sum: f64,
    since_look: u64,
    ignored: u64,
}

impl Adwin {
    /// A window that cuts itself by chance with a probability of at most `delta`, 0..1.
    pub fn new(delta: f64) -> Self {
        Self {
            delta: delta.clamp(f64::MIN_POSITIVE, 1.0),
            rows: Vec::new(),
            count: 0,
            sum: 0.0,
            since_look: 0,
            ignored: 0,
        }
    }

    /// Values in the window.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Mean of the window; 0 if it is empty.
    pub fn mean(&self) -> f64 {
        self.sum / self.count.max(1) as f64
    }

    /// Values that were no numbers.
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    /// Takes a value of 0..=1 (others are moved there). Tells of a change, after which only what
    /// came later is in the window.
    pub fn add(&mut self, value: f64) -> Option<Cut> {
        if !value.is_finite() {
            self.ignored += 1;
            return None;
        }
        let value = value.clamp(0.0, 1.0);
        self.count += 1;
        self.sum += value;
        let single = Bucket {
            sum: value,
            squares: 0.0,
        };
        self.push(0, single);
        self.since_look += 1;
        if self.since_look < LOOK_GAP || self.count < 2 * PART_MIN {
            return None;
        }
        self.since_look = 0;
        let mut first = None;
        while let Some((cut, older)) = self.look() {
            first = first.or(Some(cut));
            self.drop_oldest(older);
        }
        first
    }

    fn push(&mut self, row: usize, bucket: Bucket) {
        if row == ROWS_MAX {
            self.count = self.count.saturating_sub(1 << row);
            self.sum -= bucket.sum;
            return;
        }
        if self.rows.len() == row {
            self.rows.push(VecDeque::with_capacity(BUCKETS_MAX + 1));
        }
        let buckets = &mut self.rows[row];
        buckets.push_back(bucket);
        if buckets.len() > BUCKETS_MAX
            && let (Some(oldest), Some(next)) = (buckets.pop_front(), buckets.pop_front())
        {
            self.push(row + 1, oldest.join(next, (1u64 << row) as f64));
        }
    }

    /// Buckets with the number of values in each, oldest first.
    fn buckets(&self) -> impl Iterator<Item = (u64, &Bucket)> {
        let rows = self.rows.iter().enumerate().rev();
        rows.flat_map(|(row, buckets)| buckets.iter().map(move |bucket| (1u64 << row, bucket)))
    }

    fn variance(&self) -> f64 {
        let mean = self.mean();
        let sums = self.buckets().map(|(count, bucket)| {
            let distance = bucket.sum / count as f64 - mean;
            bucket.squares + distance * distance * count as f64
        });
        sums.sum::<f64>() / self.count.max(1) as f64
    }

    /// The first cut from the oldest that is more than chance, with the buckets before it.
    fn look(&self) -> Option<(Cut, usize)> {
        let total = self.count as f64;
        let log = (2.0 * total.ln().max(1.0) / self.delta).ln();
        let variance = self.variance();
        let (mut older, mut older_sum) = (0, 0.0);
        for (index, (count, bucket)) in self.buckets().enumerate() {
            older += count;
            older_sum += bucket.sum;
            let newer = self.count.saturating_sub(older);
            if newer < PART_MIN {
                return None;
            }
            if older < PART_MIN {
                continue;
            }
            let inverse = 1.0 / older as f64 + 1.0 / newer as f64;
            let before = older_sum / older as f64;
            let after = (self.sum - older_sum) / newer as f64;
            let bound = (2.0 * inverse * variance * log).sqrt() + 2.0 / 3.0 * inverse * log;
            if (before - after).abs() > bound {
                let cut = Cut {
                    before,
                    after,
                    bound,
                };
                return Some((cut, index + 1));
            }
        }
        None
    }

    fn drop_oldest(&mut self, buckets: usize) {
        for _ in 0..buckets {
            while self.rows.last().is_some_and(VecDeque::is_empty) {
                self.rows.pop();
            }
            let size = 1u64 << self.rows.len().saturating_sub(1);
            if let Some(bucket) = self.rows.last_mut().and_then(VecDeque::pop_front) {
                self.count = self.count.saturating_sub(size);
                self.sum -= bucket.sum;
            }
        }
        // Sums that lost what they gained by rounding begin anew.
        self.sum = self.buckets().map(|(_, bucket)| bucket.sum).sum();
    }
}

#[cfg(test)]
mod tests;
