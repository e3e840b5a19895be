//! Records in a block, and what they are to a model.

use std::sync::Arc;

use dunlin_sync::{
    block::{Block, Section},
    rows::Values,
    sample::StreamId,
};

/// The rows of each stream in a block.
pub(super) fn parts(
    block: &Block,
) -> impl Iterator<Item = (StreamId, &Section, std::ops::Range<usize>)> {
    block.sections.iter().flat_map(|section| {
        let mut start = 0;
        section.runs.iter().map(move |run| {
            let rows = start..start + run.rows as usize;
            start = rows.end;
            (run.stream, section, rows)
        })
    })
}

/// A number at a place, NaN where there is none.
pub(super) fn number_at(section: &Section, field: usize, row: usize) -> f32 {
    let Some(column) = section.rows.columns.get(field) else {
        return f32::NAN;
    };
    if column.present.as_ref().is_some_and(|present| !present[row]) {
        return f32::NAN;
    }
    match &column.values {
        Values::F64(values) => values.get(row).map_or(f32::NAN, |value| *value as f32),
        Values::F32(values) => values.get(row).copied().unwrap_or(f32::NAN),
        Values::I64(values) => values.get(row).map_or(f32::NAN, |value| *value as f32),
        Values::Bool(values) => values
            .get(row)
            .map_or(f32::NAN, |v| f32::from(u8::from(*v))),
        Values::Text(_) => f32::NAN,
    }
}

/// Names of the classes, where a classifier's settings hold them.
pub(super) fn classes(settings: &str) -> Arc<[String]> {
    let settings: serde_json::Value = serde_json::from_str(settings).unwrap_or_default();
    let classes = settings.get("classes").cloned().unwrap_or_default();
    let classes: Vec<String> = serde_json::from_value(classes).unwrap_or_default();
    classes.into()
}
