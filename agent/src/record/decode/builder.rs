//! Where all decoders put what they find: finds the field of a path, holds its type, keeps the bounds.
//!
//! Columns are the fields of the schema followed by the new ones. Payloads of one stream usually keep
//! the order of their keys, so the column behind the last one found is tried first.

mod columns;
mod misfits;
mod second;

use std::{borrow::Cow, collections::HashMap, mem};

use dunlin_sync::sample::{Field, FieldType, Schema, Value};

use self::misfits::field_name_for;
use super::{
    CELLS_MAX, Decoded, Group, Missing, RECORDS_MAX, Reason, Record, Reject, SecondField,
    float::Floats,
    misfits::Misfits,
    path_of, quoted,
    value::{Cell, LARGE_INTEGER_BYTES_MIN, Misfit, Taking},
};
use crate::config::settings::{DeclaredField, PayloadFormat, StreamRule};

/// Name of the only field of a record that gives it none.
const READING: &str = "reading";

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

/// What may be taken of what lies below a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Below {
    /// All of it, under names of its own.
    Inferred,
    /// What is declared.
    Declared,
    Nothing,
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
    /// How a column is declared; those behind the end are not.
    declarations: Vec<Option<&'a DeclaredField>>,
    /// Some declared field is converted.
    converts: bool,
    /// Columns that are in the schema and are not to be filled any more; empty for none.
    ignored: Vec<bool>,
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
    records_max: usize,
    cells: usize,
    misfits: Misfits,
    /// Only these are taken: the rest is stored already.
    wanted: Option<&'a Missing>,
    /// Not more than what is declared is taken at present.
    pub(super) declared_only: bool,
    groups: Vec<Group>,
    /// Where each group is, by its tags; empty while there are no tags.
    by_tags: HashMap<Vec<String>, usize>,
    /// The group that the record belongs to.
    group: usize,
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
    pub(super) fn new(
        rule: &'a StreamRule,
        schema: Option<&'a Schema>,
        wanted: Option<&'a Missing>,
    ) -> Self {
        let mut builder = Self {
            rule,
            held: schema.map_or(&[], |schema| &schema.fields),
            new_fields: Vec::new(),
            paths: None,
            renamed: Vec::new(),
            time_path: rule.time.as_deref().map(path_of),
            declared: Vec::with_capacity(rule.fields.len()),
            declarations: Vec::new(),
            converts: rule.fields.iter().any(|field| field.conversion.is_some()),
            ignored: Vec::new(),
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
            records_max: RECORDS_MAX,
            cells: 0,
            misfits: Misfits::default(),
            wanted,
            declared_only: false,
            groups: vec![Group::default()],
            by_tags: HashMap::new(),
            group: 0,
        };
        builder.declare();
        builder.ignore();
        builder
    }

    pub(super) fn rule(&self) -> &'a StreamRule {
        self.rule
    }

    /// Records begun so far: the number, from 1, of the one an error is in.
    pub(super) fn begun(&self) -> usize {
        self.begun
    }

    /// So many records may come.
    pub(super) fn allow_records(&mut self, records_max: usize) {
        self.records_max = records_max;
    }

    /// Opens the next record.
    pub(super) fn begin(&mut self) -> Result<(), Reject> {
        self.begun += 1;
        let records_max = self.records_max;
        if self.begun > records_max {
            return Err(Reject::new(
                Reason::TooManyRecords,
                format!("more than {records_max} records in one publish; send several"),
            ));
        }
        self.guess = 0;
        self.seen.next_record();
        self.moved.clear();
        // Most likely as many values as in the last one.
        let records = &self.groups[self.group].records;
        let expected = records.last().map_or(0, |last| last.values.len());
        self.values = Vec::with_capacity(expected);
        self.source_ts = None;
        Ok(())
    }

    /// Puts the one value of a record: where the topic says (`field`), into the one declared field, or into
    /// `reading`. A field that is new has type `kind`, if that is known.
    pub(super) fn put_only(
        &mut self,
        field: Option<&str>,
        kind: Option<FieldType>,
        cell: &Cell<'_>,
    ) -> Result<(), Reject> {
        let name = match (field, self.rule.fields.as_slice(), self.declared.as_slice()) {
            (Some(field), ..) => field,
            (None, [_], &[column]) => return self.put_column(column, cell),
            _ => READING,
        };
        match (self.find(name), kind) {
            (Target::Column(column), _) => self.put_column(column, cell),
            (_, Some(kind)) => {
                let name = field_name_for(name);
                if let Err(reject) = self.check_new(&name) {
                    return self.leave_out_named(&name, reject);
                }
                let column = self.append(&name, kind);
                self.put_column(column, cell)
            }
            (_, None) => self.put_new(name, cell).map(|_| ()),
        }
    }

    /// What may be taken below `path`, where an object or array is.
    pub(super) fn below(&mut self, path: &str) -> Result<Below, Reject> {
        match self.find(path) {
            // What lies below it has names of its own.
            Target::Column(column) if self.may_have_second(column) => {}
            Target::Column(column) => {
                let reject = Reject::new(
                    Reason::WrongType,
                    format!(
                        "field {} is held as a single value, but an object or array came",
                        quoted(path)
                    ),
                );
                return self.leave_out(column, reject).map(|()| Below::Nothing);
            }
            Target::Time => {
                return Err(Reject::new(
                    Reason::BadTime,
                    format!("the time {} is an object or array", quoted(path)),
                ));
            }
            Target::Undeclared => {}
        }
        Ok(if !self.wants_below(path) {
            Below::Nothing
        } else if self.rule.infer && !self.declared_only {
            Below::Inferred
        } else {
            Below::Declared
        })
    }

    /// Whether the record has named its time.
    pub(super) fn has_time(&self) -> bool {
        self.seen.time
    }

    /// The record is one even if none of its values can be stored.
    pub(super) fn note_any(&mut self) {
        self.seen.any = true;
    }

    /// The record belongs to the stream that has these values of the payload's tags.
    pub(super) fn set_tags(&mut self, tags: Vec<String>) {
        if let Some(&group) = self.by_tags.get(&tags) {
            self.group = group;
            return;
        }
        // The first group has no tags yet.
        if self.by_tags.is_empty() {
            self.groups.clear();
        }
        self.group = self.groups.len();
        self.by_tags.insert(tags.clone(), self.group);
        self.groups.push(Group {
            tags,
            records: Vec::new(),
        });
    }

    /// Puts `cell` where `path` says, taking it as a new field if the rule infers fields.
    pub(super) fn put(&mut self, path: &str, cell: &Cell<'_>) -> Result<(), Reject> {
        match self.find(path) {
            Target::Column(column) => self.put_column(column, cell),
            Target::Time => self.put_time(cell),
            Target::Undeclared if self.infers(path) => self.put_new(path, cell).map(|_| ()),
            Target::Undeclared => Ok(()),
        }
    }

    /// Puts `cell` into a known field.
    pub(super) fn put_column(&mut self, column: usize, cell: &Cell<'_>) -> Result<(), Reject> {
        if self.is_ignored(column) || (self.wanted.is_some() && !self.is_wanted(self.path(column)))
        {
            return Ok(());
        }
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
            Cell::Number(text) | Cell::Bare(text)
                if kind == FieldType::F64
                    && !self.converts
                    && text.len() < LARGE_INTEGER_BYTES_MIN =>
            {
                text.parse().ok()
            }
            _ => None,
        };
        // The usual case, without the way through the general one.
        if let Some(number) = number.filter(|number: &f64| number.is_finite()) {
            self.set(column, Value::F64(number));
            return Ok(());
        }
        match cell.value(kind, &self.taking(column)) {
            Ok(Some(value)) => self.set(column, value),
            Ok(None) => {}
            Err(Misfit::WrongType) if self.may_have_second(column) => {
                return self.put_second(column, cell);
            }
            Err(misfit) => {
                let reject = misfit_at(self.field(column), cell, misfit);
                return self.leave_out(column, reject);
            }
        }
        Ok(())
    }

    /// Takes a field nobody declared; `None` if the cell says nothing about its type, or does not fit.
    pub(super) fn put_new(&mut self, path: &str, cell: &Cell<'_>) -> Result<Option<usize>, Reject> {
        let name = match field_name_for(path) {
            Cow::Borrowed(name) => name,
            Cow::Owned(name) => return self.put_mapped(&name, cell),
        };
        if !self.is_wanted(Some(name)) {
            return Ok(None);
        }
        let short = self.affordable(cell);
        let short = short.as_deref().map(Cell::Bare);
        let cell = short.as_ref().unwrap_or(cell);
        let taking = Taking::inferred(self.rule);
        let Some(kind) = cell.inferred(&taking) else {
            return Ok(None);
        };
        let field = || Field {
            name: name.to_owned(),
            kind,
        };
        let value = match cell.value(kind, &taking) {
            Ok(Some(value)) => value,
            Ok(None) => return Ok(None),
            Err(misfit) => {
                let reject = misfit_at(&field(), cell, misfit);
                return self.leave_out_named(name, reject).map(|()| None);
            }
        };
        if let Err(reject) = self.check_new(name) {
            return self.leave_out_named(name, reject).map(|()| None);
        }
        let column = self.append(name, kind);
        self.seen.insert(column);
        self.guess = column + 1;
        self.set(column, value);
        Ok(Some(column))
    }

    /// Puts `cell` into the field that stands for a name no field can have.
    fn put_mapped(&mut self, name: &str, cell: &Cell<'_>) -> Result<Option<usize>, Reject> {
        match self.find(name) {
            Target::Column(column) => self.put_column(column, cell).map(|()| Some(column)),
            Target::Time => Ok(None),
            Target::Undeclared => self.put_new(name, cell),
        }
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
        self.source_ts = self.time_ns(cell)?;
        Ok(())
    }

    /// What a time says, nanoseconds UTC; `None` where it says nothing.
    pub(super) fn time_ns(&self, cell: &Cell<'_>) -> Result<Option<i64>, Reject> {
        let is_missing = |text: &str| Taking::inferred(self.rule).is_missing(text.trim());
        let text = cell.text().unwrap_or_default();
        let is_bytes = matches!(cell, Cell::Bytes(_));
        if matches!(cell, Cell::Null) || !is_bytes && is_missing(&text) {
            return Ok(None);
        }
        let ns = self.rule.time_rule.written_ns(&text).map_err(|error| {
            let detail = format!("{} {error}", cell.description());
            Reject::new(Reason::BadTime, detail)
        })?;
        Ok(Some(ns))
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
        let is_empty = record.values.is_empty();
        if is_empty && self.wanted.is_some() {
            return Ok(());
        }
        if is_empty && self.misfits.any_in(self.begun) {
            self.misfits.records += 1;
            return Ok(());
        }
        let missing = |column: &&usize| record.values.get(**column).is_none();
        let required = self.required.iter().filter(|_| self.wanted.is_none());
        if let Some(&column) = required.clone().find(missing) {
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
        self.groups[self.group].records.push(record);
        Ok(())
    }

    /// What has been decoded.
    pub(super) fn finish(self) -> Result<Decoded, Reject> {
        let mut groups = self.groups;
        groups.retain(|group| !group.records.is_empty());
        if groups.is_empty()
            && let Some(first) = self.misfits.first()
        {
            return Err(first);
        }
        if groups.is_empty() {
            return Err(Reject::new(Reason::Empty, "no record with a value"));
        }
        Ok(Decoded {
            new_fields: self.new_fields,
            seconds: self.seconds,
            groups,
            misfits: self.misfits,
        })
    }

    fn set(&mut self, column: usize, value: Value) {
        self.values.push((column as u32, value));
    }

    fn check_new(&self, name: &str) -> Result<(), Reject> {
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
            PayloadFormat::Csv { .. } => Reason::NotCsv,
            PayloadFormat::SenMl | PayloadFormat::SenMlCbor => Reason::NotSenml,
            PayloadFormat::Cbor => Reason::NotCbor,
            PayloadFormat::MessagePack => Reason::NotMessagePack,
            PayloadFormat::Influx => Reason::NotInflux,
            PayloadFormat::SparkplugB => Reason::NotSparkplug,
            format if format.is_scalar() => Reason::NotNumber,
            _ => Reason::NotJson,
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
            format!("field {name}: {came} holds a control character"),
        ),
    }
}
