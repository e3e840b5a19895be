//! Where all decoders put what they find: finds the field of a path, holds its type, keeps the bounds.
//!
//! Columns are the fields of the schema followed by the new ones. Payloads of one stream usually keep
//! the order of their keys, so the column behind the last one found is tried first.

mod columns;
mod misfits;
mod put;
mod room;
mod second;
mod seen;

use std::{borrow::Cow, collections::HashMap, mem};

use dunlin_sync::sample::{Field, Origin, Schema, Stage, Value};

use self::{put::misfit_at, room::Room, seen::Seen};
use super::{
    CELLS_MAX, Decoded, Group, Missing, RECORDS_MAX, Reason, Record, Reject, SecondField,
    float::Floats,
    misfits::Misfits,
    path_of, quoted,
    value::{Cell, Taking},
};
use crate::config::settings::{DeclaredField, PayloadFormat, StreamRule};

/// Longest text that is read as a time, bytes.
pub(super) const TIME_BYTES_MAX: usize = 128;

/// Values that the first record of a publish has room for at once.
const FIRST_VALUES_MAX: usize = 16;

/// The refusal of a time that is longer than any.
#[cold]
pub(super) fn long_time(text: &str) -> Reject {
    let detail = format!("a time of {} bytes", text.len());
    Reject::new(Reason::BadTime, detail)
}

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
    schema: Option<&'a Schema>,
    held: Cow<'a, [Field]>,
    new_fields: Vec<Field>,
    /// Fields of the schema whose type changes, since nothing has been stored under it.
    retyped: Vec<Field>,
    /// New fields whose name in the payload is longer than theirs, and that name.
    long_names: Vec<(String, String)>,
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
    room: Room,
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
    /// Records that had nothing but what the rule leaves out.
    excluded: u64,
    misfits: Misfits,
    /// Only these are taken: the rest is stored already.
    wanted: Option<&'a Missing>,
    /// Wanted values that came.
    wanted_met: usize,
    /// What the topic says the field is called, in front of every path.
    prefix: String,
    /// Paths that are not looked at.
    skipped: Vec<String>,
    /// Not more than what is declared is taken at present.
    pub(super) declared_only: bool,
    groups: Vec<Group>,
    /// Where each group is, by its tags; empty while there are no tags.
    by_tags: HashMap<Vec<String>, usize>,
    /// The group that the record belongs to.
    group: usize,
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
            schema,
            held: Cow::Borrowed(schema.map_or(&[], |schema| &schema.fields)),
            new_fields: Vec::new(),
            retyped: Vec::new(),
            long_names: Vec::new(),
            paths: None,
            renamed: Vec::new(),
            time_path: rule.time.as_deref().map(path_of),
            declared: Vec::with_capacity(rule.fields.len()),
            declarations: Vec::new(),
            converts: rule.fields.iter().any(|field| field.conversion.is_some())
                || rule.missing.has_number(),
            ignored: Vec::new(),
            room: Room::default(),
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
            excluded: 0,
            misfits: Misfits::default(),
            wanted,
            wanted_met: 0,
            prefix: String::new(),
            skipped: Vec::new(),
            declared_only: false,
            groups: vec![Group::default()],
            by_tags: HashMap::new(),
            group: 0,
        };
        builder.declare();
        builder.ignore();
        builder.measure_room();
        builder
    }

    pub(super) fn rule(&self) -> &'a StreamRule {
        self.rule
    }

    /// Records begun so far: the number, from 1, of the one an error is in.
    pub(super) fn begun(&self) -> usize {
        self.begun
    }

    /// What lies at these paths is not looked at.
    pub(super) fn skip(&mut self, paths: Vec<String>) {
        self.skipped = paths;
    }

    pub(super) fn skips(&self, path: &str) -> bool {
        self.skipped.iter().any(|skipped| skipped == path)
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
        let expected = match records.last() {
            Some(last) => last.values.len(),
            None => self.width().min(FIRST_VALUES_MAX),
        };
        self.values = Vec::with_capacity(expected);
        self.source_ts = None;
        Ok(())
    }

    /// Whether the record has named its time.
    pub(super) fn has_time(&self) -> bool {
        self.seen.time
    }

    /// The record is one even if none of its values can be stored.
    pub(super) fn note_any(&mut self) {
        self.seen.any = true;
    }

    /// The record tells that its source has come or gone: it is one whatever of it can be stored, and whatever
    /// it lacks.
    pub(super) fn note_presence(&mut self) {
        self.note_any();
        self.seen.presence = true;
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
        if text.len() > TIME_BYTES_MAX {
            return Err(long_time(&text));
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
        let may_lack = self.wanted.is_some() || self.seen.presence;
        let mut required = self.required.iter().filter(|_| !may_lack);
        if let Some(&column) = required.find(missing) {
            let path = self.path(column).unwrap_or(self.name(column));
            return Err(Reject::new(
                Reason::MissingField,
                format!("the required field {} is missing", quoted(path)),
            ));
        }
        if !self.seen.any && self.seen.excluded {
            self.excluded += 1;
            return Ok(());
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
    pub(super) fn finish(&mut self) -> Result<Decoded, Reject> {
        self.advise_misfits();
        let mut groups = mem::take(&mut self.groups);
        groups.retain(|group| !group.records.is_empty());
        if groups.is_empty()
            && let Some(first) = self.misfits.first()
        {
            return Err(first);
        }
        if let Some(wanted) = self.wanted
            && self.misfits.is_empty()
        {
            // What was missing may be missing by the rule now; all of it has to be there.
            if self.wanted_met < wanted.len() {
                let detail = format!(
                    "of the {} values that are not stored yet only {} were found by the present rule",
                    wanted.len(),
                    self.wanted_met
                );
                return Err(Reject::new(Reason::MissingField, detail));
            }
        } else if groups.is_empty() && self.excluded == 0 {
            return Err(Reject::new(Reason::Empty, "no record with a value"));
        }
        Ok(Decoded {
            new_fields: mem::take(&mut self.new_fields),
            retyped: mem::take(&mut self.retyped),
            long_names: mem::take(&mut self.long_names),
            seconds: mem::take(&mut self.seconds),
            groups,
            misfits: mem::take(&mut self.misfits),
            records_excluded: self.excluded,
        })
    }

    /// What is known of a column; nothing of one that is new.
    fn origin(&self, column: usize) -> Option<&'a Origin> {
        let schema = self.schema.filter(|_| column < self.held.len());
        schema.map(|schema| schema.origin(column))
    }

    fn stage(&self, column: usize) -> Stage {
        self.origin(column).map_or(Stage::Unknown, |o| o.stage)
    }

    fn second_of(&self, column: usize) -> Option<u32> {
        self.origin(column)?.second_of
    }

    #[inline]
    fn set(&mut self, column: usize, value: Value) {
        self.values.push((column as u32, value));
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
