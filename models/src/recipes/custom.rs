//! A recipe of the user's own in a dozen lines: two closures, one that trains and one that answers.
//!
//! Promises: what the training gives is kept, hashed and handed back unchanged, as one list of
//! numbers; parameters that are not finite, or an artifact of another recipe, shape or problem, are
//! refused. Whoever needs more (tensors with names, state in the model) implements
//! [`Recipe`] and [`Model`] instead.

use std::{any::Any, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{another_recipe, other_features};
use crate::{
    artifact::{Artifact, ArtifactError, TensorData},
    data::{Source, WindowShape},
    recipe::{Host, Model, Output, Problem, Recipe, Scratch, TrainError},
};

/// Name of the numbers in the artifact.
const PARAMETERS: &str = "parameters";

type Train = dyn Fn(&dyn Source, Option<&[f32]>, u64, &mut dyn Host) -> Result<Vec<f32>, TrainError>
    + Send
    + Sync;
type Infer = dyn Fn(&[f32], &[f32], &mut Output) + Send + Sync;

/// A recipe made of closures.
pub struct Custom {
    kind: String,
    problem: Problem,
    shape: WindowShape,
    train: Box<Train>,
    infer: Arc<Infer>,
}

impl Custom {
    /// A recipe called `name` (which becomes part of its artifacts) for windows of `shape`.
    ///
    /// `train(data, incumbent, seed, host)` gives the parameters, any number of finite ones, in
    /// whatever order `infer` wants them; `incumbent` holds those of the model in use when
    /// fine-tuning. It asks [`Host::pace`] now and then, and draws all its chance from `seed`.
    ///
    /// `infer(parameters, input, output)` answers one window: `input` is `shape.lookback` rows of
    /// all features in the data's own units, none missing; `output` comes empty, and what belongs
    /// into it says [`Output`].
    pub fn new<T, I>(name: &str, problem: Problem, shape: WindowShape, train: T, infer: I) -> Self
    where
        T: Fn(&dyn Source, Option<&[f32]>, u64, &mut dyn Host) -> Result<Vec<f32>, TrainError>
            + Send
            + Sync
            + 'static,
        I: Fn(&[f32], &[f32], &mut Output) + Send + Sync + 'static,
    {
        Self {
            kind: format!("custom:{name}"),
            problem,
            shape,
            train: Box::new(train),
            infer: Arc::new(infer),
        }
    }

    fn model(
        &self,
        settings: Settings,
        features: Vec<String>,
        parameters: Vec<f32>,
    ) -> CustomModel {
        CustomModel {
            kind: self.kind.clone(),
            settings,
            features,
            parameters,
            infer: Arc::clone(&self.infer),
        }
    }
}

/// What its artifact says beside the numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Settings {
    #[serde(rename = "task")]
    problem: Problem,
    lookback: usize,
    horizon: usize,
    /// Names of the classes, in the order of [`Output::values`].
    classes: Vec<String>,
}

struct CustomModel {
    kind: String,
    settings: Settings,
    features: Vec<String>,
    parameters: Vec<f32>,
    infer: Arc<Infer>,
}

impl Recipe for Custom {
    fn problem(&self) -> Problem {
        self.problem
    }

    fn shape(&self) -> WindowShape {
        self.shape
    }

    fn train(
        &self,
        data: &dyn Source,
        incumbent: Option<&dyn Model>,
        seed: u64,
        host: &mut dyn Host,
    ) -> Result<Box<dyn Model>, TrainError> {
        let columns = data.columns();
        let settings = Settings {
            problem: self.problem,
            lookback: self.shape.lookback,
            horizon: self.shape.horizon,
            classes: columns.classes.clone(),
        };
        let known = match incumbent {
            None => None,
            Some(incumbent) => {
                let old = incumbent.as_any().downcast_ref::<CustomModel>();
                let old = old.filter(|old| old.kind == self.kind && old.settings == settings);
                let old = old.ok_or_else(|| another_recipe(&self.kind))?;
                if old.features != columns.features {
                    return Err(other_features(&old.features, &columns.features));
                }
                Some(old.parameters.as_slice())
            }
        };
        let parameters = (self.train)(data, known, seed, host)?;
        if let Some(at) = parameters.iter().position(|number| !number.is_finite()) {
            return Err(TrainError::Recipe(format!(
                "{} gave parameter {at} as {}; only finite numbers can be kept",
                self.kind, parameters[at]
            )));
        }
        let features = columns.features.clone();
        Ok(Box::new(self.model(settings, features, parameters)))
    }

    fn load(&self, artifact: &Artifact) -> Result<Box<dyn Model>, ArtifactError> {
        let settings: Settings = artifact.settings(&self.kind)?;
        let shape = WindowShape {
            lookback: settings.lookback,
            horizon: settings.horizon,
        };
        if shape != self.shape || settings.problem != self.problem {
            return Err(ArtifactError::Misfit(
                "it was made for another task or for windows of another shape".into(),
            ));
        }
        let stored = artifact.tensors.get(PARAMETERS).map(|tensor| &tensor.data);
        let Some(TensorData::F32(parameters)) = stored else {
            return Err(ArtifactError::Misfit("it has no f32 parameters".into()));
        };
        let (features, parameters) = (artifact.features.clone(), parameters.clone());
        Ok(Box::new(self.model(settings, features, parameters)))
    }
}

impl Model for CustomModel {
    fn infer(&self, input: &[f32], _: &mut Scratch, output: &mut Output) {
        output.values.clear();
        (output.score, output.flag) = (0.0, false);
        (self.infer)(&self.parameters, input, output);
    }

    fn save(&self) -> Artifact {
        let mut artifact = Artifact {
            kind: self.kind.clone(),
            features: self.features.clone(),
            // Plain numbers and names: this cannot fail.
            settings: serde_json::to_string(&self.settings).unwrap_or_default(),
            ..Artifact::default()
        };
        let shape = [self.parameters.len()];
        artifact.insert_f32(PARAMETERS, &shape, self.parameters.clone());
        artifact
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests;
