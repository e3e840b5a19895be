//! What the command line asks about learning: data sets, models, how good a recipe is.

mod cohort;
mod evaluate;
mod models;

#[cfg(all(test, feature = "sqlite"))]
mod cohort_tests;
#[cfg(all(test, feature = "sqlite"))]
mod evaluate_tests;
#[cfg(all(test, feature = "sqlite"))]
mod models_tests;

use std::sync::Arc;

use dunlin_models::registry::Registry;
use serde::{Deserialize, Serialize};

pub use self::{
    cohort::{CohortAsk, CohortFound, CohortView, SHOWN_ROWS_MAX, ShownRow},
    evaluate::{EvaluateAsk, Evaluated, FOLDS, FoldRule},
    models::{ModelSummary, ModelsAsk, Which},
};
use super::{Listener, Need, OperationError, Parts, json};
use crate::{config::settings::LearnSettings, observe::status::View, store};

/// One operation on what is learnt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum LearningAsk {
    /// Look at a cohort, perhaps with its rows as data: [`CohortFound`].
    Cohort(Box<CohortAsk>),
    /// Train and judge a recipe once a fold: [`Evaluated`].
    Evaluate(EvaluateAsk),
    /// Something about models: as [`ModelsAsk`] says.
    Models(ModelsAsk),
}

impl LearningAsk {
    pub(super) const fn need(&self) -> Need {
        match self {
            Self::Cohort(_) | Self::Models(_) => Need::Directory,
            Self::Evaluate(_) => Need::Upstream,
        }
    }
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

/// Does what is asked; see [`super::perform`].
pub(super) fn perform(
    parts: &Parts,
    ask: LearningAsk,
    listener: &mut (dyn Listener + Send),
) -> Result<Vec<u8>, OperationError> {
    match ask {
        LearningAsk::Cohort(ask) => json(&cohort::cohort(parts, *ask, listener)?),
        LearningAsk::Evaluate(ask) => json(&evaluate::evaluate(parts, &ask, listener)?),
        LearningAsk::Models(ask) => {
            let (registry, catalog) = ((parts.learning.models)()?, parts.buffer.catalog());
            models::models(&registry, &catalog, ask, listener)
        }
    }
}
