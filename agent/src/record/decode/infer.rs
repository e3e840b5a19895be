//! Reading a CSV file nobody has described: delimiter, time column and types, from its first lines.
//!
//! The first line names the columns. A column without a name is left out (data-frame libraries write
//! their row number so). The time is the first column called `time`, `timestamp`, `date`, `datetime` or
//! `ts` whose cells are times, or else the first column that holds nothing but times (numbers must
//! not fall, besides). Numbers become f64 as they do over MQTT; a column that is not all numbers or all
//! true and false is text.

use std::{collections::HashSet, io};

use csv::{ReaderBuilder, StringRecord, Trim};
use dunlin_sync::sample::{Field, FieldType, Schema};

use super::{
    Reason, Record, Reject, is_field_name, quoted,
    value::{Cell, Misfit, Taking, parse_bool},
};
use crate::{
    base::source_time::{TimeUnit, Zone, decimal_ns, rfc3339_ns, text_ns},
    config::settings::NanPolicy,
};

/// Lines below the header that are looked at; more are ignored.
pub const LINES_MAX: usize = 1_000;

/// How the cells of a file are taken.
const TAKING: Taking<'static> = Taking {
    nan: NanPolicy::Missing,
    missing: &[],
    is_declared: false,
    conversion: None,
};
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];
const TIME_NAMES: [&str; 5] = ["time", "timestamp", "date", "datetime", "ts"];
/// What people write into a numeric column where nothing was measured.
const MISSING_WORDS: [&str; 5] = ["nan", "na", "n/a", "null", "none"];
/// Numbers are taken for times of the years 1990 to 2100: the units do not overlap there.
const EPOCH_NS: std::ops::Range<i64> = 631_152_000_000_000_000..4_102_444_800_000_000_000;

/// How the cells of the time column are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeFormat {
    /// RFC 3339 with an offset.
    Rfc3339,
    /// `YYYY-MM-DD HH:MM:SS` or a date alone, taken as UTC.
    Civil,
    /// A number since 1970 in this unit.
    Epoch(TimeUnit),
}

/// How to read a CSV file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsvPlan {
    /// Field separator.
    pub delimiter: u8,
    /// Column of the time, from 0, and how it is written.
    pub time: Option<(usize, TimeFormat)>,
    /// Columns taken, from 0, with the field each becomes.
    pub columns: Vec<(usize, Field)>,
    /// Fields the schema does not have yet, to be appended to it in this order.
    pub new_fields: Vec<Field>,
    /// For each of `columns`, its place among the fields of the schema and the new ones.
    places: Vec<usize>,
    /// Cells a line must have.
    width: usize,
}

/// Why a file cannot be imported as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PlanError(String);

/// What somebody knows about a file besides its content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// Field separator.
    pub delimiter: Option<u8>,
    /// Name of the time column.
    pub time: Option<String>,
}

impl CsvPlan {
    /// Works out a plan from `head`: the header and up to [`LINES_MAX`] whole lines. Fields that
    /// `schema` has already keep their types.
    ///
    /// # Errors
    /// [`PlanError`], which says what to change, if there is no header or no data, or a column has a
    /// name that no field may have, or that another column has.
    pub fn infer(head: &str, schema: Option<&Schema>) -> Result<Self, PlanError> {
        Self::infer_with(head, schema, &Hints::default())
    }

    /// As [`CsvPlan::infer`], with `hints` instead of guesses where they are given.
    ///
    /// # Errors
    /// As for [`CsvPlan::infer`]; a time column that is not there or holds something else.
    pub fn infer_with(
        head: &str,
        schema: Option<&Schema>,
        hints: &Hints,
    ) -> Result<Self, PlanError> {
        let (delimiter, lines) = DELIMITERS
            .into_iter()
            .filter(|delimiter| hints.delimiter.is_none_or(|hint| hint == *delimiter))
            .chain(hints.delimiter.filter(|hint| !DELIMITERS.contains(hint)))
            .map(|delimiter| (delimiter, read(head, delimiter)))
            .max_by_key(|(delimiter, lines)| {
                // Of equals the last wins; the comma is to.
                (agreement(lines), *delimiter == b',')
            })
            .unwrap_or_default();
        let [header, lines @ ..] = lines.as_slice() else {
            return Err(PlanError("the file is empty".to_owned()));
        };
        if lines.is_empty() {
            return Err(PlanError("the file has a header and no data".to_owned()));
        }
        check_header(header)?;
        let time = match &hints.time {
            Some(name) => Some(named_time(header, lines, name)?),
            None => time_column(header, lines),
        };
        let mut plan = Self {
            delimiter,
            time,
            columns: Vec::new(),
            new_fields: Vec::new(),
            places: Vec::new(),
            width: header.len(),
        };
        for (column, name) in header.iter().enumerate() {
            if !name.is_empty() && time.is_none_or(|(time, _)| time != column) {
                plan.add(column, name, lines, schema);
            }
        }
        if plan.columns.is_empty() {
            return Err(PlanError(
                "line 1 names no column besides the time".to_owned(),
            ));
        }
        Ok(plan)
    }

    /// A reader of the whole file, to be given to [`CsvPlan::record`] line by line.
    pub fn reader<R: io::Read>(&self, file: R) -> csv::Reader<R> {
        reader(self.delimiter).has_headers(true).from_reader(file)
    }

    /// The record in one line, aligned to the fields of the schema followed by `new_fields`.
    ///
    /// # Errors
    /// [`Reject`] with the line's number for a line that does not fit the plan.
    pub fn record(&self, line: &StringRecord) -> Result<Record, Reject> {
        self.values(line).map_err(|mut reject| {
            let number = line.position().map_or(0, csv::Position::line);
            reject.detail = format!("line {number}: {}", reject.detail);
            reject
        })
    }

    fn values(&self, line: &StringRecord) -> Result<Record, Reject> {
        if line.len() != self.width {
            return Err(Reject::new(
                Reason::NotCsv,
                format!("{} cells instead of {}", line.len(), self.width),
            ));
        }
        let mut source_ts = None;
        if let Some((column, format)) = self.time
            && !line[column].is_empty()
        {
            let text = &line[column];
            let ns = format.ns(text).ok_or_else(|| {
                Reject::new(
                    Reason::BadTime,
                    format!("{} is no time as in the lines before", quoted(text)),
                )
            })?;
            source_ts = Some(ns);
        }
        let mut values = Vec::with_capacity(self.columns.len());
        for ((column, field), &place) in self.columns.iter().zip(&self.places) {
            let text = &line[*column];
            if is_missing(text, field.kind) {
                continue;
            }
            let value = Cell::Bare(text).value(field.kind, &TAKING);
            let value = value.map_err(|misfit| refusal(field, text, misfit))?;
            values.extend(value.map(|value| (place as u32, value)));
        }
        let values = values.into();
        let record = Record { source_ts, values };
        record.check_size()?;
        Ok(record)
    }

    fn add(&mut self, column: usize, name: &str, lines: &[StringRecord], schema: Option<&Schema>) {
        let held = schema.map_or(&[][..], |schema| &schema.fields);
        let place = held.iter().position(|field| field.name == name);
        let place = place.unwrap_or_else(|| {
            self.new_fields.push(Field {
                name: name.to_owned(),
                kind: kind_of(lines.iter().filter_map(|line| line.get(column))),
            });
            held.len() + self.new_fields.len() - 1
        });
        let field = match held.get(place) {
            Some(field) => field.clone(),
            None => self.new_fields[place - held.len()].clone(),
        };
        self.columns.push((column, field));
        self.places.push(place);
    }
}

impl TimeFormat {
    /// Nanoseconds UTC of one cell, if it is written like this.
    fn ns(self, text: &str) -> Option<i64> {
        match self {
            Self::Rfc3339 => rfc3339_ns(text),
            Self::Civil => text_ns(text, Some(&Zone::UTC)).ok(),
            Self::Epoch(unit) => decimal_ns(text, unit),
        }
    }
}

fn reader(delimiter: u8) -> ReaderBuilder {
    let mut builder = ReaderBuilder::new();
    builder.delimiter(delimiter).flexible(true).trim(Trim::All);
    builder
}

/// Header and data lines, as far as they can be read.
fn read(head: &str, delimiter: u8) -> Vec<StringRecord> {
    reader(delimiter)
        .has_headers(false)
        .from_reader(super::without_mark(head).as_bytes())
        .into_records()
        .map_while(Result::ok)
        .take(LINES_MAX + 1)
        .collect()
}

/// How well a delimiter explains the lines: how many are as wide as the header, then how wide that is.
fn agreement(lines: &[StringRecord]) -> (usize, usize) {
    let width = lines.first().map_or(0, StringRecord::len);
    if width < 2 {
        return (0, width);
    }
    let agreeing = lines.iter().filter(|line| line.len() == width).count();
    (agreeing, width)
}

fn check_header(header: &StringRecord) -> Result<(), PlanError> {
    if header.iter().all(|name| name.parse::<f64>().is_ok()) {
        return Err(PlanError(
            "line 1 holds numbers only: put a line with the names of the columns in front"
                .to_owned(),
        ));
    }
    let mut names = HashSet::new();
    for (column, name) in header
        .iter()
        .enumerate()
        .filter(|(_, name)| !name.is_empty())
    {
        if !is_field_name(name) {
            return Err(PlanError(format!(
                "line 1, column {}: {} cannot name a field; use 1 to 64 bytes without quotes, \
                 back-ticks and control characters",
                column + 1,
                quoted(name)
            )));
        }
        if !names.insert(name) {
            return Err(PlanError(format!(
                "line 1, column {}: {} is there twice; rename one",
                column + 1,
                quoted(name)
            )));
        }
    }
    Ok(())
}

/// The column that somebody calls the time.
fn named_time(
    header: &StringRecord,
    lines: &[StringRecord],
    name: &str,
) -> Result<(usize, TimeFormat), PlanError> {
    let column = header.iter().position(|other| other == name);
    let column = column.ok_or_else(|| {
        let names: Vec<String> = header.iter().map(quoted).collect();
        PlanError(format!(
            "there is no column {}; line 1 names {}",
            quoted(name),
            names.join(", ")
        ))
    })?;
    let cells = lines.iter().filter_map(|line| line.get(column));
    let cells: Vec<&str> = cells.filter(|cell| !cell.is_empty()).collect();
    let format = time_format(&cells).ok_or_else(|| {
        PlanError(format!(
            "column {} does not hold times: write RFC 3339, YYYY-MM-DD HH:MM:SS (UTC), or a number \
             of s, ms, us or ns since 1970, the same in every line",
            quoted(name)
        ))
    })?;
    Ok((column, format))
}

fn time_column(header: &StringRecord, lines: &[StringRecord]) -> Option<(usize, TimeFormat)> {
    let is_named = |name: &str| {
        TIME_NAMES
            .iter()
            .any(|time| name.eq_ignore_ascii_case(time))
    };
    let cells = |column: usize| -> Vec<&str> {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.filter(|cell| !cell.is_empty()).collect()
    };
    let named = header
        .iter()
        .enumerate()
        .filter(|(_, name)| is_named(name))
        .find_map(|(column, _)| Some((column, time_format(&cells(column))?)));
    named.or_else(|| {
        (0..header.len()).find_map(|column| {
            let cells = cells(column);
            let format = time_format(&cells)?;
            let is_number = matches!(format, TimeFormat::Epoch(_));
            let rising = || cells.is_sorted_by_key(|cell| format.ns(cell));
            (!is_number || rising()).then_some((column, format))
        })
    })
}

/// The one format all `cells` are written in.
fn time_format(cells: &[&str]) -> Option<TimeFormat> {
    if cells.is_empty() {
        return None;
    }
    let texts = [TimeFormat::Rfc3339, TimeFormat::Civil];
    let numbers = [
        TimeUnit::Seconds,
        TimeUnit::Millis,
        TimeUnit::Micros,
        TimeUnit::Nanos,
    ];
    let fits = |format: &TimeFormat| cells.iter().all(|cell| format.ns(cell).is_some());
    let is_recent = |format: &TimeFormat| {
        let mut times = cells.iter().map(|cell| format.ns(cell));
        times.all(|ns| ns.is_some_and(|ns| EPOCH_NS.contains(&ns)))
    };
    let text = texts.into_iter().find(fits);
    text.or_else(|| numbers.into_iter().map(TimeFormat::Epoch).find(is_recent))
}

fn kind_of<'c>(cells: impl Iterator<Item = &'c str> + Clone) -> FieldType {
    let mut said = cells.filter(|cell| !is_missing(cell, FieldType::F64));
    // Nothing said: text, which takes whatever may follow.
    if said.clone().next().is_none() {
        FieldType::Text
    } else if said.clone().all(|cell| parse_bool(cell).is_some()) {
        FieldType::Bool
    } else if said.all(|cell| cell.parse::<f64>().is_ok()) {
        FieldType::F64
    } else {
        FieldType::Text
    }
}

fn is_missing(text: &str, kind: FieldType) -> bool {
    text.is_empty()
        || (kind != FieldType::Text
            && MISSING_WORDS
                .iter()
                .any(|word| text.eq_ignore_ascii_case(word)))
}

fn refusal(field: &Field, text: &str, misfit: Misfit) -> Reject {
    let (name, came) = (quoted(&field.name), quoted(text));
    match misfit {
        Misfit::BadText => Reject::new(
            Reason::BadText,
            format!("field {name}: {came} holds a control character"),
        ),
        Misfit::WrongType | Misfit::Nan => Reject::new(
            Reason::WrongType,
            format!("field {name} is held as {}, but {came} came", field.kind),
        ),
    }
}

#[cfg(test)]
mod tests;
