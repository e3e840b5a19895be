//! Forward and backward through any network, on burn's tensors and automatic differentiation.

use burn::tensor::{Device, Tensor, TensorData, activation, module, ops::ConvOptions};

use super::network::{Layer, Network};

/// Numbers that are read back from burn.
///
/// # Errors
/// A text, if they are not f32: a fault of this program.
fn numbers<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, String> {
    let data = tensor.into_data().try_into_vec::<f32>();
    data.map_err(|error| format!("burn: {error:?}"))
}

/// One batch on burn's tensors.
pub(super) struct Graph {
    /// Weights and biases of each layer that has some, in order.
    leaves: Vec<(Tensor<1>, Tensor<1>)>,
    outputs: Tensor<2>,
}

impl Graph {
    /// Runs a batch of `samples`, one row each, forward; `learns` records it for [`Self::backward`].
    pub(super) fn forward(
        network: &Network,
        parameters: &[f32],
        inputs: &[f32],
        samples: usize,
        learns: bool,
    ) -> Self {
        let mut device = Device::flex();
        if learns {
            device = device.autodiff();
        }
        let leaf = |values: &[f32]| {
            let data = TensorData::new(values.to_vec(), [values.len()]);
            let tensor = Tensor::<1>::from_data(data, &device);
            if learns {
                tensor.require_grad()
            } else {
                tensor
            }
        };
        let places = network.places().iter();
        let leaves: Vec<_> = places
            .map(|place| {
                let weights = &parameters[place.weights.clone()];
                (leaf(weights), leaf(&parameters[place.biases.clone()]))
            })
            .collect();
        let data = TensorData::new(inputs.to_vec(), [samples, network.inputs]);
        let mut at = Tensor::<2>::from_data(data, &device);
        let mut learnt = leaves.iter();
        for layer in &network.layers {
            at = match layer.parameters().and_then(|_| learnt.next()) {
                Some((weights, biases)) => learning(layer, at, weights.clone(), biases.clone()),
                None => fixed(layer, at),
            };
        }
        Self {
            leaves,
            outputs: at,
        }
    }

    /// The outputs, one row a sample.
    ///
    /// # Errors
    /// See [`numbers`].
    pub(super) fn outputs(&self) -> Result<Vec<f32>, String> {
        numbers(self.outputs.clone())
    }

    /// Gradient by all parameters, from `slope`, that by the outputs.
    ///
    /// # Errors
    /// See [`numbers`].
    pub(super) fn backward(
        self,
        network: &Network,
        slope: &[f32],
        gradient: &mut [f32],
    ) -> Result<(), String> {
        let device = self.outputs.device();
        let data = TensorData::new(slope.to_vec(), self.outputs.dims());
        // The gradient of this sum by the outputs is the slope.
        let sum = (self.outputs * Tensor::from_data(data, &device)).sum();
        let mut all = sum.backward();
        for (place, (weights, biases)) in network.places().iter().zip(self.leaves) {
            for (leaf, range) in [(weights, &place.weights), (biases, &place.biases)] {
                let slope = leaf.grad_remove(&mut all);
                let slope = slope.ok_or("burn gave no gradient for a parameter")?;
                gradient[range.clone()].copy_from_slice(&numbers(slope)?);
            }
        }
        Ok(())
    }
}

fn learning(layer: &Layer, at: Tensor<2>, weights: Tensor<1>, biases: Tensor<1>) -> Tensor<2> {
    let samples = at.dims()[0];
    match *layer {
        Layer::Dense { inputs, outputs } => {
            at.matmul(weights.reshape([inputs, outputs])) + biases.unsqueeze::<2>()
        }
        Layer::Conv {
            rows,
            channels,
            filters,
            kernel,
            stride,
        } => {
            // burn wants channels before rows.
            let at = at.reshape([samples, rows, channels]).swap_dims(1, 2);
            let weights = weights.reshape([kernel, channels, filters]).swap_dims(0, 2);
            let options = ConvOptions::new([stride], [kernel / 2], [1], 1);
            let at = module::conv1d(at, weights, Some(biases), options).swap_dims(1, 2);
            let width = layer.outputs(rows * channels);
            at.reshape([samples, width])
        }
        _ => at,
    }
}

fn fixed(layer: &Layer, at: Tensor<2>) -> Tensor<2> {
    let samples = at.dims()[0];
    match *layer {
        Layer::Relu => activation::relu(at),
        Layer::Double {
            rows,
            channels,
            rows_out,
        } => at
            .reshape([samples, rows, 1, channels])
            .repeat_dim(2, 2)
            .reshape([samples, rows * 2, channels])
            .narrow(1, 0, rows_out)
            .reshape([samples, rows_out * channels]),
        Layer::MeanRows { rows, channels } => at
            .reshape([samples, rows, channels])
            .mean_dim(1)
            .reshape([samples, channels]),
        _ => at,
    }
}
