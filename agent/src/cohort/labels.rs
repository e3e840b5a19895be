//! Labels as numbers: as they are, or positions among the classes.

use std::{collections::BTreeMap, ops::Range};

use dunlin_sync::rows::{Column, Values};

use super::CohortError;

/// Most classes found in data; more are no classes.
const CLASSES_MAX: usize = 256;

/// What a label's value is to a model.
#[derive(Clone, Debug)]
pub(crate) enum Labels {
    Number,
    /// A position among these, by name.
    Classes(BTreeMap<String, u32>),
}

impl Labels {
    /// Positions among `names`.
    pub(crate) fn classes(names: &[String]) -> Self {
        let numbered = names.iter().cloned().zip(0..);
        Self::Classes(numbered.collect())
    }

    /// NaN if there is none, or it is none of the classes.
    pub(crate) fn of(&self, column: &Column, row: usize) -> f32 {
        match self {
            Self::Number => number(column, row),
            Self::Classes(_) => self
                .class(column, row)
                .map_or(f32::NAN, |class| class as f32),
        }
    }

    pub(super) fn class(&self, column: &Column, row: usize) -> Option<usize> {
        let Self::Classes(classes) = self else {
            return None;
        };
        let class = match text(column, row) {
            Some(text) => classes.get(text),
            None => classes.get(&name(column, row)?),
        };
        class.map(|class| *class as usize)
    }
}

/// A value as a number; NaN if it is missing or a text.
pub(crate) fn number(column: &Column, row: usize) -> f32 {
    if !column.is_present(row) {
        return f32::NAN;
    }
    match &column.values {
        Values::F64(v) => v[row] as f32,
        Values::F32(v) => v[row],
        // By way of f64, as where columns of several types are one field.
        Values::I64(v) => v[row] as f64 as f32,
        Values::Bool(v) => f32::from(u8::from(v[row])),
        Values::Text(_) => f32::NAN,
    }
}

/// Sets the next of `cells` to the values of `rows`, as [`number`] gives them.
pub(super) fn numbers<'c>(
    column: &Column,
    rows: Range<usize>,
    cells: &mut impl Iterator<Item = &'c mut f32>,
) {
    if column.present.is_some() {
        for (row, cell) in rows.zip(cells) {
            *cell = number(column, row);
        }
        return;
    }
    match &column.values {
        Values::F64(v) => set(&v[rows], cells, |x| *x as f32),
        Values::F32(v) => set(&v[rows], cells, |x| *x),
        Values::I64(v) => set(&v[rows], cells, |x| *x as f64 as f32),
        Values::Bool(v) => set(&v[rows], cells, |x| f32::from(u8::from(*x))),
        Values::Text(v) => set(&v[rows], cells, |_| f32::NAN),
    }
}

/// The values come first: no cell is taken for which there is none.
fn set<'c, T>(
    values: &[T],
    cells: &mut impl Iterator<Item = &'c mut f32>,
    number: impl Fn(&T) -> f32,
) {
    for (value, cell) in values.iter().zip(cells) {
        *cell = number(value);
    }
}

fn text(column: &Column, row: usize) -> Option<&str> {
    match &column.values {
        Values::Text(texts) if column.is_present(row) => Some(&texts[row]),
        _ => None,
    }
}

/// A value as the name of a class.
fn name(column: &Column, row: usize) -> Option<String> {
    if !column.is_present(row) {
        return None;
    }
    match &column.values {
        Values::F64(v) => v[row].is_finite().then(|| v[row].to_string()),
        Values::F32(v) => v[row].is_finite().then(|| v[row].to_string()),
        Values::I64(v) => Some(v[row].to_string()),
        Values::Bool(v) => Some(v[row].to_string()),
        Values::Text(v) => Some(v[row].to_string()),
    }
}

/// Notes the class of a row among those found.
///
/// # Errors
/// [`CohortError::Asked`] if there are too many.
pub(super) fn find(
    found: &mut BTreeMap<String, u32>,
    label: &str,
    column: &Column,
    row: usize,
) -> Result<(), CohortError> {
    if text(column, row).is_some_and(|text| found.contains_key(text)) {
        return Ok(());
    }
    if let Some(name) = name(column, row) {
        found.insert(name, 0);
    }
    if found.len() > CLASSES_MAX {
        return Err(CohortError::Asked(format!(
            "the label `{}` has more than {CLASSES_MAX} different values, too many for classes; \
             name the classes wanted, or leave classification out",
            label.escape_debug()
        )));
    }
    Ok(())
}

/// Sorted: as numbers if all are, otherwise as texts.
pub(super) fn sorted(found: BTreeMap<String, u32>) -> Vec<String> {
    let mut names: Vec<String> = found.into_keys().collect();
    let numbers = names.iter().map(|name| name.parse::<f64>());
    if numbers.clone().all(|number| number.is_ok()) {
        names.sort_by(|a, b| {
            let of = |name: &str| name.parse::<f64>().unwrap_or_default();
            of(a).total_cmp(&of(b))
        });
    }
    names
}
