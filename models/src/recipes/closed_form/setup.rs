//! How a closed form looks at its data: settings, features, scale and kernels, as an artifact too; and the
//! checks of what comes in.

use serde::{Deserialize, Serialize};

use super::{kernels::Kernels, spread::Spread};
use crate::{
    artifact::{Artifact, ArtifactError},
    data::{DataError, Source, Subset, WindowShape, scale::Scale},
    recipe::{Host, Problem, TrainError},
    recipes::{Algorithm, RecipeSettings, other_features},
};

/// What a model knows besides its numbers.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    /// Settings of the recipe that made it.
    pub settings: RecipeSettings,
    /// Features in their order.
    pub features: Vec<String>,
    /// Names of the classes in their order; none unless it classifies.
    pub classes: Vec<String>,
    /// Of the features, from the rows of the first training.
    pub scale: Scale,
    /// Of the features in the rows that the scale is from; `None` in models that were saved before it was kept.
    pub spreads: Option<Vec<Spread>>,
    /// From the windows of the first training; none unless the recipe is `rocket`.
    pub kernels: Kernels,
}

/// Settings of a classifier in its artifact, as those of networks.
#[derive(Serialize, Deserialize)]
struct StoredClassifier {
    recipe: RecipeSettings,
    classes: Vec<String>,
}

impl Setup {
    /// Fits the scale on the training rows of `source`, and the kernels on its windows.
    pub(super) fn new(
        settings: &RecipeSettings,
        source: &dyn Source,
        seed: u64,
        host: &mut dyn Host,
    ) -> Result<Self, TrainError> {
        let columns = source.columns();
        let moments = Scale::moments(source)?;
        let scale = Scale::of(&moments);
        let kernels = match settings.algorithm {
            Algorithm::Rocket => Kernels::draw(source, settings.shape(), &scale, seed, host)?,
            _ => Kernels::default(),
        };
        let classes = match settings.algorithm.problem() {
            Problem::Classify => columns.classes.clone(),
            _ => Vec::new(),
        };
        Ok(Self {
            settings: settings.clone(),
            features: columns.features.clone(),
            classes,
            scale,
            spreads: Some(moments.iter().map(Spread::from).collect()),
            kernels,
        })
    }

    /// Refuses to bring a model with this up to date by a recipe of `settings` on `source`, unless they fit.
    pub(super) fn check(
        &self,
        settings: &RecipeSettings,
        source: &dyn Source,
    ) -> Result<(), TrainError> {
        if self.settings.shape() != settings.shape() {
            return Err(TrainError::Recipe(format!(
                "the model in use looks at {}, the recipe at {}; train a new one from the start",
                shape_text(self.settings.shape()),
                shape_text(settings.shape())
            )));
        }
        let found = &source.columns().features;
        if self.features != *found {
            return Err(other_features(&self.features, found));
        }
        let found = &source.columns().classes;
        if settings.algorithm.problem() == Problem::Classify && self.classes != *found {
            return Err(TrainError::Recipe(format!(
                "the model in use tells the classes {} apart, the data has {}; train a new one from \
                 the start",
                self.classes.join(", "),
                found.join(", ")
            )));
        }
        Ok(())
    }

    /// Numbers in a window of all features.
    pub(super) fn inputs(&self) -> usize {
        self.settings.lookback * self.features.len()
    }

    /// Writes `values`, rows of all features, to `out` in standard deviations from the mean.
    pub(super) fn standardise(&self, values: &[f32], out: &mut [f64]) {
        let scale = self.scale.mean.iter().zip(&self.scale.std).cycle();
        for ((out, value), (mean, std)) in out.iter_mut().zip(values).zip(scale) {
            *out = (f64::from(*value) - f64::from(*mean)) / f64::from(*std);
        }
    }

    /// The beginning of an artifact of `kind`; the numbers follow.
    pub(super) fn save(&self, kind: &str) -> Artifact {
        let recipe = self.settings.clone();
        let settings = match recipe.algorithm.problem() {
            Problem::Classify => serde_json::to_string(&StoredClassifier {
                recipe,
                classes: self.classes.clone(),
            }),
            _ => serde_json::to_string(&recipe),
        };
        let mut artifact = Artifact {
            kind: kind.to_owned(),
            features: self.features.clone(),
            // Plain numbers and names: this cannot fail.
            settings: settings.unwrap_or_default(),
            ..Artifact::default()
        };
        let features = [self.features.len()];
        artifact.insert_f32("mean", &features, self.scale.mean.clone());
        artifact.insert_f32("std", &features, self.scale.std.clone());
        if let Some(spreads) = &self.spreads {
            Spread::save(spreads, &mut artifact);
        }
        self.kernels.save(&mut artifact);
        artifact
    }

    /// Takes it back, if it is of `kind` and of the shape of `settings`.
    pub(super) fn load(
        artifact: &Artifact,
        kind: &str,
        settings: &RecipeSettings,
    ) -> Result<Self, ArtifactError> {
        let (stored, classes) = match settings.algorithm.problem() {
            Problem::Classify => {
                let StoredClassifier { recipe, classes } = artifact.settings(kind)?;
                (recipe, classes)
            }
            _ => (artifact.settings(kind)?, Vec::new()),
        };
        if stored.shape() != settings.shape() {
            return Err(ArtifactError::Misfit(format!(
                "it looks at {}, the recipe at {}",
                shape_text(stored.shape()),
                shape_text(settings.shape())
            )));
        }
        let features = [artifact.features.len()];
        let scale = Scale {
            mean: artifact.f32("mean", &features)?,
            std: artifact.f32("std", &features)?,
        };
        if scale.std.iter().any(|std| *std <= 0.0) {
            let what = "it has a standard deviation that is not positive";
            return Err(ArtifactError::Damaged(what.into()));
        }
        let kernels = match settings.algorithm {
            Algorithm::Rocket => Kernels::load(artifact, stored.lookback, features[0])?,
            _ => Kernels::default(),
        };
        Ok(Self {
            settings: stored,
            features: artifact.features.clone(),
            classes,
            scale,
            spreads: Spread::load(artifact)?,
            kernels,
        })
    }
}

pub(super) fn shape_text(shape: WindowShape) -> String {
    match shape.horizon {
        0 => format!("windows of {} rows", shape.lookback),
        horizon => format!("{} rows to forecast {horizon}", shape.lookback),
    }
}

/// Why there is nothing to learn from, as counts: windows of `shape`, of which none could be used.
///
/// # Errors
/// [`DataError`] if a chunk cannot be read.
pub(super) fn nothing_to_learn(
    source: &dyn Source,
    shape: WindowShape,
    wants_label: bool,
) -> Result<TrainError, DataError> {
    let features = source.columns().features.len();
    let (mut longest, mut whole, mut labelled) = (0, 0, 0);
    for index in 0..source.chunks() {
        let rows = source.read(index)?;
        longest = longest.max(rows.len());
        whole += rows.windows(shape, features, false, Subset::All).count();
        labelled += rows
            .windows(shape, features, wants_label, Subset::All)
            .count();
    }
    let needed = shape.lookback + shape.horizon;
    Ok(TrainError::Data(if longest < needed {
        format!(
            "needed: {needed} consecutive rows ({}); found: at most {longest}",
            shape_text(shape)
        )
    } else if whole == 0 {
        format!(
            "needed: {needed} consecutive rows without a missing value; found: none among up to \
             {longest}"
        )
    } else if labelled == 0 {
        let label = source.columns().label.as_deref().unwrap_or("label");
        format!("needed: rows with a value of {label:?}; found: none in {whole} windows")
    } else {
        format!("needed: windows in the training half; found: {labelled}, all for validation")
    }))
}

/// Refuses windows of more than `inputs_max` numbers, which would take too much memory, and of none.
pub(super) fn check_inputs(
    shape: WindowShape,
    features: usize,
    inputs_max: usize,
) -> Result<(), TrainError> {
    let inputs = shape.lookback * features;
    if inputs == 0 {
        return Err(TrainError::Data(
            "needed: at least 1 feature; found: none".into(),
        ));
    }
    if inputs > inputs_max {
        return Err(TrainError::Recipe(format!(
            "{} have {inputs} numbers, and this recipe takes at most {inputs_max}; shorten the \
             lookback or choose fewer features",
            shape_text(shape)
        )));
    }
    Ok(())
}
