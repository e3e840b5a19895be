//! Random convolutions of a window, after MiniRocket (Dempster, Schmidt, Webb 2021), and of each how many
//! of its results are above its bias.
//!
//! Promises: counts are whole numbers, the same bits on every processor; which kernels there are follows
//! from the seed, their biases from training windows alone; nothing is allocated for a count but `Scratch`.
#![allow(clippy::inline_always)]

use pulp::NullaryFnOnce;

use crate::{
    artifact::{Artifact, ArtifactError},
    data::{Source, Subset, WindowShape, scale::Scale},
    recipe::{Host, Scratch, TrainError},
    training::{random::Random, wide},
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
/// Results computed at a time.
const LANES: usize = 16;
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
            kernel.convolve(window, shape.lookback, &mut room, |values| {
                results.extend_from_slice(values);
            });
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
        wide::widest(Counting {
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
        let kernels = numbers.chunks_exact(4).zip(channels.chunks_exact(CHANNELS_MAX));
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

    /// Numbers that a window of so many rows takes with zeros at both ends, and those that are computed
    /// beside the last result.
    const fn room(&self, rows: usize) -> usize {
        rows + (TAPS - 1) * self.dilation + LANES
    }

    /// Gives all results to `take`, some at a time, from the first row to the last. The additions have
    /// one order, and each is rounded by itself.
    #[inline(always)]
    fn convolve(
        &self,
        channels: &[f32],
        rows: usize,
        room: &mut [f32],
        mut take: impl FnMut(&[f32]),
    ) {
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
        let (first, count) = if self.is_padded {
            (0, rows)
        } else {
            (margin, rows - 2 * margin)
        };
        for at in (0..count).step_by(LANES) {
            let tap = |tap: usize| lanes(&room[first + tap * self.dilation + at..]);
            let results = match THREES.get(self.pattern) {
                Some([x, y, z]) => {
                    let mut all = tap(0);
                    for one in 1..TAPS {
                        add(&mut all, &tap(one));
                    }
                    let mut three = tap(*x);
                    add(&mut three, &tap(*y));
                    add(&mut three, &tap(*z));
                    for (three, all) in three.iter_mut().zip(all) {
                        *three = 3.0 * *three - all;
                    }
                    three
                }
                None => tap(TAPS / 2),
            };
            take(&results[..LANES.min(count - at)]);
        }
    }
}

#[inline(always)]
fn lanes(numbers: &[f32]) -> [f32; LANES] {
    numbers.first_chunk().copied().unwrap_or_default()
}

#[inline(always)]
fn add(sums: &mut [f32; LANES], numbers: &[f32; LANES]) {
    for (sum, number) in sums.iter_mut().zip(numbers) {
        *sum += number;
    }
}

struct Counting<'a> {
    kernels: &'a [Kernel],
    channels: &'a [f32],
    rows: usize,
    room: &'a mut [f32],
    counts: &'a mut [f32],
}

impl NullaryFnOnce for Counting<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for (kernel, count) in self.kernels.iter().zip(self.counts) {
            let mut above = [0_u32; LANES];
            kernel.convolve(self.channels, self.rows, self.room, |values| {
                for (above, value) in above.iter_mut().zip(values) {
                    *above += u32::from(*value > kernel.bias);
                }
            });
            *count = above.iter().sum::<u32>() as f32;
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
        all += data.read(index)?.windows(shape, features, true, Subset::Train).count();
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
