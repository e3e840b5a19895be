//! Random convolutions of a window, after `MiniRocket` (Dempster, Schmidt, Webb 2021), and of each how many
//! of its results are above its bias.
//!
//! Promises: counts are whole numbers, the same bits on every processor; which kernels there are follows
//! from the seed, their biases from training windows alone; nothing is allocated for a count but `Scratch`.
#![allow(clippy::inline_always)]

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use crate::{
    artifact::{Artifact, ArtifactError},
    data::{Source, Subset, WindowShape, scale::Scale},
    recipe::{Host, Scratch, TrainError},
    training::random::Random,
};

/// Numbers that a kernel weighs.
const TAPS: usize = 9;
/// Ways to choose the three of them that weigh 2; the others weigh -1, so that a level adds nothing.
const PATTERNS: usize = 84;
/// The pattern of kernels that are the number in the middle alone, since the others see no level.
const LEVEL: usize = PATTERNS;
/// How many kernels there are of each pattern; as many as of a round are levels.
const ROUNDS: usize = 5;
/// Kernels of a model: sums over so many counts take 2 MB.
pub(super) const KERNELS: usize = PATTERNS * (ROUNDS + 1);
/// Most channels that one kernel looks at.
const CHANNELS_MAX: usize = 8;
/// Most training windows that biases are taken from, and numbers in all of them.
const SAMPLE_WINDOWS_MAX: usize = 128;
const SAMPLE_NUMBERS_MAX: usize = 1 << 20;
/// Of the random numbers of a job: those that kernels are drawn with.
const PURPOSE: u64 = 0x6b65_726e;

/// The kernels of a model; none in models of other kinds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Kernels(Vec<Kernel>);

#[derive(Clone, Debug, PartialEq)]
struct Kernel {
    /// Places of the three that weigh 2.
    pattern: usize,
    /// Rows from one number to the next.
    dilation: usize,
    /// Whether it goes over the ends of the window, where zeros are.
    is_padded: bool,
    /// Those whose sum it looks at; at least one.
    channels: Vec<usize>,
    bias: f32,
}

impl Kernels {
    /// Draws them, for windows of `shape` in `data`; none if there is no training window.
    pub(super) fn draw(
        data: &dyn Source,
        shape: WindowShape,
        scale: &Scale,
        seed: u64,
        host: &mut dyn Host,
    ) -> Result<Self, TrainError> {
        let windows = sample(data, shape, scale, host)?;
        if windows.is_empty() {
            return Ok(Self::default());
        }
        let mut random = Random::new(seed, PURPOSE);
        let features = scale.mean.len();
        let mut kernels = Vec::with_capacity(KERNELS);
        let (mut room, mut results) = (Vec::new(), Vec::new());
        for at in 0..KERNELS {
            let is_level = at >= PATTERNS * ROUNDS;
            let pattern = if is_level { LEVEL } else { at % PATTERNS };
            let mut kernel = Kernel::draw(pattern, shape.lookback, features, &mut random);
            let window = &windows[below(&mut random, windows.len())];
            room.resize(kernel.room(shape.lookback), 0.0);
            results.clear();
            let places = kernel.lay(window, shape.lookback, &mut room);
            results.extend(places.map(|place| kernel.result(&room, place)));
            let place = below(&mut random, results.len());
            let (_, bias, _) = results.select_nth_unstable_by(place, f32::total_cmp);
            // Numbers beyond reason are above no bias.
            kernel.bias = if bias.is_finite() { *bias } else { 0.0 };
            kernels.push(kernel);
        }
        Ok(Self(kernels))
    }

    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }

    /// How many results of each kernel are above its bias, in the window `input` of rows of all features.
    pub(super) fn count<'s>(
        &self,
        input: &[f32],
        scale: &Scale,
        scratch: &'s mut Scratch,
    ) -> &'s [f32] {
        let Scratch { a, b: room } = scratch;
        a.clear();
        a.resize(input.len() + self.len(), 0.0);
        let (channels, counts) = a.split_at_mut(input.len());
        by_channel(input, scale, channels);
        let rows = input.len() / scale.mean.len().max(1);
        let longest = self.0.iter().map(|kernel| kernel.room(rows)).max();
        room.resize(longest.unwrap_or_default(), 0.0);
        Arch::new().dispatch(Counting {
            kernels: &self.0,
            channels,
            rows,
            room,
            counts,
        });
        counts
    }

    /// Keeps them in `artifact`.
    pub(super) fn save(&self, artifact: &mut Artifact) {
        if self.0.is_empty() {
            return;
        }
        let numbers = self.0.iter().flat_map(|kernel| {
            let padded = u8::from(kernel.is_padded);
            let (pattern, dilation) = (kernel.pattern as f32, kernel.dilation as f32);
            [pattern, dilation, f32::from(padded), kernel.bias]
        });
        artifact.insert_f32("kernels", &[self.len(), 4], numbers.collect());
        let channels = self.0.iter().flat_map(|kernel| {
            let places = kernel.channels.iter().map(|channel| *channel as f32);
            places.chain(std::iter::repeat(-1.0)).take(CHANNELS_MAX)
        });
        artifact.insert_f32("channels", &[self.len(), CHANNELS_MAX], channels.collect());
    }

    /// Takes them back, for windows of so many rows and features.
    pub(super) fn load(
        artifact: &Artifact,
        rows: usize,
        features: usize,
    ) -> Result<Self, ArtifactError> {
        let numbers = artifact.f32("kernels", &[KERNELS, 4])?;
        let channels = artifact.f32("channels", &[KERNELS, CHANNELS_MAX])?;
        let kernels = numbers
            .chunks_exact(4)
            .zip(channels.chunks_exact(CHANNELS_MAX));
        let kernels = kernels.map(|(numbers, channels)| {
            let channels = channels.iter().take_while(|channel| **channel >= 0.0);
            let kernel = Kernel {
                pattern: numbers[0] as usize,
                dilation: numbers[1] as usize,
                is_padded: numbers[2] > 0.0,
                channels: channels.map(|channel| *channel as usize).collect(),
                bias: numbers[3],
            };
            kernel.fits(rows, features).then_some(kernel)
        });
        let kernels: Option<Vec<Kernel>> = kernels.collect();
        kernels.map(Self).ok_or_else(|| {
            ArtifactError::Damaged("a kernel reaches out of the window or its features".into())
        })
    }
}

impl Kernel {
    /// All but its bias.
    fn draw(pattern: usize, rows: usize, features: usize, random: &mut Random) -> Self {
        let dilation_max = if pattern == LEVEL {
            1
        } else {
            ((rows.max(1) - 1) / (TAPS - 1)).max(1)
        };
        // About as many of every doubling.
        let step = 1 << below(random, dilation_max.ilog2() as usize + 1);
        let dilation = (step + below(random, step)).min(dilation_max);
        let channels_max = features.min(CHANNELS_MAX);
        let step = 1 << below(random, channels_max.ilog2() as usize + 1);
        let mut channels: Vec<usize> = (0..features).collect();
        random.shuffle(&mut channels);
        channels.truncate((step + below(random, step)).min(channels_max));
        channels.sort_unstable();
        let is_padded = below(random, 2) == 0 || rows < TAPS || pattern == LEVEL;
        Self {
            pattern,
            dilation,
            is_padded,
            channels,
            bias: 0.0,
        }
    }

    /// Whether it can be laid over such a window.
    fn fits(&self, rows: usize, features: usize) -> bool {
        let length = self.dilation.saturating_mul(TAPS - 1);
        let is_short = length < rows || (self.dilation == 1 && self.is_padded);
        self.pattern <= LEVEL
            && self.dilation > 0
            && is_short
            && !self.channels.is_empty()
            && self.channels.iter().all(|channel| *channel < features)
    }

    /// Numbers that a window of so many rows takes with zeros at both ends.
    const fn room(&self, rows: usize) -> usize {
        rows + (TAPS - 1) * self.dilation
    }

    /// Puts its channels, added up, into `room`; returns where its first number lies for each result.
    #[inline(always)]
    fn lay(&self, channels: &[f32], rows: usize, room: &mut [f32]) -> Range<usize> {
        let margin = TAPS / 2 * self.dilation;
        let room = &mut room[..self.room(rows)];
        room[..margin].fill(0.0);
        room[margin + rows..].fill(0.0);
        let mixed = &mut room[margin..][..rows];
        for (at, channel) in self.channels.iter().enumerate() {
            let channel = &channels[channel * rows..][..rows];
            if at == 0 {
                mixed.copy_from_slice(channel);
            } else {
                for (sum, value) in mixed.iter_mut().zip(channel) {
                    *sum += value;
                }
            }
        }
        if self.is_padded {
            0..rows
        } else {
            margin..rows - margin
        }
    }

    /// The result whose first number lies at `place`. The additions have one order, and each is rounded
    /// by itself.
    #[inline(always)]
    fn result(&self, room: &[f32], place: usize) -> f32 {
        let tap = |tap: usize| room[place + tap * self.dilation];
        match THREES.get(self.pattern) {
            Some([x, y, z]) => {
                let all = (1..TAPS).fold(tap(0), |all, one| all + tap(one));
                3.0 * (tap(*x) + tap(*y) + tap(*z)) - all
            }
            None => tap(TAPS / 2),
        }
    }

    /// As many results as fit into a vector, as [`Self::result`] would give them one by one.
    #[inline(always)]
    fn results<S: Simd>(&self, simd: S, room: &[f32], place: usize) -> S::f32s {
        let room = &room[place..];
        match THREES.get(self.pattern) {
            Some([x, y, z]) => {
                let mut all = load(simd, room);
                for one in 1..TAPS {
                    all = simd.add_f32s(all, load(simd, &room[one * self.dilation..]));
                }
                let three = load(simd, &room[x * self.dilation..]);
                let three = simd.add_f32s(three, load(simd, &room[y * self.dilation..]));
                let three = simd.add_f32s(three, load(simd, &room[z * self.dilation..]));
                simd.sub_f32s(simd.mul_f32s(simd.splat_f32s(3.0), three), all)
            }
            None => load(simd, &room[TAPS / 2 * self.dilation..]),
        }
    }
}

/// The first numbers as a vector; there must be enough.
#[inline(always)]
fn load<S: Simd>(_: S, numbers: &[f32]) -> S::f32s {
    S::as_simd_f32s(&numbers[..S::F32_LANES]).0[0]
}

struct Counting<'a> {
    kernels: &'a [Kernel],
    channels: &'a [f32],
    rows: usize,
    room: &'a mut [f32],
    counts: &'a mut [f32],
}

impl WithSimd for Counting<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (one, none) = (simd.splat_f32s(1.0), simd.splat_f32s(0.0));
        for (kernel, count) in self.kernels.iter().zip(self.counts) {
            let mut places = kernel.lay(self.channels, self.rows, self.room);
            let bias = simd.splat_f32s(kernel.bias);
            // Whole numbers below 2^24: exact in any order.
            let mut above = none;
            while places.len() >= S::F32_LANES {
                let results = kernel.results(simd, self.room, places.start);
                let is_above = simd.greater_than_f32s(results, bias);
                above = simd.add_f32s(above, simd.select_f32s(is_above, one, none));
                places.start += S::F32_LANES;
            }
            let rest = places.filter(|place| kernel.result(self.room, *place) > kernel.bias);
            *count = simd.reduce_sum_f32s(above) + rest.count() as f32;
        }
    }
}

/// Every choice of three places among nine.
const THREES: [[usize; 3]; PATTERNS] = {
    let mut all = [[0; 3]; PATTERNS];
    let (mut at, mut x) = (0, 0);
    while x < TAPS {
        let mut y = x + 1;
        while y < TAPS {
            let mut z = y + 1;
            while z < TAPS {
                all[at] = [x, y, z];
                at += 1;
                z += 1;
            }
            y += 1;
        }
        x += 1;
    }
    all
};

/// A number below `count`, by whole numbers and exact products only.
fn below(random: &mut Random, count: usize) -> usize {
    let unit = f64::from(random.uniform(0.5)) + 0.5;
    ((unit * count as f64) as usize).min(count - 1)
}

/// Writes rows of all features, standardised, one feature after the other.
fn by_channel(rows: &[f32], scale: &Scale, to: &mut [f32]) {
    let features = scale.mean.len().max(1);
    let channels = to.chunks_exact_mut((rows.len() / features).max(1));
    let scales = scale.mean.iter().zip(&scale.std);
    for ((feature, channel), (mean, std)) in channels.enumerate().zip(scales) {
        let values = rows.iter().skip(feature).step_by(features);
        for (to, value) in channel.iter_mut().zip(values) {
            *to = (value - mean) / std;
        }
    }
}

/// Training windows spread evenly over the data, standardised, feature by feature.
fn sample(
    data: &dyn Source,
    shape: WindowShape,
    scale: &Scale,
    host: &mut dyn Host,
) -> Result<Vec<Vec<f32>>, TrainError> {
    let features = scale.mean.len();
    let numbers = (shape.lookback * features).max(1);
    let wanted = (SAMPLE_NUMBERS_MAX / numbers).clamp(1, SAMPLE_WINDOWS_MAX);
    let mut all = 0;
    for index in 0..data.chunks() {
        host.pace()?;
        all += data
            .read(index)?
            .windows(shape, features, true, Subset::Train)
            .count();
    }
    let step = all.div_ceil(wanted).max(1);
    let mut windows = Vec::new();
    let mut seen = 0;
    for index in 0..data.chunks() {
        host.pace()?;
        let rows = data.read(index)?;
        for window in rows.windows(shape, features, true, Subset::Train) {
            if seen % step == 0 {
                let mut channels = vec![0.0; numbers];
                let values = rows.values_of(window.start..window.end, features);
                by_channel(values, scale, &mut channels);
                windows.push(channels);
            }
            seen += 1;
        }
    }
    Ok(windows)
}

#[cfg(test)]
mod tests;
