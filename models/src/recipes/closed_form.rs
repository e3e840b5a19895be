//! Models by closed form: sums over every training window, and what is solved from them in one step.
//!
//! Promises: exact, hence no epochs, and no seed but for the kernels of `rocket`; fine-tuning is the old
//! sums times the forgetting factor plus the new windows, so replayed rows (which are in the sums) are
//! left out, and scale and kernels stay those of the first training.

mod kernels;
mod merge;
mod normal;
mod pca;
mod ridge;
mod ridge_nlinear;
mod rocket;
mod setup;
mod spread;
mod sums;
#[cfg(test)]
mod tests;

use std::{any::Any, marker::PhantomData};

pub(super) use self::normal::INPUTS_MAX;
use self::{
    normal::{NormalEquations, Size},
    pca::Pca,
    ridge::Ridge,
    ridge_nlinear::RidgeNlinear,
    rocket::Rocket,
    setup::{Setup, nothing_to_learn},
    sums::Sums,
};
use super::{Algorithm, RecipeSettings, another_recipe};
use crate::{
    artifact::{Artifact, ArtifactError},
    data::{Columns, DataError, Rows, Source, Subset, Window, WindowShape, scale::Scale},
    judging::evaluation,
    recipe::{
        EpochEnd, Host, MergeError, Merged, Model, Output, Problem, Recipe, Scratch, Step,
        TrainError,
    },
};

/// The recipe that `settings` describe; `None` if their algorithm is no closed form.
pub(super) fn build(settings: &RecipeSettings) -> Option<Box<dyn Recipe>> {
    Some(match settings.algorithm {
        Algorithm::RidgeNlinear => recipe::<RidgeNlinear>(settings),
        Algorithm::Ridge => recipe::<Ridge>(settings),
        Algorithm::Pca => recipe::<Pca>(settings),
        Algorithm::Rocket => recipe::<Rocket>(settings),
        _ => return None,
    })
}

fn recipe<F: ClosedForm>(settings: &RecipeSettings) -> Box<dyn Recipe> {
    Box::new(ClosedFormRecipe {
        settings: settings.clone(),
        form: PhantomData::<F>,
    })
}

/// One closed form: what it adds to the sums, what it solves from them, and how that answers.
trait ClosedForm: Send + Sync + Sized + 'static {
    /// Kind of its artifacts.
    const KIND: &'static str;
    /// What its models are for.
    const PROBLEM: Problem;

    /// Refuses columns that no model can be made of, whatever is in them.
    fn check(settings: &RecipeSettings, columns: &Columns) -> Result<(), TrainError>;

    /// Inputs and outputs of its sums.
    fn size(setup: &Setup) -> Size;

    /// Rows of the sums that a window is; if they are several, one a feature.
    fn rows_a_window(_: &Setup) -> usize {
        1
    }

    /// Adds a window to `sums`; asks `host` for leave after each block that went into them.
    fn add(
        setup: &Setup,
        rows: &Rows,
        window: Window,
        sums: &mut Sums,
        host: &mut dyn Host,
    ) -> Result<(), TrainError>;

    /// Solves `sums`, which hold every training window of `data`; when fine-tuning, and those of
    /// `incumbent`.
    fn solve(
        setup: &Setup,
        sums: &NormalEquations,
        incumbent: Option<&Self>,
        data: &dyn Source,
        host: &mut dyn Host,
    ) -> Result<Solved<Self>, TrainError>;

    /// What of a model's own numbers keeps it from being merged with the first one.
    fn differs(&self, _: &Setup, _first: (&Self, &Setup)) -> Option<String> {
        None
    }

    /// `sums` on the scale `from` as if rows had been standardised by `to`; why they cannot be, otherwise.
    fn sums_on(sums: &Sums, from: &Scale, to: &Scale) -> Result<Sums, String> {
        Ok(merge::windows_on(sums, from, to))
    }

    /// Solves `sums`, which hold every training window of `models`, of which there is at least one.
    fn merge(
        setup: &Setup,
        sums: &NormalEquations,
        models: &[&ClosedFormModel<Self>],
    ) -> Result<Self, TrainError>;

    /// See [`Model::infer`].
    fn infer(&self, setup: &Setup, input: &[f32], scratch: &mut Scratch, output: &mut Output);

    /// Puts its own numbers into `artifact`.
    fn save(&self, setup: &Setup, artifact: &mut Artifact);

    /// Takes them back.
    fn load(setup: &Setup, artifact: &Artifact) -> Result<Self, ArtifactError>;
}

/// A closed form with its numbers.
struct Solved<F> {
    form: F,
    /// Mean squared error on the training windows.
    loss: f64,
}

/// Makes [`ClosedFormModel`]s.
struct ClosedFormRecipe<F> {
    settings: RecipeSettings,
    form: PhantomData<F>,
}

/// What answers, and what it was made from.
struct ClosedFormModel<F> {
    setup: Setup,
    sums: Sums,
    form: F,
}

impl<F: ClosedForm> Recipe for ClosedFormRecipe<F> {
    fn problem(&self) -> Problem {
        F::PROBLEM
    }

    fn shape(&self) -> WindowShape {
        self.settings.shape()
    }

    fn train(
        &self,
        data: &dyn Source,
        incumbent: Option<&dyn Model>,
        seed: u64,
        host: &mut dyn Host,
    ) -> Result<Box<dyn Model>, TrainError> {
        let started_ns = host.elapsed_ns();
        F::check(&self.settings, data.columns())?;
        let incumbent = incumbent.map(Self::own).transpose()?;
        let (setup, mut sums) = match incumbent {
            Some(incumbent) => self.go_on(data, incumbent)?,
            None => self.begin(data, seed, host)?,
        };
        let added = add_windows::<F>(data, &setup, incumbent.is_some(), &mut sums, host)?;
        if added == 0 {
            let wants_label = F::PROBLEM.wants_label();
            return Err(nothing_to_learn(data, self.shape(), wants_label)?);
        }
        let incumbent = incumbent.map(|incumbent| &incumbent.form);
        let Solved { form, loss } = F::solve(&setup, &sums.total(), incumbent, data, host)?;
        let model = ClosedFormModel { setup, sums, form };
        model.report(data, started_ns, loss, host)?;
        Ok(Box::new(model))
    }

    fn load(&self, artifact: &Artifact) -> Result<Box<dyn Model>, ArtifactError> {
        let setup = Setup::load(artifact, F::KIND, &self.settings)?;
        Ok(Box::new(ClosedFormModel {
            sums: Sums::load(artifact, F::size(&setup), F::rows_a_window(&setup))?,
            form: F::load(&setup, artifact)?,
            setup,
        }))
    }

    fn merge(&self, models: &[&dyn Model], weights: &[f64]) -> Result<Merged, MergeError> {
        self.merged(models, weights)
    }
}

impl<F: ClosedForm> ClosedFormRecipe<F> {
    /// `incumbent` as a model of this form.
    fn own(incumbent: &dyn Model) -> Result<&ClosedFormModel<F>, TrainError> {
        let own = incumbent.as_any().downcast_ref();
        own.ok_or_else(|| another_recipe(F::KIND))
    }

    /// Where training from nothing starts.
    fn begin(
        &self,
        data: &dyn Source,
        seed: u64,
        host: &mut dyn Host,
    ) -> Result<(Setup, Sums), TrainError> {
        let setup = Setup::new(&self.settings, data, seed, host)?;
        let empty = Sums::new(F::size(&setup), F::rows_a_window(&setup));
        Ok((setup, empty))
    }

    /// Where fine-tuning starts: from the sums of `incumbent`, weighed down by the forgetting factor.
    fn go_on(
        &self,
        data: &dyn Source,
        incumbent: &ClosedFormModel<F>,
    ) -> Result<(Setup, Sums), TrainError> {
        incumbent.setup.check(&self.settings, data)?;
        let mut sums = incumbent.sums.clone();
        sums.forget(self.settings.forgetting);
        let setup = Setup {
            settings: self.settings.clone(),
            ..incumbent.setup.clone()
        };
        Ok((setup, sums))
    }
}

/// Adds every training window, those of replayed rows only if not `skips_replay`; returns their number.
fn add_windows<F: ClosedForm>(
    data: &dyn Source,
    setup: &Setup,
    skips_replay: bool,
    sums: &mut Sums,
    host: &mut dyn Host,
) -> Result<usize, TrainError> {
    let (shape, features) = (setup.settings.shape(), setup.features.len());
    let wants_label = F::PROBLEM.wants_label();
    let mut added = 0;
    for index in 0..data.chunks() {
        host.pace()?;
        let rows = data.read(index)?;
        if skips_replay && rows.is_replay {
            continue;
        }
        for window in rows.windows(shape, features, wants_label, Subset::Train) {
            F::add(setup, &rows, window, sums, host)?;
            added += 1;
        }
    }
    sums.flush();
    Ok(added)
}

impl<F: ClosedForm> ClosedFormModel<F> {
    /// Logs the one step and the one epoch that a closed form takes.
    fn report(
        &self,
        data: &dyn Source,
        started_ns: u64,
        loss: f64,
        host: &mut dyn Host,
    ) -> Result<(), DataError> {
        host.step(Step {
            loss: loss as f32,
            ns: host.elapsed_ns() - started_ns,
            ..Step::default()
        });
        let what = (F::PROBLEM, self.setup.settings.shape());
        let scale = &self.setup.scale;
        let validation = evaluation::evaluate(self, what, scale, data, Subset::Validation)?;
        host.epoch(EpochEnd {
            epoch: 0,
            train_loss: loss as f32,
            validation_loss: validation.error() as f32,
            is_best: true,
        });
        Ok(())
    }
}

impl<F: ClosedForm> Model for ClosedFormModel<F> {
    fn infer(&self, input: &[f32], scratch: &mut Scratch, output: &mut Output) {
        self.form.infer(&self.setup, input, scratch, output);
    }

    fn save(&self) -> Artifact {
        let mut artifact = self.setup.save(F::KIND);
        self.form.save(&self.setup, &mut artifact);
        self.sums.save(&mut artifact);
        artifact
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// The sums left the range of numbers.
fn too_large(features: &[String]) -> TrainError {
    TrainError::Data(format!(
        "the values of {} are too large to compute with; scale them, or leave them out",
        features.join(", ")
    ))
}
