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
use jiff::{civil::DateTime, tz::Offset};

use crate::settings::{NanPolicy, TimeUnit};

use super::{
    RECORD_BYTES_MAX, Reason, Record, Reject, is_field_name, quoted,
    time::{decimal_ns, rfc3339_ns},
    value::{Cell, Misfit, parse_bool},
};

/// Lines below the header that are looked at; more are ignored.
pub const LINES_MAX: usize = 1_000;

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
        let mut record = Record::default();
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
            record.source_ts = Some(ns);
        }
        let width = self.places.iter().max().map_or(0, |place| place + 1);
        record.values.resize(width, None);
        for ((column, field), &place) in self.columns.iter().zip(&self.places) {
            let text = &line[*column];
            if is_missing(text, field.kind) {
                continue;
            }
            record.values[place] = Cell::Bare(text)
                .value(field.kind, NanPolicy::Missing)
                .map_err(|misfit| refusal(field, text, misfit))?;
        }
        let bytes = record.bytes();
        if bytes > RECORD_BYTES_MAX {
            return Err(Reject::new(
                Reason::RecordTooLarge,
                format!("a record of {bytes} bytes; the most is {RECORD_BYTES_MAX}"),
            ));
        }
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
            Self::Civil => {
                // A civil time with an offset would lose it.
                let has_offset = |time: &str| time.contains(['+', '-', 'Z', 'z', '[']);
                if text.get(10..).is_some_and(has_offset) {
                    return rfc3339_ns(text);
                }
                let time: DateTime = text.parse().ok()?;
                let timestamp = Offset::UTC.to_timestamp(time).ok()?;
                i64::try_from(timestamp.as_nanosecond()).ok()
            }
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
            format!("field {name}: {came} holds a quote, a back-tick or a control character"),
        ),
        Misfit::WrongType | Misfit::Nan => Reject::new(
            Reason::WrongType,
            format!("field {name} is held as {}, but {came} came", field.kind),
        ),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use dunlin_sync::sample::Value;
    use proptest::prelude::*;

    use super::*;

    fn fields(plan: &CsvPlan) -> Vec<(usize, &str, FieldType)> {
        let columns = plan.columns.iter();
        columns
            .map(|(column, field)| (*column, field.name.as_str(), field.kind))
            .collect()
    }

    fn records(plan: &CsvPlan, file: &str) -> Vec<Result<Record, Reject>> {
        plan.reader(file.as_bytes())
            .records()
            .map(|line| plan.record(&line.unwrap()))
            .collect()
    }

    #[test]
    fn a_data_set_is_understood() {
        let file = "\u{feff}datetime;Temperature;open;note;anomaly\n\
                    2020-03-09 10:14:33;21,5;true;;0.0\n\
                    2020-03-09 10:14:34.5;21.25;False;a b;1.0\n";
        let plan = CsvPlan::infer(file, None).unwrap();
        assert_eq!(plan.delimiter, b';');
        assert_eq!(plan.time, Some((0, TimeFormat::Civil)));
        assert_eq!(
            fields(&plan),
            [
                (1, "Temperature", FieldType::Text),
                (2, "open", FieldType::Bool),
                (3, "note", FieldType::Text),
                (4, "anomaly", FieldType::F64)
            ]
        );
        let records = records(&plan, file);
        assert_eq!(
            records[1],
            Ok(Record {
                source_ts: Some(1_583_748_874_500_000_000),
                values: vec![
                    Some(Value::Text("21.25".into())),
                    Some(Value::Bool(false)),
                    Some(Value::Text("a b".into())),
                    Some(Value::F64(1.0))
                ]
            })
        );
        assert_eq!(records[0].as_ref().unwrap().values[2], None);
    }

    #[test]
    fn times_are_told_by_name_form_and_size() {
        for (file, time) in [
            (
                "x,ts\n5,1700000000\n",
                Some((1, TimeFormat::Epoch(TimeUnit::Seconds))),
            ),
            (
                "x,TS\n5,1700000000000\n",
                Some((1, TimeFormat::Epoch(TimeUnit::Millis))),
            ),
            (
                "x,ts\n5,1700000000000000\n",
                Some((1, TimeFormat::Epoch(TimeUnit::Micros))),
            ),
            (
                "x,ts\n5,1700000000000000000\n",
                Some((1, TimeFormat::Epoch(TimeUnit::Nanos))),
            ),
            (
                "x,when\n5,2020-01-01T00:00:00Z\n",
                Some((1, TimeFormat::Rfc3339)),
            ),
            ("x,date\n5,2020-01-01\n", Some((1, TimeFormat::Civil))),
            ("x,date\n5,2020-01-01 00:00\n", Some((1, TimeFormat::Civil))),
            // A count from the start of a test is no time of day.
            ("time,x\n0,5\n1,6\n", None),
            // A name alone does not make a time; the next column that is one is taken.
            (
                "time,at\nlunch,2020-01-01T00:00:00Z\n",
                Some((1, TimeFormat::Rfc3339)),
            ),
            // Numbers that fall are a measurement.
            ("a,b\n1700000000,1\n1600000000,2\n", None),
        ] {
            assert_eq!(CsvPlan::infer(file, None).unwrap().time, time, "{file}");
        }
    }

    #[test]
    fn delimiters_are_sniffed() {
        for (file, delimiter) in [
            ("a,b\n1,2\n", b','),
            ("a;b\n1,5;2,5\n", b';'),
            ("a\tb\n1\t2\n", b'\t'),
            ("a|b|c\n1|2|3\n", b'|'),
            ("a\n1\n", b','),
            ("\"a;b\",c\n1,2\n", b','),
        ] {
            assert_eq!(
                CsvPlan::infer(file, None).unwrap().delimiter,
                delimiter,
                "{file}"
            );
        }
    }

    #[test]
    fn held_types_stay_and_new_fields_follow() {
        let schema = Schema {
            id: 0,
            name: "s".into(),
            tag_names: vec![],
            fields: vec![
                Field {
                    name: "other".into(),
                    kind: FieldType::Text,
                },
                Field {
                    name: "count".into(),
                    kind: FieldType::I64,
                },
            ],
        };
        let file = ",time,fresh,count\n0,2020-01-01,NaN,7\n1,2020-01-02,1.5,7.5\n2,,,\n";
        let plan = CsvPlan::infer(file, Some(&schema)).unwrap();
        assert_eq!(
            fields(&plan),
            [(2, "fresh", FieldType::F64), (3, "count", FieldType::I64)]
        );
        assert_eq!(plan.new_fields.len(), 1);
        let records = records(&plan, file);
        assert_eq!(
            records[0].as_ref().unwrap().values,
            [None, Some(Value::I64(7)), None]
        );
        let reject = records[1].as_ref().unwrap_err();
        assert_eq!(reject.reason, Reason::WrongType);
        assert!(reject.detail.starts_with("line 3: "), "{reject}");
        assert_eq!(records[2].as_ref().unwrap().source_ts, None);
    }

    #[test]
    fn what_cannot_be_imported_is_said() {
        for (file, hint) in [
            ("", "empty"),
            ("a,b\n", "no data"),
            ("1,2\n3,4\n", "names of the columns"),
            ("a,a\n1,2\n", "twice"),
            ("a,it's\n1,2\n", "column 2"),
            ("time\n2020-01-01\n", "besides the time"),
        ] {
            let error = CsvPlan::infer(file, None).unwrap_err();
            assert!(error.to_string().contains(hint), "{file}: {error}");
        }
        let plan = CsvPlan::infer("time,a\n2020-01-01,x\n", None).unwrap();
        let later = "time,a\nnever,x\n2020-01-01\n2020-01-01,it's\n2020-01-01T00:00:00+01:00,x\n";
        let records = records(&plan, later);
        let reasons: Vec<Option<Reason>> = records
            .iter()
            .map(|record| record.as_ref().err().map(|reject| reject.reason))
            .collect();
        assert_eq!(
            reasons,
            [
                Some(Reason::BadTime),
                Some(Reason::NotCsv),
                Some(Reason::BadText),
                None
            ]
        );
    }

    #[test]
    fn hints_win_over_guesses() {
        let file = "ts,measured\n2020-01-01,2021-01-01\n2020-01-02,2021-01-02\n";
        let hints = Hints {
            delimiter: Some(b','),
            time: Some("measured".into()),
        };
        let plan = CsvPlan::infer_with(file, None, &hints).unwrap();
        assert_eq!(plan.time, Some((1, TimeFormat::Civil)));
        let odd = Hints {
            delimiter: Some(b':'),
            ..Hints::default()
        };
        let plan = CsvPlan::infer_with("a:b\n1:2\n", None, &odd).unwrap();
        assert_eq!((plan.delimiter, plan.columns.len()), (b':', 2));
        let missing = Hints {
            time: Some("b".into()),
            ..Hints::default()
        };
        let error = CsvPlan::infer_with(file, None, &missing).unwrap_err();
        assert!(error.to_string().contains("`measured`"), "{error}");
        let error = CsvPlan::infer_with("a,b\n1,x\n", None, &missing).unwrap_err();
        assert!(error.to_string().contains("does not hold times"), "{error}");
    }

    proptest! {
        #[test]
        fn any_file_is_planned_or_refused(head in "[a-c0-9,;\\t|\"\\n :TZ.-]{0,60}") {
            if let Ok(plan) = CsvPlan::infer(&head, None) {
                for record in records(&plan, &head).into_iter().flatten() {
                    prop_assert!(record.values.len() <= plan.new_fields.len());
                }
            }
        }
    }
}
