//! Forward and backward through dense layers by hand: for them a graph of operations costs more than
//! the arithmetic. A batch is a matrix with one sample a row.

use super::{
    network::{Layer, Network},
    product::{Matrix, Multiplier},
};
use crate::training::wide;

/// Outputs of every layer for one batch; kept from batch to batch.
#[derive(Debug, Default)]
pub(super) struct Dense {
    /// Behind each dense layer (and the [`Layer::Relu`] after it, if there is one).
    outputs: Vec<Vec<f32>>,
    /// Gradient by the outputs of the layer at hand, and by those of the one before.
    slopes: [Vec<f32>; 2],
    multiplier: Multiplier,
}

impl Dense {
    /// Outputs for a batch of `samples`, one row each.
    pub(super) fn forward(
        &mut self,
        network: &Network,
        parameters: &[f32],
        inputs: &[f32],
        samples: usize,
    ) -> &mut Vec<f32> {
        let places = network.places();
        self.outputs.resize(places.len(), Vec::new());
        for (at, place) in places.iter().enumerate() {
            let (before, rest) = self.outputs.split_at_mut(at);
            let from = before.last().map_or(inputs, Vec::as_slice);
            let to = &mut rest[0];
            let (inputs, outputs) = (place.shape[0], place.shape[1]);
            to.resize(samples * outputs, 0.0);
            let weights = Matrix::new(&parameters[place.weights.clone()], outputs);
            let biases = Some(&parameters[place.biases.clone()]);
            let from = Matrix::new(from, inputs);
            self.multiplier.put(from, weights, biases, to);
            if network.layers.get(place.layer + 1) == Some(&Layer::Relu) {
                wide::map(to, |value| value.max(0.0));
            }
        }
        // A network without layers does not come up: see `Network::is_dense`.
        if self.outputs.is_empty() {
            self.outputs.push(inputs.to_vec());
        }
        let last = self.outputs.len() - 1;
        &mut self.outputs[last]
    }

    /// Gradient by all parameters, from that by the outputs, which lies where [`Self::forward`] left
    /// the outputs.
    pub(super) fn backward(
        &mut self,
        network: &Network,
        parameters: &[f32],
        inputs: &[f32],
        gradient: &mut [f32],
    ) {
        let [slope, slope_before] = &mut self.slopes;
        if let Some(last) = self.outputs.last_mut() {
            std::mem::swap(slope, last);
        }
        for (at, place) in network.places().iter().enumerate().rev() {
            let from = if at == 0 {
                inputs
            } else {
                &self.outputs[at - 1]
            };
            let (inputs, outputs) = (place.shape[0], place.shape[1]);

            let biases = &mut gradient[place.biases.clone()];
            biases.fill(0.0);
            for row in slope.chunks_exact(outputs) {
                wide::map_with(biases, row, |sum, value| sum + value);
            }
            let slopes = Matrix::new(slope, outputs);
            let weights = &mut gradient[place.weights.clone()];
            let inputs = Matrix::new(from, inputs).turned();
            self.multiplier.put(inputs, slopes, None, weights);

            if at > 0 {
                slope_before.resize(from.len(), 0.0);
                let weights = Matrix::new(&parameters[place.weights.clone()], outputs);
                self.multiplier
                    .put(slopes, weights.turned(), None, slope_before);
                if network.layers.get(place.layer - 1) == Some(&Layer::Relu) {
                    wide::map_with(
                        slope_before,
                        from,
                        |slope, output| {
                            if output > 0.0 { slope } else { 0.0 }
                        },
                    );
                }
                std::mem::swap(slope, slope_before);
            }
        }
    }
}
