//! The recipes that come with Dunlin, and the settings they share.

pub mod gradient;

use serde::{Deserialize, Serialize};

use crate::{data::WindowShape, recipe::Task};

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
    /// Regress: closed-form ridge regression on the window.
    Ridge,
    /// Regress: a multi-layer perceptron over the window.
    MlpRegressor,
}

impl Algorithm {
    /// What its models are for.
    pub const fn task(self) -> Task {
        match self {
            Self::RidgeNlinear | Self::Nlinear | Self::Dlinear | Self::MlpForecast => {
                Task::Forecast
            }
            Self::Pca | Self::Autoencoder | Self::ConvAutoencoder => Task::Anomaly,
            Self::MlpClassifier | Self::ConvClassifier => Task::Classify,
            Self::Ridge | Self::MlpRegressor => Task::Regress,
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
    /// Closed forms: weight of the ridge, beside the mean diagonal of the normal matrix.
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
    /// Classify: weigh each class by how rare it is.
    #[serde(default = "default::balance_classes")]
    pub balance_classes: bool,
}

mod default {
    pub(super) const fn ridge() -> f64 {
        1e-3
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
