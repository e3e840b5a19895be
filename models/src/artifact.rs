//! A model as bytes: a safetensors file whose metadata holds everything but the numbers.
//!
//! Promises: what [`Artifact::to_bytes`] gives, [`Artifact::from_bytes`] takes back unchanged; bytes
//! from elsewhere are checked before anything is made of them, never panic, and never ask for more
//! memory than they themselves take.

use std::collections::{BTreeMap, HashMap, HashSet};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Version of the layout; a file of another is refused.
pub const FORMAT: u32 = 1;

/// Most bytes of the names, shapes and settings in front of the numbers: what is made of them takes several
/// times as much.
const HEADER_BYTES_MAX: u64 = 4 << 20;
/// Most features: more than a table has columns.
const FEATURES_MAX: usize = 4_096;
/// Longest name of a feature, bytes.
const FEATURE_BYTES_MAX: usize = 256;
const TENSORS_MAX: usize = 1_024;

/// Why an artifact is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArtifactError {
    /// Not what was written.
    #[error("the artifact is damaged: {0}")]
    Damaged(String),
    /// Whole, but for something else: another recipe, shape or format version.
    #[error("the artifact does not fit: {0}")]
    Misfit(String),
}

/// Numbers with a shape, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Length of each dimension.
    pub shape: Vec<usize>,
    /// As many as the lengths multiplied.
    pub data: TensorData,
}

/// Numbers of one kind.
#[derive(Clone, Debug, PartialEq)]
pub enum TensorData {
    /// Parameters.
    F32(Vec<f32>),
    /// Sums that must not lose digits.
    F64(Vec<f64>),
}

/// A model's numbers and what they mean.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Artifact {
    /// Kind of model, such as `ridge_nlinear`; another kind's reader refuses it.
    pub kind: String,
    /// Features in their order; a stream whose fields differ does not fit.
    pub features: Vec<String>,
    /// Settings of the recipe that made it, as JSON.
    pub settings: String,
    /// Numbers by name.
    pub tensors: BTreeMap<String, Tensor>,
}

#[derive(Serialize, Deserialize)]
struct Head {
    format: u32,
    kind: String,
    features: Vec<String>,
    settings: String,
}

const HEAD: &str = "dunlin";

impl Artifact {
    /// The settings, as their own type.
    ///
    /// # Errors
    /// [`ArtifactError::Misfit`] if they are of another kind.
    pub fn settings<T: DeserializeOwned>(&self, kind: &str) -> Result<T, ArtifactError> {
        if self.kind != kind {
            return Err(ArtifactError::Misfit(format!(
                "it holds a model of kind {:?}, not {kind:?}",
                self.kind
            )));
        }
        serde_json::from_str(&self.settings)
            .map_err(|error| ArtifactError::Misfit(format!("its settings: {error}")))
    }

    /// Names of the classes that it tells apart, in their order, where its recipe keeps them among its settings as
    /// the built-in ones do; none unless it classifies.
    pub fn classes(&self) -> Vec<String> {
        #[derive(Deserialize)]
        struct Stored {
            classes: Vec<String>,
        }
        let stored: Result<Stored, _> = serde_json::from_str(&self.settings);
        stored.map(|stored| stored.classes).unwrap_or_default()
    }

    /// The f32 numbers called `name`, which must have this shape.
    ///
    /// # Errors
    /// [`ArtifactError::Misfit`] if they are missing or of another shape or type.
    pub fn f32(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ArtifactError> {
        match self.tensor(name, shape)? {
            TensorData::F32(data) => Ok(data.clone()),
            TensorData::F64(_) => Err(misfit(name, "is of type F64")),
        }
    }

    /// The f64 numbers called `name`, which must have this shape.
    ///
    /// # Errors
    /// As [`Self::f32`].
    pub fn f64(&self, name: &str, shape: &[usize]) -> Result<Vec<f64>, ArtifactError> {
        match self.tensor(name, shape)? {
            TensorData::F64(data) => Ok(data.clone()),
            TensorData::F32(_) => Err(misfit(name, "is of type F32")),
        }
    }

    fn tensor(&self, name: &str, shape: &[usize]) -> Result<&TensorData, ArtifactError> {
        let tensor = self.tensors.get(name);
        let tensor = tensor.ok_or_else(|| misfit(name, "is missing"))?;
        if tensor.shape != shape {
            let found = format!("has shape {:?}, not {shape:?}", tensor.shape);
            return Err(misfit(name, &found));
        }
        Ok(&tensor.data)
    }

    /// Numbers in all tensors together.
    pub fn numbers(&self) -> usize {
        self.tensors.values().map(|tensor| tensor.data.len()).sum()
    }

    /// Whether all numbers in it are; [`Self::from_bytes`] refuses others.
    pub(crate) fn is_finite(&self) -> bool {
        self.tensors.values().all(|tensor| tensor.data.is_finite())
    }

    /// Adds f32 numbers.
    pub fn insert_f32(&mut self, name: &str, shape: &[usize], data: Vec<f32>) {
        self.insert(name, shape, TensorData::F32(data));
    }

    /// Adds f64 numbers.
    pub fn insert_f64(&mut self, name: &str, shape: &[usize], data: Vec<f64>) {
        self.insert(name, shape, TensorData::F64(data));
    }

    fn insert(&mut self, name: &str, shape: &[usize], data: TensorData) {
        debug_assert_eq!(shape.iter().product::<usize>(), data.len());
        let shape = shape.to_vec();
        self.tensors.insert(name.into(), Tensor { shape, data });
    }

    /// A safetensors file; the same artifact gives the same bytes.
    ///
    /// # Errors
    /// [`ArtifactError::Misfit`] if a tensor's shape is not that of its numbers.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ArtifactError> {
        let head = Head {
            format: FORMAT,
            kind: self.kind.clone(),
            features: self.features.clone(),
            settings: self.settings.clone(),
        };
        let failed = |error: &dyn std::fmt::Display| ArtifactError::Misfit(error.to_string());
        let head = serde_json::to_string(&head).map_err(|error| failed(&error))?;
        let stored: Vec<(&String, Vec<u8>, &Tensor)> = self
            .tensors
            .iter()
            .map(|(name, tensor)| (name, tensor.data.to_le_bytes(), tensor))
            .collect();
        let views = stored.iter().map(|(name, bytes, tensor)| {
            let view = TensorView::new(tensor.data.dtype(), tensor.shape.clone(), bytes);
            view.map(|view| (*name, view))
        });
        let views: Vec<_> = views.collect::<Result<_, _>>().map_err(|e| failed(&e))?;
        // One entry: the order of several would be chance.
        let metadata = HashMap::from([(HEAD.to_owned(), head)]);
        safetensors::serialize(views, Some(metadata)).map_err(|error| failed(&error))
    }

    /// Reads a safetensors file.
    ///
    /// # Errors
    /// [`ArtifactError`]
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ArtifactError> {
        let damaged = |error: &dyn std::fmt::Display| ArtifactError::Damaged(error.to_string());
        let header_bytes = bytes.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
        let header_bytes = header_bytes.ok_or_else(|| damaged(&"it is cut short"))?;
        if header_bytes > HEADER_BYTES_MAX {
            let what =
                format!("names and settings of {header_bytes} bytes, {HEADER_BYTES_MAX} at most");
            return Err(ArtifactError::Misfit(what));
        }
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| damaged(&error))?;
        let head = metadata.metadata().as_ref().and_then(|all| all.get(HEAD));
        let head = head.ok_or_else(|| {
            ArtifactError::Misfit("it is a safetensors file of another program".into())
        })?;
        let head: Head = serde_json::from_str(head).map_err(|error| damaged(&error))?;
        if head.format != FORMAT {
            return Err(ArtifactError::Misfit(format!(
                "it has format {}, this program reads {FORMAT}",
                head.format
            )));
        }
        check_features(&head.features)?;
        let tensors = metadata.tensors().len();
        if tensors > TENSORS_MAX {
            let what = format!("it has {tensors} tensors, {TENSORS_MAX} at most");
            return Err(ArtifactError::Misfit(what));
        }
        let file = SafeTensors::deserialize(bytes).map_err(|error| damaged(&error))?;
        let mut tensors = BTreeMap::new();
        for (name, view) in file.iter() {
            let data = TensorData::from_le_bytes(view.dtype(), view.data())
                .ok_or_else(|| misfit(name, "is neither F32 nor F64"))?;
            if !data.is_finite() {
                return Err(ArtifactError::Damaged(format!(
                    "tensor {name:?} holds numbers that are not finite"
                )));
            }
            let shape = view.shape().to_vec();
            tensors.insert(name.to_owned(), Tensor { shape, data });
        }
        Ok(Self {
            kind: head.kind,
            features: head.features,
            settings: head.settings,
            tensors,
        })
    }
}

impl TensorData {
    fn len(&self) -> usize {
        match self {
            Self::F32(data) => data.len(),
            Self::F64(data) => data.len(),
        }
    }

    fn is_finite(&self) -> bool {
        match self {
            Self::F32(data) => data.iter().all(|value| value.is_finite()),
            Self::F64(data) => data.iter().all(|value| value.is_finite()),
        }
    }

    const fn dtype(&self) -> Dtype {
        match self {
            Self::F32(_) => Dtype::F32,
            Self::F64(_) => Dtype::F64,
        }
    }

    fn to_le_bytes(&self) -> Vec<u8> {
        match self {
            Self::F32(data) => data.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Self::F64(data) => data.iter().flat_map(|value| value.to_le_bytes()).collect(),
        }
    }

    fn from_le_bytes(dtype: Dtype, bytes: &[u8]) -> Option<Self> {
        match dtype {
            Dtype::F32 => {
                let (values, _) = bytes.as_chunks::<4>();
                let values = values.iter().map(|value| f32::from_le_bytes(*value));
                Some(Self::F32(values.collect()))
            }
            Dtype::F64 => {
                let (values, _) = bytes.as_chunks::<8>();
                let values = values.iter().map(|value| f64::from_le_bytes(*value));
                Some(Self::F64(values.collect()))
            }
            _ => None,
        }
    }
}

/// A feature twice would be looked at twice; names and their number come from elsewhere.
fn check_features(features: &[String]) -> Result<(), ArtifactError> {
    let refused = |what: String| Err(ArtifactError::Misfit(what));
    if features.len() > FEATURES_MAX {
        return refused(format!(
            "it has {} features, {FEATURES_MAX} at most",
            features.len()
        ));
    }
    let mut seen = HashSet::new();
    for feature in features {
        if feature.is_empty() || feature.len() > FEATURE_BYTES_MAX {
            return refused(format!(
                "a feature has a name of {} bytes: 1 to {FEATURE_BYTES_MAX} can be",
                feature.len()
            ));
        }
        if !seen.insert(feature) {
            return refused(format!("it has the feature {feature:?} twice"));
        }
    }
    Ok(())
}

fn misfit(name: &str, what: &str) -> ArtifactError {
    ArtifactError::Misfit(format!("tensor {name:?} {what}"))
}

#[cfg(test)]
mod tests;
