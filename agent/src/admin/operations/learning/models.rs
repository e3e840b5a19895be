//! Looking at versions of models, choosing which one serves, taking them out and in.

use dunlin_models::{
    judging::evaluation::Evaluation,
    registry::{
        AVAILABLE, IMPORTED, ModelKey, NewVersion, RETIRED, ROLLED_BACK, Registry, RegistryError,
        Version,
    },
};
use serde::{Deserialize, Serialize};

use super::{
    LearningRequest, Listener, Need, Operation, OperationError, OperationParts, Request, json,
};
use crate::{
    base::{
        glob::{self, matches},
        wall::wall_ns,
    },
    store::tell_damage,
};

const LIST_VERSIONS_MAX: usize = 10_000;

/// An operation on models, on its way to the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ModelsRequest {
    /// See [`ListModels`].
    List(ListModels),
    /// See [`ShowModel`].
    Show(ShowModel),
    /// See [`PromoteModel`].
    Promote(PromoteModel),
    /// See [`RollBackModel`].
    RollBack(RollBackModel),
    /// See [`ExportModel`].
    Export(ExportModel),
    /// See [`ImportModel`].
    Import(ImportModel),
}

/// Does what is asked; see [`super::super::handle`].
pub(super) fn handle(
    parts: &OperationParts,
    request: ModelsRequest,
    listener: &mut dyn Listener,
) -> Result<Vec<u8>, OperationError> {
    match request {
        ModelsRequest::List(list) => json(list, parts, listener),
        ModelsRequest::Show(show) => json(show, parts, listener),
        ModelsRequest::Promote(promote) => json(promote, parts, listener),
        ModelsRequest::RollBack(roll_back) => json(roll_back, parts, listener),
        ModelsRequest::Export(export) => json(export, parts, listener),
        ModelsRequest::Import(import) => json(import, parts, listener),
    }
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

/// Lists versions, by recipe, stream and number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListModels {
    /// Only of this recipe, or those that match: `*` stands for any characters, `?` for one.
    pub recipe: Option<String>,
    /// Only of this stream, or those that match.
    pub stream: Option<String>,
}

impl Operation for ListModels {
    type Answer = Vec<ModelSummary>;
    const NEED: Need = Need::Directory;

    fn into_request(self) -> Request {
        Request::Learning(LearningRequest::Models(ModelsRequest::List(self)))
    }

    fn run(
        self,
        parts: &OperationParts,
        listener: &mut dyn Listener,
    ) -> Result<Vec<ModelSummary>, OperationError> {
        let (registry, catalog) = ((parts.learning.models)()?, parts.buffer.catalog());
        let takes = |pattern: &Option<String>, name: &str| {
            pattern
                .as_ref()
                .is_none_or(|pattern| matches(pattern, name))
        };
        let mut keys = registry.keys();
        keys.retain(|key| {
            takes(&self.recipe, &key.recipe)
                && takes(&self.stream, &catalog.name_shown(&key.stream))
        });
        let listed = list(&registry, &keys, listener);
        tell_damage(&registry);
        let mut listed = listed?;
        for version in &mut listed {
            version.key.stream = catalog.name_shown(&version.key.stream);
        }
        Ok(listed)
    }
}

/// Shows one version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShowModel(pub Which);

impl Operation for ShowModel {
    type Answer = Version;
    const NEED: Need = Need::Directory;

    fn into_request(self) -> Request {
        Request::Learning(LearningRequest::Models(ModelsRequest::Show(self)))
    }

    fn run(self, parts: &OperationParts, _: &mut dyn Listener) -> Result<Version, OperationError> {
        let number = self.0.number;
        on_line(parts, self.0.key, |registry, key| {
            find(registry, key, number)
        })
    }
}

/// Lets a version serve; answers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromoteModel {
    /// Of which line.
    pub key: ModelKey,
    /// Which version.
    pub number: u64,
    /// Its status from then on; `None`: that of the version that serves now, or `available`.
    pub status: Option<String>,
    /// Status of the version that serves now; `None`: `retired`.
    pub replaced: Option<String>,
}

impl Operation for PromoteModel {
    type Answer = Version;
    const NEED: Need = Need::Directory;

    fn into_request(self) -> Request {
        Request::Learning(LearningRequest::Models(ModelsRequest::Promote(self)))
    }

    fn run(self, parts: &OperationParts, _: &mut dyn Listener) -> Result<Version, OperationError> {
        on_line(parts, self.key, |registry, key| {
            let current = registry.current(key)?.map(|version| version.status);
            let status = self.status.or(current);
            let status = status.as_deref().unwrap_or(AVAILABLE);
            let replaced = self.replaced.as_deref().unwrap_or(RETIRED);
            Ok(registry.promote(key, self.number, status, replaced)?)
        })
    }
}

/// Lets the version before serve again; answers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollBackModel {
    /// Of which line.
    pub key: ModelKey,
    /// Status of the version that serves now; `None`: `rolled_back`.
    pub status: Option<String>,
}

impl Operation for RollBackModel {
    type Answer = Version;
    const NEED: Need = Need::Directory;

    fn into_request(self) -> Request {
        Request::Learning(LearningRequest::Models(ModelsRequest::RollBack(self)))
    }

    fn run(self, parts: &OperationParts, _: &mut dyn Listener) -> Result<Version, OperationError> {
        on_line(parts, self.key, |registry, key| {
            let status = self.status.as_deref().unwrap_or(ROLLED_BACK);
            Ok(registry.rollback(key, status)?)
        })
    }
}

/// Writes out the safetensors file of a version as data; answers the version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportModel(pub Which);

impl Operation for ExportModel {
    type Answer = Version;
    const NEED: Need = Need::Directory;

    fn into_request(self) -> Request {
        Request::Learning(LearningRequest::Models(ModelsRequest::Export(self)))
    }

    fn run(
        self,
        parts: &OperationParts,
        listener: &mut dyn Listener,
    ) -> Result<Version, OperationError> {
        let number = self.0.number;
        on_line(parts, self.0.key, |registry, key| {
            let version = find(registry, key, number)?;
            let bytes = registry.bytes(&version)?;
            listener.data(&bytes).map_err(OperationError::failed)?;
            Ok(version)
        })
    }
}

/// Takes in a safetensors file; answers the version that it becomes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportModel {
    /// Into which line, made if need be.
    pub key: ModelKey,
    /// The file.
    pub bytes: Vec<u8>,
    /// Its status; `None`: `imported`.
    pub status: Option<String>,
}

/// A version that was taken in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImportedModel {
    /// The version.
    #[serde(flatten)]
    pub version: Version,
    /// Why nothing will use it as things are, for people: no such stream, no such recipe.
    #[serde(default)]
    pub unused_because: Vec<String>,
}

impl Operation for ImportModel {
    type Answer = ImportedModel;
    const NEED: Need = Need::Directory;

    fn into_request(self) -> Request {
        Request::Learning(LearningRequest::Models(ModelsRequest::Import(self)))
    }

    fn run(
        self,
        parts: &OperationParts,
        _: &mut dyn Listener,
    ) -> Result<ImportedModel, OperationError> {
        let unused_because = unused_because(parts, &self.key);
        let version = on_line(parts, self.key, |registry, key| {
            let new = NewVersion {
                created_ns: wall_ns(),
                status: self.status.unwrap_or_else(|| IMPORTED.to_owned()),
                ..NewVersion::default()
            };
            Ok(registry.import(key, &self.bytes, new)?)
        })?;
        Ok(ImportedModel {
            version,
            unused_because,
        })
    }
}

/// A model may be there before its stream or its recipe is, or be called by a slip of the pen.
fn unused_because(parts: &OperationParts, key: &ModelKey) -> Vec<String> {
    let (mut why, catalog) = (Vec::new(), parts.buffer.catalog());
    let stream = catalog.meant(&key.stream);
    if stream.is_none() {
        let stream = &key.stream;
        why.push(format!("no record of a stream {stream:?} has come yet"));
    }
    // Without an agent the configuration is not looked at.
    let Some(settings) = &parts.learning.settings else {
        return why;
    };
    let mut rules = settings.recipes.iter();
    match (rules.find(|rule| rule.name == key.recipe), stream) {
        (None, _) => why.push(format!("no recipe {:?} is configured", key.recipe)),
        (Some(rule), Some(stream)) if !glob::means(&rule.streams, &catalog, stream) => {
            let (recipe, streams) = (&key.recipe, &rule.streams);
            why.push(format!(
                "recipe {recipe:?} is for streams {streams:?} alone"
            ));
        }
        (Some(_), _) => {}
    }
    why
}

/// Does something with one line, which `key` calls by the name that its stream has in the catalog.
fn on_line(
    parts: &OperationParts,
    mut key: ModelKey,
    act: impl FnOnce(&Registry, &ModelKey) -> Result<Version, OperationError>,
) -> Result<Version, OperationError> {
    let (registry, catalog) = ((parts.learning.models)()?, parts.buffer.catalog());
    key.stream = catalog.name_meant(&key.stream);
    let done = act(&registry, &key);
    tell_damage(&registry);
    done.map_err(|error| called(error, &key.stream, &catalog.name_shown(&key.stream)))
}

/// The error with a stream called as people call it.
fn called(error: OperationError, name: &str, shown: &str) -> OperationError {
    let renamed = |text: String| text.replace(&format!("{name:?}"), &format!("{shown:?}"));
    match error {
        OperationError::Asked(text) => OperationError::Asked(renamed(text)),
        OperationError::Failed(text) => OperationError::Failed(renamed(text)),
    }
}

fn list(
    registry: &Registry,
    keys: &[ModelKey],
    listener: &mut dyn Listener,
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

/// The version with this number; without one, the version that serves.
fn find(
    registry: &Registry,
    key: &ModelKey,
    number: Option<u64>,
) -> Result<Version, OperationError> {
    if let Some(number) = number {
        return Ok(registry.version(key, number)?);
    }
    registry.current(key)?.ok_or_else(|| {
        OperationError::Asked(format!(
            "no version of {key} serves; name one: `dunlin models list` shows them"
        ))
    })
}
