//! The grid of a stream whose steps are answered as they are over.
//!
//! Promises: every record is taken once, in order of arrival, as the data sets of training take them; so
//! what is answered is what was learnt from.

use std::{collections::HashMap, ops::Range};

use dunlin_sync::{
    block::Section,
    rows::{Column, Rows},
    sample::{FieldType, Schema},
};

use crate::grid::{Arrival, GridField, GridRows, GridSpec, Resampler};

/// The grid between two records of its stream.
pub(in crate::learn::inference) struct LiveGrid {
    grid: Resampler,
    /// Positions in the stream's schema of what is in a row: the features, then the label.
    fields: Vec<usize>,
    /// When the last record taken arrived, nanoseconds UTC.
    taken_to: i64,
    /// What arrived up to then is looked at again: it was told of before, nanoseconds UTC.
    replayed_to: i64,
    /// It began anew, and no row has come since.
    is_anew: bool,
}

/// What records have given.
pub(in crate::learn::inference) struct GridTaken {
    /// Rows of steps that are over now: the features, then the label.
    pub(in crate::learn::inference) rows: Rows,
    /// Whether all records are taken.
    pub(in crate::learn::inference) is_all: bool,
    /// Records that came for steps that were over.
    pub(in crate::learn::inference) late: u64,
    /// The first row since the grid began anew: times have gone back.
    pub(in crate::learn::inference) anew: Option<usize>,
}

impl LiveGrid {
    /// A grid over the features and the label of the records that arrive after `taken_to`, nanoseconds UTC.
    /// What arrived up to `replayed_to` was told of before. Numbers are floats, whatever columns they are in
    /// one day; of a label that `is_class` the last counts.
    pub(in crate::learn::inference) fn behind(
        (taken_to, replayed_to): (i64, i64),
        spec: &GridSpec,
        schema: &Schema,
        features: &[usize],
        (label, is_class): (Option<usize>, bool),
    ) -> Self {
        let made = features.iter().map(|field| GridField {
            kind: FieldType::F64,
            ..spec.field_of(schema, *field)
        });
        let label_made = label.map(|label| {
            if is_class {
                let name = &schema.fields[label].name;
                return spec.with_last(name).field_of(schema, label);
            }
            GridField {
                kind: FieldType::F64,
                ..spec.field_of(schema, label)
            }
        });
        Self {
            grid: Resampler::new(spec, made.chain(label_made).collect()),
            fields: features.iter().copied().chain(label).collect(),
            taken_to,
            replayed_to,
            is_anew: false,
        }
    }

    /// Records that arrived before `ts` and after those taken are missing.
    pub(super) fn forget_before(&mut self, ts: i64) {
        if self.taken_to < ts {
            self.grid.forget();
        }
    }

    /// Takes the records in `range` of a section that were not taken before, until there are `rows_max`
    /// rows, or few more.
    pub(super) fn take(
        &mut self,
        section: &Section,
        range: Range<usize>,
        schema: Option<&Schema>,
        rows_max: usize,
    ) -> GridTaken {
        let columns = &section.rows.columns;
        let joined = self.joined(section, &range, schema);
        let own = self.fields.iter().map(|field| columns.get(*field));
        let columns: Vec<Option<&Column>> = own
            .enumerate()
            .map(|(place, own)| joined.get(&place).or(own))
            .collect();
        let mut rows = GridRows::keeping(self.grid.fields());
        let (mut late, mut is_all, mut anew) = (0, true, None);
        for row in range {
            let arrival = Arrival::of(&section.rows, row);
            if arrival.ts <= self.taken_to {
                continue;
            }
            if rows.count >= rows_max {
                is_all = false;
                break;
            }
            self.taken_to = arrival.ts;
            let (rows_before, late_before) = (rows.count, self.grid.late());
            self.grid.push(arrival, &columns, row, &mut rows);
            let is_new = arrival.ts > self.replayed_to;
            if is_new {
                late += self.grid.late() - late_before;
            }
            self.is_anew |= self.grid.take_began_anew() && is_new;
            if self.is_anew && rows.count > rows_before {
                (self.is_anew, anew) = (false, Some(rows_before));
            }
        }
        GridTaken {
            rows: rows.rows.unwrap_or_default(),
            is_all,
            late,
            anew,
        }
    }

    /// The columns of fields that are in several, by their place among ours.
    fn joined(
        &self,
        section: &Section,
        range: &Range<usize>,
        schema: Option<&Schema>,
    ) -> HashMap<usize, Column> {
        let Some(schema) = schema.filter(|schema| schema.has_seconds()) else {
            return HashMap::new();
        };
        let columns = &section.rows.columns;
        let fields = self.fields.iter().zip(&**self.grid.fields()).enumerate();
        let joined = fields.filter_map(|(place, (field, made))| {
            let mut seconds = schema.seconds_of(*field).peekable();
            seconds.peek()?;
            let parts = [*field].into_iter().chain(seconds);
            let parts: Vec<&Column> = parts.filter_map(|column| columns.get(column)).collect();
            Some((place, Column::joined(&parts, made.kind, range.clone())))
        });
        joined.collect()
    }
}

#[cfg(test)]
mod tests;
