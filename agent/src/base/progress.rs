//! How far learning is where there is no model yet.

use serde::{Deserialize, Serialize};

/// How far a recipe is with the streams it has no model of yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecipeProgress {
    /// Its name.
    pub recipe: String,
    /// The streams it asks for.
    pub pattern: String,
    /// Streams that are there.
    pub streams: u64,
    /// Those among them without a model, trained or in training.
    pub streams_waiting: u64,
    /// Of these the one with the most records.
    pub first: String,
    /// Its records.
    pub rows: u64,
    /// Records that the first model takes, or its being judged.
    pub rows_needed: u64,
    /// No models are made here.
    #[serde(default)]
    pub waits_for_release: bool,
}

impl RecipeProgress {
    /// Counts one more stream with its records.
    #[cfg(feature = "learning")]
    pub(crate) fn add(&mut self, stream: &str, has_model: bool, rows: u64) {
        self.streams += 1;
        if has_model {
            return;
        }
        self.streams_waiting += 1;
        if self.streams_waiting == 1 || rows > self.rows {
            self.rows = rows;
            stream.clone_into(&mut self.first);
        }
    }
}
