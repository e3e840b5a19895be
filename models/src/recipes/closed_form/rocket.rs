//! Classification by closed form: ridge regression from what random convolutions of the window count to
//! one number a class, 1 for the class of the window and 0 for the others.
//!
//! Promises: the sums are of whole numbers, so they are exact, and adding up parts gives the whole bit for
//! bit; scaling and penalty are those of the first training, the penalty by leaving out one training window
//! at a time.

mod penalty;
#[cfg(test)]
mod tests;

use nalgebra::DMatrix;

use self::penalty::{Centred, scales_of};
use super::{
    ClosedForm, ClosedFormModel, Solved,
    kernels::KERNELS,
    normal::{NormalEquations, Size},
    setup::{Setup, check_inputs},
    sums::Sums,
    too_large,
};
use crate::{
    artifact::{Artifact, ArtifactError},
    data::{Columns, Rows, Source, Window},
    recipe::{Host, Output, Problem, Scratch, TrainError},
    recipes::RecipeSettings,
    training::wide,
};

/// Numbers in a window: all of them are looked at once for each kernel.
const INPUTS_MAX: usize = 1 << 16;
/// Classes: each has a column of sums and of weights.
const CLASSES_MAX: usize = 256;

/// The map, and what it was solved with.
#[derive(Clone, Debug)]
pub(super) struct Rocket {
    /// A row for each kernel, then the bias; a column for each class.
    weights: Vec<f32>,
    /// By which each count is multiplied before it is weighed; 0 for those that told nothing.
    scales: Vec<f64>,
    /// Of the squares of the weights, beside the sum of squared errors.
    penalty: f64,
}

impl ClosedForm for Rocket {
    const KIND: &'static str = "rocket";
    const PROBLEM: Problem = Problem::Classify;

    fn check(settings: &RecipeSettings, columns: &Columns) -> Result<(), TrainError> {
        check_inputs(settings.shape(), columns.features.len(), INPUTS_MAX)?;
        let found = columns.classes.len();
        if columns.label.is_none() || found == 0 {
            return Err(TrainError::Data(
                "needed: a label that names classes; found: none among the columns".into(),
            ));
        }
        if found > CLASSES_MAX {
            return Err(TrainError::Recipe(format!(
                "the label names {found} classes, and this recipe takes at most {CLASSES_MAX}"
            )));
        }
        Ok(())
    }

    fn size(setup: &Setup) -> Size {
        Size {
            inputs: setup.kernels.len(),
            outputs: setup.classes.len(),
        }
    }

    fn add(
        setup: &Setup,
        rows: &Rows,
        window: Window,
        sums: &mut Sums,
        host: &mut dyn Host,
    ) -> Result<(), TrainError> {
        let class = class_of(setup, rows, window)?;
        let values = rows.values_of(window.start..window.end, setup.features.len());
        let mut scratch = Scratch::default();
        let counts = setup.kernels.count(values, &setup.scale, &mut scratch);
        let is_block = sums.add(|x, y| {
            for (x, count) in x.iter_mut().zip(counts) {
                *x = f64::from(*count);
            }
            y.fill(0.0);
            y[class] = 1.0;
        });
        if is_block {
            host.pace()?;
        }
        Ok(())
    }

    fn solve(
        setup: &Setup,
        sums: &NormalEquations,
        incumbent: Option<&Self>,
        data: &dyn Source,
        host: &mut dyn Host,
    ) -> Result<Solved<Self>, TrainError> {
        let (scales, penalty) = if let Some(incumbent) = incumbent {
            (incumbent.scales.clone(), incumbent.penalty)
        } else {
            check_classes(setup, sums)?;
            let scales = scales_of(sums);
            let penalty = penalty::choose(setup, &Centred::of(sums, &scales), data, host)?;
            (scales, penalty)
        };
        Self::solved(setup, sums, (scales, penalty))
    }

    /// Kernels see the rows by their scale, and counts are not to be had anew.
    fn differs(&self, setup: &Setup, (first, first_setup): (&Self, &Setup)) -> Option<String> {
        let is_same = setup.kernels == first_setup.kernels
            && setup.scale == first_setup.scale
            && (&self.scales, self.penalty) == (&first.scales, first.penalty);
        let what = "its kernels and scale are not those of the first model; only models that were \
                    fine-tuned from one can be merged";
        (!is_same).then(|| what.into())
    }

    /// Scaling and penalty are those of the first training, as when fine-tuning.
    fn merge(
        setup: &Setup,
        sums: &NormalEquations,
        models: &[&ClosedFormModel<Self>],
    ) -> Result<Self, TrainError> {
        let Self {
            scales, penalty, ..
        } = &models[0].form;
        Ok(Self::solved(setup, sums, (scales.clone(), *penalty))?.form)
    }

    fn infer(&self, setup: &Setup, input: &[f32], scratch: &mut Scratch, output: &mut Output) {
        let counts = setup.kernels.count(input, &setup.scale, scratch);
        let classes = setup.classes.len();
        let (maps, bias) = self.weights.split_at(counts.len() * classes);
        let answer = &mut output.values;
        answer.clear();
        answer.extend_from_slice(bias);
        for (count, map) in counts.iter().zip(maps.chunks_exact(classes)) {
            wide::map_with(answer, map, |answer, weight| answer + count * weight);
        }
        into_probabilities(answer);
        output.score = answer.iter().copied().fold(0.0, f32::max);
        output.flag = false;
    }

    fn save(&self, setup: &Setup, artifact: &mut Artifact) {
        let shape = [KERNELS + 1, setup.classes.len()];
        artifact.insert_f32("weights", &shape, self.weights.clone());
        artifact.insert_f64("scales", &[KERNELS], self.scales.clone());
        artifact.insert_f64("penalty", &[1], vec![self.penalty]);
    }

    fn load(setup: &Setup, artifact: &Artifact) -> Result<Self, ArtifactError> {
        let classes = setup.classes.len();
        if !(1..=CLASSES_MAX).contains(&classes) {
            let what = format!("it tells {classes} classes apart, 1 to {CLASSES_MAX} can be");
            return Err(ArtifactError::Misfit(what));
        }
        let penalty = artifact.f64("penalty", &[1])?[0];
        if penalty <= 0.0 {
            let what = "its penalty is not above 0";
            return Err(ArtifactError::Damaged(what.into()));
        }
        Ok(Self {
            weights: artifact.f32("weights", &[KERNELS + 1, classes])?,
            scales: artifact.f64("scales", &[KERNELS])?,
            penalty,
        })
    }
}

impl Rocket {
    fn solved(
        setup: &Setup,
        sums: &NormalEquations,
        (scales, penalty): (Vec<f64>, f64),
    ) -> Result<Solved<Self>, TrainError> {
        let weights = Centred::of(sums, &scales).weights(penalty);
        let weights = weights.ok_or_else(|| too_large(&setup.features))?;
        Ok(Solved {
            loss: sums.loss(&weights),
            form: Self {
                weights: by_row(&weights),
                scales,
                penalty,
            },
        })
    }
}

/// The class of a window, which is that of its last row.
fn class_of(setup: &Setup, rows: &Rows, window: Window) -> Result<usize, TrainError> {
    let label = rows.label[window.end - 1];
    let class = (label >= 0.0 && label.fract() == 0.0).then_some(label as usize);
    let class = class.filter(|class| *class < setup.classes.len());
    class.ok_or_else(|| {
        TrainError::Data(format!(
            "the label {label} is not the number of one of the {} classes {:?}",
            setup.classes.len(),
            setup.classes
        ))
    })
}

/// Refuses to tell apart what there is only one of.
fn check_classes(setup: &Setup, sums: &NormalEquations) -> Result<(), TrainError> {
    // The bias counts the windows of each class.
    let windows: Vec<f64> = sums.cross.row(KERNELS).iter().copied().collect();
    let seen = windows.iter().filter(|windows| **windows > 0.0).count();
    if seen < 2 {
        return Err(TrainError::Data(format!(
            "needed: training windows of at least 2 classes; found: {seen} (windows of each class, {}: \
             {windows:?})",
            setup.classes.join(", ")
        )));
    }
    Ok(())
}

/// The answers of the map, of which the sum is 1, as probabilities: those below 0 count as 0.
fn into_probabilities(answers: &mut [f32]) {
    let sum: f32 = answers.iter().map(|answer| answer.max(0.0)).sum();
    for answer in answers {
        *answer = answer.max(0.0) / sum.max(f32::MIN_POSITIVE);
    }
}

/// Row-major: nalgebra's columns are the rows of the transpose.
fn by_row(weights: &DMatrix<f64>) -> Vec<f32> {
    let by_row = weights.transpose();
    by_row.iter().map(|weight| *weight as f32).collect()
}
