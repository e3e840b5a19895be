//! Whether the world has changed since a model was trained.
//!
//! Promises: bounded memory a stream; no clock and no chance of its own; values that are no numbers
//! are counted and otherwise ignored; state can be stored and taken up again.
//!
//! Two detectors on the live (prequential) error, which differ in what they see first:
//! [`adwin::Adwin`] finds any change of the mean at a false-alarm rate that is set,
//! [`page_hinkley::PageHinkley`] a lasting rise soonest. [`error::ErrorDrift`] runs both on errors of
//! any scale. [`population::InputDrift`] compares the inputs with those trained on.

pub mod adwin;
pub mod error;
pub mod page_hinkley;
pub mod population;

use serde::{Deserialize, Serialize};

/// Which test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Detector {
    /// Adaptive windowing on the error.
    Adwin,
    /// Page-Hinkley on the error.
    PageHinkley,
    /// Population stability of an input.
    Population,
}

/// A change that was noticed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alarm {
    /// By which test.
    pub detector: Detector,
    /// Position of the feature, if one is to blame.
    pub feature: Option<usize>,
    /// The test's figure: the rise of the mean scaled error, the cumulated rise, the index.
    pub figure: f64,
    /// The bound that it is above.
    pub bound: f64,
}
