//! Records in a block, and what they are to a model.

use std::ops::Range;

use dunlin_sync::{
    block::{Block, Section},
    rows::{Columns, Values},
    sample::StreamId,
};

/// Records of one stream that lie one behind the other in a block.
pub(super) struct StreamRun<'a> {
    pub(super) stream: StreamId,
    pub(super) section: &'a Section,
    /// Which rows of the section.
    pub(super) rows: Range<usize>,
}

/// The records of a block, stream by stream.
pub(super) fn runs(block: &Block) -> impl Iterator<Item = StreamRun<'_>> {
    block.sections.iter().flat_map(|section| {
        let mut start = 0;
        section.runs.iter().map(move |run| {
            let rows = start..start + run.rows as usize;
            start = rows.end;
            StreamRun {
                stream: run.stream,
                section,
                rows,
            }
        })
    })
}

/// The number in a row of a field, NaN where there is none.
pub(super) fn number_at(columns: &Columns, field: usize, row: usize) -> f32 {
    let Some(column) = columns.get(field) else {
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
