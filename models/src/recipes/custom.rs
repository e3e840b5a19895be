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
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::{
        data::{Columns, InMemory, Rows, Subset},
        recipe::NullHost,
    };

    const SHAPE: WindowShape = WindowShape {
        lookback: 1,
        horizon: 0,
    };

    /// The greatest value seen; more is unlike the usual.
    fn ceiling(name: &str, shape: WindowShape) -> Custom {
        Custom::new(
            name,
            Problem::Anomaly,
            shape,
            move |data, known, _, host| {
                let mut most = known.map_or(f32::NEG_INFINITY, |known| known[0]);
                for chunk in 0..data.chunks() {
                    host.pace()?;
                    let rows = data.read(chunk)?;
                    for window in rows.windows(shape, 1, false, Subset::Train) {
                        most = most.max(rows.values[window.start]);
                    }
                }
                Ok(vec![most])
            },
            |parameters, input, output| {
                output.score = input[0] / parameters[0];
                output.flag = output.score > 1.0;
            },
        )
    }

    fn data(values: &[f32]) -> InMemory {
        InMemory {
            columns: Columns {
                features: vec!["x".into()],
                ..Columns::default()
            },
            chunks: vec![Arc::new(Rows {
                ts: (0..values.len() as i64).collect(),
                values: values.to_vec(),
                is_train: vec![true; values.len()],
                ..Rows::default()
            })],
            ..InMemory::default()
        }
    }

    fn score(model: &dyn Model, input: f32) -> (f32, bool) {
        let mut output = Output {
            values: vec![9.0],
            score: 9.0,
            flag: true,
        };
        model.infer(&[input], &mut Scratch::default(), &mut output);
        assert!(output.values.is_empty(), "what was left of the one before");
        (output.score, output.flag)
    }

    #[test]
    fn closures_train_answer_are_kept_and_fine_tuned() {
        let recipe = ceiling("ceiling", SHAPE);
        let train = |values: &[f32], before: Option<&dyn Model>| {
            let data = data(values);
            recipe
                .train(&data, before, 1, &mut NullHost::default())
                .unwrap()
        };
        let first = train(&[1.0, 2.0], None);
        assert_eq!(score(&*first, 1.0), (0.5, false));
        let bytes = first.save().to_bytes().unwrap();
        let loaded = recipe.load(&Artifact::from_bytes(&bytes).unwrap()).unwrap();
        assert_eq!(score(&*loaded, 4.0), (2.0, true));
        let tuned = train(&[1.0], Some(&*loaded));
        assert_eq!(score(&*tuned, 4.0), (2.0, true), "nothing was forgotten");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let recipe = ceiling("ceiling", SHAPE);
        let host = &mut NullHost::default();
        let model = recipe.train(&data(&[1.0]), None, 1, host).unwrap();
        let artifact = model.save();
        assert!(ceiling("other", SHAPE).load(&artifact).is_err());
        let longer = WindowShape {
            lookback: 2,
            horizon: 0,
        };
        assert!(ceiling("ceiling", longer).load(&artifact).is_err());
        let other = ceiling("other", SHAPE);
        let tuned = other.train(&data(&[1.0]), Some(&*model), 1, host);
        assert!(matches!(tuned, Err(TrainError::Recipe(_))));
        // No rows: minus infinity is no parameter.
        let nothing = recipe.train(&data(&[]), None, 1, host);
        assert!(matches!(nothing, Err(TrainError::Recipe(_))));
        let mut bare = artifact;
        bare.tensors.clear();
        assert!(recipe.load(&bare).is_err());
    }
}
