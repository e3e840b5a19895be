//! What records are to a model.

use dunlin_sync::{
    rows::{Columns, Values},
    sample::Schema,
};

/// Where the values of fields are.
pub(super) struct FeatureCells {
    /// Positions of columns: of each field its own and those beside it that take its values of other types.
    columns: Vec<Vec<usize>>,
}

impl FeatureCells {
    /// The cells of the fields at these positions of `schema`.
    pub(super) fn of(fields: &[usize], schema: Option<&Schema>) -> Self {
        let schema = schema.filter(|schema| schema.has_seconds());
        let columns = fields.iter().map(|field| {
            let seconds = schema.into_iter().flat_map(|s| s.seconds_of(*field));
            [*field].into_iter().chain(seconds).collect()
        });
        Self {
            columns: columns.collect(),
        }
    }

    /// The columns of the first field.
    pub(super) fn first(&self) -> &[usize] {
        self.columns.first().map_or(&[], Vec::as_slice)
    }

    /// Sets `out` to the numbers of a row: of each field the first that is there, as it is read for training.
    pub(super) fn numbers(&self, columns: &Columns, row: usize, out: &mut [f32]) {
        for (value, places) in out.iter_mut().zip(&self.columns) {
            let mut numbers = places.iter().map(|at| number_at(columns, *at, row));
            *value = numbers.find(|number| !number.is_nan()).unwrap_or(f32::NAN);
        }
    }
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
        // By way of f64, as in training.
        Values::I64(values) => values
            .get(row)
            .map_or(f32::NAN, |value| *value as f64 as f32),
        Values::Bool(values) => values
            .get(row)
            .map_or(f32::NAN, |v| f32::from(u8::from(*v))),
        Values::Text(_) => f32::NAN,
    }
}

#[cfg(test)]
mod tests;
