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
    /// Records that were late and have not been told of.
    late: u64,
}

impl LiveGrid {
    /// A grid over the features and the label of the records that arrive after `taken_to`, nanoseconds UTC.
    /// Features are floats, whatever columns they are in one day.
    pub(in crate::learn::inference) fn behind(
        taken_to: i64,
        spec: &GridSpec,
        schema: &Schema,
        features: &[usize],
        label: Option<usize>,
    ) -> Self {
        let made = features.iter().map(|field| GridField {
            kind: FieldType::F64,
            ..spec.field_of(schema, *field)
        });
        let label_made = label.map(|label| spec.field_of(schema, label));
        Self {
            grid: Resampler::new(spec, made.chain(label_made).collect()),
            fields: features.iter().copied().chain(label).collect(),
            taken_to,
            late: 0,
        }
    }

    /// Takes the records in `range` of a section that were not taken before, until there are `rows_max`
    /// rows of steps that are over now, or few more; whether all are taken.
    pub(super) fn take(
        &mut self,
        section: &Section,
        range: Range<usize>,
        schema: Option<&Schema>,
        rows_max: usize,
    ) -> (Rows, bool) {
        let columns = &section.rows.columns;
        let joined = self.joined(section, &range, schema);
        let own = self.fields.iter().map(|field| columns.get(*field));
        let columns: Vec<Option<&Column>> = own
            .enumerate()
            .map(|(place, own)| joined.get(&place).or(own))
            .collect();
        let mut rows = GridRows::keeping(self.grid.fields());
        let (late_before, mut is_all) = (self.grid.late(), true);
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
            self.grid.push(arrival, &columns, row, &mut rows);
        }
        self.late += self.grid.late() - late_before;
        (rows.rows.unwrap_or_default(), is_all)
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

    /// Records that came for steps that were over, since this was asked last.
    pub(super) fn take_late(&mut self) -> u64 {
        std::mem::take(&mut self.late)
    }
}

#[cfg(test)]
mod tests;
