//! Looking at versions of models, choosing which one serves, taking them out and in.

use std::sync::Arc;

use dunlin_models::{
    judging::evaluation::Evaluation,
    registry::{
        AVAILABLE, IMPORTED, ModelKey, NewVersion, RETIRED, ROLLED_BACK, Registry, RegistryError,
        Version,
    },
};
use dunlin_sync::sample::Catalog;
use serde::{Deserialize, Serialize};

use super::{Listener, OperationError};
use crate::{
    base::{glob::matches, wall::wall_ns},
    store::tell_damage,
};

/// Versions listed at most.
const LIST_VERSIONS_MAX: usize = 10_000;

/// What to do with models.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ModelsAsk {
    /// What there is, by recipe, stream and number: a list of [`ModelSummary`].
    List {
        /// Only of this recipe, or those that match: `*` stands for any characters, `?` for one.
        recipe: Option<String>,
        /// Only of this stream, or those that match.
        stream: Option<String>,
    },
    /// One version: [`Version`].
    Show(Which),
    /// Lets a version serve: [`Version`].
    Promote {
        /// Of which line.
        key: ModelKey,
        /// Which version.
        number: u64,
        /// Its status from then on; `None`: that of the version that serves now, or `available`.
        status: Option<String>,
        /// Status of the version that serves now; `None`: `retired`.
        replaced: Option<String>,
    },
    /// Lets the version before serve again: [`Version`].
    Rollback {
        /// Of which line.
        key: ModelKey,
        /// Status of the version that serves now; `None`: `rolled_back`.
        status: Option<String>,
    },
    /// Writes out the safetensors file as data: [`Version`].
    Export(Which),
    /// Takes in a safetensors file: [`Version`].
    Import {
        /// Into which line, made if need be.
        key: ModelKey,
        /// The file.
        bytes: Vec<u8>,
        /// Its status; `None`: `imported`.
        status: Option<String>,
    },
}

/// Names a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Which {
    /// Of which line.
    pub key: ModelKey,
    /// Its number; `None`: the one that serves.
    pub number: Option<u64>,
}

/// One version, in short.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelSummary {
    /// Its line.
    #[serde(flatten)]
    pub key: ModelKey,
    /// Its number.
    pub number: u64,
    /// In the words of the configuration.
    pub status: String,
    /// Whether it serves.
    pub is_current: bool,
    /// Kind of model.
    pub kind: String,
    /// Version it was fine-tuned from.
    pub parent: Option<u64>,
    /// When it was made, nanoseconds UTC.
    pub created_ns: i64,
    /// Rows it was trained on.
    pub rows: u64,
    /// Mean validation error when it was made, if it was judged.
    pub error: Option<f64>,
    /// That of the baseline on the same windows.
    pub baseline_error: Option<f64>,
    /// Bytes of its artifact.
    pub artifact_bytes: u64,
}

impl From<Version> for ModelSummary {
    fn from(version: Version) -> Self {
        let error =
            |of: &Option<Evaluation>| of.as_ref().map(Evaluation::error).filter(|e| e.is_finite());
        Self {
            error: error(&version.evaluations.candidate),
            baseline_error: error(&version.evaluations.baseline),
            key: version.key,
            number: version.number,
            status: version.status,
            is_current: version.is_current,
            kind: version.kind,
            parent: version.parent,
            created_ns: version.created_ns,
            rows: version.lineage.rows,
            artifact_bytes: version.artifact_bytes,
        }
    }
}

impl From<RegistryError> for OperationError {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Unknown(what) => {
                Self::Asked(format!("{what}; `dunlin models list` names what there is"))
            }
            RegistryError::Refused(what) => Self::Asked(what),
            RegistryError::Artifact(error) => Self::Asked(error.to_string()),
            RegistryError::Damaged(_) | RegistryError::InUse(_) | RegistryError::Io { .. } => {
                Self::failed(error)
            }
        }
    }
}

impl ModelsAsk {
    /// The line that it is about, if it is one.
    fn key(&mut self) -> Option<&mut ModelKey> {
        match self {
            Self::List { .. } => None,
            Self::Show(which) | Self::Export(which) => Some(&mut which.key),
            Self::Promote { key, .. } | Self::Rollback { key, .. } | Self::Import { key, .. } => {
                Some(key)
            }
        }
    }
}

/// Does what is asked; the answer is JSON of the type that [`ModelsAsk`] names. Lines are called by the
/// names that their streams have in `catalog`.
pub(super) fn models(
    registry: &Arc<Registry>,
    catalog: &Catalog,
    mut ask: ModelsAsk,
    listener: &mut (dyn Listener + Send),
) -> Result<Vec<u8>, OperationError> {
    let meant = ask.key().map(|key| {
        key.stream = catalog.name_meant(&key.stream);
        key.stream.clone()
    });
    let answer = answer(registry, catalog, ask, listener);
    tell_damage(registry);
    answer.map_err(|error| match meant {
        Some(name) => called(error, &name, &catalog.name_shown(&name)),
        None => error,
    })
}

/// The error with a stream called as people call it.
fn called(error: OperationError, name: &str, shown: &str) -> OperationError {
    let renamed = |text: String| text.replace(&format!("{name:?}"), &format!("{shown:?}"));
    match error {
        OperationError::Asked(text) => OperationError::Asked(renamed(text)),
        OperationError::Failed(text) => OperationError::Failed(renamed(text)),
    }
}

fn answer(
    registry: &Registry,
    catalog: &Catalog,
    ask: ModelsAsk,
    listener: &mut (dyn Listener + Send),
) -> Result<Vec<u8>, OperationError> {
    let version = match ask {
        ModelsAsk::List { recipe, stream } => {
            let takes = |pattern: &Option<String>, name: &str| {
                pattern
                    .as_ref()
                    .is_none_or(|pattern| matches(pattern, name))
            };
            let mut keys = registry.keys();
            keys.retain(|key| {
                takes(&recipe, &key.recipe) && takes(&stream, &catalog.name_shown(&key.stream))
            });
            let mut listed = list(registry, &keys, listener)?;
            for version in &mut listed {
                version.key.stream = catalog.name_shown(&version.key.stream);
            }
            return super::json(&listed);
        }
        ModelsAsk::Show(which) => find(registry, &which)?,
        ModelsAsk::Promote {
            key,
            number,
            status,
            replaced,
        } => {
            let current = registry.current(&key)?.map(|version| version.status);
            let status = status.or(current);
            let status = status.as_deref().unwrap_or(AVAILABLE);
            registry.promote(&key, number, status, replaced.as_deref().unwrap_or(RETIRED))?
        }
        ModelsAsk::Rollback { key, status } => {
            registry.rollback(&key, status.as_deref().unwrap_or(ROLLED_BACK))?
        }
        ModelsAsk::Export(which) => {
            let version = find(registry, &which)?;
            let bytes = registry.bytes(&version)?;
            listener.data(&bytes).map_err(OperationError::failed)?;
            version
        }
        ModelsAsk::Import { key, bytes, status } => {
            let new = NewVersion {
                created_ns: wall_ns(),
                status: status.unwrap_or_else(|| IMPORTED.to_owned()),
                ..NewVersion::default()
            };
            registry.import(&key, &bytes, new)?
        }
    };
    super::json(&version)
}

fn list(
    registry: &Registry,
    keys: &[ModelKey],
    listener: &mut (dyn Listener + Send),
) -> Result<Vec<ModelSummary>, OperationError> {
    let mut versions = Vec::new();
    for (index, key) in keys.iter().enumerate() {
        let told = listener.progress(index as u64, keys.len() as u64);
        told.map_err(OperationError::failed)?;
        versions.extend(registry.versions(key)?.into_iter().map(ModelSummary::from));
        if versions.len() > LIST_VERSIONS_MAX {
            return Err(OperationError::Asked(format!(
                "there are more than {LIST_VERSIONS_MAX} versions; ask for fewer with --recipe and \
                 --stream"
            )));
        }
    }
    Ok(versions)
}

fn find(registry: &Registry, which: &Which) -> Result<Version, OperationError> {
    if let Some(number) = which.number {
        return Ok(registry.version(&which.key, number)?);
    }
    registry.current(&which.key)?.ok_or_else(|| {
        OperationError::Asked(format!(
            "no version of {} serves; name one: `dunlin models list` shows them",
            which.key
        ))
    })
}
