//! A data file as columns of numbers.
//!
//! Promises: every row of the file is a row here, also one that cannot be read (all missing, counted),
//! so that what was consecutive stays so and nothing else becomes it.

use std::{
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

use dunlin_models::recipe::Problem;
use dunlin_sync::sample::{FieldType, RecordValues, Value};

use super::super::{Exit, import};
use crate::record::decode::infer::{CsvPlan, Hints, Line};

/// How to understand a file.
#[derive(Debug)]
pub(super) struct Reading<'a> {
    pub(super) time: Option<&'a str>,
    pub(super) delimiter: Option<u8>,
    pub(super) label: Option<&'a str>,
    pub(super) ignore: &'a [String],
    pub(super) task: Problem,
}

/// A file's numbers.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// File name, for people.
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) features: Vec<String>,
    /// Row after row; NaN where missing.
    pub(super) values: Vec<f32>,
    /// Nanoseconds UTC; without a time column a second a row, from 1970 on.
    pub(super) ts: Vec<i64>,
    pub(super) has_time: bool,
    /// One a row, or none: the number, or the position in `classes`; NaN where missing.
    pub(super) label: Vec<f32>,
    /// What the label is called; empty without one.
    pub(super) label_name: String,
    /// Classify: what each is called, in order of appearance.
    pub(super) classes: Vec<String>,
    /// Lines that could not be read.
    pub(super) bad_lines: u64,
    pub(super) first_bad: Option<String>,
    /// Values missing elsewhere.
    pub(super) missing: u64,
    /// Rows of the file that are in none of the grid because they came too late.
    pub(super) late: u64,
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.ts.len()
    }
}

/// Reads a file; its kind follows from its name. Everything is CSV so far.
///
/// # Errors
/// [`Exit::Failed`] if it cannot be read, [`Exit::Usage`] if it does not hold what was asked for.
pub(super) fn read(path: &Path, reading: &Reading<'_>) -> Result<Table, Exit> {
    csv(path, reading)
}

fn csv(path: &Path, reading: &Reading<'_>) -> Result<Table, Exit> {
    let usage = |what: String| Exit::Usage(format!("{}: {what}", path.display()));
    let failed =
        |error: &dyn std::fmt::Display| Exit::Failed(format!("{}: {error}", path.display()));
    let open = || {
        let file = File::open(path).map_err(|error| failed(&error))?;
        Ok::<_, Exit>(BufReader::with_capacity(1 << 16, file))
    };
    let head = import::table::head(open()?).map_err(|error| failed(&error))?;
    let hints = Hints {
        delimiter: reading.delimiter,
        time: reading.time.map(str::to_owned),
        ..Hints::default()
    };
    let plan =
        CsvPlan::infer_with(&head, None, &hints).map_err(|error| usage(error.to_string()))?;
    let chosen = Chosen::of(&plan, reading).map_err(usage)?;
    let name = path.file_name().unwrap_or(path.as_os_str());
    let mut table = Table {
        name: name.to_string_lossy().into_owned(),
        path: path.to_owned(),
        features: chosen.features.iter().map(|(_, n)| n.clone()).collect(),
        has_time: plan.time.is_some() || plan.own.is_some(),
        label_name: reading.label.unwrap_or_default().to_owned(),
        ..Table::default()
    };
    let mut lines = plan.reader(open()?).map_err(|error| failed(&error))?;
    let mut line = Line::default();
    while lines.read(&mut line).map_err(|error| failed(&error))? {
        match plan.record(&line) {
            Ok(record) => table.add(&chosen, record.source_ts, &record.values),
            Err(reject) => table.add_bad(&chosen, reject.detail),
        }
    }
    if table.bad_lines == table.len() as u64 {
        let first = table.first_bad.as_deref().unwrap_or("there are none");
        return Err(usage(format!("no line can be read: {first}")));
    }
    Ok(table)
}

/// Places of the columns among a record's values.
struct Chosen {
    features: Vec<(usize, String)>,
    label: Option<usize>,
    /// The label is a name, whatever it looks like.
    names_classes: bool,
}

impl Chosen {
    fn of(plan: &CsvPlan, reading: &Reading<'_>) -> Result<Self, String> {
        let fields = &plan.new_fields;
        let position = |name: &str| fields.iter().position(|field| field.name == name);
        let names = || {
            let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
            names.join(", ")
        };
        let label = match reading.label {
            None => None,
            Some(name) => Some(position(name).ok_or_else(|| {
                format!(
                    "there is no column {name} for the label; there are {}",
                    names()
                )
            })?),
        };
        let names_classes = reading.task == Problem::Classify;
        if let Some(at) = label
            && fields[at].kind == FieldType::Text
            && !names_classes
        {
            return Err(format!(
                "the label {} holds text; this task needs numbers",
                fields[at].name
            ));
        }
        let is_ignored = |name: &str| reading.ignore.iter().any(|ignored| ignored == name);
        let taken = fields
            .iter()
            .enumerate()
            .filter(|(at, field)| Some(*at) != label && !is_ignored(&field.name));
        let (texts, numbers): (Vec<_>, Vec<_>) =
            taken.partition(|(_, field)| field.kind == FieldType::Text);
        if !texts.is_empty() {
            let texts: Vec<&str> = texts.iter().map(|(_, f)| f.name.as_str()).collect();
            return Err(format!(
                "no numbers in {}; leave out with --ignore {}",
                texts.join(", "),
                texts.join(" ")
            ));
        }
        if numbers.is_empty() {
            return Err(format!(
                "no column of numbers is left; there are {}",
                names()
            ));
        }
        let numbers = numbers.into_iter();
        Ok(Self {
            features: numbers.map(|(at, f)| (at, f.name.clone())).collect(),
            label,
            names_classes,
        })
    }
}

impl Table {
    fn add(&mut self, chosen: &Chosen, ts: Option<i64>, values: &RecordValues) {
        let ts = match ts {
            Some(ts) => ts,
            // A row without a time of its own follows the one before.
            None if self.has_time => self.ts.last().map_or(0, |last| last.saturating_add(1)),
            None => self.ts.len() as i64 * 1_000_000_000,
        };
        self.ts.push(ts);
        for (at, _) in &chosen.features {
            let value = number(values.get(*at));
            self.missing += u64::from(!value.is_finite());
            self.values.push(value);
        }
        if let Some(at) = chosen.label {
            let value = values.get(at);
            let label = if chosen.names_classes {
                value.map_or(f32::NAN, |value| self.class(&name(value)))
            } else {
                number(value)
            };
            self.label.push(label);
        }
    }

    fn add_bad(&mut self, chosen: &Chosen, why: String) {
        self.bad_lines += 1;
        self.first_bad.get_or_insert(why);
        let missing = self.missing;
        self.add(chosen, None, &RecordValues::default());
        // Said with the line already.
        self.missing = missing;
    }

    fn class(&mut self, name: &str) -> f32 {
        let known = self.classes.iter().position(|class| class == name);
        let at = known.unwrap_or_else(|| {
            self.classes.push(name.to_owned());
            self.classes.len() - 1
        });
        at as f32
    }
}

/// NaN where there is none.
fn number(value: Option<&Value>) -> f32 {
    match value {
        Some(Value::F64(value)) => *value as f32,
        Some(Value::F32(value)) => *value,
        Some(Value::I64(value)) => *value as f32,
        Some(Value::Bool(value)) => f32::from(u8::from(*value)),
        _ => f32::NAN,
    }
}

fn name(value: &Value) -> String {
    match value {
        Value::Text(text) => text.to_string(),
        Value::Bool(value) => value.to_string(),
        other => number(Some(other)).to_string(),
    }
}
