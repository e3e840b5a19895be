//! The settings of the built-in recipes as people write them: name, range, help, and where each goes.

use super::{Algorithm, RecipeSettings};
use crate::recipe::Problem;

/// What a setting may be; ranges include both ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RecipeRange {
    /// A whole number.
    Count {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// A number.
    Real {
        /// The least.
        min: f64,
        /// The most.
        max: f64,
    },
    /// Yes or no.
    Flag,
    /// A list of whole numbers: units of each layer.
    Layers {
        /// Most layers.
        layers_max: usize,
        /// Most units of one.
        units_max: u64,
    },
}

/// The value of a setting.
#[derive(Clone, Debug, PartialEq)]
pub enum RecipeValue {
    /// Of [`RecipeRange::Count`].
    Count(u64),
    /// Of [`RecipeRange::Real`].
    Real(f64),
    /// Of [`RecipeRange::Flag`].
    Flag(bool),
    /// Of [`RecipeRange::Layers`].
    Layers(Vec<usize>),
}

/// Where a setting is kept.
enum Slot<'s> {
    Rows(&'s mut usize),
    Count(&'s mut u32),
    Real(&'s mut f64),
    Flag(&'s mut bool),
    Layers(&'s mut Vec<usize>),
}

/// A setting of the built-in recipes.
pub struct RecipeKey {
    /// Its name in a configuration.
    pub name: &'static str,
    /// What it may be.
    pub range: RecipeRange,
    /// One line for people.
    pub help: &'static str,
    slot: fn(&mut RecipeSettings) -> Slot<'_>,
}

const SHARE: RecipeRange = RecipeRange::Real { min: 0.0, max: 1.0 };
const ROWS: RecipeRange = RecipeRange::Count {
    min: 1,
    max: 100_000,
};

/// All of them, in the order in which people meet them.
pub static KEYS: &[RecipeKey] = &[
    RecipeKey {
        name: "lookback",
        range: ROWS,
        help: "Records a model looks at.",
        slot: |settings| Slot::Rows(&mut settings.lookback),
    },
    RecipeKey {
        name: "horizon",
        range: ROWS,
        help: "Records it forecasts; for forecasts alone.",
        slot: |settings| Slot::Rows(&mut settings.horizon),
    },
    RecipeKey {
        name: "false_alarm_rate",
        range: SHARE,
        help: "Anomalies: share of usual windows that may be flagged; the threshold follows from it.",
        slot: |settings| Slot::Real(&mut settings.false_alarm_rate),
    },
    RecipeKey {
        name: "variance_kept",
        range: SHARE,
        help: "pca: share of the variance that the components keep.",
        slot: |settings| Slot::Real(&mut settings.variance_kept),
    },
    RecipeKey {
        name: "ridge",
        range: RecipeRange::Real { min: 0.0, max: 1e6 },
        help: "ridge, ridge_nlinear: weight of the ridge, beside the mean diagonal of the normal matrix.",
        slot: |settings| Slot::Real(&mut settings.ridge),
    },
    RecipeKey {
        name: "forgetting",
        range: SHARE,
        help: "Closed forms: weight that what was known keeps at each fine-tuning.",
        slot: |settings| Slot::Real(&mut settings.forgetting),
    },
    RecipeKey {
        name: "hidden",
        range: RecipeRange::Layers {
            layers_max: 8,
            units_max: 4096,
        },
        help: "Networks: units of each hidden layer; of an auto-encoder those of its first half.",
        slot: |settings| Slot::Layers(&mut settings.hidden),
    },
    RecipeKey {
        name: "epochs_max",
        range: ROWS,
        help: "Networks: most epochs.",
        slot: |settings| Slot::Count(&mut settings.epochs_max),
    },
    RecipeKey {
        name: "batch_size",
        range: ROWS,
        help: "Networks: windows a step.",
        slot: |settings| Slot::Rows(&mut settings.batch_size),
    },
    RecipeKey {
        name: "learning_rate",
        range: RecipeRange::Real {
            min: 1e-9,
            max: 10.0,
        },
        help: "Networks: learning rate of the first epoch.",
        slot: |settings| Slot::Real(&mut settings.learning_rate),
    },
    RecipeKey {
        name: "learning_rate_decay",
        range: SHARE,
        help: "Networks: factor on the learning rate after each epoch.",
        slot: |settings| Slot::Real(&mut settings.learning_rate_decay),
    },
    RecipeKey {
        name: "patience_epochs",
        range: ROWS,
        help: "Networks: epochs without a better validation loss before training stops.",
        slot: |settings| Slot::Count(&mut settings.patience_epochs),
    },
    RecipeKey {
        name: "gradient_norm_max",
        range: RecipeRange::Real {
            min: 1e-6,
            max: 1e6,
        },
        help: "Networks: longest gradient, Euclidean norm over all parameters.",
        slot: |settings| Slot::Real(&mut settings.gradient_norm_max),
    },
    RecipeKey {
        name: "balance_classes",
        range: RecipeRange::Flag,
        help: "Networks that classify: weigh each class by how rare it is.",
        slot: |settings| Slot::Flag(&mut settings.balance_classes),
    },
];

impl RecipeKey {
    /// Its value in `settings`.
    pub fn value(&self, settings: &RecipeSettings) -> RecipeValue {
        match (self.slot)(&mut settings.clone()) {
            Slot::Rows(rows) => RecipeValue::Count(*rows as u64),
            Slot::Count(count) => RecipeValue::Count(u64::from(*count)),
            Slot::Real(real) => RecipeValue::Real(*real),
            Slot::Flag(flag) => RecipeValue::Flag(*flag),
            Slot::Layers(layers) => RecipeValue::Layers(layers.clone()),
        }
    }

    /// Sets it in `settings`, if `value` is in its range; whether it is.
    pub fn set(&self, settings: &mut RecipeSettings, value: &RecipeValue) -> bool {
        if !self.range.contains(value) {
            return false;
        }
        match ((self.slot)(settings), value) {
            (Slot::Rows(rows), RecipeValue::Count(count)) => *rows = *count as usize,
            (Slot::Count(kept), RecipeValue::Count(count)) => *kept = *count as u32,
            (Slot::Real(kept), RecipeValue::Real(real)) => *kept = *real,
            (Slot::Flag(kept), RecipeValue::Flag(flag)) => *kept = *flag,
            (Slot::Layers(kept), RecipeValue::Layers(layers)) => kept.clone_from(layers),
            _ => return false,
        }
        true
    }
}

impl RecipeRange {
    /// Whether `value` is of this type and in range.
    pub fn contains(&self, value: &RecipeValue) -> bool {
        match (self, value) {
            (Self::Count { min, max }, RecipeValue::Count(count)) => (min..=max).contains(&count),
            (Self::Real { min, max }, RecipeValue::Real(real)) => (min..=max).contains(&real),
            (Self::Flag, RecipeValue::Flag(_)) => true,
            (
                Self::Layers {
                    layers_max,
                    units_max,
                },
                RecipeValue::Layers(layers),
            ) => {
                let mut units = layers.iter().map(|units| *units as u64);
                (1..=*layers_max).contains(&layers.len())
                    && units.all(|units| (1..=*units_max).contains(&units))
            }
            _ => false,
        }
    }
}

impl RecipeSettings {
    /// The defaults of `algorithm`.
    pub fn default_of(algorithm: Algorithm) -> Self {
        let (lookback, horizon) = match algorithm.problem() {
            Problem::Forecast => (96, 24),
            Problem::Anomaly | Problem::Classify | Problem::Regress => (1, 0),
        };
        Self::new(algorithm, crate::data::WindowShape { lookback, horizon })
    }
}

#[cfg(test)]
mod tests;
