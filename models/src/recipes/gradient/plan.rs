//! What a recipe trained by gradient is made of: how it looks at a window, and which layers follow.

use crate::{
    recipe::Problem,
    recipes::{Algorithm, RecipeSettings},
    training::{
        network::{Layer, Network},
        perceptron,
    },
};

/// Rows that one place of a convolution sees.
const KERNEL: usize = 7;
/// Units of a layer at most.
const UNITS_MAX: usize = 1 << 16;

/// How a window becomes inputs of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    /// Each feature is a sample of its own, all share the parameters (Zeng et al. 2023): what is
    /// learnt of one helps the others.
    Channels {
        /// Inputs and targets are taken from the last input row on, so that a new level is no
        /// surprise.
        minus_last: bool,
        /// The moving mean is put beside what is left of the window without it.
        with_trend: bool,
    },
    /// All features of all rows are one sample.
    Window,
}

/// Settings, checked, and what follows from them for data of this width.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct NetworkPlan {
    pub(super) settings: RecipeSettings,
    pub(super) features: usize,
    pub(super) classes: usize,
    pub(super) view: View,
    pub(super) network: Network,
}

impl NetworkPlan {
    /// # Errors
    /// A text, if there can be no such network.
    pub(super) fn new(
        settings: &RecipeSettings,
        features: usize,
        classes: usize,
    ) -> Result<Self, String> {
        if features == 0 {
            return Err("a model needs at least one feature, and the data has none".into());
        }
        let (lookback, horizon) = (settings.lookback, settings.horizon);
        let hidden = &*settings.hidden;
        let window = lookback
            .checked_mul(features)
            .ok_or("the window is too wide")?;
        let view = match settings.algorithm {
            Algorithm::Dlinear => View::Channels {
                minus_last: false,
                with_trend: true,
            },
            Algorithm::Nlinear | Algorithm::MlpForecast => View::Channels {
                minus_last: true,
                with_trend: false,
            },
            _ => View::Window,
        };
        let (inputs, layers) = match settings.algorithm {
            Algorithm::Nlinear => (lookback, perceptron(&[lookback, horizon])),
            Algorithm::Dlinear => (2 * lookback, perceptron(&[2 * lookback, horizon])),
            Algorithm::MlpForecast => (lookback, perceptron(&widths(lookback, hidden, horizon))),
            Algorithm::MlpClassifier => (window, perceptron(&widths(window, hidden, classes))),
            Algorithm::MlpRegressor => (window, perceptron(&widths(window, hidden, 1))),
            Algorithm::Autoencoder => (window, autoencoder(window, hidden)),
            Algorithm::ConvAutoencoder => (window, conv_autoencoder(lookback, features, hidden)),
            Algorithm::ConvClassifier => {
                (window, conv_classifier(lookback, features, hidden, classes))
            }
            Algorithm::RidgeNlinear | Algorithm::Pca | Algorithm::Rocket | Algorithm::Ridge => {
                return Err(format!(
                    "{:?} is not trained by gradient",
                    settings.algorithm
                ));
            }
        };
        Ok(Self {
            settings: settings.clone(),
            features,
            classes,
            view,
            network: Network::new(inputs, layers)?,
        })
    }
}

/// Refuses settings that no data could make sense of.
pub(super) fn check(settings: &RecipeSettings) -> Result<(), String> {
    let algorithm = settings.algorithm;
    let wants = |holds: bool, what: &str| {
        let text = || format!("{algorithm:?}: {what}");
        if holds { Ok(()) } else { Err(text()) }
    };
    let is_forecast = algorithm.problem() == Problem::Forecast;
    let units = 1..=UNITS_MAX;
    wants(
        units.contains(&settings.lookback),
        "lookback must be 1 to 65536 rows",
    )?;
    if is_forecast {
        wants(
            units.contains(&settings.horizon),
            "horizon must be 1 to 65536 rows",
        )?;
    } else {
        wants(
            settings.horizon == 0,
            "horizon is for forecasting alone: leave it out",
        )?;
    }
    if !matches!(algorithm, Algorithm::Nlinear | Algorithm::Dlinear) {
        let hidden = &settings.hidden;
        wants(
            (1..=16).contains(&hidden.len()) && hidden.iter().all(|width| units.contains(width)),
            "hidden must name 1 to 16 layers of 1 to 65536 units",
        )?;
    }
    let positive = |value: f64| value.is_finite() && value > 0.0;
    let rate = settings.learning_rate_decay;
    wants(settings.epochs_max > 0, "epochs_max must be at least 1")?;
    wants(
        units.contains(&settings.batch_size),
        "batch_size must be 1 to 65536 windows",
    )?;
    wants(
        positive(settings.learning_rate),
        "learning_rate must be above 0",
    )?;
    wants(
        positive(rate) && rate <= 1.0,
        "learning_rate_decay must be above 0, at most 1",
    )?;
    wants(
        positive(settings.gradient_norm_max),
        "gradient_norm_max must be above 0",
    )?;
    let alarms = settings.false_alarm_rate;
    wants(
        positive(alarms) && alarms < 1.0,
        "false_alarm_rate must be above 0, below 1",
    )
}

fn widths(inputs: usize, hidden: &[usize], outputs: usize) -> Vec<usize> {
    [&[inputs], hidden, &[outputs]].concat()
}

/// Down to the last of `hidden` and up again; the narrowest layer keeps its signs.
fn autoencoder(window: usize, hidden: &[usize]) -> Vec<Layer> {
    let mut layers = perceptron(&[&[window], hidden].concat());
    let back: Vec<usize> = hidden.iter().rev().copied().chain([window]).collect();
    layers.extend(perceptron(&back));
    layers
}

/// Each convolution down halves the rows, each one up doubles them.
fn conv_autoencoder(lookback: usize, features: usize, hidden: &[usize]) -> Vec<Layer> {
    let (mut layers, mut steps) = (Vec::new(), Vec::new());
    let (mut rows, mut channels) = (lookback, features);
    for &filters in hidden {
        layers.extend([convolution(rows, channels, filters, 2), Layer::Relu]);
        steps.push((rows, channels));
        (rows, channels) = (rows.div_ceil(2), filters);
    }
    while let Some((rows_out, filters)) = steps.pop() {
        layers.push(Layer::Double {
            rows,
            channels,
            rows_out,
        });
        layers.push(convolution(rows_out, channels, filters, 1));
        if !steps.is_empty() {
            layers.push(Layer::Relu);
        }
        (rows, channels) = (rows_out, filters);
    }
    layers
}

/// Convolutions, each halving the rows; their mean over the rows decides.
fn conv_classifier(
    lookback: usize,
    features: usize,
    hidden: &[usize],
    classes: usize,
) -> Vec<Layer> {
    let mut layers = Vec::new();
    let (mut rows, mut channels) = (lookback, features);
    for &filters in hidden {
        layers.extend([convolution(rows, channels, filters, 2), Layer::Relu]);
        (rows, channels) = (rows.div_ceil(2), filters);
    }
    layers.push(Layer::MeanRows { rows, channels });
    layers.push(Layer::Dense {
        inputs: channels,
        outputs: classes,
    });
    layers
}

const fn convolution(rows: usize, channels: usize, filters: usize, stride: usize) -> Layer {
    Layer::Conv {
        rows,
        channels,
        filters,
        kernel: KERNEL,
        stride,
    }
}
