//! Windows as samples, a batch at a time: one chunk is in memory, never all.

use super::{loss::Loss, network::Network, random::Random};
use crate::{
    data::{Rows, Source, Subset, Window},
    recipe::TrainError,
};

/// Samples, one row of inputs and one of targets each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MiniBatch {
    /// Inputs of the network.
    pub inputs: Vec<f32>,
    /// Targets of the loss.
    pub targets: Vec<f32>,
    /// How many samples there are.
    pub samples: usize,
    /// How many windows they are made of.
    pub windows: usize,
}

impl MiniBatch {
    fn clear(&mut self) {
        self.inputs.clear();
        self.targets.clear();
        (self.samples, self.windows) = (0, 0);
    }
}

/// How windows become samples.
pub trait Samples {
    /// Makes what all windows of a chunk share: its values as the network wants them.
    fn prepare(&self, rows: &Rows, prepared: &mut Vec<f32>);

    /// The windows of a chunk that can be used.
    fn windows(&self, rows: &Rows, subset: Subset) -> Vec<Window>;

    /// Adds the samples of one window to `batch`.
    fn add(&self, rows: &Rows, prepared: &[f32], window: Window, batch: &mut MiniBatch);
}

/// One way through the data.
pub(super) struct Pass {
    /// Windows gone over.
    pub(super) subset: Subset,
    /// Windows a batch; the last one may have fewer.
    pub(super) batch_size: usize,
    /// Random order, chunks first, then the windows of each; the order of the data if there is none.
    pub(super) order: Option<Random>,
}

/// Gives the samples of a pass to `each`, a batch at a time.
///
/// # Errors
/// What `each` returns, or [`TrainError::Read`].
pub(super) fn for_each_batch(
    source: &dyn Source,
    samples: &dyn Samples,
    mut pass: Pass,
    mut each: impl FnMut(&MiniBatch) -> Result<(), TrainError>,
) -> Result<(), TrainError> {
    let mut chunks: Vec<usize> = (0..source.chunks()).collect();
    if let Some(order) = &mut pass.order {
        order.shuffle(&mut chunks);
    }
    let (mut batch, mut prepared) = (MiniBatch::default(), Vec::new());
    for chunk in chunks {
        let rows = source.read(chunk)?;
        let mut windows = samples.windows(&rows, pass.subset);
        if windows.is_empty() {
            continue;
        }
        if let Some(order) = &mut pass.order {
            order.shuffle(&mut windows);
        }
        samples.prepare(&rows, &mut prepared);
        for window in windows {
            samples.add(&rows, &prepared, window, &mut batch);
            if batch.windows == pass.batch_size {
                each(&batch)?;
                batch.clear();
            }
        }
    }
    if batch.windows > 0 {
        each(&batch)?;
    }
    Ok(())
}

impl MiniBatch {
    /// Whether it is as `network` and `loss` want it.
    pub(super) fn fits(&self, network: &Network, loss: &Loss) -> bool {
        if let Loss::CrossEntropy { weights } = loss {
            let is_class = |target: &f32| *target >= 0.0 && (*target as usize) < weights.len();
            if weights.len() != network.outputs() || !self.targets.iter().all(is_class) {
                return false;
            }
        }
        self.inputs.len() == self.samples * network.inputs
            && self.targets.len() == self.samples * loss.targets(network.outputs())
    }
}
