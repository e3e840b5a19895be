//! What is to be learnt.

use std::time::Duration;

use dunlin_models::{judging::gate::GateSettings, recipe::Problem, recipes::Algorithm};

use super::choice::Choice;
use crate::{
    base::glob,
    cohort::{CohortQuery, Condition},
    grid::{GridSpec, How},
    recipes::ChosenRecipe,
    topic::template::PublishTopic,
};

/// Learning on this device.
#[derive(Clone, Debug, PartialEq)]
pub struct LearnSettings {
    /// What is learnt, from which streams; none: nothing is.
    pub recipes: Vec<RecipeRule>,
    /// Between two looks for something to learn.
    pub scan: Duration,
    /// Tasks under way at once.
    pub workers: usize,
    /// Share of one core that a task may take, 0..=1.
    pub cpu_share: f64,
    /// Above this a task waits, degrees Celsius.
    pub temperature_c_max: f64,
    /// Age at which a task that is still at work counts as dead.
    pub limit: Duration,
    /// Rows of a data set in memory at once.
    pub rows_per_chunk_max: usize,
    /// Versions kept of each model.
    pub versions_max: usize,
    /// Most disk of all models, bytes.
    pub bytes_max: u64,
    /// The words for what a task or version is at.
    pub status: StatusWords,
    /// Statuses of a task that is at work: past the limit it is dead.
    pub working_status: Vec<String>,
}

/// The user's words for the states of tasks and versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusWords {
    /// A task waits for its turn.
    pub queued: String,
    /// A task trains.
    pub training: String,
    /// A version serves, or may.
    pub available: String,
    /// A task's model did not pass the gate.
    pub rejected: String,
    /// A version served before.
    pub retired: String,
    /// A version served and was worse.
    pub rolled_back: String,
    /// A task has failed.
    pub failed: String,
    /// A task was given up.
    pub dead: String,
}

impl Choice for Algorithm {
    const CHOICES: &'static [(&'static str, Self)] = &[
        ("ridge_nlinear", Self::RidgeNlinear),
        ("nlinear", Self::Nlinear),
        ("dlinear", Self::Dlinear),
        ("mlp_forecast", Self::MlpForecast),
        ("pca", Self::Pca),
        ("autoencoder", Self::Autoencoder),
        ("conv_autoencoder", Self::ConvAutoencoder),
        ("mlp_classifier", Self::MlpClassifier),
        ("conv_classifier", Self::ConvClassifier),
        ("rocket", Self::Rocket),
        ("ridge", Self::Ridge),
        ("mlp_regressor", Self::MlpRegressor),
    ];
}

impl Choice for How {
    const CHOICES: &'static [(&'static str, Self)] = &[
        ("last", Self::Last),
        ("mean", Self::Mean),
        ("min", Self::Min),
        ("max", Self::Max),
        ("interpolate", Self::Interpolate),
    ];
}

/// Which records a data set takes, of those that count.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// First timestamp, nanoseconds UTC.
    pub from: Option<i64>,
    /// Last timestamp, nanoseconds UTC, itself included.
    pub to: Option<i64>,
    /// As many of every class as of the rarest.
    pub balance: bool,
    /// This share, above 0 and up to 1.
    pub fraction: f64,
    /// Decides which of them `balance` and `fraction` take.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            from: None,
            to: None,
            balance: false,
            fraction: 1.0,
            seed: 0,
        }
    }
}

/// One `[[recipe]]`: what to learn from which streams, one model a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct RecipeRule {
    /// Its name.
    pub name: String,
    /// Streams it watches, as a glob over their names.
    pub streams: String,
    /// The recipe and its settings.
    pub recipe: ChosenRecipe,
    /// Fields to learn from; none: every number.
    pub features: Vec<String>,
    /// The field that says what is right.
    pub label: Option<String>,
    /// Which records count.
    pub condition: Option<String>,
    /// Which of them are taken.
    pub sampling: Sampling,
    /// Records before a first model is trained.
    pub min_start_count: u64,
    /// New records before it is fine-tuned.
    pub min_update_count: u64,
    /// Newest records of the stream that a training sees.
    pub rows_max: u64,
    /// Retained old records in a fine-tuning, beside the new ones, as a share of these.
    pub replay_share: f64,
    /// A larger gap between two records ends a window; `None`: no gap does.
    pub gap_ns_max: Option<i64>,
    /// Learns from rows of this grid, not from the records themselves.
    pub grid: Option<GridSpec>,
    /// What a new version must show.
    pub gate: GateSettings,
    /// Versions that may answer, by status.
    pub available_status: Vec<String>,
    /// Whether models are made here; otherwise only released and imported ones serve.
    pub train: bool,
    /// Whether the answers themselves are kept beside score and flag.
    pub outputs: bool,
    /// Where answers are published too.
    pub publish: Option<PublishTopic>,
}

impl RecipeRule {
    /// The longest time between two rows over which a window may reach, nanoseconds.
    pub fn gap_ns(&self) -> Option<i64> {
        let every = self.grid.as_ref().map(|grid| grid.every_ns);
        every.into_iter().chain(self.gap_ns_max).min()
    }

    /// What it means by its data on one stream, up to what arrived at `to_ts` (nanoseconds UTC).
    ///
    /// # Errors
    /// What is wrong with the condition.
    pub fn query(
        &self,
        stream: &str,
        to_ts: i64,
        rows_per_chunk_max: usize,
    ) -> Result<CohortQuery, String> {
        let condition = self.condition.as_deref().map(Condition::parse).transpose();
        let sampling = &self.sampling;
        // The times of a grid's rows are not those at which records arrive.
        let arrived_to = self.grid.as_ref().map(|_| to_ts);
        let to = match arrived_to {
            Some(_) => sampling.to.unwrap_or(i64::MAX),
            None => sampling.to.map_or(to_ts, |to| to.min(to_ts)),
        };
        if sampling.from.is_some_and(|from| from > to) {
            return Err("no record is as late as `from` yet".into());
        }
        Ok(CohortQuery {
            streams: glob::exactly(stream),
            features: self.features.clone(),
            label: self.label.clone(),
            grid: self.grid.clone(),
            arrived_to,
            last: Some(self.rows_max),
            from: sampling.from,
            to: Some(to),
            balance: sampling.balance,
            fraction: sampling.fraction,
            seed: sampling.seed,
            classify: self.recipe.problem() == Problem::Classify,
            condition: condition.map_err(|error| error.to_string())?,
            gap_ns_max: self.gap_ns_max,
            rows_per_chunk_max,
            ..CohortQuery::default()
        })
    }
}

#[cfg(test)]
mod tests;
