//! Page-Hinkley: the cumulated rise of a value above its own mean.
//!
//! E. S. Page: "Continuous inspection schemes", Biometrika 41, 1954; in the form of J. Gama et al.:
//! "A survey on concept drift adaptation", ACM Computing Surveys 46, 2014, section 3.2.1:
//! `m_t = sum(x_i - mean_i - slack)`, alarm when `m_t - min(m) > bound`.

use serde::{Deserialize, Serialize};

/// Values before the mean means anything.
const VALUES_MIN: u64 = 30;

/// The test, and what it has seen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PageHinkley {
    slack: f64,
    bound: f64,
    count: u64,
    mean: f64,
    /// `m_t - min(m)`: never negative, so it does not grow without end.
    rise: f64,
    ignored: u64,
}

impl PageHinkley {
    /// A test that lets `slack` a value pass and alarms above `bound`; both in the values' units.
    pub fn new(slack: f64, bound: f64) -> Self {
        Self {
            slack,
            bound,
            count: 0,
            mean: 0.0,
            rise: 0.0,
            ignored: 0,
        }
    }

    /// The bound it alarms above.
    pub fn bound(&self) -> f64 {
        self.bound
    }

    /// Values that were no numbers.
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    /// Takes a value. Tells of a rise by its cumulated figure, and begins again.
    pub fn add(&mut self, value: f64) -> Option<f64> {
        if !value.is_finite() {
            self.ignored += 1;
            return None;
        }
        self.count += 1;
        self.mean += (value - self.mean) / self.count as f64;
        if self.count < VALUES_MIN {
            return None;
        }
        self.rise = (self.rise + value - self.mean - self.slack).max(0.0);
        if self.rise <= self.bound {
            return None;
        }
        let rise = self.rise;
        (self.count, self.mean, self.rise) = (0, 0.0, 0.0);
        Some(rise)
    }
}

#[cfg(test)]
mod tests;
