//! How good a candidate is, and what else there is, on the same windows; and what the gate says.

use dunlin_models::{
    data::{Source, Subset, scale::Scale},
    judging::{
        baseline::baseline,
        evaluation::evaluate,
        gate::{self, Decision, GateSettings},
    },
    recipe::{Model, Recipe, TrainError},
    registry::Evaluations,
};

/// What the figures of a candidate say.
pub(crate) struct Judged {
    pub(crate) evaluations: Evaluations,
    pub(crate) decision: Decision,
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
    let (what, shape) = (recipe.problem(), recipe.shape());
    let scale = Scale::fit(data)?;
    let figures =
        |model: &dyn Model| evaluate(model, (what, shape), &scale, data, Subset::Validation);
    let naive = baseline(what, shape, data)?;
    let candidate = figures(candidate)?;
    let incumbent = incumbent.map(figures).transpose()?;
    let naive = figures(&*naive)?;
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
