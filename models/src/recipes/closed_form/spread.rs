//! What scales were fitted on, kept so that those of several models become that of all their rows.

use crate::{
    artifact::{Artifact, ArtifactError},
    data::scale::{self, Moments, Scale},
};

const NAME: &str = "moments";

/// How many numbers of a feature there were, and how they are spread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    /// Finite numbers; those of a merged model by weight.
    pub rows: f64,
    pub mean: f64,
    /// Sum of squared distances from the mean.
    pub squares: f64,
}

impl From<&Moments> for Spread {
    fn from(moments: &Moments) -> Self {
        Self {
            rows: moments.count as f64,
            mean: moments.mean,
            squares: moments.squares,
        }
    }
}

impl Spread {
    /// Of every feature, as `scale` tells them, if there were `rows` of each.
    pub(super) fn from_scale(scale: &Scale, rows: f64) -> Vec<Self> {
        let of = |(mean, std): (&f32, &f32)| Self {
            rows,
            mean: f64::from(*mean),
            // What a constant is divided by; of other features hardly ever exactly this.
            squares: if std.to_bits() == 1_f32.to_bits() {
                0.0
            } else {
                rows * f64::from(*std).powi(2)
            },
        };
        scale.mean.iter().zip(&scale.std).map(of).collect()
    }

    /// Each number counted `weight` times.
    pub(super) fn weighted(self, weight: f64) -> Self {
        Self {
            rows: self.rows * weight,
            squares: self.squares * weight,
            ..self
        }
    }

    /// Of the numbers of both (Chan and others 1979).
    pub(super) fn with(self, other: Self) -> Self {
        let rows = self.rows + other.rows;
        if rows <= 0.0 {
            return self;
        }
        let distance = other.mean - self.mean;
        let share = other.rows / rows;
        Self {
            rows,
            mean: self.mean + distance * share,
            squares: self.squares + other.squares + distance * distance * self.rows * share,
        }
    }

    /// What standardises features that are spread like this.
    pub(super) fn scale(features: &[Self]) -> Scale {
        let std = |of: &Self| {
            let rows = if of.rows > 0.0 { of.rows } else { 1.0 };
            scale::std(of.mean, of.squares / rows) as f32
        };
        Scale {
            mean: features.iter().map(|of| of.mean as f32).collect(),
            std: features.iter().map(std).collect(),
        }
    }

    pub(super) fn save(features: &[Self], artifact: &mut Artifact) {
        let rows = features.iter().map(|of| of.rows);
        let means = features.iter().map(|of| of.mean);
        let squares = features.iter().map(|of| of.squares);
        let numbers = rows.chain(means).chain(squares).collect();
        artifact.insert_f64(NAME, &[3, features.len()], numbers);
    }

    /// `None` in models that were saved before it was kept.
    pub(super) fn load(artifact: &Artifact) -> Result<Option<Vec<Self>>, ArtifactError> {
        if !artifact.tensors.contains_key(NAME) {
            return Ok(None);
        }
        let features = artifact.features.len();
        let numbers = artifact.f64(NAME, &[3, features])?;
        let of = |at: usize| Self {
            rows: numbers[at],
            mean: numbers[features + at],
            squares: numbers[2 * features + at],
        };
        let spreads: Vec<Self> = (0..features).map(of).collect();
        if spreads.iter().any(|of| of.rows < 0.0 || of.squares < 0.0) {
            let what = "it counts fewer than no rows";
            return Err(ArtifactError::Damaged(what.into()));
        }
        Ok(Some(spreads))
    }
}
