//! What the command line asks about learning: data sets, models, how good a recipe is.

mod cohort;
mod evaluate;
mod models;
#[cfg(all(test, feature = "sqlite"))]
mod tests;

use std::sync::Arc;

use dunlin_models::registry::Registry;
use serde::{Deserialize, Serialize};

pub use self::{
    cohort::{CohortFound, CohortView, SHOWN_ROWS_MAX, ShownRow, ViewCohort},
    evaluate::{Evaluate, Evaluated, FOLDS, FoldRule},
    models::{
        ExportModel, ImportModel, ImportedModel, ListModels, ModelSummary, ModelsRequest,
        PromoteModel, RollBackModel, ShowModel, Which,
    },
};
use super::{Listener, Need, Operation, OperationError, OperationParts, Request, json};
use crate::{config::settings::LearnSettings, observe::status::View, store};

/// An operation on what is learnt, on its way to the agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum LearningRequest {
    /// See [`ViewCohort`].
    Cohort(Box<ViewCohort>),
    /// See [`Evaluate`].
    Evaluate(Evaluate),
    /// Something about models.
    Models(ModelsRequest),
}

/// What these operations work on besides records.
pub struct LearningParts {
    /// The versions of models; opened when asked for, and let go of after, where no agent runs.
    pub models: Box<dyn Fn() -> Result<Arc<Registry>, OperationError> + Send + Sync>,
    /// What is learnt, from [`Need::Upstream`] on.
    pub settings: Option<LearnSettings>,
}

impl LearningParts {
    pub(super) fn of_agent(view: &View) -> Self {
        Self::open(&view.models, view.settings().learn.clone())
    }

    /// Those of a directory that nothing else has open.
    pub(in crate::admin) fn of_directory(data_dir: &std::path::Path) -> Self {
        let data_dir = data_dir.to_owned();
        Self {
            models: Box::new(move || Ok(store::open_models(&data_dir).map(Arc::new)?)),
            settings: None,
        }
    }

    /// With models that are open already.
    pub(in crate::admin) fn open(models: &Arc<Registry>, settings: LearnSettings) -> Self {
        let models = Arc::clone(models);
        Self {
            models: Box::new(move || Ok(Arc::clone(&models))),
            settings: Some(settings),
        }
    }
}

/// Does what is asked; see [`super::handle`].
pub(super) fn handle(
    parts: &OperationParts,
    request: LearningRequest,
    listener: &mut dyn Listener,
) -> Result<Vec<u8>, OperationError> {
    match request {
        LearningRequest::Cohort(view) => json(*view, parts, listener),
        LearningRequest::Evaluate(evaluate) => json(evaluate, parts, listener),
        LearningRequest::Models(request) => models::handle(parts, request, listener),
    }
}
