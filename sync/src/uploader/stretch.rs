//! A batch in parts: what was not answered before comes last.

use std::{borrow::Cow, ops::Range, sync::Arc};

use crate::{
    rows::{Batch, Rows, TableRows},
    sample::StreamId,
};

/// A row, by its stream and timestamp.
pub(super) type RowKey = (StreamId, i64);

/// Consecutive rows of a batch, counted over all its tables.
pub(super) struct Stretch {
    pub(super) rows: Range<usize>,
    /// They were not answered before, from this place on.
    pub(super) broken: Option<RowKey>,
}

/// All rows of `batch`: first those of which nothing is known, then those that were not answered before.
pub(super) fn stretches(batch: &Batch, broken: &[(RowKey, usize)]) -> Vec<Stretch> {
    let end = batch.rows();
    let mut known: Vec<(usize, usize, RowKey)> = broken
        .iter()
        .filter_map(|(place, rows)| Some((position(batch, *place)?, *rows, *place)))
        .collect();
    known.sort_unstable();
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    let mut from = 0;
    for (index, (start, rows, place)) in known.iter().enumerate() {
        let next = known.get(index + 1).map_or(end, |(start, _, _)| *start);
        let rows = *start..start.saturating_add(*rows).min(next);
        good.push(from..rows.start);
        from = rows.end;
        bad.push(Stretch {
            rows,
            broken: Some(*place),
        });
    }
    good.push(from..end);
    let good = good.into_iter().filter(|rows| !rows.is_empty());
    let good = good.map(|rows| Stretch { rows, broken: None });
    good.chain(bad).collect()
}

fn position(batch: &Batch, (stream, ts): RowKey) -> Option<usize> {
    let mut before = 0;
    for table in &batch.tables {
        let rows = &table.rows;
        if table.stream.id == stream
            && let Some(row) = rows.ts.iter().position(|other| *other == ts)
        {
            return Some(before + row);
        }
        before += rows.len();
    }
    None
}

/// The rows numbered `rows` over all tables.
pub(super) fn slice(batch: &Batch, rows: Range<usize>) -> Cow<'_, Batch> {
    if rows == (0..batch.rows()) {
        return Cow::Borrowed(batch);
    }
    let mut part = Batch::default();
    let mut before = 0;
    for table in &batch.tables {
        let of_table = before..before + table.rows.len();
        let from = rows.start.max(of_table.start);
        let to = rows.end.min(of_table.end);
        if from < to {
            let mut rows = Rows::default();
            rows.extend_from(&table.rows, from - before..to - before);
            part.tables.push(TableRows {
                stream: Arc::clone(&table.stream),
                schema: Arc::clone(&table.schema),
                rows,
            });
        }
        before = of_table.end;
    }
    Cow::Owned(part)
}

pub(super) fn first_row(part: &Batch) -> Option<RowKey> {
    let table = part.tables.first()?;
    Some((table.stream.id, *table.rows.ts.first()?))
}
