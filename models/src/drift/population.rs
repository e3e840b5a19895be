//! Drift of the inputs: are they still from the population that was trained on?
//!
//! The population stability index over bins fixed at training: `sum((q - p) * ln(q / p))` over the
//! shares `p` of training rows and `q` of live rows in each bin (S. Kullback's divergence J, 1959;
//! above 0.25 by the usual rule of thumb: N. Siddiqi, "Credit Risk Scorecards", 2006). If nothing
//! changed, it is distributed as `(1/n + 1/m)` times chi-squared with one degree less than there are
//! bins (B. Yurdakul, "Statistical properties of population stability index", 2018), which gives
//! the index that chance may reach; the level is divided by the number of features (Bonferroni).
//! Rows that follow one another resemble each other, which chi-squared does not know: so the rule of
//! thumb must be broken too, in several blocks in a row.

use serde::{Deserialize, Serialize};

use super::{Alarm, Detector};
use crate::data::{DataError, Source};

/// Bins between the least and the greatest value trained on.
const BINS_INSIDE: usize = 10;
/// Training values kept a feature, while the bins are being made.
const SAMPLE_MAX: usize = 4_096;
/// Added to every bin's count, so that an empty one has a logarithm.
const SMOOTHING: f64 = 0.5;

/// How sensitive the test is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputDriftSettings {
    /// Rows a block; fewer than 100 tell little.
    pub block_rows: u64,
    /// Index that is let pass, however certain.
    pub index_min: f64,
    /// Probability of a false alarm a block over all features, 0..1.
    pub alpha: f64,
    /// Blocks in a row.
    pub blocks: u32,
}

impl Default for InputDriftSettings {
    fn default() -> Self {
        Self {
            block_rows: 1_000,
            index_min: 0.25,
            alpha: 0.001,
            blocks: 2,
        }
    }
}

/// What the inputs looked like at training. Goes with the model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Population {
    features: Vec<Bins>,
}

/// One feature: bin 0 is below the least value trained on, the last above the greatest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Bins {
    /// A value belongs to the bin whose number is that of the edges below it.
    edges: Vec<f32>,
    /// Training values in each bin.
    counts: Vec<u32>,
}

impl Population {
    /// Looks at all training rows; the same source gives the same bins.
    ///
    /// # Errors
    /// [`DataError`] if a chunk cannot be read.
    pub fn fit(source: &dyn Source) -> Result<Self, DataError> {
        let features = source.columns().features.len();
        let mut samples: Vec<_> = (0..features as u64).map(Sample::new).collect();
        for index in 0..source.chunks() {
            let rows = source.read(index)?;
            if rows.is_replay {
                continue;
            }
            for row in (rows.lead..rows.len()).filter(|row| rows.is_train[*row]) {
                let values = rows.values_of(row..row + 1, features);
                for (sample, value) in samples.iter_mut().zip(values) {
                    sample.add(*value);
                }
            }
        }
        Ok(Self {
            features: samples.into_iter().map(Sample::bins).collect(),
        })
    }

    /// Features it knows.
    pub fn features(&self) -> usize {
        self.features.len()
    }
}

/// A bounded sample of values (J. Vitter's algorithm R, 1985), with the least and the greatest of all.
struct Sample {
    values: Vec<f32>,
    seen: u64,
    least: f32,
    greatest: f32,
    state: u64,
}

impl Sample {
    fn new(seed: u64) -> Self {
        Self {
            values: Vec::new(),
            seen: 0,
            least: f32::INFINITY,
            greatest: f32::NEG_INFINITY,
            state: seed,
        }
    }

    fn add(&mut self, value: f32) {
        if !value.is_finite() {
            return;
        }
        self.seen += 1;
        (self.least, self.greatest) = (self.least.min(value), self.greatest.max(value));
        if self.values.len() < SAMPLE_MAX {
            self.values.push(value);
            return;
        }
        let at = self.draw() % self.seen;
        if let Some(place) = self.values.get_mut(at as usize) {
            *place = value;
        }
    }

    /// `SplitMix64` (Steele, Lea and Flood 2014).
    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn bins(mut self) -> Bins {
        if self.values.is_empty() {
            return Bins::default();
        }
        self.values.sort_unstable_by(f32::total_cmp);
        let last = self.values.len() - 1;
        let quantiles = (1..BINS_INSIDE).map(|bin| self.values[last * bin / BINS_INSIDE]);
        let mut edges: Vec<f32> = [self.least.next_down()]
            .into_iter()
            .chain(quantiles)
            .chain([self.greatest])
            .collect();
        // Values that repeat make fewer bins; a constant makes one, between two empty ones.
        edges.dedup();
        let mut bins = Bins {
            counts: vec![0; edges.len() + 1],
            edges,
        };
        for value in &self.values {
            let bin = bins.bin(*value);
            bins.counts[bin] += 1;
        }
        bins
    }
}

impl Bins {
    fn bin(&self, value: f32) -> usize {
        self.edges.partition_point(|edge| *edge < value)
    }

    /// The index of `live` counts, and what chance may make of it at this level.
    fn compare(&self, live: &[u32], alpha: f64) -> Option<(f64, f64)> {
        let bins = self.counts.len();
        let total = |counts: &[u32]| counts.iter().map(|count| f64::from(*count)).sum::<f64>();
        let (trained, lived) = (total(&self.counts), total(live));
        if bins < 2 || live.len() != bins || trained < 1.0 || lived < 1.0 {
            return None;
        }
        let smoothed = SMOOTHING * bins as f64;
        let index = self.counts.iter().zip(live).map(|(before, now)| {
            let p = (f64::from(*before) + SMOOTHING) / (trained + smoothed);
            let q = (f64::from(*now) + SMOOTHING) / (lived + smoothed);
            (q - p) * (q / p).ln()
        });
        let chance = chi_squared((bins - 1) as f64, alpha) * (1.0 / trained + 1.0 / lived);
        Some((index.sum(), chance))
    }
}

/// One feature, as it was trained on and as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct LiveBins {
    bins: Bins,
    /// Live values in each bin.
    live: Vec<u32>,
    /// Blocks in a row in which it was off.
    off: u32,
}

impl LiveBins {
    /// Ends a block; the index and its bound if it has been off for long enough.
    fn end_block(&mut self, alpha: f64, settings: &InputDriftSettings) -> Option<(f64, f64)> {
        let compared = self.bins.compare(&self.live, alpha);
        self.live.fill(0);
        let off = compared
            .map(|(index, chance)| (index, chance.max(settings.index_min)))
            .filter(|(index, bound)| index > bound);
        self.off = if off.is_some() {
            self.off.saturating_add(1)
        } else {
            0
        };
        off.filter(|_| self.off >= settings.blocks.max(1))
    }
}

/// Compares live inputs with those trained on, a block of rows at a time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InputDrift {
    settings: InputDriftSettings,
    #[serde(rename = "trials")]
    features: Vec<LiveBins>,
    rows: u64,
    ignored: u64,
}

impl InputDrift {
    /// Begins to compare.
    pub fn new(settings: InputDriftSettings, population: Population) -> Self {
        let features = population.features.into_iter().map(|bins| LiveBins {
            live: vec![0; bins.counts.len()],
            off: 0,
            bins,
        });
        Self {
            settings,
            features: features.collect(),
            rows: 0,
            ignored: 0,
        }
    }

    /// Values that were no numbers.
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    /// Takes a row: one value a feature, in the order trained on; values too many are ignored, values
    /// too few missing. Tells, at the end of a block, of the feature that is off most.
    pub fn add(&mut self, row: &[f32]) -> Option<Alarm> {
        for (feature, value) in self.features.iter_mut().zip(row) {
            if !value.is_finite() {
                self.ignored += 1;
            } else if let Some(count) = feature.live.get_mut(feature.bins.bin(*value)) {
                *count = count.saturating_add(1);
            }
        }
        self.rows += 1;
        if self.rows < self.settings.block_rows.max(1) {
            return None;
        }
        self.rows = 0;
        self.end_block()
    }

    fn end_block(&mut self) -> Option<Alarm> {
        let alpha = self.settings.alpha / self.features.len().max(1) as f64;
        let mut worst: Option<Alarm> = None;
        for (at, feature) in self.features.iter_mut().enumerate() {
            let off = feature.end_block(alpha, &self.settings);
            let Some((figure, bound)) = off else { continue };
            if worst.as_ref().is_none_or(|worst| worst.figure < figure) {
                worst = Some(Alarm {
                    detector: Detector::Population,
                    feature: Some(at),
                    figure,
                    bound,
                });
            }
        }
        if worst.is_some() {
            for feature in &mut self.features {
                feature.off = 0;
            }
        }
        worst
    }
}

/// What chi-squared with `freedom` degrees exceeds with probability `alpha` (Wilson and Hilferty
/// 1931).
fn chi_squared(freedom: f64, alpha: f64) -> f64 {
    let spread = 2.0 / (9.0 * freedom);
    freedom * (1.0 - spread + normal(alpha) * spread.sqrt()).powi(3)
}

/// What a standard normal variable exceeds with probability `alpha`, to 4.5e-4 (Abramowitz and
/// Stegun 1964, 26.2.23).
fn normal(alpha: f64) -> f64 {
    let alpha = alpha.clamp(1e-300, 1.0 - 1e-12);
    if alpha > 0.5 {
        return -normal(1.0 - alpha);
    }
    let t = (-2.0 * alpha.ln()).sqrt();
    let above = (0.010_328 * t + 0.802_853) * t + 2.515_517;
    let below = ((0.001_308 * t + 0.189_269) * t + 1.432_788) * t + 1.0;
    t - above / below
}

#[cfg(test)]
mod tests;
