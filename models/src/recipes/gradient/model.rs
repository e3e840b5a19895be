//! A trained network: one type for every problem.

use std::any::Any;

use serde::{Deserialize, Serialize};

use super::{
    plan::{NetworkPlan, View},
    samples::put_trend_beside,
};
use crate::{
    artifact::{Artifact, ArtifactError},
    data::{Columns, scale::Scale},
    judging::evaluation::argmax,
    recipe::{Model, Output, Problem, Scratch},
    recipes::{Algorithm, RecipeSettings},
    training::{loss::softmax, wide::dot},
};

/// A network, and all that turns rows into its inputs and its outputs into an answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct NetworkModel {
    pub(super) plan: NetworkPlan,
    pub(super) features: Vec<String>,
    pub(super) classes: Vec<String>,
    pub(super) scale: Scale,
    /// Mean and standard deviation of the label, if it is a number to be estimated.
    pub(super) label: [f32; 2],
    /// Anomaly: the error at which a window becomes unusual.
    pub(super) limit: f32,
    pub(super) parameters: Vec<f32>,
    /// The scale of a whole window, its rows one after the other: one loop instead of one a row.
    /// Empty if each feature is looked at by itself.
    window_scale: Scale,
}

/// The part of an artifact that is words.
#[derive(Serialize, Deserialize)]
struct StoredNetwork {
    recipe: RecipeSettings,
    classes: Vec<String>,
}

impl Model for NetworkModel {
    fn infer(&self, input: &[f32], scratch: &mut Scratch, output: &mut Output) {
        output.values.clear();
        (output.score, output.flag) = (0.0, false);
        let plan = &self.plan;
        if input.len() != plan.settings.lookback * plan.features {
            return;
        }
        if let View::Channels { .. } = plan.view {
            self.forecast(input, scratch, output);
            return;
        }
        scratch.a.clear();
        scratch.a.extend_from_slice(input);
        self.window_scale.apply(&mut scratch.a);
        plan.network
            .answer(&self.parameters, &mut scratch.a, &mut scratch.b);
        let answer = &mut scratch.a;
        match plan.settings.algorithm.problem() {
            Problem::Classify => {
                softmax(answer);
                output.values.extend_from_slice(answer);
                let likeliest = argmax(answer);
                output.score = likeliest.map_or(0.0, |class| answer[class]);
            }
            Problem::Regress => {
                let [mean, std] = self.label;
                output
                    .values
                    .extend(answer.iter().map(|value| value * std + mean));
            }
            Problem::Anomaly | Problem::Forecast => {
                let last = answer.len() - plan.features;
                output.values.extend_from_slice(&answer[last..]);
                self.scale.invert(&mut output.values);
                let error = self.reconstruction_error(input, answer);
                // Numbers too great to count with are as unusual as can be.
                let score = error / self.limit;
                output.score = if score.is_finite() { score } else { f32::MAX };
                output.flag = output.score > 1.0;
            }
        }
    }

    fn save(&self) -> Artifact {
        let plan = &self.plan;
        let stored = StoredNetwork {
            recipe: plan.settings.clone(),
            classes: self.classes.clone(),
        };
        let mut artifact = Artifact {
            kind: kind(plan.settings.algorithm).into(),
            features: self.features.clone(),
            // Plain settings: there is nothing in them that JSON could not hold.
            settings: serde_json::to_string(&stored).unwrap_or_default(),
            ..Artifact::default()
        };
        let features = [plan.features];
        artifact.insert_f32("scale.mean", &features, self.scale.mean.clone());
        artifact.insert_f32("scale.std", &features, self.scale.std.clone());
        artifact.insert_f32("label", &[2], self.label.to_vec());
        artifact.insert_f32("limit", &[1], vec![self.limit]);
        for place in plan.network.places() {
            let layer = place.layer;
            let weights = self.parameters[place.weights.clone()].to_vec();
            artifact.insert_f32(&format!("{layer}.weights"), &place.shape, weights);
            let biases = self.parameters[place.biases.clone()].to_vec();
            artifact.insert_f32(&format!("{layer}.biases"), &[biases.len()], biases);
        }
        artifact
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl NetworkModel {
    /// A model without a limit yet.
    pub(super) fn new(
        plan: NetworkPlan,
        columns: &Columns,
        scale: Scale,
        label: [f32; 2],
        parameters: Vec<f32>,
    ) -> Self {
        let rows = match plan.view {
            View::Window => plan.settings.lookback,
            View::Channels { .. } => 0,
        };
        Self {
            window_scale: Scale {
                mean: scale.mean.repeat(rows),
                std: scale.std.repeat(rows),
            },
            plan,
            features: columns.features.clone(),
            classes: columns.classes.clone(),
            scale,
            label,
            limit: 1.0,
            parameters,
        }
    }

    /// Reads back what [`Model::save`] gave, for a recipe with these settings.
    pub(super) fn load(
        settings: &RecipeSettings,
        artifact: &Artifact,
    ) -> Result<Self, ArtifactError> {
        let stored: StoredNetwork = artifact.settings(kind(settings.algorithm))?;
        if !has_same_shape(settings, &stored.recipe) {
            return Err(ArtifactError::Misfit(format!(
                "its network is another: lookback {}, horizon {}, hidden {:?}, where the recipe has \
                 {}, {}, {:?}",
                stored.recipe.lookback,
                stored.recipe.horizon,
                stored.recipe.hidden,
                settings.lookback,
                settings.horizon,
                settings.hidden
            )));
        }
        let features = artifact.features.len();
        let plan = NetworkPlan::new(&stored.recipe, features, stored.classes.len());
        let plan = plan.map_err(ArtifactError::Misfit)?;
        let label = artifact.f32("label", &[2])?;
        let limit = artifact.f32("limit", &[1])?[0];
        let scale = Scale {
            mean: artifact.f32("scale.mean", &[features])?,
            std: artifact.f32("scale.std", &[features])?,
        };
        let divisors = scale.std.iter().chain(&label[1..]).chain([&limit]);
        if divisors.into_iter().any(|divisor| *divisor <= 0.0) {
            return Err(ArtifactError::Damaged(
                "a standard deviation or the limit is not above 0".into(),
            ));
        }
        let (wanted, stored_in_all) = (plan.network.parameters(), artifact.numbers());
        if wanted > stored_in_all {
            return Err(ArtifactError::Misfit(format!(
                "its network has {wanted} parameters, and it holds {stored_in_all} numbers"
            )));
        }
        let mut parameters = Vec::with_capacity(wanted);
        for place in plan.network.places() {
            let layer = place.layer;
            parameters.extend(artifact.f32(&format!("{layer}.weights"), &place.shape)?);
            parameters.extend(artifact.f32(&format!("{layer}.biases"), &[place.biases.len()])?);
        }
        let columns = Columns {
            features: artifact.features.clone(),
            classes: stored.classes,
            label: None,
        };
        let mut model = Self::new(plan, &columns, scale, [label[0], label[1]], parameters);
        model.limit = limit;
        Ok(model)
    }

    /// Each feature by itself.
    fn forecast(&self, input: &[f32], scratch: &mut Scratch, output: &mut Output) {
        let plan = &self.plan;
        let View::Channels {
            minus_last,
            with_trend,
        } = plan.view
        else {
            return;
        };
        let features = plan.features;
        output.values.resize(plan.settings.horizon * features, 0.0);
        for feature in 0..features {
            let (mean, std) = (self.scale.mean[feature], self.scale.std[feature]);
            let inputs = input[feature..].iter().step_by(features);
            scratch.a.clear();
            scratch.a.extend(inputs.map(|value| (value - mean) / std));
            let mut level = 0.0;
            if minus_last {
                level = scratch.a[scratch.a.len() - 1];
                for value in &mut scratch.a {
                    *value -= level;
                }
            }
            if with_trend {
                put_trend_beside(&mut scratch.a, 0);
            }
            plan.network
                .answer(&self.parameters, &mut scratch.a, &mut scratch.b);
            let outputs = output.values[feature..].iter_mut().step_by(features);
            for (output, answer) in outputs.zip(&scratch.a) {
                *output = (answer + level) * std + mean;
            }
        }
    }

    /// Mean squared error over the window, and over its last row once more: a fault shows at once,
    /// and stays while it is in sight. In squared standard deviations. Overwrites `answer`.
    fn reconstruction_error(&self, input: &[f32], answer: &mut [f32]) -> f32 {
        let scale = self.window_scale.mean.iter().zip(&self.window_scale.std);
        for ((answer, value), (mean, std)) in answer.iter_mut().zip(input).zip(scale) {
            *answer -= (value - mean) / std;
        }
        let last = &answer[answer.len() - self.plan.features..];
        mean_square(answer) + mean_square(last)
    }
}

fn mean_square(errors: &[f32]) -> f32 {
    dot(errors, errors) / errors.len() as f32
}

/// Whether a model of `one` can go on as one of `other`.
pub(super) fn has_same_shape(one: &RecipeSettings, other: &RecipeSettings) -> bool {
    let ignores_hidden = matches!(one.algorithm, Algorithm::Nlinear | Algorithm::Dlinear);
    one.algorithm == other.algorithm
        && one.shape() == other.shape()
        && (ignores_hidden || one.hidden == other.hidden)
}

/// The name of the kind in an artifact.
const fn kind(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Nlinear => "nlinear",
        Algorithm::Dlinear => "dlinear",
        Algorithm::MlpForecast => "mlp_forecast",
        Algorithm::Autoencoder => "autoencoder",
        Algorithm::ConvAutoencoder => "conv_autoencoder",
        Algorithm::MlpClassifier => "mlp_classifier",
        Algorithm::ConvClassifier => "conv_classifier",
        Algorithm::MlpRegressor => "mlp_regressor",
        Algorithm::RidgeNlinear => "ridge_nlinear",
        Algorithm::Pca => "pca",
        Algorithm::Ridge => "ridge",
        Algorithm::Rocket => "rocket",
    }
}
