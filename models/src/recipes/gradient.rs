//! Recipes whose models are networks, trained by gradient: forecasts, auto-encoders, classifiers,
//! regressors.
//!
//! Promises: the scale is fitted on the training rows of the first training and kept when the model
//! is fine-tuned, so that the parameters keep their meaning; what cannot be learnt from is refused
//! with what was needed and what was found.

mod model;
mod plan;
mod samples;
#[cfg(test)]
mod tests;

use self::{
    model::{NetworkModel, has_same_shape},
    plan::NetworkPlan,
    samples::Windows,
};
use crate::{
    artifact::{Artifact, ArtifactError},
    data::{
        Source, Subset, WindowShape,
        scale::{Moments, Scale},
    },
    recipe::{Host, Model, Output, Problem, Recipe, Scratch, TrainError},
    recipes::RecipeSettings,
    training::{Schedule, TrainingJob, loss::Loss},
};

/// The recipe that `settings` describe, if it is one trained by gradient.
///
/// # Errors
/// A text for people: which setting makes no sense, and what would.
pub fn build(settings: &RecipeSettings) -> Result<Box<dyn Recipe>, String> {
    plan::check(settings)?;
    // Of any width: whether there can be such a network at all.
    NetworkPlan::new(settings, 1, 2)?;
    Ok(Box::new(Gradient {
        settings: settings.clone(),
    }))
}

struct Gradient {
    settings: RecipeSettings,
}

impl Recipe for Gradient {
    fn problem(&self) -> Problem {
        self.settings.algorithm.problem()
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
        let incumbent = incumbent.map(|model| self.own(model, data)).transpose()?;
        let columns = data.columns();
        let survey = Survey::of(data, &self.settings, host)?;
        survey.check(&self.settings)?;
        let plan = NetworkPlan::new(
            &self.settings,
            columns.features.len(),
            columns.classes.len(),
        );
        let plan = plan.map_err(TrainError::Recipe)?;
        let (scale, label) = match incumbent {
            Some(incumbent) => (incumbent.scale.clone(), incumbent.label),
            None => (Scale::fit(data)?, survey.label()),
        };
        let loss = match self.problem() {
            Problem::Classify => Loss::CrossEntropy {
                weights: survey.class_weights(self.settings.balance_classes),
            },
            _ => Loss::Squares,
        };
        let identity = format!("{:?} {columns:?}", self.settings);
        let job = TrainingJob {
            source: data,
            samples: &Windows {
                plan: &plan,
                scale: &scale,
                label,
            },
            network: &plan.network,
            loss: &loss,
            schedule: &schedule(&self.settings),
            start: incumbent.map(|incumbent| &*incumbent.parameters),
            seed,
            identity: identity.as_bytes(),
        };
        let parameters = job.run(host)?;
        let mut model = NetworkModel::new(plan, columns, scale, label, parameters);
        if self.problem() == Problem::Anomaly {
            model.limit = self.limit(&model, data, host)?;
        }
        Ok(Box::new(model))
    }

    fn load(&self, artifact: &Artifact) -> Result<Box<dyn Model>, ArtifactError> {
        Ok(Box::new(NetworkModel::load(&self.settings, artifact)?))
    }
}

impl Gradient {
    /// `incumbent` as a model that this recipe can go on from.
    fn own<'a>(
        &self,
        incumbent: &'a dyn Model,
        data: &dyn Source,
    ) -> Result<&'a NetworkModel, TrainError> {
        let refused =
            |why: &str| TrainError::Recipe(format!("the incumbent cannot be fine-tuned: {why}"));
        let own = incumbent.as_any().downcast_ref::<NetworkModel>();
        let own = own.ok_or_else(|| refused("it was made by another recipe"))?;
        let columns = data.columns();
        if !has_same_shape(&own.plan.settings, &self.settings) {
            Err(refused(
                "its algorithm, lookback, horizon or hidden layers are others",
            ))
        } else if own.features != columns.features || own.classes != columns.classes {
            Err(refused(&format!(
                "it was made for features {:?} and classes {:?}, the data has {:?} and {:?}",
                own.features, own.classes, columns.features, columns.classes
            )))
        } else {
            Ok(own)
        }
    }

    /// The error that all but the configured share of the validation windows stay under.
    fn limit(
        &self,
        model: &NetworkModel,
        data: &dyn Source,
        host: &mut dyn Host,
    ) -> Result<f32, TrainError> {
        let (mut scratch, mut output) = (Scratch::default(), Output::default());
        let (shape, features) = (self.shape(), model.plan.features);
        let mut scores = Vec::new();
        for index in 0..data.chunks() {
            host.pace()?;
            let rows = data.read(index)?;
            for window in rows.windows(shape, features, false, Subset::Validation) {
                let input = rows.values_of(window.start..window.split_at, features);
                model.infer(input, &mut scratch, &mut output);
                scores.push(output.score);
            }
        }
        scores.sort_unstable_by(f32::total_cmp);
        let kept = (1.0 - self.settings.false_alarm_rate) * scores.len() as f64;
        let place = (kept.ceil() as usize).clamp(1, scores.len().max(1)) - 1;
        let limit = scores.get(place).copied().unwrap_or(1.0);
        Ok(limit.clamp(LIMIT_MIN, f32::MAX))
    }
}

/// The limit of data without any error, such as constants: less than this is rounding.
const LIMIT_MIN: f32 = 1e-9;

fn schedule(settings: &RecipeSettings) -> Schedule {
    Schedule {
        epochs_max: settings.epochs_max,
        batch_size: settings.batch_size,
        learning_rate: settings.learning_rate,
        learning_rate_decay: settings.learning_rate_decay,
        patience_epochs: settings.patience_epochs,
        gradient_norm_max: settings.gradient_norm_max,
    }
}

/// What there is to learn from.
#[derive(Default)]
struct Survey {
    rows: usize,
    longest_chunk: usize,
    train: usize,
    validation: usize,
    /// Training windows of each class.
    classes: Vec<usize>,
    label: Moments,
}

impl Survey {
    fn of(
        data: &dyn Source,
        settings: &RecipeSettings,
        host: &mut dyn Host,
    ) -> Result<Self, TrainError> {
        let columns = data.columns();
        let problem = settings.algorithm.problem();
        let mut survey = Self {
            classes: vec![0; columns.classes.len()],
            ..Self::default()
        };
        for index in 0..data.chunks() {
            host.pace()?;
            let rows = data.read(index)?;
            survey.rows += rows.len() - rows.lead;
            survey.longest_chunk = survey.longest_chunk.max(rows.len());
            let features = columns.features.len();
            for window in rows.windows(
                settings.shape(),
                features,
                problem.wants_label(),
                Subset::All,
            ) {
                let last = window.end - 1;
                let is_train = rows.is_train[last];
                survey.train += usize::from(is_train);
                survey.validation += usize::from(!is_train);
                let label = rows.label.get(last).copied().unwrap_or(f32::NAN);
                if problem == Problem::Classify {
                    let class = (label >= 0.0 && label.fract() == 0.0).then_some(label as usize);
                    let class = class.filter(|class| *class < survey.classes.len());
                    let class = class.ok_or_else(|| {
                        TrainError::Data(format!(
                            "the label {label} is not the number of one of the {} classes {:?}",
                            columns.classes.len(),
                            columns.classes
                        ))
                    })?;
                    survey.classes[class] += usize::from(is_train);
                } else if is_train {
                    survey.label.add(f64::from(label));
                }
            }
        }
        Ok(survey)
    }

    fn check(&self, settings: &RecipeSettings) -> Result<(), TrainError> {
        let length = settings.lookback + settings.horizon;
        let labelled = if settings.algorithm.problem().wants_label() {
            ", and a label at its end"
        } else {
            ""
        };
        if self.train == 0 || self.validation == 0 {
            return Err(TrainError::Data(format!(
                "needed: at least 1 training and 1 validation window of {length} consecutive rows, no \
                 value missing{labelled}; found: {} and {}, in {} rows, at most {} of them \
                 consecutive",
                self.train, self.validation, self.rows, self.longest_chunk
            )));
        }
        let seen = self.classes.iter().filter(|count| **count > 0).count();
        if settings.algorithm.problem() == Problem::Classify && seen < 2 {
            return Err(TrainError::Data(format!(
                "needed: training windows of at least 2 classes; found: {seen} (windows of each \
                 class: {:?})",
                self.classes
            )));
        }
        Ok(())
    }

    /// Mean and standard deviation of the label.
    fn label(&self) -> [f32; 2] {
        [self.label.mean as f32, self.label.std() as f32]
    }

    /// All classes together weigh as much as they would without weights.
    fn class_weights(&self, balance: bool) -> Vec<f32> {
        let seen = self.classes.iter().filter(|count| **count > 0).count();
        let weight = |count: &usize| {
            if balance {
                self.train as f32 / (seen * (*count).max(1)) as f32
            } else {
                1.0
            }
        };
        self.classes.iter().map(weight).collect()
    }
}
