//! How good candidates are, and what else there is, on the same windows; and what the gate says.

use std::{collections::BTreeMap, sync::Arc};

use dunlin_models::{
    data::{DataError, Source, Subset, WindowShape, scale::Scale},
    judging::{
        baseline::baseline,
        evaluation::{Evaluation, evaluate, evaluate_by_stream},
        gate::{self, Decision, GateSettings},
    },
    recipe::{Model, Problem, Recipe, TrainError},
    registry::Evaluations,
};

/// What the figures of a candidate say.
pub(crate) struct Judged {
    pub(crate) evaluations: Evaluations,
    pub(crate) decision: Decision,
}

/// Judges models of one recipe on the validation windows of one data set, with one scale.
pub(crate) struct Judge {
    problem: Problem,
    shape: WindowShape,
    scale: Scale,
}

impl Judge {
    /// # Errors
    /// [`DataError`] if the data cannot be read.
    pub(crate) fn new(recipe: &dyn Recipe, data: &dyn Source) -> Result<Self, DataError> {
        Ok(Self {
            problem: recipe.problem(),
            shape: recipe.shape(),
            scale: Scale::fit(data)?,
        })
    }

    /// # Errors
    /// [`DataError`] if `data`, with which this was made, cannot be read.
    pub(crate) fn figures(
        &self,
        model: &dyn Model,
        data: &dyn Source,
    ) -> Result<Evaluation, DataError> {
        let what = (self.problem, self.shape);
        evaluate(model, what, &self.scale, data, Subset::Validation)
    }

    /// As [`Judge::figures`], with those of each stream.
    ///
    /// # Errors
    /// [`DataError`] likewise.
    pub(crate) fn figures_by_stream(
        &self,
        model: &dyn Model,
        data: &dyn Source,
    ) -> Result<(Evaluation, BTreeMap<Arc<str>, Evaluation>), DataError> {
        let what = (self.problem, self.shape);
        evaluate_by_stream(model, what, &self.scale, data, Subset::Validation)
    }

    /// The figures of what costs nothing to know.
    ///
    /// # Errors
    /// [`DataError`] likewise.
    pub(crate) fn baseline(&self, data: &dyn Source) -> Result<Evaluation, DataError> {
        self.figures(&*baseline(self.problem, self.shape, data)?, data)
    }
}

/// Judges a candidate, the incumbent if there is one, and the baseline.
///
/// # Errors
/// [`TrainError`] if the data cannot be read.
pub(crate) fn judge(
    recipe: &dyn Recipe,
    settings: &GateSettings,
    data: &dyn Source,
    (candidate, incumbent): (&dyn Model, Option<&dyn Model>),
) -> Result<Judged, TrainError> {
    let judge = Judge::new(recipe, data)?;
    let naive = judge.baseline(data)?;
    let candidate = judge.figures(candidate, data)?;
    let incumbent = incumbent.map(|model| judge.figures(model, data));
    let incumbent = incumbent.transpose()?;
    let decision = gate::decide(settings, &candidate, incumbent.as_ref(), &naive);
    Ok(Judged {
        evaluations: Evaluations {
            candidate: Some(candidate),
            incumbent,
            baseline: Some(naive),
        },
        decision,
    })
}
