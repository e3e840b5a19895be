//! The recipes that come with Dunlin, and the settings they share.

mod closed_form;
pub mod custom;
pub mod gradient;
pub mod keys;

use serde::{Deserialize, Serialize};

use crate::{
    data::WindowShape,
    recipe::{Problem, Recipe, TrainError},
};

/// Which recipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// Forecast: closed-form ridge regression on the window minus its last row.
    RidgeNlinear,
    /// Forecast: the same map, trained by gradient.
    Nlinear,
    /// Forecast: one map for the trend, one for the rest, trained by gradient.
    Dlinear,
    /// Forecast: a multi-layer perceptron on the window minus its last row.
    MlpForecast,
    /// Anomaly: principal components; Hotelling's T² and the squared prediction error Q.
    Pca,
    /// Anomaly: a dense auto-encoder over the window.
    Autoencoder,
    /// Anomaly: a convolutional auto-encoder over the window.
    ConvAutoencoder,
    /// Classify: a multi-layer perceptron over the window.
    MlpClassifier,
    /// Classify: a 1-D convolutional network over the window.
    ConvClassifier,
    /// Classify: closed-form ridge regression on counts of random convolutions of the window.
    Rocket,
    /// Regress: closed-form ridge regression on the window.
    Ridge,
    /// Regress: a multi-layer perceptron over the window.
    MlpRegressor,
}

impl Algorithm {
    /// What its models are for.
    pub const fn problem(self) -> Problem {
        match self {
            Self::RidgeNlinear | Self::Nlinear | Self::Dlinear | Self::MlpForecast => {
                Problem::Forecast
            }
            Self::Pca | Self::Autoencoder | Self::ConvAutoencoder => Problem::Anomaly,
            Self::MlpClassifier | Self::ConvClassifier | Self::Rocket => Problem::Classify,
            Self::Ridge | Self::MlpRegressor => Problem::Regress,
        }
    }
}

/// Settings of a built-in recipe; each recipe reads those that concern it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecipeSettings {
    /// Which recipe.
    pub algorithm: Algorithm,
    /// Rows of input.
    pub lookback: usize,
    /// Rows forecast; 0 unless forecasting.
    #[serde(default)]
    pub horizon: usize,
    /// `ridge`, `ridge_nlinear`: weight of the ridge, beside the mean diagonal of the normal matrix.
    #[serde(default = "default::ridge")]
    pub ridge: f64,
    /// Closed forms: weight that what was known keeps at each fine-tuning, 0..=1.
    #[serde(default = "default::forgetting")]
    pub forgetting: f64,
    /// Principal components: share of the variance kept, 0..1.
    #[serde(default = "default::variance_kept")]
    pub variance_kept: f64,
    /// Anomaly: share of usual windows that may be flagged; the threshold follows from it.
    #[serde(default = "default::false_alarm_rate")]
    pub false_alarm_rate: f64,
    /// Networks: units of each hidden layer (auto-encoders: of the first half; the rest mirrors it).
    #[serde(default = "default::hidden")]
    pub hidden: Vec<usize>,
    /// Gradient: most epochs.
    #[serde(default = "default::epochs_max")]
    pub epochs_max: u32,
    /// Gradient: windows a step.
    #[serde(default = "default::batch_size")]
    pub batch_size: usize,
    /// Gradient: first learning rate.
    #[serde(default = "default::learning_rate")]
    pub learning_rate: f64,
    /// Gradient: factor on the learning rate after each epoch.
    #[serde(default = "default::learning_rate_decay")]
    pub learning_rate_decay: f64,
    /// Gradient: epochs without a better validation loss before it stops.
    #[serde(default = "default::patience_epochs")]
    pub patience_epochs: u32,
    /// Gradient: longest gradient, Euclidean norm over all parameters.
    #[serde(default = "default::gradient_norm_max")]
    pub gradient_norm_max: f64,
    /// Networks that classify: weigh each class by how rare it is.
    #[serde(default = "default::balance_classes")]
    pub balance_classes: bool,
}

mod default {
    pub(super) const fn ridge() -> f64 {
        1e-2
    }
    pub(super) const fn forgetting() -> f64 {
        1.0
    }
    pub(super) const fn variance_kept() -> f64 {
        0.9
    }
    pub(super) const fn false_alarm_rate() -> f64 {
        0.01
    }
    pub(super) fn hidden() -> Vec<usize> {
        vec![64, 16]
    }
    pub(super) const fn epochs_max() -> u32 {
        20
    }
    pub(super) const fn batch_size() -> usize {
        32
    }
    pub(super) const fn learning_rate() -> f64 {
        1e-3
    }
    pub(super) const fn learning_rate_decay() -> f64 {
        0.9
    }
    pub(super) const fn patience_epochs() -> u32 {
        3
    }
    pub(super) const fn gradient_norm_max() -> f64 {
        1.0
    }
    pub(super) const fn balance_classes() -> bool {
        true
    }
}

impl RecipeSettings {
    /// The defaults of `algorithm` for windows of this shape.
    pub fn new(algorithm: Algorithm, shape: WindowShape) -> Self {
        Self {
            algorithm,
            lookback: shape.lookback,
            horizon: shape.horizon,
            ridge: default::ridge(),
            forgetting: default::forgetting(),
            variance_kept: default::variance_kept(),
            false_alarm_rate: default::false_alarm_rate(),
            hidden: default::hidden(),
            epochs_max: default::epochs_max(),
            batch_size: default::batch_size(),
            learning_rate: default::learning_rate(),
            learning_rate_decay: default::learning_rate_decay(),
            patience_epochs: default::patience_epochs(),
            gradient_norm_max: default::gradient_norm_max(),
            balance_classes: default::balance_classes(),
        }
    }

    /// Rows of its windows.
    pub const fn shape(&self) -> WindowShape {
        WindowShape {
            lookback: self.lookback,
            horizon: self.horizon,
        }
    }
}

/// Rows a window may have; more would not be looked at in time on a small device.
const WINDOW_ROWS_MAX: usize = 1 << 16;

/// The recipe that `settings` describe.
///
/// # Errors
/// A text for people: which setting makes no sense, and what would.
pub fn build(settings: &RecipeSettings) -> Result<Box<dyn Recipe>, String> {
    check(settings)?;
    match closed_form::build(settings) {
        Some(recipe) => Ok(recipe),
        // The networks, trained by gradient.
        None => gradient::build(settings),
    }
}

/// Whether the settings make sense together.
fn check(settings: &RecipeSettings) -> Result<(), String> {
    let forecasts = settings.algorithm.problem() == Problem::Forecast;
    let rows = settings.lookback.saturating_add(settings.horizon);
    let is_share = |value: f64| value > 0.0 && value < 1.0;
    let is_positive = |value: f64| value > 0.0 && value.is_finite();
    let wrong = if settings.lookback == 0 {
        "lookback must be at least 1"
    } else if forecasts && settings.horizon == 0 {
        "horizon must be at least 1 to forecast"
    } else if !forecasts && settings.horizon > 0 {
        "horizon must be 0 unless forecasting"
    } else if rows > WINDOW_ROWS_MAX {
        "lookback and horizon must not be more than 65536 rows together"
    } else if !(settings.ridge >= 0.0 && settings.ridge.is_finite()) {
        "ridge must be 0 or more"
    } else if !(0.0..=1.0).contains(&settings.forgetting) {
        "forgetting must be from 0 to 1"
    } else if !is_share(settings.variance_kept) {
        "variance_kept must be between 0 and 1"
    } else if !is_share(settings.false_alarm_rate) {
        "false_alarm_rate must be between 0 and 1"
    } else if settings.hidden.contains(&0) {
        "hidden layers must have at least 1 unit each"
    } else if settings.epochs_max == 0 || settings.batch_size == 0 {
        "epochs_max and batch_size must be at least 1"
    } else if !is_positive(settings.learning_rate) || !is_positive(settings.learning_rate_decay) {
        "learning_rate and learning_rate_decay must be above 0"
    } else if !is_positive(settings.gradient_norm_max) {
        "gradient_norm_max must be above 0"
    } else if settings.algorithm == Algorithm::RidgeNlinear
        && settings.lookback > closed_form::INPUTS_MAX
    {
        "lookback must not be more than 2048 for ridge_nlinear"
    } else {
        return Ok(());
    };
    Err(wrong.to_owned())
}

/// The incumbent is not what a recipe of `kind` can go on from.
fn another_recipe(kind: &str) -> TrainError {
    TrainError::Recipe(format!(
        "the model in use is not of kind {kind}; train a new one from the start"
    ))
}

/// The features of the incumbent are not those of the data.
fn other_features(known: &[String], found: &[String]) -> TrainError {
    TrainError::Recipe(format!(
        "the model in use was trained on the features {}, the data has {}; train a new one from the start",
        known.join(", "),
        found.join(", ")
    ))
}
