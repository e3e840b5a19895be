//! Mean and standard deviation of every feature, fitted on training rows only.

use serde::{Deserialize, Serialize};

use crate::data::{DataError, Source};

/// A feature that varies less than this, beside its mean, counts as constant.
const RELATIVE_STD_MIN: f64 = 1e-7;

/// Standardises: `(value - mean) / std`, feature by feature. A constant feature becomes 0.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scale {
    /// One a feature.
    pub mean: Vec<f32>,
    /// One a feature; 1 where the feature is constant.
    pub std: Vec<f32>,
}

impl Scale {
    /// Fits the features of all training rows; the sums run in f64 (Welford).
    ///
    /// # Errors
    /// [`DataError`] if a chunk cannot be read.
    pub fn fit(source: &dyn Source) -> Result<Self, DataError> {
        Ok(Self::of(&Self::moments(source)?))
    }

    /// What [`Self::fit`] takes its numbers from, one a feature.
    ///
    /// # Errors
    /// [`DataError`] if a chunk cannot be read.
    pub(crate) fn moments(source: &dyn Source) -> Result<Vec<Moments>, DataError> {
        let features = source.columns().features.len();
        let mut moments = vec![Moments::default(); features];
        for index in 0..source.chunks() {
            let rows = source.read(index)?;
            for row in (rows.lead..rows.len()).filter(|row| rows.is_train[*row]) {
                let values = rows.values_of(row..row + 1, features);
                for (moments, value) in moments.iter_mut().zip(values) {
                    moments.add(f64::from(*value));
                }
            }
        }
        Ok(moments)
    }

    /// Of features with these moments.
    pub(crate) fn of(moments: &[Moments]) -> Self {
        Self {
            mean: moments.iter().map(|m| m.mean as f32).collect(),
            std: moments.iter().map(|m| m.std() as f32).collect(),
        }
    }

    /// Standardises rows in place; `values` is row after row.
    pub fn apply(&self, values: &mut [f32]) {
        for row in values.chunks_mut(self.mean.len().max(1)) {
            for ((value, mean), std) in row.iter_mut().zip(&self.mean).zip(&self.std) {
                *value = (*value - mean) / std;
            }
        }
    }

    /// Takes [`Self::apply`] back.
    pub fn invert(&self, values: &mut [f32]) {
        for row in values.chunks_mut(self.mean.len().max(1)) {
            for ((value, mean), std) in row.iter_mut().zip(&self.mean).zip(&self.std) {
                *value = *value * std + mean;
            }
        }
    }
}

/// Mean and variance of a growing set of numbers (Welford 1962).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    /// Finite numbers seen.
    pub count: u64,
    /// Their mean; 0 while there is none.
    pub mean: f64,
    /// Sum of squared distances from the mean.
    pub squares: f64,
}

impl Moments {
    /// Adds a number, unless it is not finite.
    pub fn add(&mut self, value: f64) {
        if value.is_finite() {
            self.count += 1;
            let distance = value - self.mean;
            self.mean += distance / self.count as f64;
            self.squares += distance * (value - self.mean);
        }
    }

    /// Population standard deviation; 1 for a constant.
    pub fn std(&self) -> f64 {
        std(self.mean, self.squares / self.count.max(1) as f64)
    }
}

/// Standard deviation of numbers with this mean and variance; 1 for a constant.
pub(crate) fn std(mean: f64, variance: f64) -> f64 {
    let std = variance.sqrt();
    if std > mean.abs() * RELATIVE_STD_MIN && std.is_finite() && std > 0.0 {
        std
    } else {
        1.0
    }
}

#[cfg(test)]
mod tests;
