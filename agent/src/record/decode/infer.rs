//! Reading a CSV file nobody has described: delimiter, time column, decimal comma and types, from its first
//! lines.
//!
//! The first line that is no comment names the columns; a line `sep=;` in front of it, as spreadsheets write
//! it, names the delimiter. A column without a name is left out (data-frame libraries write
//! their row number so). The time is the first column called `time`, `timestamp`, `date`, `datetime` or
//! `ts` whose cells are times, or else the first column that holds nothing but times (numbers must
//! not fall, besides). Numbers become f64 as they do over MQTT, unless one of them is an integer that a
//! float would change; a column that is not all numbers or all true and false is text, and so is one of codes
//! with zeros in front. What the first lines leave open is told by the whole file: see [`CsvPlan::settle`].
//!
//! A file of `dunlin export` comes back as it was: see [`own`].

mod head;
mod kinds;
pub mod lines;
pub mod own;
mod refused;
pub mod times;
mod typed;

use std::io::{self, BufRead};

use dunlin_sync::sample::{Field, FieldType, Schema, Split, Value};

pub use self::{
    lines::{BadLine, Line, LineFormat, Lines},
    own::OwnColumns,
    times::{TimeColumn, TimeFormat},
    typed::{TypedColumn, TypedPlan},
};
pub(crate) use self::{times::is_recent, typed::split as typed_split};
use super::{
    Reason, Record, Reject, quoted,
    value::{Cell, Misfit, Taking, parse_bool},
};
use crate::{
    base::source_time::TimeRule,
    config::settings::{Conversion, MissingWords, NanPolicy},
};

/// Lines below the header that are looked at; more are ignored.
pub const LINES_MAX: usize = 1_000;

const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];
/// What people write into a numeric column where nothing was measured.
const MISSING_WORDS: [&str; 5] = ["nan", "na", "n/a", "null", "none"];

/// How to read a CSV file.
#[derive(Clone, Debug, PartialEq)]
pub struct CsvPlan {
    /// Field separator.
    pub delimiter: u8,
    /// Where the time is.
    pub time: Option<TimeColumn>,
    /// Columns taken, from 0, with the field each becomes.
    pub columns: Vec<(usize, Field)>,
    /// Fields the schema does not have yet, to be appended to it in this order.
    pub new_fields: Vec<Field>,
    /// Where an export of ours has what is not a value.
    pub own: Option<OwnColumns>,
    /// Numbers have a comma before their fraction.
    pub has_decimal_comma: bool,
    /// Columns of text that would hold numbers but for a cell, and that cell.
    pub doubtful: Vec<(String, String)>,
    /// Columns without a value among the first lines, which are new.
    undecided: Vec<usize>,
    /// For each of `columns`, its place among the fields of the schema and the new ones.
    places: Vec<usize>,
    /// Cells a line must have.
    width: usize,
    /// The names of the columns, which some programs write again amidst the lines.
    header: Vec<String>,
    comment: Option<u8>,
    /// Lines in front that are not even comments.
    skipped: u64,
    missing: MissingWords,
    conversion: Option<Conversion>,
}

/// Why a file cannot be imported as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PlanError(String);

/// What somebody knows about a file besides its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hints {
    /// Field separator.
    pub delimiter: Option<u8>,
    /// Name or number of the time column; or of two, with a comma between them.
    pub time: Option<String>,
    /// How times are written.
    pub time_rule: Option<TimeRule>,
    /// Whether numbers have a comma before their fraction.
    pub decimal_comma: Option<bool>,
    /// Lines that begin with it say nothing.
    pub comment: Option<u8>,
    /// Lines in front of the header that are to be passed over.
    pub skip_lines: u64,
    /// Types of columns.
    pub types: Vec<(String, FieldType)>,
    /// Words that say that there is no value.
    pub missing: Vec<String>,
}

impl Default for Hints {
    fn default() -> Self {
        Self {
            delimiter: None,
            time: None,
            time_rule: None,
            decimal_comma: None,
            comment: Some(b'#'),
            skip_lines: 0,
            types: Vec::new(),
            missing: Vec::new(),
        }
    }
}

/// What a line of one of our own exports says besides its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnRow {
    /// The stream's name.
    pub stream: String,
    /// Its split.
    pub split: Split,
}

impl CsvPlan {
    /// As [`CsvPlan::infer_with`], without hints.
    #[cfg(test)]
    pub(crate) fn infer(head: &str, schema: Option<&Schema>) -> Result<Self, PlanError> {
        Self::infer_with(head, schema, &Hints::default())
    }

    /// Works out a plan from `head`: the header and up to [`LINES_MAX`] whole lines, with `hints` instead of
    /// guesses where they are given. Fields that `schema` has already keep their types.
    ///
    /// # Errors
    /// [`PlanError`], which says what to change, if there is no header or no data, or a column has a
    /// name that no field may have, or that another column has; a time column that is not there or holds
    /// something else.
    pub fn infer_with(
        head: &str,
        schema: Option<&Schema>,
        hints: &Hints,
    ) -> Result<Self, PlanError> {
        let (head, skipped, named) = head::front(head, hints);
        let wanted = hints.delimiter.or(named);
        let others = wanted.filter(|wanted| !DELIMITERS.contains(wanted));
        let (delimiter, lines) = DELIMITERS
            .into_iter()
            .filter(|delimiter| wanted.is_none_or(|wanted| wanted == *delimiter))
            .chain(others)
            .map(|delimiter| {
                let comment = hints.comment;
                let format = LineFormat { delimiter, comment };
                (delimiter, head::read(head, format, skipped))
            })
            .max_by_key(|(delimiter, lines)| {
                // Of equals the last wins; the comma is to.
                (head::agreement(lines), *delimiter == b',')
            })
            .unwrap_or_default();
        let mut lines = lines.into_iter();
        let Some(header) = lines.next() else {
            let what = match hints.skip_lines {
                0 => "the file is empty".to_owned(),
                _ => format!(
                    "no line is left behind --skip-lines, of the first {LINES_MAX} that are looked at"
                ),
            };
            return Err(PlanError(what));
        };
        // Some programs write the names again amidst the lines.
        let lines: Vec<Line> = lines
            .filter(|line| !line.iter().eq(header.iter()))
            .collect();
        let (header, lines) = (&header, lines.as_slice());
        if lines.is_empty() {
            return Err(PlanError("the file has a header and no data".to_owned()));
        }
        let own = OwnColumns::of(header.iter());
        head::check_header(header, own.as_ref(), hints)?;
        let time = match (&hints.time, &own) {
            (Some(name), _) => Some(times::named(header, lines, name, hints)?),
            (None, Some(_)) => None,
            (None, None) => times::found(header, lines, hints),
        };
        let guessed = || own.is_none() && delimiter == b';' && head::has_decimal_comma(lines);
        let has_decimal_comma = hints.decimal_comma.unwrap_or_else(guessed);
        let mut plan = Self {
            delimiter,
            time,
            columns: Vec::new(),
            new_fields: Vec::new(),
            own,
            has_decimal_comma,
            doubtful: Vec::new(),
            undecided: Vec::new(),
            places: Vec::new(),
            width: header.len(),
            header: header.iter().map(str::to_owned).collect(),
            comment: hints.comment,
            skipped,
            missing: hints.missing.clone().into(),
            conversion: has_decimal_comma.then(|| Conversion {
                has_decimal_comma,
                ..Conversion::default()
            }),
        };
        plan.add_columns(header, lines, schema, hints);
        if plan.columns.is_empty() {
            return Err(PlanError(format!(
                "line {} names no column besides the time",
                header.number()
            )));
        }
        if let Some((name, _)) = hints
            .types
            .iter()
            .find(|(name, _)| !plan.columns.iter().any(|(_, field)| field.name == *name))
        {
            let names: Vec<String> = plan.columns.iter().map(|(_, f)| quoted(&f.name)).collect();
            return Err(PlanError(format!(
                "--type names {}; the columns are {}",
                quoted(name),
                names.join(", ")
            )));
        }
        Ok(plan)
    }

    /// A reader of the whole file, with its header passed, whose lines are for [`CsvPlan::record`].
    ///
    /// # Errors
    /// What the system said.
    pub fn reader<R: BufRead>(&self, mut file: R) -> io::Result<Lines<R>> {
        let mark = "\u{feff}".as_bytes();
        if file.fill_buf()?.starts_with(mark) {
            file.consume(mark.len());
        }
        for _ in 0..self.skipped {
            head::skip_line(&mut file)?;
        }
        let format = LineFormat {
            delimiter: self.delimiter,
            comment: self.comment,
        };
        let mut lines = Lines::new(file, format, self.skipped);
        lines.read(&mut Line::default())?;
        Ok(lines)
    }

    /// Whether a name of a column holds what is no character, so that the file is not UTF-8.
    pub fn names_lost_characters(&self) -> bool {
        let mut names = self.header.iter();
        names.any(|name| name.contains(char::REPLACEMENT_CHARACTER))
    }

    /// Whether the line says again what the columns are called.
    pub fn is_header(&self, line: &Line) -> bool {
        line.len() == self.header.len()
            && line.get(0) == self.header.first().map(String::as_str)
            && line.iter().eq(self.header.iter().map(String::as_str))
    }

    /// The record in one line, aligned to the fields of the schema followed by `new_fields`.
    ///
    /// # Errors
    /// [`Reject`] with the line's number for a line that does not fit the plan.
    pub fn record(&self, line: &Line) -> Result<Record, Reject> {
        self.values(line)
            .map_err(|reject| refused::numbered(line, reject))
    }

    /// Whether the time of a line, read as `ns`, is one that its clock shows twice or never.
    pub fn is_time_doubtful(&self, line: &Line, ns: i64) -> bool {
        self.time.as_ref().is_some_and(|time| match &time.format {
            TimeFormat::Rule(rule) => rule.is_doubtful(&time.text(line), ns),
            _ => false,
        })
    }

    /// What a line of one of our exports says besides its record.
    ///
    /// # Errors
    /// [`Reject`] with the line's number if the line does not say it.
    pub fn own_row(&self, line: &Line) -> Result<Option<OwnRow>, Reject> {
        let Some(own) = &self.own else {
            return Ok(None);
        };
        let cell = |column| line.get(column).unwrap_or_default();
        let split = own::split(cell(own.is_train), cell(own.fold));
        Ok(Some(OwnRow {
            stream: own::armed(cell(own.stream)).to_owned(),
            split: split.map_err(|reject| refused::numbered(line, reject))?,
        }))
    }

    /// Values of the tags that a line of one of our exports names.
    pub fn own_tags(&self, line: &Line) -> Vec<(String, String)> {
        let tags = self.own.iter().flat_map(|own| &own.tags);
        tags.map(|(column, name)| {
            let value = own::armed(line.get(*column).unwrap_or_default());
            (name.clone(), value.to_owned())
        })
        .collect()
    }

    fn values(&self, line: &Line) -> Result<Record, Reject> {
        if let Some(bad) = line.bad() {
            return Err(refused::unreadable(bad));
        }
        if line.len() != self.width {
            return Err(Reject::new(
                Reason::NotCsv,
                format!(
                    "{} cells instead of {}{}",
                    line.len(),
                    self.width,
                    if line.span > 1 {
                        ": is a quote too many, or not closed?"
                    } else {
                        ""
                    }
                ),
            ));
        }
        let source_ts = self.source_ts(line)?;
        let mut values = Vec::with_capacity(self.columns.len());
        for ((column, field), &place) in self.columns.iter().zip(&self.places) {
            let Some(text) = line.get(*column) else {
                continue;
            };
            let value = self.value(field, text, line.is_quoted(*column));
            let value = value.map_err(|misfit| refused::refusal(*column, field, text, misfit))?;
            values.extend(value.map(|value| (place as u32, value)));
        }
        let values = values.into();
        let record = Record { source_ts, values };
        record.check_size()?;
        Ok(record)
    }

    fn source_ts(&self, line: &Line) -> Result<Option<i64>, Reject> {
        let bad = |column: usize, text: &str, what: &str| {
            let detail = format!("column {}: {} {what}", column + 1, quoted(text));
            Reject::new(Reason::BadTime, detail)
        };
        if let Some(time) = &self.time {
            let text = time.text(line);
            if text.is_empty() {
                return Ok(None);
            }
            let ns = time.format.ns(&text);
            return match ns {
                Ok(ns) => Ok(Some(ns)),
                Err(error) => Err(bad(time.column, &text, TimeFormat::advice(error))),
            };
        }
        let Some(own) = &self.own else {
            return Ok(None);
        };
        let source = own.source_ts.map(|column| (column, line.get(column)));
        let (column, text) = match source {
            Some((column, Some(text))) if !text.is_empty() => (column, text),
            // A timestamp of ours is never given twice: here it is when the record came to the other device.
            _ => (own.ts, line.get(own.ts).unwrap_or_default()),
        };
        let ns = text.parse::<i64>();
        ns.map(Some)
            .map_err(|_| bad(column, text, "is no number of nanoseconds since 1970"))
    }

    fn value(&self, field: &Field, text: &str, is_quoted: bool) -> Result<Option<Value>, Misfit> {
        let taking = Taking {
            nan: NanPolicy::Missing,
            missing: &self.missing,
            is_declared: false,
            conversion: self.conversion.as_ref(),
        };
        if field.kind == FieldType::Text {
            let is_missing = match &self.own {
                // An export quotes every text, and nothing that is missing.
                Some(_) => text.is_empty() && !is_quoted,
                None => taking.is_missing(text),
            };
            let text = if self.own.is_some() {
                own::armed(text)
            } else {
                text
            };
            return if is_missing {
                Ok(None)
            } else {
                Cell::Bare(text).value(field.kind, &taking)
            };
        }
        let text = text.trim();
        if is_missing(text) || taking.is_missing(text) {
            return Ok(None);
        }
        Cell::Bare(text).value(field.kind, &taking)
    }

    fn add_columns(
        &mut self,
        header: &Line,
        lines: &[Line],
        schema: Option<&Schema>,
        hints: &Hints,
    ) {
        let own = self.own.take();
        let named: Vec<(usize, &str)> = match &own {
            Some(own) => own.fields.iter().map(|(at, name)| (*at, &**name)).collect(),
            None => header.iter().map(str::trim).enumerate().collect(),
        };
        let time = self.time.clone();
        let is_time = |column| {
            time.as_ref()
                .is_some_and(|time| time.column == column || time.second == Some(column))
        };
        for (column, name) in named {
            if !name.is_empty() && !is_time(column) {
                let said = hints.types.iter().find(|(other, _)| other == name);
                let kind = said.map(|(_, kind)| *kind);
                let kind = kind.unwrap_or_else(|| self.kind_of(column, name, lines, own.is_some()));
                self.add(column, name, kind, schema);
            }
        }
        self.own = own;
        let new_fields = &self.new_fields;
        let columns = self.columns.iter();
        let new = columns.filter(|(_, field)| new_fields.contains(field));
        let new: Vec<usize> = new.map(|(column, _)| *column).collect();
        self.undecided.retain(|column| new.contains(column));
    }

    fn add(&mut self, column: usize, name: &str, kind: FieldType, schema: Option<&Schema>) {
        let (field, place) = placed(name, kind, schema, &mut self.new_fields);
        self.columns.push((column, field));
        self.places.push(place);
    }
}

/// The field that a column of this name becomes, as the schema holds it or as a new one, and its place among
/// those of the schema and the new ones.
fn placed(
    name: &str,
    kind: FieldType,
    schema: Option<&Schema>,
    new_fields: &mut Vec<Field>,
) -> (Field, usize) {
    let held = schema.map_or(&[][..], |schema| &schema.fields);
    if let Some(place) = held.iter().position(|field| field.name == name) {
        return (held[place].clone(), place);
    }
    let field = Field {
        name: name.to_owned(),
        kind,
    };
    new_fields.push(field.clone());
    (field, held.len() + new_fields.len() - 1)
}

fn is_missing(text: &str) -> bool {
    let mut words = MISSING_WORDS.iter();
    text.is_empty() || words.any(|word| text.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests;
