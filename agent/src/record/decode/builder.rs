//! Where all decoders put what they find: finds the field of a path, holds its type, keeps the bounds.
//!
//! Columns are the fields of the schema followed by the new ones. Payloads of one stream usually keep
//! the order of their keys, so the column behind the last one found is tried first.

mod columns;
mod second;

use std::{borrow::Cow, mem};

use dunlin_sync::sample::{Field, FieldType, Schema, Value};

use super::{
    CELLS_MAX, Decoded, FIELD_NAME_BYTES_MAX, RECORDS_MAX, Reason, Record, Reject, SecondField,
    float::Floats,
    is_field_name, path_of, quoted, time,
    value::{Cell, Misfit},
};
use crate::config::settings::{PayloadFormat, StreamRule};

/// What lies at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// The field at this place of the record.
    Column(usize),
    /// The source's own time.
    Time,
    /// Nothing that is known.
    Undeclared,
}

/// Collects the records of one publish.
pub(super) struct Builder<'a> {
    rule: &'a StreamRule,
    held: &'a [Field],
    new_fields: Vec<Field>,
    /// Path of each column, if anything lies there for it; `None` while every path is the field's own
    /// name.
    paths: Option<Vec<Option<Cow<'a, str>>>>,
    /// Columns whose path is not their name, in the order of their names.
    renamed: Vec<usize>,
    time_path: Option<Cow<'a, str>>,
    /// Column of each declared field, in declared order.
    declared: Vec<usize>,
    /// Whether a column is declared; those behind the end are not.
    is_declared: Vec<bool>,
    required: Vec<usize>,
    /// Columns in the order of their paths, once guessing has failed often enough.
    by_path: Vec<u32>,
    misses: usize,
    guess: usize,
    seen: Seen,
    source_ts: Option<i64>,
    /// Column and value, as they came.
    values: Vec<(u32, Value)>,
    /// Values of the record that went to a second field: whose they are, where they are.
    moved: Vec<(usize, usize)>,
    floats: Floats,
    seconds: Vec<SecondField>,
    begun: usize,
    cells: usize,
    records: Vec<Record>,
}

/// Which columns, and whether the time, the record has named so far.
#[derive(Default)]
struct Seen {
    time: bool,
    any: bool,
    first_64: u64,
    /// The record, counted from 1, that named the column last; so nothing need be cleared.
    rest: Vec<u32>,
    record: u32,
}

impl Seen {
    /// Notes `column`; false if it was noted before.
    fn insert(&mut self, column: usize) -> bool {
        self.any = true;
        if column < 64 {
            let bit = 1 << column;
            let new = self.first_64 & bit == 0;
            self.first_64 |= bit;
            return new;
        }
        let column = column - 64;
        if self.rest.len() <= column {
            self.rest.resize(column + 1, 0);
        }
        mem::replace(&mut self.rest[column], self.record) != self.record
    }

    fn has(&self, column: usize) -> bool {
        match column.checked_sub(64) {
            None => self.first_64 >> column & 1 == 1,
            Some(column) => self.rest.get(column) == Some(&self.record),
        }
    }

    fn next_record(&mut self) {
        self.time = false;
        self.any = false;
        self.first_64 = 0;
        self.record += 1;
    }
}

impl<'a> Builder<'a> {
    /// Declared fields the schema lacks become new fields at once, in declared order.
    pub(super) fn new(rule: &'a StreamRule, schema: Option<&'a Schema>) -> Self {
        let mut builder = Self {
            rule,
            held: schema.map_or(&[], |schema| &schema.fields),
            new_fields: Vec::new(),
            paths: None,
            renamed: Vec::new(),
            time_path: rule.time.as_deref().map(path_of),
            declared: Vec::with_capacity(rule.fields.len()),
            is_declared: Vec::new(),
            required: Vec::new(),
            by_path: Vec::new(),
            misses: 0,
            guess: 0,
            seen: Seen::default(),
            source_ts: None,
            values: Vec::new(),
            moved: Vec::new(),
            floats: Floats::default(),
            seconds: Vec::new(),
            begun: 0,
            cells: 0,
            records: Vec::new(),
        };
        builder.declare();
        builder
    }

    pub(super) fn rule(&self) -> &'a StreamRule {
        self.rule
    }

    /// Records begun so far: the number, from 1, of the one an error is in.
    pub(super) fn begun(&self) -> usize {
        self.begun
    }

    /// Opens the next record.
    pub(super) fn begin(&mut self) -> Result<(), Reject> {
        self.begun += 1;
        if self.begun > RECORDS_MAX {
            return Err(Reject::new(
                Reason::TooManyRecords,
                format!("more than {RECORDS_MAX} records in one publish; send several"),
            ));
        }
        self.guess = 0;
        self.seen.next_record();
        self.moved.clear();
        // Most likely as many values as in the last one.
        let expected = self.records.last().map_or(0, |last| last.values.len());
        self.values = Vec::with_capacity(expected);
        self.source_ts = None;
        Ok(())
    }

    /// Puts `cell` where `path` says, taking it as a new field if the rule infers fields.
    pub(super) fn put(&mut self, path: &str, cell: &Cell<'_>) -> Result<(), Reject> {
        match self.find(path) {
            Target::Column(column) => self.put_column(column, cell),
            Target::Time => self.put_time(cell),
            Target::Undeclared if self.rule.infer => self.put_new(path, cell).map(|_| ()),
            Target::Undeclared => Ok(()),
        }
    }

    /// Puts `cell` into a known field.
    pub(super) fn put_column(&mut self, column: usize, cell: &Cell<'_>) -> Result<(), Reject> {
        if !self.seen.insert(column) && !self.make_room(column)? {
            return Err(self.twice(self.name(column)));
        }
        let kind = self.field(column).kind;
        let short = match kind {
            FieldType::Text => None,
            _ => self.affordable(cell),
        };
        let short = short.as_deref().map(Cell::Bare);
        let cell = short.as_ref().unwrap_or(cell);
        let number = match cell {
            Cell::Number(text) | Cell::Bare(text) if kind == FieldType::F64 => text.parse().ok(),
            _ => None,
        };
        // The usual case, without the way through the general one.
        if let Some(number) = number.filter(|number: &f64| number.is_finite()) {
            self.set(column, Value::F64(number));
            return Ok(());
        }
        match cell.value(kind, self.rule.nan) {
            Ok(Some(value)) => self.set(column, value),
            Ok(None) => {}
            Err(Misfit::WrongType) if self.may_have_second(column) => {
                return self.put_second(column, cell);
            }
            Err(misfit) => return Err(misfit_at(self.field(column), cell, misfit)),
        }
        Ok(())
    }

    /// Takes a field nobody declared; `None` if the cell says nothing about its type.
    pub(super) fn put_new(&mut self, name: &str, cell: &Cell<'_>) -> Result<Option<usize>, Reject> {
        let short = self.affordable(cell);
        let short = short.as_deref().map(Cell::Bare);
        let cell = short.as_ref().unwrap_or(cell);
        let Some(kind) = cell.inferred() else {
            return Ok(None);
        };
        let field = || Field {
            name: name.to_owned(),
            kind,
        };
        let value = match cell.value(kind, self.rule.nan) {
            Ok(Some(value)) => value,
            Ok(None) => return Ok(None),
            Err(misfit) => return Err(misfit_at(&field(), cell, misfit)),
        };
        self.check_new(name)?;
        let column = self.append(name, kind);
        self.seen.insert(column);
        self.guess = column + 1;
        self.set(column, value);
        Ok(Some(column))
    }

    /// What to read instead of a number that is too dear to round.
    fn affordable(&mut self, cell: &Cell<'_>) -> Option<String> {
        match cell {
            Cell::Number(text) | Cell::Bare(text) => self.floats.shortened(text),
            _ => None,
        }
    }

    /// Takes the source's own time; nothing there leaves it unknown.
    pub(super) fn put_time(&mut self, cell: &Cell<'_>) -> Result<(), Reject> {
        if mem::replace(&mut self.seen.time, true) {
            return Err(self.twice(self.time_path.as_deref().unwrap_or_default()));
        }
        if matches!(cell, Cell::Null) {
            return Ok(());
        }
        let Some(ns) = time::source_ns(cell, self.rule.time_unit) else {
            return Err(Reject::new(
                Reason::BadTime,
                format!(
                    "{} is no time between 1677 and 2262: send a number (see time_unit) or RFC 3339 \
                     with an offset",
                    cell.description(),
                ),
            ));
        };
        self.source_ts = Some(ns);
        Ok(())
    }

    /// The time of the record as a decoder worked it out itself.
    pub(super) fn set_source_ts(&mut self, source_ts: Option<i64>) {
        self.source_ts = source_ts;
    }

    /// Closes the record.
    pub(super) fn end(&mut self) -> Result<(), Reject> {
        let record = Record {
            source_ts: self.source_ts,
            values: mem::take(&mut self.values).into(),
        };
        let missing = |column: &&usize| record.values.get(**column).is_none();
        if let Some(&column) = self.required.iter().find(missing) {
            let path = self.path(column).unwrap_or(self.name(column));
            return Err(Reject::new(
                Reason::MissingField,
                format!("the required field {} is missing", quoted(path)),
            ));
        }
        if !self.seen.any {
            return Err(Reject::new(
                Reason::Empty,
                "a record without any field of its stream",
            ));
        }
        record.check_size()?;
        self.cells += record.values.len();
        if self.cells > CELLS_MAX {
            return Err(Reject::new(
                Reason::TooManyRecords,
                format!("more than {CELLS_MAX} values in one publish; send several"),
            ));
        }
        self.records.push(record);
        Ok(())
    }

    /// What has been decoded.
    pub(super) fn finish(self) -> Decoded {
        Decoded {
            new_fields: self.new_fields,
            seconds: self.seconds,
            records: self.records,
        }
    }

    fn set(&mut self, column: usize, value: Value) {
        self.values.push((column as u32, value));
    }

    fn check_new(&self, name: &str) -> Result<(), Reject> {
        if !is_field_name(name) {
            return Err(Reject::new(
                Reason::BadFieldName,
                format!(
                    "{} cannot name a field: 1 to {FIELD_NAME_BYTES_MAX} bytes without quotes, \
                     back-ticks and control characters",
                    quoted(name)
                ),
            ));
        }
        // Any other field of this name would have been found by its path.
        if self.is_renamed(name) {
            return Err(Reject::new(
                Reason::BadFieldName,
                format!(
                    "{} is the name of a declared field that is read from elsewhere; rename either",
                    quoted(name)
                ),
            ));
        }
        if self.width() >= self.rule.fields_max {
            return Err(Reject::new(
                Reason::TooManyFields,
                format!(
                    "{} would be one field more than the {} of fields_max",
                    quoted(name),
                    self.rule.fields_max
                ),
            ));
        }
        Ok(())
    }

    fn twice(&self, path: &str) -> Reject {
        let reason = match self.rule.format {
            PayloadFormat::Json => Reason::NotJson,
            PayloadFormat::Number => Reason::NotNumber,
            PayloadFormat::Csv { .. } => Reason::NotCsv,
            PayloadFormat::SenMl => Reason::NotSenml,
        };
        Reject::new(reason, format!("{} twice in one record", quoted(path)))
    }
}

fn misfit_at(field: &Field, cell: &Cell<'_>, misfit: Misfit) -> Reject {
    let name = quoted(&field.name);
    let came = cell.description();
    match misfit {
        Misfit::WrongType => Reject::new(
            Reason::WrongType,
            format!("field {name} is held as {}, but {came} came", field.kind),
        ),
        Misfit::Nan => Reject::new(Reason::Nan, format!("field {name}: {came} is not finite")),
        Misfit::BadText => Reject::new(
            Reason::BadText,
            format!("field {name}: {came} holds a quote, a back-tick or a control character"),
        ),
    }
}
