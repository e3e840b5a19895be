//! Parts of a table as data sets.

use std::{ops::Range, sync::Arc};

use dunlin_models::data::{Columns, InMemory, Lineage, Rows};
use xxhash_rust::xxh3::xxh3_64;

use super::read::Table;

#[derive(Clone, Debug)]
pub(super) struct TablePart {
    pub(super) rows: Range<usize>,
    /// Rows before these that windows may look back into.
    pub(super) lead: usize,
    pub(super) half: PartHalf,
    pub(super) is_replay: bool,
}

/// What a stretch is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PartHalf {
    Train,
    Validation,
    /// Every fifth row is for validation, as on a device; where rows have labels, every fifth of these,
    /// so that labels at the ends of pieces of one length do not all fall into one half.
    Mixed,
}

const MIXED_VALIDATION: usize = 5;

impl TablePart {
    pub(super) const fn new(rows: Range<usize>, lead: usize, half: PartHalf) -> Self {
        Self {
            rows,
            lead,
            half,
            is_replay: false,
        }
    }
}

/// The data set of these parts, one chunk each.
pub(super) fn source(table: &Table, label_name: Option<&str>, parts: &[TablePart]) -> InMemory {
    let chunks: Vec<Arc<Rows>> = parts
        .iter()
        .map(|part| Arc::new(rows(table, part)))
        .collect();
    let own = || chunks.iter().flat_map(|rows| &rows.ts[rows.lead..]);
    let keys: Vec<u8> = own().flat_map(|ts| ts.to_le_bytes()).collect();
    let spans: Vec<String> = parts
        .iter()
        .map(|part| format!("{:?}", part.rows))
        .collect();
    let lineage = Lineage {
        query: format!("{} rows {}", table.path.display(), spans.join(", ")),
        first_ts: own().min().copied().unwrap_or_default(),
        last_ts: own().max().copied().unwrap_or_default(),
        rows: own().count() as u64,
        rows_hash: xxh3_64(&keys),
    };
    InMemory {
        columns: Columns {
            features: table.features.clone(),
            label: label_name
                .filter(|_| !table.label.is_empty())
                .map(str::to_owned),
            classes: table.classes.clone(),
        },
        chunks,
        lineage,
    }
}

pub(super) fn rows(table: &Table, part: &TablePart) -> Rows {
    let start = part.rows.start.saturating_sub(part.lead);
    let range = start..part.rows.end;
    let features = table.features.len();
    let label = table.label.get(range.clone()).unwrap_or_default();
    let is_labelled = |row: usize| table.label.get(row).is_none_or(|label| label.is_finite());
    let mut labelled = (0..start).filter(|row| is_labelled(*row)).count();
    let is_train = |row: usize| match part.half {
        PartHalf::Train => true,
        PartHalf::Validation => false,
        PartHalf::Mixed => {
            labelled += usize::from(is_labelled(row));
            !is_labelled(row) || labelled % MIXED_VALIDATION != 0
        }
    };
    Rows {
        stream: table.name.as_str().into(),
        ts: table.ts[range.clone()].to_vec(),
        values: table.values[start * features..range.end * features].to_vec(),
        label: label.to_vec(),
        is_train: range.map(is_train).collect(),
        lead: part.rows.start - start,
        is_replay: part.is_replay,
        ..Rows::default()
    }
}
