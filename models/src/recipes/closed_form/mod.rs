//! Models by closed form: sums over every training window, and what is solved from them in one step.

mod normal;
mod pca;
mod ridge;
mod ridge_nlinear;
mod setup;
#[cfg(test)]
mod tests;

pub(super) use self::normal::INPUTS_MAX;
use super::{Algorithm, RecipeSettings, another_recipe, report, too_large};
use crate::recipe::Recipe;

/// The recipe that `settings` describe; `None` if their algorithm is no closed form.
pub(super) fn build(settings: &RecipeSettings) -> Option<Box<dyn Recipe>> {
    let settings = settings.clone();
    Some(match settings.algorithm {
        Algorithm::RidgeNlinear => Box::new(ridge_nlinear::RidgeNlinear(settings)),
        Algorithm::Ridge => Box::new(ridge::Ridge(settings)),
        Algorithm::Pca => Box::new(pca::Pca(settings)),
        _ => return None,
    })
}
