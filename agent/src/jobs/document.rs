//! What a job says, and what its result says: JSON, for whoever reads the database.

pub(crate) mod mine;

use std::path::Path;

use dunlin_models::{data::Lineage, judging::gate::Decision, registry::Evaluations};
use serde::{Deserialize, Serialize};

use crate::config::{self, Overrides, settings::RecipeRule};

/// Version of the documents.
const FORMAT: u32 = 1;
/// Training a version of a model.
pub(crate) const TRAIN: &str = "train";
/// What the rest of a configuration has to say before there can be a recipe: nothing of it is used.
const REST: &str = "
[mqtt]
url = \"mqtt://nowhere.invalid:1883\"
[upstream]
url = \"tdengine://nowhere.invalid:6041/any\"
[[stream]]
name = \"any\"
topic = \"any\"
";

/// A job that trains.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrainJob {
    format: u32,
    /// The words of a `[[recipe]]`.
    pub(crate) recipe: toml::Table,
    /// Streams, as a glob over the names that the centre has for them.
    pub(crate) streams: String,
    /// Newest record it may see, nanoseconds UTC: whoever tries the job again has the same data set.
    pub(crate) to_ts: i64,
    /// Seed of the training.
    pub(crate) seed: u64,
    /// The model to start from, a blob at the centre.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) parent: Option<String>,
}

/// What has come of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Trained {
    pub(crate) format: u32,
    /// The recipe's name.
    pub(crate) recipe: String,
    /// The model, a blob at the centre.
    pub(crate) model: String,
    pub(crate) model_bytes: u64,
    /// What it has learnt from.
    pub(crate) lineage: Lineage,
    /// How good it is, beside the baseline and the model it started from.
    pub(crate) evaluations: Evaluations,
    /// What the recipe's gate says.
    pub(crate) decision: Decision,
    pub(crate) steps: u64,
    /// How long the last attempt took, seconds.
    pub(crate) seconds: f64,
}

impl TrainJob {
    /// A job with the recipe called `name` of the configuration in `text`, of the file at `path`.
    ///
    /// # Errors
    /// Every mistake, in words for people.
    pub(crate) fn new(path: &Path, text: &str, name: &str) -> Result<Self, String> {
        let shown = path.display();
        let table: toml::Table = text.parse().map_err(|error| format!("{shown}: {error}"))?;
        let recipes = table.get("recipe").and_then(toml::Value::as_array);
        let mut recipes = recipes.into_iter().flatten();
        let is_it =
            |recipe: &&toml::Value| recipe.get("name").and_then(toml::Value::as_str) == Some(name);
        let recipe = recipes.find(is_it).and_then(toml::Value::as_table);
        let recipe =
            recipe.ok_or_else(|| format!("{shown}: there is no [[recipe]] called {name:?}"))?;
        let mut recipe = recipe.clone();
        // Says where a device takes records and what it does with answers; a job has streams of its own.
        let streams = recipe.insert("streams".into(), "*".into());
        recipe.remove("publish");
        recipe.remove("train");
        let job = Self {
            format: FORMAT,
            recipe,
            streams: streams
                .as_ref()
                .and_then(toml::Value::as_str)
                .map_or_else(|| "*".to_owned(), |streams| format!("*/{streams}")),
            to_ts: i64::MAX,
            seed: 0,
            parent: None,
        };
        job.rule()?;
        Ok(job)
    }

    /// Reads it back.
    ///
    /// # Errors
    /// Why that is none, in words for people.
    pub(crate) fn read(document: &[u8]) -> Result<Self, String> {
        check_format(document)?;
        serde_json::from_slice(document).map_err(|error| format!("the job's document: {error}"))
    }

    /// As it is stored.
    ///
    /// # Errors
    /// A text for people.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, String> {
        serde_json::to_vec(self).map_err(|error| error.to_string())
    }

    /// The recipe, checked as in a configuration.
    ///
    /// # Errors
    /// Every mistake, one a line.
    pub(crate) fn rule(&self) -> Result<RecipeRule, String> {
        let mut whole = toml::Table::new();
        let recipes = vec![toml::Value::Table(self.recipe.clone())];
        whole.insert("recipe".into(), toml::Value::Array(recipes));
        let text = toml::to_string(&whole).map_err(|error| error.to_string())? + REST;
        let place = Path::new("the job's recipe");
        let settings = config::check_text(place, &text, &Overrides::default()).settings;
        let settings = settings.map_err(|mistakes| {
            let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
            lines.join("\n")
        })?;
        let mut recipes = settings.learn.recipes.into_iter();
        recipes
            .next()
            .ok_or_else(|| "there is no recipe in it".to_owned())
    }
}

impl Trained {
    pub(crate) const FORMAT: u32 = FORMAT;

    /// Reads it back.
    ///
    /// # Errors
    /// Why that is none, in words for people.
    pub(crate) fn read(result: &[u8]) -> Result<Self, String> {
        check_format(result)?;
        serde_json::from_slice(result).map_err(|error| format!("the job's result: {error}"))
    }
}

/// The model that a job has made or found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Made {
    /// The recipe's name.
    pub(crate) recipe: String,
    /// The model, a blob at the centre.
    pub(crate) model: String,
    pub(crate) model_bytes: u64,
}

impl Made {
    /// That of the result of a job of this kind.
    ///
    /// # Errors
    /// Why there is none, in words for people.
    pub(crate) fn read(kind: &str, result: &[u8]) -> Result<Self, String> {
        let (recipe, model, model_bytes) = if kind == mine::MINE {
            let mined = mine::Mined::read(result)?;
            (mined.recipe, mined.model, mined.model_bytes)
        } else {
            let trained = Trained::read(result)?;
            (trained.recipe, trained.model, trained.model_bytes)
        };
        Ok(Self {
            recipe,
            model,
            model_bytes,
        })
    }
}

/// Before anything else is read: what a newer version has added is no mistake of the document's.
fn check_format(document: &[u8]) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Formatted {
        format: u32,
    }
    let read: Result<Formatted, _> = serde_json::from_slice(document);
    match read {
        Ok(Formatted { format: FORMAT }) => Ok(()),
        Ok(Formatted { format }) => Err(format!(
            "format {format} of the document, this version reads format {FORMAT}: upgrade dunlin"
        )),
        Err(error) => Err(format!("the document: {error}")),
    }
}

#[cfg(test)]
mod tests;
