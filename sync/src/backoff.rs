//! Waiting longer after each failure, and never in step with others.

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::SmallRng};

/// Exponential back-off with jitter: attempt `n` waits between half and all of `min * 2^n`, at most
/// `max`.
#[derive(Debug)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    failures: u32,
    rng: SmallRng,
}

impl Backoff {
    /// Waits of `min` to `max`; `seed` decides the jitter.
    pub fn new(min: Duration, max: Duration, seed: u64) -> Self {
        Self {
            min,
            max: max.max(min),
            failures: 0,
            rng: SmallRng::seed_from_u64(seed),
        }
    }

    /// How long to wait after one more failure.
    pub fn after_failure(&mut self) -> Duration {
        let factor = 1u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        let full = self.min.saturating_mul(factor).min(self.max);
        self.failures = self.failures.saturating_add(1);
        full.mul_f64(self.rng.random_range(0.5..=1.0))
    }

    /// Something worked: the next failure waits the minimum again.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }

    /// Failures since the last success.
    pub const fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests;
