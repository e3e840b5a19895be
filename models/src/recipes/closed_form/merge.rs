//! One model of several: their sums, brought to the scale of all their rows, are added up and solved anew.
//!
//! Promises: equal to training on the data of all of them, but for rounding, and for the limits of `pca`
//! (see there); merged models can be merged again. A model that was fine-tuned keeps the scale of its first
//! training, and so do its rows here: the sums are exact all the same, what the scale decides (the penalty of a
//! ridge, directions of `pca`) is by the rows of the first trainings.

use super::{
    ClosedForm, ClosedFormModel, ClosedFormRecipe,
    normal::Affine,
    setup::{Setup, shape_text},
    spread::Spread,
    sums::Sums,
    too_large,
};
use crate::{
    data::scale::Scale,
    recipe::{MergeError, Merged, Model, Problem},
    recipes::RecipeSettings,
};

impl<F: ClosedForm> ClosedFormRecipe<F> {
    pub(super) fn merged(
        &self,
        models: &[&dyn Model],
        weights: &[f64],
    ) -> Result<Merged, MergeError> {
        check_weights(models.len(), weights)?;
        let models = self.own_all(models)?;
        let Some(first) = models.first() else {
            return Err(no_models());
        };
        let spreads = pooled(&models, weights);
        let is_first = |model: &&ClosedFormModel<F>| model.setup.scale == first.setup.scale;
        let scale = if models.iter().all(is_first) {
            first.setup.scale.clone()
        } else {
            Spread::scale(&spreads)
        };
        let setup = Setup {
            settings: self.settings.clone(),
            scale,
            spreads: Some(spreads),
            ..first.setup.clone()
        };
        let mut all: Option<Sums> = None;
        for (index, (model, weight)) in models.iter().zip(weights).enumerate() {
            let mut sums = model
                .sums_on(&setup.scale)
                .map_err(|what| MergeError::Model { index, what })?;
            sums.forget(*weight);
            match &mut all {
                Some(all) => all.add_all(&sums),
                None => all = Some(sums),
            }
        }
        let sums = all.ok_or_else(no_models)?;
        let total = sums.total().into_owned();
        if !total.is_sound() {
            return Err(too_large(&setup.features).into());
        }
        let form = F::merge(&setup, &total, &models)?;
        let windows = total.rows() / F::rows_a_window(&setup) as f64;
        let model = Box::new(ClosedFormModel { setup, sums, form });
        // Nobody could read it back.
        if !model.save().is_finite() {
            return Err(too_large(&model.setup.features).into());
        }
        Ok(Merged { model, windows })
    }

    /// The models as their own type, of which all go together.
    fn own_all<'m>(
        &self,
        models: &[&'m dyn Model],
    ) -> Result<Vec<&'m ClosedFormModel<F>>, MergeError> {
        let mut own: Vec<&ClosedFormModel<F>> = Vec::with_capacity(models.len());
        for (index, model) in models.iter().enumerate() {
            let refused = |what| MergeError::Model { index, what };
            let model: &ClosedFormModel<F> = model
                .as_any()
                .downcast_ref()
                .ok_or_else(|| refused(format!("it is not of kind {}", F::KIND)))?;
            let differs = match own.first() {
                _ if !model.sums.total().is_sound() => {
                    Some("its sums hold no windows, or numbers too large to compute with".into())
                }
                _ if model.setup.inputs() == 0 => Some("it has no features".into()),
                None => settings_differ(&model.setup.settings, &self.settings),
                Some(first) => settings_differ(&model.setup.settings, &self.settings)
                    .or_else(|| setups_differ(&model.setup, &first.setup))
                    .or_else(|| {
                        model
                            .form
                            .differs(&model.setup, (&first.form, &first.setup))
                    }),
            };
            if let Some(what) = differs {
                return Err(refused(what));
            }
            own.push(model);
        }
        Ok(own)
    }
}

impl<F: ClosedForm> ClosedFormModel<F> {
    /// Its sums as if its rows had been standardised by `scale`; why they cannot be, otherwise.
    pub(super) fn sums_on(&self, scale: &Scale) -> Result<Sums, String> {
        if self.setup.scale == *scale {
            return Ok(self.sums.clone());
        }
        F::sums_on(&self.sums, &self.setup.scale, scale)
    }
}

/// Sums over windows of standardised rows, one after the other, as if they had been standardised by `to`.
pub(super) fn windows_on(sums: &Sums, from: &Scale, to: &Scale) -> Sums {
    let each: Vec<Affine> = (0..from.std.len())
        .map(|feature| {
            let std = f64::from(to.std[feature]);
            Affine {
                factor: f64::from(from.std[feature]) / std,
                shift: (f64::from(from.mean[feature]) - f64::from(to.mean[feature])) / std,
            }
        })
        .collect();
    sums.map(|_, part| {
        let inputs = part.gram.nrows() - 1;
        let inputs: Vec<Affine> = each.iter().copied().cycle().take(inputs).collect();
        part.affine(&inputs, 1.0)
    })
}

/// How the rows of all models are spread. Where a model does not say on how many rows its scale was fitted,
/// its windows stand for them: the sums stay exact, the scale is then a little beside that of all rows.
fn pooled<F: ClosedForm>(models: &[&ClosedFormModel<F>], weights: &[f64]) -> Vec<Spread> {
    let mut all: Vec<Spread> = Vec::new();
    for (model, weight) in models.iter().zip(weights) {
        let setup = &model.setup;
        let spreads = setup.spreads.clone().unwrap_or_else(|| {
            let windows = model.sums.total().rows() / F::rows_a_window(setup) as f64;
            Spread::from_scale(&setup.scale, windows)
        });
        let spreads = spreads.into_iter().map(|spread| spread.weighted(*weight));
        all = if all.is_empty() {
            spreads.collect()
        } else {
            let both = all.into_iter().zip(spreads);
            both.map(|(all, spread)| all.with(spread)).collect()
        };
    }
    all
}

fn check_weights(models: usize, weights: &[f64]) -> Result<(), MergeError> {
    let refused = |what| Err(MergeError::Weights(what));
    if models == 0 {
        return Err(no_models());
    }
    if weights.len() != models {
        let found = weights.len();
        return refused(format!("{found} weights for {models} models: one each"));
    }
    match weights.iter().find(|w| !(w.is_finite() && **w > 0.0)) {
        Some(weight) => refused(format!("a weight of {weight}: each must be above 0")),
        None => Ok(()),
    }
}

fn no_models() -> MergeError {
    MergeError::Weights("needed: at least 1 model; found: none".into())
}

/// The first setting that a closed form reads and in which the model is not what the recipe says.
fn settings_differ(model: &RecipeSettings, recipe: &RecipeSettings) -> Option<String> {
    if model.shape() != recipe.shape() {
        return Some(format!(
            "it looks at {}, the recipe at {}",
            shape_text(model.shape()),
            shape_text(recipe.shape())
        ));
    }
    let numbers = |of: &RecipeSettings| {
        [
            ("ridge", of.ridge),
            ("forgetting", of.forgetting),
            ("variance_kept", of.variance_kept),
            ("false_alarm_rate", of.false_alarm_rate),
        ]
    };
    let mut both = numbers(model).into_iter().zip(numbers(recipe));
    let ((name, found), (_, wanted)) = both.find(|(model, recipe)| model != recipe)?;
    Some(format!(
        "it was made with {name} = {found}, the recipe says {wanted}"
    ))
}

/// The first difference between a model and the first one.
fn setups_differ(model: &Setup, first: &Setup) -> Option<String> {
    let differ = |what: &str, model: &[String], first: &[String]| {
        (model != first).then(|| {
            format!(
                "it has the {what} {}; the first model has {}",
                model.join(", "),
                first.join(", ")
            )
        })
    };
    let features = differ("features", &model.features, &first.features);
    features.or_else(|| match model.settings.algorithm.problem() {
        Problem::Classify => differ("classes", &model.classes, &first.classes),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
