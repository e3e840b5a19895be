//! The step loop: batches, gradient, Adam; validation, checkpoint and a decision after each epoch.
//!
//! Promises: the same data, settings and seed give the same parameters, bit by bit, however often the
//! job was interrupted and started again from its last checkpoint; a chunk of the data is in memory,
//! never all; the host is asked before every step and told after it; a loss that is not finite ends
//! the job with an error; the parameters of the epoch with the best validation loss are the result.
//!
//! burn differentiates networks with convolutions; dense ones go by hand, which takes half the time.

mod adam;
mod batches;
mod checkpoint;
mod dense;
mod graph;
pub mod loss;
pub mod network;
mod product;
pub mod random;
#[cfg(test)]
mod tests;
pub(crate) mod wide;

use xxhash_rust::xxh3::xxh3_64;

pub use self::batches::{MiniBatch, Samples};
use self::{
    batches::{Pass, for_each_batch},
    checkpoint::Progress,
    dense::Dense,
    graph::Graph,
    loss::Loss,
    network::{Layer, Network},
    random::Random,
};
use crate::{
    data::{Source, Subset},
    recipe::{EpochEnd, Host, Step, TrainError},
};

/// What random numbers are for.
const PURPOSE_PARAMETERS: u64 = u64::MAX;
/// Fewest windows judged at once: there is no gradient to keep small.
const VALIDATION_BATCH_MIN: usize = 64;

/// How far each step goes, and when training ends.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// Most epochs.
    pub epochs_max: u32,
    /// Windows a step.
    pub batch_size: usize,
    /// First learning rate.
    pub learning_rate: f64,
    /// Factor on it after each epoch.
    pub learning_rate_decay: f64,
    /// Epochs without a better validation loss before it stops.
    pub patience_epochs: u32,
    /// Longest gradient, Euclidean norm.
    pub gradient_norm_max: f64,
}

/// One training job.
pub struct TrainingJob<'a> {
    /// What is learnt from and judged by.
    pub source: &'a dyn Source,
    /// How windows of them become samples.
    pub samples: &'a dyn Samples,
    /// What is trained.
    pub network: &'a Network,
    /// What is made less.
    pub loss: &'a Loss,
    /// How far each step goes, and when it ends.
    pub schedule: &'a Schedule,
    /// Parameters to start from; drawn from the seed if there are none.
    pub start: Option<&'a [f32]>,
    /// Everything random follows from it.
    pub seed: u64,
    /// What else tells this job from others (settings, data), so that it never goes on from a
    /// checkpoint of another.
    pub identity: &'a [u8],
}

impl TrainingJob<'_> {
    /// Trains; the parameters with the best validation loss.
    ///
    /// # Errors
    /// [`TrainError`]: `Data` if the loss is not finite or there is nothing to learn from or to judge
    /// by, `Stopped` if the host says so, `Checkpoint` if one could not be kept.
    pub fn run(&self, host: &mut dyn Host) -> Result<Vec<f32>, TrainError> {
        let drawn = || {
            let mut random = Random::new(self.seed, PURPOSE_PARAMETERS);
            self.network.initial(&mut random)
        };
        let start = self.start.map_or_else(drawn, <[f32]>::to_vec);
        let fingerprint = self.fingerprint(&start);
        // A checkpoint that cannot be used costs time, not the job.
        let kept = host.load_checkpoint();
        let kept = kept.and_then(|kept| Progress::from_bytes(&kept, fingerprint, start.len()));
        let mut progress = kept.unwrap_or_else(|| Progress::new(start));
        let mut engine = Engine::new(self.network);
        let schedule = self.schedule;
        while progress.epochs < schedule.epochs_max
            && progress.epochs_without_better < schedule.patience_epochs.max(1)
        {
            let train_loss = self.epoch(&mut engine, &mut progress, host)?;
            let validation_loss = self.validate(&mut engine, &progress.parameters, host)?;
            let is_best = validation_loss < progress.best_loss;
            if is_best {
                progress.best_loss = validation_loss;
                progress.epochs_without_better = 0;
                progress.best.clone_from(&progress.parameters);
            } else {
                progress.epochs_without_better += 1;
            }
            let end = EpochEnd {
                epoch: progress.epochs,
                train_loss: train_loss as f32,
                validation_loss: validation_loss as f32,
                is_best,
            };
            progress.epochs += 1;
            let bytes = progress.to_bytes(fingerprint);
            host.save_checkpoint(&bytes)
                .map_err(TrainError::Checkpoint)?;
            host.epoch(end);
        }
        Ok(progress.best)
    }

    /// One epoch over the training windows; its mean loss.
    fn epoch(
        &self,
        engine: &mut Engine,
        progress: &mut Progress,
        host: &mut dyn Host,
    ) -> Result<f64, TrainError> {
        let schedule = self.schedule;
        let epoch = progress.epochs;
        let decay = schedule.learning_rate_decay.powi(epoch.min(1 << 20) as i32);
        let learning_rate = (schedule.learning_rate * decay) as f32;
        let norm_max = schedule.gradient_norm_max as f32;
        let mut mean = Mean::default();
        let pass = Pass {
            subset: Subset::Train,
            batch_size: schedule.batch_size,
            order: Some(Random::new(self.seed, u64::from(epoch))),
        };
        for_each_batch(self.source, self.samples, pass, |batch| {
            host.pace()?;
            let start_ns = host.elapsed_ns();
            let parameters = &mut progress.parameters;
            let loss = engine.learn(self.network, parameters, self.loss, batch)?;
            if !loss.is_finite() {
                return Err(not_finite("training", epoch));
            }
            progress
                .adam
                .step(parameters, &engine.gradient, learning_rate, norm_max);
            mean.add(loss, batch.windows);
            host.step(Step {
                epoch,
                step: progress.adam.steps - 1,
                loss: loss as f32,
                learning_rate,
                ns: host.elapsed_ns().saturating_sub(start_ns),
            });
            Ok(())
        })?;
        mean.of("to learn from")
    }

    /// Mean loss over the validation windows.
    fn validate(
        &self,
        engine: &mut Engine,
        parameters: &[f32],
        host: &mut dyn Host,
    ) -> Result<f64, TrainError> {
        let mut mean = Mean::default();
        let pass = Pass {
            subset: Subset::Validation,
            batch_size: self.schedule.batch_size.max(VALIDATION_BATCH_MIN),
            order: None,
        };
        for_each_batch(self.source, self.samples, pass, |batch| {
            host.pace()?;
            let loss = engine.judge(self.network, parameters, self.loss, batch)?;
            mean.add(loss, batch.windows);
            Ok(())
        })?;
        let loss = mean.of("to judge by")?;
        if loss.is_finite() {
            Ok(loss)
        } else {
            Err(not_finite("validation", 0))
        }
    }

    /// Tells this job from every other.
    fn fingerprint(&self, start: &[f32]) -> u64 {
        let lineage = self.source.lineage();
        let mut words = format!(
            "{:?} {:?} {:?} {} {} {}",
            self.network.layers,
            self.loss,
            self.schedule,
            self.seed,
            lineage.rows,
            lineage.rows_hash
        )
        .into_bytes();
        words.extend_from_slice(self.identity);
        words.extend(start.iter().flat_map(|value| value.to_le_bytes()));
        xxh3_64(&words)
    }
}

fn not_finite(what: &str, epoch: u32) -> TrainError {
    TrainError::Data(format!(
        "the {what} loss is no longer a finite number (epoch {epoch}): take a smaller learning rate, \
         or look for absurd values in the data"
    ))
}

/// Mean over windows.
#[derive(Default)]
struct Mean {
    sum: f64,
    windows: usize,
}

impl Mean {
    fn add(&mut self, loss: f64, windows: usize) {
        self.sum += loss * windows as f64;
        self.windows += windows;
    }

    fn of(&self, purpose: &str) -> Result<f64, TrainError> {
        if self.windows == 0 {
            return Err(TrainError::Data(format!("there is no window {purpose}")));
        }
        Ok(self.sum / self.windows as f64)
    }
}

/// Gradients and losses of batches: by hand where all layers are dense, by burn otherwise.
struct Engine {
    dense: Option<Dense>,
    gradient: Vec<f32>,
}

impl Engine {
    fn new(network: &Network) -> Self {
        Self {
            dense: network.is_dense().then(Dense::default),
            gradient: vec![0.0; network.parameters()],
        }
    }

    /// The loss; leaves the gradient in `self.gradient`.
    fn learn(
        &mut self,
        network: &Network,
        parameters: &[f32],
        loss: &Loss,
        batch: &MiniBatch,
    ) -> Result<f64, TrainError> {
        check(network, loss, batch)?;
        let (inputs, samples) = (&*batch.inputs, batch.samples);
        if let Some(dense) = &mut self.dense {
            let outputs = dense.forward(network, parameters, inputs, samples);
            let value = loss.differentiate(outputs, &batch.targets, samples);
            dense.backward(network, parameters, inputs, &mut self.gradient);
            return Ok(value);
        }
        let graph = Graph::forward(network, parameters, inputs, samples, true);
        let mut outputs = graph.outputs().map_err(TrainError::Recipe)?;
        let value = loss.differentiate(&mut outputs, &batch.targets, samples);
        graph
            .backward(network, &outputs, &mut self.gradient)
            .map_err(TrainError::Recipe)?;
        Ok(value)
    }

    /// The loss alone.
    fn judge(
        &mut self,
        network: &Network,
        parameters: &[f32],
        loss: &Loss,
        batch: &MiniBatch,
    ) -> Result<f64, TrainError> {
        check(network, loss, batch)?;
        let (inputs, samples) = (&*batch.inputs, batch.samples);
        if let Some(dense) = &mut self.dense {
            let outputs = dense.forward(network, parameters, inputs, samples);
            return Ok(loss.differentiate(outputs, &batch.targets, samples));
        }
        let graph = Graph::forward(network, parameters, inputs, samples, false);
        let mut outputs = graph.outputs().map_err(TrainError::Recipe)?;
        Ok(loss.differentiate(&mut outputs, &batch.targets, samples))
    }
}

/// Samples come from a recipe that may be anybody's.
fn check(network: &Network, loss: &Loss, batch: &MiniBatch) -> Result<(), TrainError> {
    if batch.fits(network, loss) {
        return Ok(());
    }
    Err(TrainError::Recipe(format!(
        "the recipe's samples do not fit its network: {} inputs and {} targets in {} samples, while \
         the network takes {} and gives {}",
        batch.inputs.len(),
        batch.targets.len(),
        batch.samples,
        network.inputs,
        network.outputs()
    )))
}

/// Layers of a multi-layer perceptron, [`Layer::Relu`] behind each but the last.
pub fn perceptron(widths: &[usize]) -> Vec<Layer> {
    let mut layers = Vec::new();
    for pair in widths.windows(2) {
        if !layers.is_empty() {
            layers.push(Layer::Relu);
        }
        layers.push(Layer::Dense {
            inputs: pair[0],
            outputs: pair[1],
        });
    }
    layers
}
