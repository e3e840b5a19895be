//! Whether the world has changed: detectors over the errors and the inputs of one predictor.

use dunlin_models::drift::{
    Alarm,
    error::{ErrorDrift, ErrorDriftSettings},
    population::InputDrift,
};
use serde::{Deserialize, Serialize};

/// The detectors of one predictor. Stored as part of its snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct DriftDetectors {
    error: ErrorDrift,
    /// `None` if the training records are gone: there is nothing to compare inputs with.
    input: Option<InputDrift>,
}

impl DriftDetectors {
    /// Detectors that have seen nothing.
    pub(super) fn new(input: Option<InputDrift>) -> Self {
        Self {
            error: ErrorDrift::new(ErrorDriftSettings::default()),
            input,
        }
    }

    /// Goes on as `stored`; without bins for the inputs there, these stay as they are.
    pub(super) fn restore(&mut self, stored: Self) {
        self.error = stored.error;
        if stored.input.is_some() {
            self.input = stored.input;
        }
    }

    pub(super) fn add_input(&mut self, features: &[f32]) -> Option<Alarm> {
        self.input.as_mut()?.add(features)
    }

    pub(super) fn add_error(&mut self, error: f64) -> Option<Alarm> {
        self.error.add(error)
    }
}
