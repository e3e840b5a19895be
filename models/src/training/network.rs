//! A network as a list of layers, its parameters as one row of numbers, and its answer to one input.
//!
//! Promises: a window lies in memory row after row, and all weights of one input lie together, so that
//! a convolution is a product of weights with consecutive numbers, like a dense layer; an answer needs no
//! memory beyond two buffers that are kept.

use std::ops::Range;

use pulp::NullaryFnOnce;

use super::random::Random;
use crate::training::wide::widest;

/// Most parameters of a network: 64 MiB, with a gradient and two moments 256 MiB.
pub const PARAMETERS_MAX: usize = 1 << 24;

/// What happens to the numbers, one layer after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// `outputs` sums over all `inputs`. Weights `[inputs, outputs]`, then biases.
    Dense {
        /// Numbers in.
        inputs: usize,
        /// Numbers out.
        outputs: usize,
    },
    /// Nothing below zero.
    Relu,
    /// Filters over `rows x channels`, zeros beyond the ends. Weights `[kernel, channels, filters]`,
    /// then biases.
    Conv {
        /// Rows in.
        rows: usize,
        /// Numbers a row.
        channels: usize,
        /// Numbers a row out.
        filters: usize,
        /// Rows a filter sees; odd.
        kernel: usize,
        /// Rows from one place of the filter to the next.
        stride: usize,
    },
    /// Each row twice, `rows_out` in all.
    Double {
        /// Rows in.
        rows: usize,
        /// Numbers a row.
        channels: usize,
        /// Rows out: twice as many, or one less.
        rows_out: usize,
    },
    /// Mean over the rows.
    MeanRows {
        /// Rows in.
        rows: usize,
        /// Numbers a row.
        channels: usize,
    },
}

impl Layer {
    /// Numbers out, for so many in.
    pub const fn outputs(&self, inputs: usize) -> usize {
        match *self {
            Self::Dense { outputs, .. } => outputs,
            Self::Relu => inputs,
            Self::Conv {
                rows,
                filters,
                stride,
                ..
            } => rows.div_ceil(stride).saturating_mul(filters),
            Self::Double {
                channels, rows_out, ..
            } => rows_out.saturating_mul(channels),
            Self::MeanRows { channels, .. } => channels,
        }
    }

    /// Numbers that must come in; `None`: any.
    const fn inputs(&self) -> Option<usize> {
        match *self {
            Self::Dense { inputs, .. } => Some(inputs),
            Self::Relu => None,
            Self::Conv { rows, channels, .. }
            | Self::Double { rows, channels, .. }
            | Self::MeanRows { rows, channels } => Some(rows.saturating_mul(channels)),
        }
    }

    /// Whether every length is one that can be.
    const fn makes_sense(&self) -> bool {
        match *self {
            Self::Conv { kernel, stride, .. } => kernel % 2 == 1 && stride > 0,
            Self::Double { rows, rows_out, .. } => rows_out.div_ceil(2) == rows,
            _ => true,
        }
    }

    /// Shape of the weights, and number of biases; none for a layer that learns nothing.
    pub fn parameters(&self) -> Option<(Vec<usize>, usize)> {
        match *self {
            Self::Dense { inputs, outputs } => Some((vec![inputs, outputs], outputs)),
            Self::Conv {
                channels,
                filters,
                kernel,
                ..
            } => Some((vec![kernel, channels, filters], filters)),
            _ => None,
        }
    }
}

/// Where the parameters of one layer lie among all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Position of the layer.
    pub layer: usize,
    /// Shape of the weights.
    pub shape: Vec<usize>,
    /// Where the weights are.
    pub weights: Range<usize>,
    /// Where the biases are.
    pub biases: Range<usize>,
}

/// Layers, and how many numbers go in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Numbers in.
    pub inputs: usize,
    /// What happens to them, one after the other.
    pub layers: Vec<Layer>,
    places: Vec<Place>,
}

impl Network {
    /// Puts layers together.
    ///
    /// # Errors
    /// A text if a layer does not fit the one before, or if there would be more than
    /// [`PARAMETERS_MAX`] parameters or numbers between two layers.
    pub fn new(inputs: usize, layers: Vec<Layer>) -> Result<Self, String> {
        let (mut places, mut at, mut width) = (Vec::new(), 0usize, inputs);
        for (layer, kind) in layers.iter().enumerate() {
            if !kind.makes_sense() || kind.inputs().is_some_and(|inputs| inputs != width) {
                return Err(format!(
                    "layer {layer}, {kind:?}, does not take {width} numbers"
                ));
            }
            width = kind.outputs(width);
            if !(1..=PARAMETERS_MAX).contains(&width) {
                return Err(format!(
                    "layer {layer}, {kind:?}, would give {width} numbers: 1 to {PARAMETERS_MAX} can be"
                ));
            }
            let Some((shape, biases)) = kind.parameters() else {
                continue;
            };
            let weights = shape.iter().try_fold(1usize, |a, b| a.checked_mul(*b));
            let weights = weights.filter(|weights| at + weights + biases <= PARAMETERS_MAX);
            let weights = weights.ok_or_else(|| {
                format!(
                    "the network would have more than {PARAMETERS_MAX} parameters (layer of shape \
                     {shape:?}): take a shorter lookback, fewer features or fewer hidden units"
                )
            })?;
            places.push(Place {
                layer,
                shape,
                weights: at..at + weights,
                biases: at + weights..at + weights + biases,
            });
            at += weights + biases;
        }
        Ok(Self {
            inputs,
            layers,
            places,
        })
    }

    /// Where each layer's parameters lie, in order.
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// Number of parameters.
    pub fn parameters(&self) -> usize {
        self.places.last().map_or(0, |place| place.biases.end)
    }

    /// Numbers out.
    pub fn outputs(&self) -> usize {
        let layers = self.layers.iter();
        layers.fold(self.inputs, |inputs, layer| layer.outputs(inputs))
    }

    /// Whether there are only dense layers, with or without [`Layer::Relu`] behind.
    pub fn is_dense(&self) -> bool {
        let mut layers = self.layers.iter();
        layers.all(|layer| matches!(layer, Layer::Dense { .. } | Layer::Relu))
    }

    /// First parameters: uniform weights as wide as keeps the variance, biases 0.
    pub fn initial(&self, random: &mut Random) -> Vec<f32> {
        let mut parameters = vec![0.0; self.parameters()];
        for place in &self.places {
            let inputs = (place.weights.len() / place.biases.len().max(1)) as f32;
            let before_relu = self.layers.get(place.layer + 1) == Some(&Layer::Relu);
            let bound = if before_relu { 6.0 } else { 1.0 } / inputs;
            for weight in &mut parameters[place.weights.clone()] {
                *weight = random.uniform(bound.sqrt());
            }
        }
        parameters
    }

    /// Answers the input in `from`; the answer is in `from` afterwards. `to` is room.
    pub fn answer(&self, parameters: &[f32], from: &mut Vec<f32>, to: &mut Vec<f32>) {
        let mut places = self.places.iter();
        for layer in &self.layers {
            if *layer == Layer::Relu {
                for value in from.iter_mut() {
                    *value = value.max(0.0);
                }
                continue;
            }
            to.clear();
            match *layer {
                Layer::Dense { .. } | Layer::Conv { .. } => {
                    let Some(place) = places.next() else { return };
                    let weights = &parameters[place.weights.clone()];
                    let biases = &parameters[place.biases.clone()];
                    layer.apply(weights, biases, from, to);
                }
                Layer::Double {
                    channels, rows_out, ..
                } => {
                    for row in 0..rows_out {
                        let at = row / 2 * channels;
                        to.extend_from_slice(&from[at..at + channels]);
                    }
                }
                Layer::MeanRows { rows, channels } => {
                    to.resize(channels, 0.0);
                    for row in from.chunks_exact(channels) {
                        for (sum, value) in to.iter_mut().zip(row) {
                            *sum += value;
                        }
                    }
                    for sum in to.iter_mut() {
                        *sum /= rows as f32;
                    }
                }
                Layer::Relu => {}
            }
            std::mem::swap(from, to);
        }
    }
}

impl Layer {
    fn apply(&self, weights: &[f32], biases: &[f32], from: &[f32], to: &mut Vec<f32>) {
        match *self {
            Self::Dense { .. } => {
                to.extend_from_slice(biases);
                widest(AddProducts(from, weights, to));
            }
            Self::Conv {
                rows,
                channels,
                filters,
                kernel,
                stride,
            } => {
                for middle in (0..rows).step_by(stride) {
                    // The filter hangs over the ends, where there is nothing to add.
                    let (first, end) = (middle.saturating_sub(kernel / 2), middle + kernel / 2 + 1);
                    let seen = &from[first * channels..end.min(rows) * channels];
                    let skipped = (first + kernel / 2 - middle) * channels * filters;
                    let at = to.len();
                    to.extend_from_slice(biases);
                    let weights = &weights[skipped..];
                    widest(AddProducts(seen, weights, &mut to[at..]));
                }
            }
            _ => {}
        }
    }
}

/// Adds to the third numbers each of the first times its row of the second. Inputs of 0, half of what
/// is behind a [`Layer::Relu`], cost nothing; four rows at a time, so that the sums are read and written
/// a fourth as often.
struct AddProducts<'a>(&'a [f32], &'a [f32], &'a mut [f32]);

impl NullaryFnOnce for AddProducts<'_> {
    type Output = ();

    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn call(self) {
        let Self(inputs, weights, to) = self;
        let rows = weights.chunks_exact(to.len());
        let mut used = inputs.iter().zip(rows).filter(|(input, _)| **input != 0.0);
        loop {
            let four = [used.next(), used.next(), used.next(), used.next()];
            if let [
                Some((a, a_row)),
                Some((b, b_row)),
                Some((c, c_row)),
                Some((d, d_row)),
            ] = four
            {
                let rows = a_row.iter().zip(b_row).zip(c_row).zip(d_row);
                for (to, (((in_a, in_b), in_c), in_d)) in to.iter_mut().zip(rows) {
                    *to += (a * in_a + b * in_b) + (c * in_c + d * in_d);
                }
                continue;
            }
            for (input, row) in four.into_iter().flatten() {
                for (to, weight) in to.iter_mut().zip(row) {
                    *to += input * weight;
                }
            }
            return;
        }
    }
}
