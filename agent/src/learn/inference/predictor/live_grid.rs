//! The grid of a stream whose steps are answered as they are over.
//!
//! Promises: every record is taken once, in order of arrival, as the data sets of training take them; so
//! what is answered is what was learnt from.

use std::{collections::HashMap, ops::Range};

use dunlin_sync::{
    block::Section,
    rows::{Column, Rows},
    sample::Schema,
};

use crate::grid::{Arrival, GridRows, GridSpec, Resampler};

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
    /// A grid over `fields` of the records that arrive after `taken_to`, nanoseconds UTC.
    pub(in crate::learn::inference) fn behind(
        taken_to: i64,
        spec: &GridSpec,
        schema: &Schema,
        fields: Vec<usize>,
    ) -> Self {
        let of = fields.iter().filter(|field| **field < schema.fields.len());
        Self {
            grid: Resampler::new(
                spec,
                of.map(|field| spec.field_of(schema, *field)).collect(),
            ),
            fields,
            taken_to,
            late: 0,
        }
    }

    /// Takes the records in `range` of a section that were not taken before; the rows of the steps that
    /// are over now.
    pub(super) fn take(
        &mut self,
        section: &Section,
        range: Range<usize>,
        schema: Option<&Schema>,
    ) -> Rows {
        let columns = &section.rows.columns;
        let joined = self.joined(section, &range, schema);
        let own = self.fields.iter().map(|field| columns.get(*field));
        let columns: Vec<Option<&Column>> = own
            .enumerate()
            .map(|(place, own)| joined.get(&place).or(own))
            .collect();
        let mut rows = GridRows::keeping(self.grid.fields());
        let late_before = self.grid.late();
        for row in range {
            let arrival = Arrival::of(&section.rows, row);
            if arrival.ts <= self.taken_to {
                continue;
            }
            self.taken_to = arrival.ts;
            self.grid.push(arrival, &columns, row, &mut rows);
        }
        self.late += self.grid.late() - late_before;
        rows.rows.unwrap_or_default()
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
