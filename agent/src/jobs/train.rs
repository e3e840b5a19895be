//! The training of a job, on a thread of its own.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use dunlin_models::{
    artifact::Artifact,
    data::{Lineage, Source as _},
    judging::gate::Decision,
    registry::Evaluations,
};
use dunlin_sync::buffer::Buffer;

use super::{
    data,
    error::JobError,
    host::{Attempt, BuilderHost},
};
use crate::{
    config::settings::RecipeRule,
    learn::{guarded, judge},
};

/// What is trained with.
pub(super) struct Training {
    pub(super) rule: RecipeRule,
    /// Records of the job, and no others.
    pub(super) buffer: Arc<Buffer>,
    /// Their streams, as the job names them.
    pub(super) streams: String,
    pub(super) to_ts: i64,
    pub(super) seed: u64,
    /// The model to start from.
    pub(super) parent: Option<Vec<u8>>,
    /// The checkpoint to go on from.
    pub(super) resume: Option<Vec<u8>>,
}

/// A model, and how good it is.
pub(super) struct Version {
    pub(super) model: Vec<u8>,
    pub(super) lineage: Lineage,
    pub(super) evaluations: Evaluations,
    pub(super) decision: Decision,
    pub(super) took: Duration,
}

/// Trains and judges; blocks its thread, and never panics.
///
/// # Errors
/// [`JobError`]
pub(super) fn train(training: Training, attempt: &Attempt) -> Result<Version, JobError> {
    guarded(|| version(training, attempt))
        .unwrap_or_else(|panic| Err(JobError::last(&format!("the recipe panicked: {panic}"))))
}

fn version(training: Training, attempt: &Attempt) -> Result<Version, JobError> {
    let begun = Instant::now();
    let rule = &training.rule;
    let recipe = rule
        .recipe
        .build()
        .map_err(|error| JobError::last(&error))?;
    let data = data::resolve(&training.buffer, rule, &training.streams, training.to_ts)?;
    let parent = training.parent.as_deref().map(|bytes| {
        let artifact = Artifact::from_bytes(bytes);
        artifact.and_then(|artifact| recipe.load(&artifact))
    });
    let parent = parent
        .transpose()
        .map_err(|error| JobError::last(&format!("the model to start from: {error}")))?;
    let mut host = BuilderHost::new(attempt, training.resume);
    let model = recipe.train(&data, parent.as_deref(), training.seed, &mut host)?;
    let models = (&*model, parent.as_deref());
    let judged = judge(&*recipe, &rule.gate, &data, models)?;
    let model = model.save().to_bytes();
    Ok(Version {
        model: model.map_err(|error| JobError::last(&error))?,
        lineage: data.lineage().clone(),
        evaluations: judged.evaluations,
        decision: judged.decision,
        took: begun.elapsed(),
    })
}
