//! A table's rows on a regular grid.

use dunlin_sync::{
    rows::{Column, Rows, Values},
    sample::{Field, FieldType, Split},
};

use super::read::Table;
use crate::{
    cohort::number,
    grid::{Arrival, GridField, GridRows, GridSpec, How, Resampler},
};

impl Table {
    /// The same on a grid, as a device would have it whose records came in the file's order.
    ///
    /// # Errors
    /// A text for people if the table has no times.
    pub(super) fn gridded(self, spec: &GridSpec) -> Result<Self, String> {
        if !self.has_time {
            return Err("a grid needs times; name the column with --time".into());
        }
        let width = self.features.len();
        let mut fields: Vec<GridField> = self.features.iter().map(|f| of(spec, f)).collect();
        if !self.label.is_empty() {
            let label = of(spec, &self.label_name);
            // There is no mean of two classes.
            let how = if self.classes.is_empty() {
                label.how
            } else {
                How::Last
            };
            let kind = if how == How::Last {
                FieldType::F32
            } else {
                label.kind
            };
            fields.push(GridField { how, kind });
        }
        let mut grid = Resampler::new(spec, fields.as_slice().into());
        let mut out = GridRows::keeping(&fields);
        for (row, ts) in self.ts.iter().enumerate() {
            let values = &self.values[row * width..(row + 1) * width];
            let label = self.label.get(row);
            let cells = values.iter().chain(label).map(|value| Column {
                values: Values::F32(vec![*value]),
                present: (!value.is_finite()).then(|| vec![false]),
            });
            let cells: Vec<Column> = cells.collect();
            let cells: Vec<Option<&Column>> = cells.iter().map(Some).collect();
            let arrival = Arrival {
                ts: *ts,
                source_ts: Some(*ts),
                split: Split {
                    is_train: true,
                    fold: 0,
                },
            };
            grid.push(arrival, &cells, 0, &mut out);
        }
        Ok(self.with_rows(&out.rows.unwrap_or_default(), grid.late()))
    }

    fn with_rows(self, rows: &Rows, late: u64) -> Self {
        let width = self.features.len();
        let mut table = Self {
            values: Vec::with_capacity(rows.len() * width),
            label: Vec::new(),
            missing: 0,
            late,
            ts: rows.ts.clone(),
            ..self
        };
        for row in 0..rows.len() {
            for (place, column) in rows.columns.iter() {
                let value = number(column, row);
                if place < width {
                    table.missing += u64::from(!value.is_finite());
                    table.values.push(value);
                } else {
                    table.label.push(value);
                }
            }
        }
        table
    }
}

fn of(spec: &GridSpec, name: &str) -> GridField {
    spec.field(&Field {
        name: name.to_owned(),
        kind: FieldType::F32,
    })
}
