//! Features of a burst of samples, such as a vibration sensor's waveform: what is kept of it where the
//! waveform itself is too much to keep.
//!
//! Mean, peak, RMS and crest factor are those of the samples as they are; standard deviation, skewness
//! and kurtosis are about the mean by definition; the bands leave it out. A sensor with an offset
//! (gravity, a bias voltage) so needs `std` where others say RMS.
//!
//! | value | definition |
//! |---|---|
//! | `mean` | sum x / n |
//! | `std` | sqrt(m2), with mk = sum (x - mean)^k / n; the population's, as `numpy.std` |
//! | `rms` | sqrt(sum x^2 / n) |
//! | `peak` | max of the absolute values |
//! | `peak_to_peak` | max - min |
//! | `crest` | peak / rms |
//! | `skewness` | m3 / m2^1.5, as `scipy.stats.skew` |
//! | `kurtosis` | m4 / m2^2, 3 for a normal distribution, as `scipy.stats.kurtosis(fisher=False)` |
//! | `band_1` .. `band_8` | RMS in an octave each, the last one ending at half the rate; the first begins at 0 |
//!
//! The bands come from Welch's method: the burst without its mean is cut into segments, as long as the
//! largest power of two in it but at most 4096 samples, that overlap by at least a half; each has a
//! periodic Hann window, and their one-sided periodograms, divided by the window's power, are averaged
//! and summed up (`scipy.signal.welch`, which leaves out what does not fill a last segment). For a signal
//! that goes on the same throughout the burst the bands' squares so add up to its variance, but for a few
//! per cent.
//!
//! A value is missing where it is not defined: of no samples; of samples that are not finite or
//! overflow; skewness and kurtosis of a constant signal, crest of zeros; bands narrower than the
//! resolution, rate / segment length (none from 256 samples on). It is never NaN.

mod spectrum;

use spectrum::{BANDS, Spectrum, segment_samples};

/// Independent sums that a loop keeps, so that it can be vectorised.
const LANES: usize = 8;
/// A standard deviation below this part of the mean is rounding; the same bound as `scipy.stats`.
const ROUNDING: f64 = 1e-15;

/// One feature, of one value, or eight for the bands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Feature {
    /// Arithmetic mean.
    Mean,
    /// Standard deviation.
    Std,
    /// Root of the mean square.
    Rms,
    /// Largest absolute value.
    Peak,
    /// Largest less smallest value.
    PeakToPeak,
    /// Peak over RMS.
    Crest,
    /// Third standardised moment.
    Skewness,
    /// Fourth standardised moment.
    Kurtosis,
    /// RMS in eight frequency bands, from low to high.
    Bands,
}

impl Feature {
    /// Every feature.
    pub const ALL: [Self; 9] = [
        Self::Mean,
        Self::Std,
        Self::Rms,
        Self::Peak,
        Self::PeakToPeak,
        Self::Crest,
        Self::Skewness,
        Self::Kurtosis,
        Self::Bands,
    ];

    /// Stable names of its values, `snake_case`.
    pub const fn names(self) -> &'static [&'static str] {
        match self {
            Self::Mean => &["mean"],
            Self::Std => &["std"],
            Self::Rms => &["rms"],
            Self::Peak => &["peak"],
            Self::PeakToPeak => &["peak_to_peak"],
            Self::Crest => &["crest"],
            Self::Skewness => &["skewness"],
            Self::Kurtosis => &["kurtosis"],
            Self::Bands => &[
                "band_1", "band_2", "band_3", "band_4", "band_5", "band_6", "band_7", "band_8",
            ],
        }
    }

    const fn is_about_mean(self) -> bool {
        matches!(self, Self::Std | Self::Skewness | Self::Kurtosis)
    }
}

/// Computes features; one serves bursts of all lengths. It keeps tables for the bands, half a megabyte
/// at most.
#[derive(Default)]
pub(crate) struct Reducer {
    /// One for each length of segment seen, which is a power of two.
    spectra: Vec<Spectrum>,
}

impl Reducer {
    /// Without tables yet.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The values of `which`, in that order, each as many as it has [names](Feature::names); `None`:
    /// missing. Its work is in proportion to the number of samples.
    pub(crate) fn features(&mut self, samples: &[f64], which: &[Feature]) -> Vec<Option<f64>> {
        let Some(totals) = Totals::of(samples) else {
            let missing = which.iter().flat_map(|feature| feature.names());
            return missing.map(|_| None).collect();
        };
        let moments = if which.iter().any(|feature| feature.is_about_mean()) {
            Moments::of(samples, &totals)
        } else {
            Moments::default()
        };
        let mut values = Vec::with_capacity(which.len() + BANDS);
        for feature in which {
            let value = match feature {
                Feature::Mean => totals.mean,
                Feature::Std => moments.second.sqrt(),
                Feature::Rms => totals.rms,
                Feature::Peak => totals.peak(),
                Feature::PeakToPeak => totals.max - totals.min,
                // Of zeros 0/0, which is dropped below.
                Feature::Crest => totals.peak() / totals.rms,
                Feature::Skewness => moments.third / moments.second.powf(1.5),
                Feature::Kurtosis => moments.fourth / moments.second.powi(2),
                Feature::Bands => {
                    values.extend(self.bands(samples, totals.mean));
                    continue;
                }
            };
            values.push(finite(value));
        }
        values
    }

    fn bands(&mut self, samples: &[f64], mean: f64) -> [Option<f64>; BANDS] {
        let length = segment_samples(samples.len());
        let known = self
            .spectra
            .iter()
            .position(|spectrum| spectrum.samples() == length);
        let index = known.unwrap_or_else(|| {
            self.spectra.push(Spectrum::new(length));
            self.spectra.len() - 1
        });
        let Some(spectrum) = self.spectra.get_mut(index) else {
            return [None; BANDS];
        };
        spectrum
            .bands(samples, mean)
            .map(|band| band.and_then(finite))
    }
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

/// What one pass gives.
struct Totals {
    mean: f64,
    rms: f64,
    min: f64,
    max: f64,
}

impl Totals {
    /// `None`: no samples, or some not finite.
    fn of(samples: &[f64]) -> Option<Self> {
        let mut sums = [0.0; LANES];
        let mut squares = [0.0; LANES];
        let mut mins = [f64::INFINITY; LANES];
        let mut maxs = [f64::NEG_INFINITY; LANES];
        let (chunks, rest) = samples.as_chunks::<LANES>();
        for chunk in chunks {
            for ((((sample, sum), square), min), max) in chunk
                .iter()
                .zip(&mut sums)
                .zip(&mut squares)
                .zip(&mut mins)
                .zip(&mut maxs)
            {
                *sum += sample;
                *square += sample * sample;
                *min = smaller(*min, *sample);
                *max = larger(*max, *sample);
            }
        }
        let mut sum = total(sums);
        let mut square = total(squares);
        let mut min = mins.into_iter().fold(f64::INFINITY, smaller);
        let mut max = maxs.into_iter().fold(f64::NEG_INFINITY, larger);
        for &sample in rest {
            sum += sample;
            square += sample * sample;
            min = smaller(min, sample);
            max = larger(max, sample);
        }
        let count = samples.len() as f64;
        // NaN and infinity stay in the sum; of no samples it is 0/0.
        let mean = finite(sum / count)?;
        Some(Self {
            mean,
            rms: (square / count).sqrt(),
            min,
            max,
        })
    }

    fn peak(&self) -> f64 {
        larger(self.max, -self.min)
    }
}

/// Central moments, without the first.
struct Moments {
    second: f64,
    third: f64,
    fourth: f64,
}

impl Default for Moments {
    /// Of a constant signal.
    fn default() -> Self {
        Self {
            second: 0.0,
            third: 0.0,
            fourth: 0.0,
        }
    }
}

impl Moments {
    fn of(samples: &[f64], totals: &Totals) -> Self {
        let mean = totals.mean;
        let mut seconds = [0.0; LANES];
        let mut thirds = [0.0; LANES];
        let mut fourths = [0.0; LANES];
        let (chunks, rest) = samples.as_chunks::<LANES>();
        for chunk in chunks {
            for (((sample, second), third), fourth) in chunk
                .iter()
                .zip(&mut seconds)
                .zip(&mut thirds)
                .zip(&mut fourths)
            {
                let difference = sample - mean;
                let square = difference * difference;
                *second += square;
                *third += square * difference;
                *fourth += square * square;
            }
        }
        let mut second = total(seconds);
        let mut third = total(thirds);
        let mut fourth = total(fourths);
        for sample in rest {
            let difference = sample - mean;
            let square = difference * difference;
            second += square;
            third += square * difference;
            fourth += square * square;
        }
        let count = samples.len() as f64;
        let moments = Self {
            second: second / count,
            third: third / count,
            fourth: fourth / count,
        };
        let is_constant =
            totals.min >= totals.max || moments.second <= (ROUNDING * mean) * (ROUNDING * mean);
        if is_constant {
            Self::default()
        } else {
            moments
        }
    }
}

fn total(lanes: [f64; LANES]) -> f64 {
    lanes.into_iter().sum()
}

/// One instruction, unlike `f64::min`, which looks for NaN.
fn smaller(a: f64, b: f64) -> f64 {
    if b < a { b } else { a }
}

fn larger(a: f64, b: f64) -> f64 {
    if b > a { b } else { a }
}

#[cfg(test)]
mod tests;
