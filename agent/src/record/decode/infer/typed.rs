//! Files that say by themselves which types their columns have.

use std::collections::HashSet;

use dunlin_sync::sample::{Field, FieldType, Schema, Split, Value};

use super::{Hints, OwnColumns, PlanError, TimeFormat, placed, refused::refusal, times};
use crate::{
    base::source_time::{TimeRule, TimeUnit, Zone},
    config::settings::{MissingWords, NanPolicy},
    record::decode::{Cell, Reason, Reject, is_field_name, quoted, value::Taking},
};

/// Such a file says where there is no value.
static NO_WORDS: MissingWords = MissingWords::none();

/// A column as its file describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypedColumn {
    /// Its name.
    pub name: String,
    /// What its values become.
    pub kind: FieldType,
    /// It holds points in time.
    pub is_time: bool,
}

/// How to read such a file.
#[derive(Clone, Debug, PartialEq)]
pub struct TypedPlan {
    /// Column of the time, from 0.
    pub time: Option<usize>,
    /// How it is written, where it is a number or a text.
    pub format: TimeFormat,
    /// Columns taken, from 0, with the field each becomes and its place among the fields.
    pub columns: Vec<(usize, Field, usize)>,
    /// Fields the schema does not have yet.
    pub new_fields: Vec<Field>,
    /// Where an export of ours has what is not a value.
    pub own: Option<OwnColumns>,
}

impl TypedPlan {
    /// Works out a plan. `looks_timely` says whether a column begins with a time in a format.
    ///
    /// # Errors
    /// [`PlanError`], which says what to change.
    pub fn of(
        columns: &[TypedColumn],
        schema: Option<&Schema>,
        hints: &Hints,
        looks_timely: &dyn Fn(usize, &TimeFormat) -> bool,
    ) -> Result<Self, PlanError> {
        if !hints.missing.is_empty() {
            let what = "--missing is for CSV: this file says by itself where there is no value";
            return Err(PlanError(what.to_owned()));
        }
        let own = OwnColumns::of(columns.iter().map(|column| column.name.as_str()));
        let format = TimeFormat::Rule(hints.time_rule.clone().unwrap_or(TimeRule {
            unit: TimeUnit::BySize,
            zone: Some(Zone::UTC),
            format: None,
        }));
        let time = match (&hints.time, &own) {
            (Some(name), _) => Some(named(columns, name)?),
            (None, Some(_)) => None,
            (None, None) => found(columns, &|column| looks_timely(column, &format)),
        };
        if let (Some(column), Some(name)) = (time, &hints.time)
            && !columns[column].is_time
            && !looks_timely(column, &format)
        {
            return Err(PlanError(format!(
                "column {} does not begin with a time: see --time-format and --time-unit",
                quoted(name)
            )));
        }
        let mut plan = Self {
            time,
            format,
            columns: Vec::new(),
            new_fields: Vec::new(),
            own: own.clone(),
        };
        let named: Vec<(usize, &str)> = if let Some(own) = &own {
            own.fields.iter().map(|(at, name)| (*at, &**name)).collect()
        } else {
            let names = columns.iter().map(|column| column.name.as_str());
            names.enumerate().collect()
        };
        let mut names = HashSet::new();
        for (at, name) in named {
            // The row number that data-frame libraries add.
            let is_index = name.starts_with("__index_level_") && !columns[at].is_time;
            if Some(at) == time || is_index || name.is_empty() {
                continue;
            }
            if !is_field_name(name) || !names.insert(name) {
                return Err(PlanError(format!(
                    "column {}: {} cannot name a field, or is there twice; use 1 to 64 bytes without quotes, \
                     back-ticks and control characters",
                    at + 1,
                    quoted(name)
                )));
            }
            let said = hints.types.iter().find(|(other, _)| other == name);
            let kind = said.map_or(columns[at].kind, |(_, kind)| *kind);
            let (field, place) = placed(name, kind, schema, &mut plan.new_fields);
            plan.columns.push((at, field, place));
        }
        let is_taken = |name: &String| plan.columns.iter().any(|(_, f, _)| f.name == *name);
        if let Some((name, _)) = hints.types.iter().find(|(name, _)| !is_taken(name)) {
            let names: Vec<String> = plan
                .columns
                .iter()
                .map(|(_, f, _)| quoted(&f.name))
                .collect();
            return Err(PlanError(format!(
                "--type names {}; the columns are {}",
                quoted(name),
                names.join(", ")
            )));
        }
        if plan.columns.is_empty() {
            return Err(PlanError("there is no column besides the time".to_owned()));
        }
        Ok(plan)
    }

    /// The value of a cell of `columns[position]`, with its place.
    ///
    /// # Errors
    /// [`Reject`] if it does not fit its field.
    pub(crate) fn value(
        &self,
        position: usize,
        cell: &Cell<'_>,
    ) -> Result<Option<(u32, Value)>, Reject> {
        let Some((column, field, place)) = self.columns.get(position) else {
            return Ok(None);
        };
        let taking = Taking {
            nan: NanPolicy::Missing,
            missing: &NO_WORDS,
            is_declared: false,
            conversion: None,
        };
        let value = cell.value(field.kind, &taking).map_err(|misfit| {
            let came = cell.text().unwrap_or_default();
            refusal(*column, field, &came, misfit)
        })?;
        Ok(value.map(|value| (*place as u32, value)))
    }

    /// The time that a clock shows which may be anywhere, as `--time-zone` says.
    ///
    /// # Errors
    /// [`Reject`] if it is none.
    pub(crate) fn local_ns(&self, wall_ns: i64) -> Result<i64, Reject> {
        match &self.format {
            TimeFormat::Rule(TimeRule {
                zone: Some(zone), ..
            }) => zone
                .of_wall_ns(wall_ns)
                .map_err(|error| Reject::new(Reason::BadTime, TimeFormat::advice(error))),
            _ => Ok(wall_ns),
        }
    }

    /// The time that a cell of the time column is.
    ///
    /// # Errors
    /// [`Reject`] if it is none.
    pub(crate) fn time_ns(&self, cell: &Cell<'_>) -> Result<Option<i64>, Reject> {
        let Some(text) = cell.text().filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        self.format.ns(&text).map(Some).map_err(|error| {
            let detail = format!("{} {}", quoted(&text), TimeFormat::advice(error));
            Reject::new(Reason::BadTime, detail)
        })
    }
}

/// The split that two cells of an export name.
///
/// # Errors
/// [`Reject`] if they name none.
pub(crate) fn split(is_train: &Cell<'_>, fold: &Cell<'_>) -> Result<Split, Reject> {
    let (is_train, fold) = (is_train.text(), fold.text());
    super::own::split(&is_train.unwrap_or_default(), &fold.unwrap_or_default())
}

fn named(columns: &[TypedColumn], name: &str) -> Result<usize, PlanError> {
    let by_name = columns.iter().position(|column| column.name == name);
    let by_number = || {
        let number = name.parse::<usize>().ok()?;
        (1..=columns.len()).contains(&number).then(|| number - 1)
    };
    by_name.or_else(by_number).ok_or_else(|| {
        let names: Vec<String> = columns.iter().map(|column| quoted(&column.name)).collect();
        PlanError(format!(
            "there is no column {}; the file has {} (a date and a time of day in two columns are taken of CSV only)",
            quoted(name),
            names.join(", ")
        ))
    })
}

fn found(columns: &[TypedColumn], looks_timely: &dyn Fn(usize) -> bool) -> Option<usize> {
    let is_named = |column: &TypedColumn| times::is_time_name(&column.name);
    let place = |is: &dyn Fn(usize, &TypedColumn) -> bool| {
        let mut all = columns.iter().enumerate();
        all.find_map(|(at, column)| is(at, column).then_some(at))
    };
    place(&|_, column| column.is_time && is_named(column))
        .or_else(|| place(&|_, column| column.is_time))
        .or_else(|| place(&|at, column| is_named(column) && looks_timely(at)))
}
