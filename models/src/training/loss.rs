//! What training makes less.

use crate::training::wide;

/// How wrong a network's outputs are.
#[derive(Clone, Debug, PartialEq)]
pub enum Loss {
    /// Mean squared error over all outputs.
    Squares,
    /// Cross-entropy of the softmax over the outputs, each class with its weight; the target is one
    /// number, the class.
    CrossEntropy {
        /// Weight of each class.
        weights: Vec<f32>,
    },
}

impl Loss {
    /// Target numbers of a sample with so many outputs.
    pub const fn targets(&self, outputs: usize) -> usize {
        match self {
            Self::Squares => outputs,
            Self::CrossEntropy { .. } => 1,
        }
    }

    /// Mean loss over the samples of a batch. `outputs` becomes the gradient of that mean.
    pub fn differentiate(&self, outputs: &mut [f32], targets: &[f32], samples: usize) -> f64 {
        match self {
            Self::Squares => {
                let count = outputs.len();
                squares(outputs, targets) / count as f64
            }
            Self::CrossEntropy { weights } => {
                let mut sum = 0.0;
                for (row, target) in outputs.chunks_exact_mut(weights.len()).zip(targets) {
                    let class = *target as usize;
                    softmax(row);
                    let weight = weights[class];
                    sum -= f64::from(weight) * f64::from(row[class].max(f32::MIN_POSITIVE)).ln();
                    row[class] -= 1.0;
                    for output in row {
                        *output *= weight / samples as f32;
                    }
                }
                sum / samples as f64
            }
        }
    }
}

/// Sum of the squared errors; `outputs` becomes the gradient of their mean. In short stretches: the sum
/// of a stretch in f32, the sum of the stretches in f64.
fn squares(outputs: &mut [f32], targets: &[f32]) -> f64 {
    const STRETCH: usize = 1024;
    let slope = 2.0 / outputs.len() as f32;
    let mut sum = 0.0;
    for (outputs, targets) in outputs.chunks_mut(STRETCH).zip(targets.chunks(STRETCH)) {
        wide::map_with(outputs, targets, |output, target| output - target);
        sum += f64::from(wide::dot(outputs, outputs));
        wide::map(outputs, |error| error * slope);
    }
    sum
}

/// Makes probabilities of `row`.
pub fn softmax(row: &mut [f32]) {
    let greatest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    for value in row.iter_mut() {
        *value = (*value - greatest).exp();
    }
    let sum: f32 = row.iter().sum();
    for value in row.iter_mut() {
        *value /= sum;
    }
}

#[cfg(test)]
mod tests;
