//! From distances of usual windows to limits with a given rate of false alarms.

/// Distances kept; of more, every other one is dropped, evenly over time.
const DISTANCES_MAX: usize = 1 << 16;
/// With fewer windows beyond a limit, the limit is extrapolated instead of read off.
const BEYOND_MIN: f64 = 10.0;
/// How sure an extrapolated limit is not to be exceeded more often than named.
const CONFIDENCE: f64 = 0.9;
/// How much farther T² may go than what was seen: an operating point wanders (1.7 times as far), while
/// what holds between sensors (Q) stays.
const WANDERING: f32 = 3.0;

/// T² and Q of many windows, thinned out evenly once they are very many.
#[derive(Debug, Default)]
pub(super) struct Thinned {
    kept: Vec<[f32; 2]>,
    seen: u64,
    /// Of `2^halvings` windows, one is kept.
    halvings: u32,
}

impl Thinned {
    pub(super) fn add(&mut self, distances: [f32; 2]) {
        if distances.iter().all(|distance| distance.is_finite()) {
            if self.seen.is_multiple_of(1 << self.halvings) {
                self.kept.push(distances);
            }
            self.seen += 1;
        }
        if self.kept.len() == DISTANCES_MAX {
            let mut at = 0;
            self.kept.retain(|_| {
                at += 1;
                at % 2 == 1
            });
            self.halvings += 1;
        }
    }

    /// Windows seen.
    pub(super) const fn count(&self) -> u64 {
        self.seen
    }
}

/// Limits of T² and of Q.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Limit(pub [f32; 2]);

impl Limit {
    /// Limits that a share `rate` of such windows exceeds, neither below its `least`.
    pub(super) fn of(seen: &Thinned, rate: f64, least: [f32; 2]) -> Self {
        let of = |which: usize| {
            let distances = seen.kept.iter().map(|distances| distances[which]);
            limit(distances.collect(), rate)
        };
        let limit = Self([(WANDERING * of(0)).max(least[0]), of(1).max(least[1])]);
        if seen.kept.len() as f64 * rate < BEYOND_MIN {
            return limit;
        }
        // Enough windows to set the rate of both together.
        let scores = seen.kept.iter().map(|distances| limit.score(*distances));
        let both = self::limit(scores.collect(), rate);
        Self([0, 1].map(|which| (limit.0[which] * both).max(least[which])))
    }

    /// 1 where one of the two reaches its limit.
    pub(super) fn score(self, [t2, q]: [f32; 2]) -> f32 {
        (t2 / self.0[0]).max(q / self.0[1])
    }
}

/// What a share `rate` of values like these exceeds: read off, or, if too few of them are beyond it,
/// extrapolated by Wilson and Hilferty (1931): the cube roots of sums of squares are nearly normal; on the
/// safe side, as few values say little.
fn limit(mut values: Vec<f32>, rate: f64) -> f32 {
    let count = values.len();
    if count as f64 * rate >= BEYOND_MIN {
        values.sort_by(f32::total_cmp);
        let beyond = (count as f64 * rate) as usize;
        return values[count - 1 - beyond.min(count - 1)];
    }
    let roots = values.iter().map(|value| f64::from(*value).cbrt());
    let mut moments = crate::data::scale::Moments::default();
    roots.for_each(|root| moments.add(root));
    let variance = moments.squares / moments.count.max(1) as f64;
    let root = moments.mean + tolerance_factor(count, rate) * variance.sqrt();
    (root.max(0.0).powi(3) as f32).min(f32::MAX)
}

/// How many standard deviations above the mean, both taken from `count` normal numbers, a limit must be
/// that no more than a share `rate` exceeds, with a confidence of [`CONFIDENCE`] (Natrella 1963, one-sided
/// tolerance limits): the fewer numbers, the less they say about their tail.
fn tolerance_factor(count: usize, rate: f64) -> f64 {
    let count = count.max(2) as f64;
    let (tail, unsure) = (
        normal_quantile(rate),
        normal_quantile(1.0 - CONFIDENCE).powi(2),
    );
    // Below a handful of numbers the approximation ends.
    let a = (1.0 - unsure / (2.0 * (count - 1.0))).max(0.5);
    let b = tail.powi(2) - unsure / count;
    (tail + (tail.powi(2) - a * b).max(0.0).sqrt()) / a
}

/// What a standard normal number exceeds with probability `rate`, to 0.0005 (Hastings 1955).
fn normal_quantile(rate: f64) -> f64 {
    let tail = rate.min(1.0 - rate).max(f64::MIN_POSITIVE);
    let t = (-2.0 * tail.ln()).sqrt();
    let top = 2.515_517 + t * (0.802_853 + t * 0.010_328);
    let bottom = 1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308));
    (t - top / bottom).copysign(0.5 - rate)
}

#[cfg(test)]
mod tests;
