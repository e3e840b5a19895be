//! How long to wait before the next attempt.

use std::time::Duration;

use rand::{RngExt, rngs::StdRng};

/// Exponential back-off with jitter: the n-th wait is drawn between `ms_min` and
/// `ms_min * 2^n`, never above `ms_max`, so that a fleet does not come back all at once.
#[derive(Debug)]
pub(crate) struct Backoff {
    ms_min: u64,
    ms_max: u64,
    ceiling_ms: u64,
    rng: StdRng,
}

impl Backoff {
    pub(crate) fn new(ms_min: u64, ms_max: u64, rng: StdRng) -> Self {
        let ms_max = ms_max.max(ms_min);
        Self {
            ms_min,
            ms_max,
            ceiling_ms: ms_min,
            rng,
        }
    }

    /// The next wait; each may be longer than the one before.
    pub(crate) fn next(&mut self) -> Duration {
        self.ceiling_ms = self.ceiling_ms.max(1).saturating_mul(2).min(self.ms_max);
        let ms = self
            .rng
            .random_range(self.ms_min..=self.ceiling_ms.max(self.ms_min));
        Duration::from_millis(ms)
    }

    /// All is well: start over with short waits.
    pub(crate) fn reset(&mut self) {
        self.ceiling_ms = self.ms_min;
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn waits_grow_within_their_bounds_and_start_over() {
        let mut backoff = Backoff::new(100, 5_000, StdRng::seed_from_u64(1));
        let mut ceiling = 100;
        for _ in 0..200 {
            ceiling = (ceiling * 2).min(5_000);
            let ms = backoff.next().as_millis() as u64;
            assert!((100..=ceiling).contains(&ms), "{ms} of {ceiling}");
        }
        backoff.reset();
        assert!(backoff.next() <= Duration::from_millis(200));
    }

    #[test]
    fn two_devices_do_not_wait_alike() {
        let waits = |seed| {
            let mut backoff = Backoff::new(100, 60_000, StdRng::seed_from_u64(seed));
            (0..8).map(|_| backoff.next()).collect::<Vec<_>>()
        };
        assert_ne!(waits(1), waits(2));
        assert_eq!(waits(3), waits(3));
    }
}
