//! What a cohort is asked for with.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Condition;
use crate::grid::GridSpec;

/// Rows in a chunk unless said otherwise.
const ROWS_PER_CHUNK: usize = 16_384;

/// Which rows, by the split they drew when they arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SplitPart {
    /// All.
    #[default]
    All,
    /// The training half.
    Train,
    /// The validation half.
    Validation,
    /// One fold.
    Fold(u8),
    /// Every fold but one.
    NotFold(u8),
}

impl SplitPart {
    /// Whether a row of this half and fold belongs to it.
    pub const fn takes(self, is_train: bool, fold: u8) -> bool {
        match self {
            Self::All => true,
            Self::Train => is_train,
            Self::Validation => !is_train,
            Self::Fold(wanted) => fold == wanted,
            Self::NotFold(unwanted) => fold != unwanted,
        }
    }
}

/// What is done about a feature without a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Missing {
    /// It stays missing (NaN), and no window reaches over it.
    #[default]
    Skip,
    /// The last value of the same stream since the last gap takes its place.
    LastValue,
}

/// A data set by query. Rows are chosen in this order: streams, times, condition, the last of each
/// stream; among those, split, fraction and balance say which rows count. A row that does not count
/// may still be seen by a window that ends in one that does.
///
/// As text it is what `dunlin cohort` takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CohortQuery {
    /// Names of streams: `*` stands for any characters, `?` for one.
    pub streams: String,
    /// Fields; empty: every number and flag of the first stream, but the label.
    pub features: Vec<String>,
    /// The field to be estimated.
    pub label: Option<String>,
    /// The label is one of several classes, not a number. Always so if it is a text.
    pub classify: bool,
    /// Names of the classes; empty: those found in the data, sorted.
    pub classes: Vec<String>,
    /// Only the last rows of each stream.
    pub last: Option<u64>,
    /// First timestamp, nanoseconds UTC.
    pub from: Option<i64>,
    /// Last timestamp, nanoseconds UTC, itself included.
    pub to: Option<i64>,
    /// Only rows later than this count, nanoseconds UTC: those since the last training. Windows look
    /// back over it.
    pub after: Option<i64>,
    /// Rows that count, by split.
    pub split: SplitPart,
    /// Rows for which this holds. One for which it does not is a gap.
    pub condition: Option<Condition>,
    /// As many rows of every class as the rarest has, drawn by `seed`.
    pub balance: bool,
    /// This share of the rows, above 0 and up to 1, drawn by `seed`.
    pub fraction: f64,
    /// Decides what is drawn: a row is drawn or not by seed, stream and timestamp alone.
    pub seed: u64,
    /// A longer time without a row is a gap, over which no window reaches, nanoseconds.
    pub gap_ns_max: Option<i64>,
    /// What is done about features without a value.
    pub missing: Missing,
    /// Most rows in memory at a time, without those that are repeated at the start of a chunk.
    pub rows_per_chunk_max: usize,
    /// Rows are those of a grid, not the records themselves; times are those of measurement then.
    pub grid: Option<GridSpec>,
    /// Of a grid: records that arrived later are not there, nanoseconds UTC.
    pub arrived_to: Option<i64>,
}

impl Default for CohortQuery {
    fn default() -> Self {
        Self {
            streams: "*".into(),
            features: Vec::new(),
            label: None,
            classify: false,
            classes: Vec::new(),
            last: None,
            from: None,
            to: None,
            after: None,
            split: SplitPart::All,
            condition: None,
            balance: false,
            fraction: 1.0,
            seed: 0,
            gap_ns_max: None,
            missing: Missing::Skip,
            rows_per_chunk_max: ROWS_PER_CHUNK,
            grid: None,
            arrived_to: None,
        }
    }
}

impl CohortQuery {
    /// Everything of the streams that match `streams`.
    pub fn of(streams: impl Into<String>) -> Self {
        Self {
            streams: streams.into(),
            ..Self::default()
        }
    }

    /// The longest time between two rows that is no gap, nanoseconds. In a grid every step counts.
    pub(super) fn gap_ns(&self) -> i64 {
        let every = self.grid.as_ref().map_or(i64::MAX, |grid| grid.every_ns);
        self.gap_ns_max.unwrap_or(i64::MAX).min(every)
    }

    /// Whether rows are thinned, so that some do not count.
    pub(super) fn thins(&self) -> bool {
        self.split != SplitPart::All || self.balance || self.fraction < 1.0 || self.after.is_some()
    }
}

/// A word of a command line; in quotes if a shell would not take it as it is.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./,:@%+=".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Names joined by commas; a comma or back-slash inside one gets a back-slash in front.
fn listed(names: &[String]) -> String {
    let escaped = names
        .iter()
        .map(|name| name.replace('\\', r"\\").replace(',', r"\,"));
    escaped.collect::<Vec<_>>().join(",")
}

impl fmt::Display for CohortQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let default = Self::default();
        write!(f, "--streams={}", quoted(&self.streams))?;
        let mut text = |flag: &str, value: &dyn fmt::Display| {
            // An equals sign, so that no value is taken for a flag.
            write!(f, " --{flag}={}", quoted(&value.to_string()))
        };
        if !self.features.is_empty() {
            text("features", &listed(&self.features))?;
        }
        if let Some(label) = &self.label {
            text("label", label)?;
        }
        if !self.classes.is_empty() {
            text("classes", &listed(&self.classes))?;
        }
        if let Some(grid) = &self.grid {
            let ms = |ns: i64| format!("{}ms", ns / 1_000_000);
            let default = GridSpec::every(grid.every_ns);
            text("every", &ms(grid.every_ns))?;
            if grid.how != default.how || !grid.how_of.is_empty() {
                text("how", &listed(&grid.how_texts()))?;
            }
            if grid.fill_ns_max != default.fill_ns_max {
                text("fill-ms-max", &ms(grid.fill_ns_max))?;
            }
            if grid.late_ns_max != default.late_ns_max {
                text("late-ms-max", &ms(grid.late_ns_max))?;
            }
        }
        if let Some(ts) = self.arrived_to {
            text("arrived-to", &ts)?;
        }
        if let Some(rows) = self.last {
            text("last", &rows)?;
        }
        for (flag, ts) in [("from", self.from), ("to", self.to), ("after", self.after)] {
            if let Some(ts) = ts {
                text(flag, &ts)?;
            }
        }
        match self.split {
            SplitPart::All => {}
            SplitPart::Train => text("split", &"train")?,
            SplitPart::Validation => text("split", &"validation")?,
            SplitPart::Fold(fold) => text("fold", &fold)?,
            SplitPart::NotFold(fold) => text("not-fold", &fold)?,
        }
        if let Some(condition) = &self.condition {
            text("where", condition)?;
        }
        if self.fraction < 1.0 {
            text("fraction", &self.fraction)?;
        }
        if self.seed != default.seed {
            text("seed", &self.seed)?;
        }
        if let Some(gap) = self.gap_ns_max {
            text("gap-ns-max", &gap)?;
        }
        if self.missing == Missing::LastValue {
            text("missing", &"last-value")?;
        }
        if self.rows_per_chunk_max != default.rows_per_chunk_max {
            text("rows-per-chunk-max", &self.rows_per_chunk_max)?;
        }
        if self.classify {
            f.write_str(" --classify")?;
        }
        if self.balance {
            f.write_str(" --balance")?;
        }
        Ok(())
    }
}
