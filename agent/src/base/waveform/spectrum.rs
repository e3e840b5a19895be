//! Power of a burst by frequency: Welch's method (1967).

use std::f64::consts::TAU;

use rustfft::{Fft, FftDirection::Forward, algorithm::Radix4, num_complex::Complex64};

/// Longest segment: 16 frequencies in the lowest band.
const SEGMENT_SAMPLES_MAX: usize = 4096;
/// Number of frequency bands.
pub(crate) const BANDS: usize = 8;

/// Length of the segments that a burst is cut into: the largest power of two in it, within bounds; 0 of
/// nothing.
pub(super) fn segment_samples(burst_samples: usize) -> usize {
    match burst_samples.checked_ilog2() {
        Some(exponent) => (1 << exponent).min(SEGMENT_SAMPLES_MAX),
        None => 0,
    }
}

/// Tables and room for segments of one length.
pub(super) struct Spectrum {
    transform: Radix4<f64>,
    window: Vec<f64>,
    /// Sum of the squares of the window.
    window_power: f64,
    bins: Vec<Complex64>,
    scratch: Vec<Complex64>,
}

impl Spectrum {
    /// For segments of `samples`, a power of two.
    pub(super) fn new(samples: usize) -> Self {
        // By name: a planner links every algorithm there is, a third of a megabyte.
        let transform = Radix4::new(samples, Forward);
        let step = TAU / samples as f64;
        let window: Vec<f64> = (0..samples)
            .map(|index| 0.5 - 0.5 * (step * index as f64).cos())
            .collect();
        Self {
            window_power: window.iter().map(|weight| weight * weight).sum(),
            window,
            bins: vec![Complex64::ZERO; samples],
            scratch: vec![Complex64::ZERO; transform.get_inplace_scratch_len()],
            transform,
        }
    }

    /// Length of the segments.
    pub(super) fn samples(&self) -> usize {
        self.window.len()
    }

    /// RMS of the bands of a burst whose mean is given; `None`: no frequency of the spectrum lies in the
    /// band.
    pub(super) fn bands(&mut self, burst: &[f64], mean: f64) -> [Option<f64>; BANDS] {
        // Segments that overlap by at least a half, spread so that the last one ends with the burst.
        let rest = burst.len().saturating_sub(self.samples()) as u64;
        let steps = rest.div_ceil((self.samples() as u64 / 2).max(1));
        let mut powers = [None; BANDS];
        for step in 0..=steps {
            let begin = (rest * step).checked_div(steps).unwrap_or(0) as usize;
            self.transform(burst.get(begin..).unwrap_or_default(), mean);
            self.add_powers(&mut powers);
        }
        let scale = 1.0 / ((steps + 1) as f64 * self.samples() as f64 * self.window_power);
        powers.map(|power| power.map(|power| (power * scale).sqrt()))
    }

    fn transform(&mut self, segment: &[f64], mean: f64) {
        for ((bin, sample), weight) in self.bins.iter_mut().zip(segment).zip(&self.window) {
            *bin = Complex64::new((sample - mean) * weight, 0.0);
        }
        self.transform
            .process_with_scratch(&mut self.bins, &mut self.scratch);
    }

    fn add_powers(&self, powers: &mut [Option<f64>; BANDS]) {
        let power = |bin: usize| self.bins.get(bin).map_or(0.0, Complex64::norm_sqr);
        // Frequency 0 and half the rate are there once, all others also with a negative sign. With the
        // mean gone, what is at 0 is what the window spreads from the lowest frequencies.
        let mut once = power(0);
        let mut lowest = 1;
        for (total, octaves) in powers.iter_mut().zip((1..=BANDS).rev()) {
            let highest = self.samples() >> octaves;
            let Some(bins) = self
                .bins
                .get(lowest..=highest)
                .filter(|bins| !bins.is_empty())
            else {
                continue;
            };
            let mut sum = 2.0 * bins.iter().map(Complex64::norm_sqr).sum::<f64>() + once;
            if highest * 2 == self.samples() {
                sum -= power(highest);
            }
            *total = Some(total.unwrap_or(0.0) + sum);
            once = 0.0;
            lowest = highest + 1;
        }
    }
}
