//! Adam (Kingma, Ba 2015) over plain numbers, behind a limit on the gradient's length.

use pulp::NullaryFnOnce;

use crate::training::wide::{dot, widest};

const DECAY_MEAN: f32 = 0.9;
const DECAY_SQUARE: f32 = 0.999;
const EPSILON: f32 = 1e-8;

/// Running moments of each parameter's gradient.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Adam {
    pub(super) steps: u64,
    /// Mean of the gradient, one a parameter.
    pub(super) mean: Vec<f32>,
    /// Mean of its square, one a parameter.
    pub(super) square: Vec<f32>,
}

impl Adam {
    pub(super) fn new(parameters: usize) -> Self {
        Self {
            steps: 0,
            mean: vec![0.0; parameters],
            square: vec![0.0; parameters],
        }
    }

    /// One step against `gradient`, whose Euclidean norm counts as `norm_max` at most.
    pub(super) fn step(
        &mut self,
        parameters: &mut [f32],
        gradient: &[f32],
        rate: f32,
        norm_max: f32,
    ) {
        self.steps += 1;
        let norm = dot(gradient, gradient).sqrt();
        let shrink = if norm > norm_max {
            norm_max / norm
        } else {
            1.0
        };
        let age = self.steps.min(1 << 30) as i32;
        let mean_weight = 1.0 - f64::from(DECAY_MEAN).powi(age);
        let square_weight = (1.0 - f64::from(DECAY_SQUARE).powi(age)).sqrt();
        let rate = (f64::from(rate) * square_weight / mean_weight) as f32;
        let epsilon = EPSILON * square_weight as f32;
        widest(Moves {
            parameters,
            gradient,
            mean: &mut self.mean,
            square: &mut self.square,
            shrink,
            rate,
            epsilon,
        });
    }
}

/// One step of every parameter, all that it needs computed.
struct Moves<'a> {
    parameters: &'a mut [f32],
    gradient: &'a [f32],
    mean: &'a mut [f32],
    square: &'a mut [f32],
    shrink: f32,
    rate: f32,
    epsilon: f32,
}

impl NullaryFnOnce for Moves<'_> {
    type Output = ();

    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn call(self) {
        let moments = self.mean.iter_mut().zip(self.square);
        let parameters = self.parameters.iter_mut().zip(self.gradient);
        for ((parameter, gradient), (mean, square)) in parameters.zip(moments) {
            let gradient = gradient * self.shrink;
            *mean = DECAY_MEAN * *mean + (1.0 - DECAY_MEAN) * gradient;
            *square = DECAY_SQUARE * *square + (1.0 - DECAY_SQUARE) * gradient * gradient;
            *parameter -= self.rate * *mean / (square.sqrt() + self.epsilon);
        }
    }
}

#[cfg(test)]
mod tests;
