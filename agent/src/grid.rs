//! Regular rows from irregular or sparse records: a grid over the time of measurement.
//!
//! The steps of a grid end at whole multiples of its length since 1970. The step that ends at `T` gathers
//! what was measured after `T - every` and up to `T`, itself included; its row has the time `T` and the
//! split of the last record in it. A record was measured at its source time, or when it arrived if it has
//! none.
//!
//! A step is over once a record measured after its end has arrived, or, with source times, one measured
//! more than `late_ms_max` after it. Who comes for a step that is over is late: left out of the grid, and
//! counted; where many in a row are, a clock was ahead, and the grid begins anew. All of that depends on the
//! order of arrival alone, so that what was learnt from is what is answered.
//!
//! Promises: memory is bounded by the fields and the steps that are open, and some bytes a row where rows
//! are to be read again, however many records there are; a step in which no field has a value gives no row,
//! and no window reaches over it.

mod resampler;
mod store;
mod whole;

use std::{collections::BTreeMap, sync::Arc};

use clap::ValueEnum as _;
use dunlin_sync::sample::{Field, FieldType, Schema};
use serde::{Deserialize, Serialize};

#[cfg(any(test, feature = "learning"))]
pub(crate) use self::resampler::{Arrival, GridRows, Resampler};
pub(crate) use self::store::{GridReader, GridStore, GridStream, StoreWanted};
pub(crate) use self::whole::each_grid_row;

/// Steps over which a value may be held.
pub const FILL_STEPS_MAX: i64 = 10_000;
/// Steps that may be open at once, because they wait for late records or for a neighbour.
pub const OPEN_STEPS_MAX: i64 = 1_000;

/// How the values of a field within a step become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// The last one, with its own type.
    #[default]
    Last,
    /// Their mean.
    Mean,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// On the line between the neighbours of the step's end.
    Interpolate,
}

/// A grid: how long its steps are, and what is in a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GridSpec {
    /// Length of a step, nanoseconds.
    pub every_ns: i64,
    /// What becomes of the values of a number or a flag; texts are always the last.
    #[serde(default)]
    pub how: How,
    /// And of those of some fields by name.
    #[serde(default)]
    pub how_of: BTreeMap<String, How>,
    /// A value takes the place of those missing for so long after its own step, nanoseconds;
    /// interpolated are neighbours at most this and a step apart, and [`OPEN_STEPS_MAX`] steps.
    #[serde(default)]
    pub fill_ns_max: i64,
    /// A step waits for so long, by source times, for records that were measured in it, nanoseconds.
    #[serde(default)]
    pub late_ns_max: i64,
}

/// What a grid makes of one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GridField {
    pub(crate) how: How,
    /// The type of the values in the rows.
    pub(crate) kind: FieldType,
}

impl GridSpec {
    /// Steps of `every_ns` nanoseconds; a value is held for one step more, and nothing is waited for.
    pub fn every(every_ns: i64) -> Self {
        Self {
            every_ns,
            how: How::Last,
            how_of: BTreeMap::new(),
            fill_ns_max: every_ns,
            late_ns_max: 0,
        }
    }

    /// What is wrong with it, for people.
    pub fn mistake(&self) -> Option<String> {
        let steps = |steps: i64| 0..=self.every_ns.saturating_mul(steps);
        if self.every_ns < 1_000_000 {
            Some("a step of a grid is 1 ms at least".into())
        } else if !steps(FILL_STEPS_MAX).contains(&self.fill_ns_max) {
            Some(format!(
                "a value is held for {FILL_STEPS_MAX} steps at most"
            ))
        } else if !steps(OPEN_STEPS_MAX).contains(&self.late_ns_max) {
            Some(format!(
                "late records are waited for {OPEN_STEPS_MAX} steps at most"
            ))
        } else {
            None
        }
    }

    /// What becomes of values as it is written: `mean`, or `temperature=mean` for a field.
    #[cfg(feature = "learning")]
    pub(crate) fn how_texts(&self) -> Vec<String> {
        let word = |how: How| format!("{how:?}").to_lowercase();
        let of = self.how_of.iter();
        let of = of.map(|(field, how)| format!("{field}={}", word(*how)));
        std::iter::once(word(self.how)).chain(of).collect()
    }

    /// Takes up what becomes of values: `mean`, or `temperature=mean` for a field.
    ///
    /// # Errors
    /// A text for people: which one is not understood.
    pub(crate) fn set_how(&mut self, texts: &[String]) -> Result<(), String> {
        for text in texts {
            let (field, word) = match text.rsplit_once('=') {
                Some((field, word)) => (Some(field), word),
                None => (None, text.as_str()),
            };
            let how = How::from_str(word, false).map_err(|_| {
                format!(
                    "`{text}` is none of last, mean, min, max, interpolate, nor field=one of them"
                )
            })?;
            match field {
                Some(field) => _ = self.how_of.insert(field.to_owned(), how),
                None => self.how = how,
            }
        }
        Ok(())
    }

    /// The same, with the last value of `field`: there is no mean of two classes.
    #[cfg(feature = "learning")]
    pub(crate) fn with_last(&self, field: &str) -> Self {
        let mut spec = self.clone();
        spec.how_of.insert(field.to_owned(), How::Last);
        spec
    }

    /// Before the first row that is wanted, records of this time decide what is in it, nanoseconds.
    pub(crate) fn memory_ns(&self) -> i64 {
        let steps = self.every_ns.saturating_mul(2);
        steps
            .saturating_add(self.fill_ns_max)
            .saturating_add(self.late_ns_max)
    }

    /// What becomes of the field at `position` of a schema, with all its columns.
    pub(crate) fn field_of(&self, schema: &Schema, position: usize) -> GridField {
        self.field(&Field {
            name: schema.fields[position].name.clone(),
            kind: schema.kind_of(position),
        })
    }

    /// What becomes of a field.
    pub(crate) fn field(&self, field: &Field) -> GridField {
        let how = match field.kind {
            FieldType::Text => How::Last,
            _ => *self.how_of.get(&field.name).unwrap_or(&self.how),
        };
        let kind = match how {
            How::Last => field.kind,
            _ => FieldType::F64,
        };
        GridField { how, kind }
    }

    /// `schema` as its rows in the grid have it: each field in one column.
    pub(crate) fn schema(&self, schema: &Schema) -> Arc<Schema> {
        let fields = schema.fields.iter().enumerate();
        let fields = fields.map(|(position, field)| Field {
            name: field.name.clone(),
            kind: self.field_of(schema, position).kind,
        });
        Arc::new(Schema {
            fields: fields.collect(),
            origins: Vec::new(),
            ..schema.clone()
        })
    }
}

#[cfg(test)]
mod tests;
