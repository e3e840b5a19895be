//! Rows as models see them: chunks of consecutive rows of one stream, and the windows in them.
//!
//! Promises: a data set is never all in memory, only a chunk of it; a window never reaches over a gap
//! or a missing value; a window belongs to the split of its last row (its last target row when
//! forecasting), so every window is either learnt from or judged by, never both.

pub mod scale;

use std::{ops::Range, sync::Arc};

use serde::{Deserialize, Serialize};

/// Why rows cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the data cannot be read: {0}")]
pub struct DataError(pub String);

/// What the columns of a data set mean.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Columns {
    /// Names of the features, in the order of [`Rows::values`].
    pub features: Vec<String>,
    /// Name of the label or of the value to be estimated, if there is one.
    pub label: Option<String>,
    /// Names of the classes; [`Rows::label`] holds positions in it. Empty for numbers.
    pub classes: Vec<String>,
}

/// Where a data set came from: enough to ask for it again and to see whether it is the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lineage {
    /// The query, in words that can be asked again.
    pub query: String,
    /// First timestamp, nanoseconds UTC; 0 if there are no rows.
    pub first_ts: i64,
    /// Last timestamp, nanoseconds UTC; 0 likewise.
    pub last_ts: i64,
    /// How many rows there are.
    pub rows: u64,
    /// Hash over stream and timestamp of every row, in order.
    pub rows_hash: u64,
}

/// Consecutive rows of one stream, oldest first, with no gap among them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// Name of the stream they are of.
    pub stream: Arc<str>,
    /// Timestamps, nanoseconds UTC.
    pub ts: Vec<i64>,
    /// Row after row, `features` values each; NaN where missing.
    pub values: Vec<f32>,
    /// One a row, or none at all; NaN where missing.
    pub label: Vec<f32>,
    /// One a row: whether it is learnt from; otherwise it is judged by.
    pub is_train: Vec<bool>,
    /// One a row: whether a window may end there. Or none at all: anywhere. Rows that were thinned out
    /// are still looked back into.
    pub ends: Vec<bool>,
    /// The first rows that repeat the end of the chunk before: windows look back into them, and none
    /// ends among them.
    pub lead: usize,
    /// Retained old rows, mixed in so that fine-tuning does not forget.
    pub is_replay: bool,
}

impl Rows {
    /// How many rows there are, the lead included.
    pub fn len(&self) -> usize {
        self.ts.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ts.is_empty()
    }

    /// The values of rows `range`, `features` each.
    pub fn values_of(&self, range: Range<usize>, features: usize) -> &[f32] {
        &self.values[range.start * features..range.end * features]
    }

    /// Every window that can be used: no value missing in it, and a label at its end if `wants_label`.
    /// Shape: `lookback` rows of input, then `horizon` rows of target.
    pub fn windows(
        &self,
        shape: WindowShape,
        features: usize,
        wants_label: bool,
        subset: Subset,
    ) -> impl Iterator<Item = Window> + '_ {
        let length = shape.lookback + shape.horizon;
        let first = self.lead.max(length.max(1) - 1);
        // End (exclusive) of the last row seen with a missing value.
        let mut clean_from = 0;
        let mut scanned = 0;
        (first..self.len()).filter_map(move |last| {
            while scanned <= last {
                let row = self.values_of(scanned..scanned + 1, features);
                if !row.iter().all(|value| value.is_finite()) {
                    clean_from = scanned + 1;
                }
                scanned += 1;
            }
            let start = last + 1 - length;
            let labelled = !wants_label || self.label.get(last).is_some_and(|l| l.is_finite());
            let counts = self.ends.get(last).is_none_or(|ends| *ends);
            let wanted = counts && labelled && subset.takes(self.is_train[last]);
            (start >= clean_from && wanted).then_some(Window {
                start,
                split_at: start + shape.lookback,
                end: last + 1,
            })
        })
    }
}

/// Rows of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowShape {
    /// Rows of input.
    pub lookback: usize,
    /// Rows of target after the input; 0 unless forecasting.
    pub horizon: usize,
}

/// One window in a chunk: rows `start..split_at` are input, `split_at..end` target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// First row of the input.
    pub start: usize,
    /// First target row.
    pub split_at: usize,
    /// One past the last row.
    pub end: usize,
}

/// Which windows are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subset {
    /// Those to learn from.
    Train,
    /// Those to judge by.
    Validation,
    /// Both of these.
    All,
}

impl Subset {
    fn takes(self, is_train: bool) -> bool {
        match self {
            Self::Train => is_train,
            Self::Validation => !is_train,
            Self::All => true,
        }
    }
}

/// A data set, read a chunk at a time. Reading a chunk again gives the same rows.
pub trait Source: Send + Sync {
    /// What the columns mean.
    fn columns(&self) -> &Columns;

    /// How many chunks there are.
    fn chunks(&self) -> usize;

    /// Rows of the chunk `index`, in `0..chunks()`.
    ///
    /// # Errors
    /// [`DataError`] if they cannot be read now.
    fn read(&self, index: usize) -> Result<Arc<Rows>, DataError>;

    /// Where it came from.
    fn lineage(&self) -> &Lineage;
}

/// A data set that fits into memory: for histories read from files, and for tests.
#[derive(Clone, Debug, Default)]
pub struct InMemory {
    /// What [`Source::columns`] answers.
    pub columns: Columns,
    /// What [`Source::read`] gives, by index.
    pub chunks: Vec<Arc<Rows>>,
    /// What [`Source::lineage`] answers.
    pub lineage: Lineage,
}

impl Source for InMemory {
    fn columns(&self) -> &Columns {
        &self.columns
    }

    fn chunks(&self) -> usize {
        self.chunks.len()
    }

    fn read(&self, index: usize) -> Result<Arc<Rows>, DataError> {
        let chunk = self.chunks.get(index).cloned();
        chunk.ok_or_else(|| DataError(format!("there is no chunk {index}")))
    }

    fn lineage(&self) -> &Lineage {
        &self.lineage
    }
}

#[cfg(test)]
mod tests;
