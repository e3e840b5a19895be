//! Which column holds the time, and how it is written.

use super::{Hints, Line, PlanError, quoted};
use crate::base::source_time::{
    TimeError, TimeRule, TimeUnit, Zone, decimal_ns, rfc3339_ns, text_ns,
};

const TIME_NAMES: [&str; 9] = [
    "time",
    "timestamp",
    "date",
    "datetime",
    "ts",
    "_time",
    "source_ts",
    "zeit",
    "zeitstempel",
];
/// Numbers are taken for times of the years 1990 to 2100: the units do not overlap there.
const EPOCH_NS: std::ops::Range<i64> = 631_152_000_000_000_000..4_102_444_800_000_000_000;

/// How the cells of the time column are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimeFormat {
    /// RFC 3339 with an offset.
    Rfc3339,
    /// `YYYY-MM-DD HH:MM:SS` or a date alone, taken as UTC.
    Civil,
    /// A number since 1970 in this unit.
    Epoch(TimeUnit),
    /// As somebody has said.
    Rule(TimeRule),
}

/// Whether people call a time so.
pub(super) fn is_time_name(name: &str) -> bool {
    let mut names = TIME_NAMES.iter();
    names.any(|time| name.trim().eq_ignore_ascii_case(time))
}

/// Whether people call a time of day so, whatever stands in brackets behind it.
fn is_time_of_day_name(name: &str) -> bool {
    const NAMES: [&str; 8] = [
        "time",
        "timeofday",
        "clock",
        "clocktime",
        "hour",
        "zeit",
        "uhrzeit",
        "stunde",
    ];
    let plain = name.split(['(', '[']).next().unwrap_or_default();
    let letters: String = plain.chars().filter(|c| c.is_alphanumeric()).collect();
    NAMES
        .iter()
        .any(|other| letters.eq_ignore_ascii_case(other))
}

/// Whether a number is taken for a time.
pub(crate) fn is_recent(ns: i64) -> bool {
    EPOCH_NS.contains(&ns)
}

/// Where the time is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeColumn {
    /// Column, from 0, of the time or of the date alone.
    pub column: usize,
    /// Column of the time of day, if that is another.
    pub second: Option<usize>,
    /// How it is written; of two columns with a blank between them.
    pub format: TimeFormat,
}

impl TimeColumn {
    /// The cell or cells as one text; empty where there is no time.
    pub(super) fn text<'l>(&self, line: &'l Line) -> std::borrow::Cow<'l, str> {
        let cell = |column| line.get(column).unwrap_or_default().trim();
        let first = cell(self.column);
        match self.second.map(cell) {
            None => first.into(),
            Some("") if first.is_empty() => "".into(),
            Some(second) => format!("{first} {second}").into(),
        }
    }
}

impl TimeFormat {
    /// Nanoseconds UTC of one cell.
    pub(crate) fn ns(&self, text: &str) -> Result<i64, TimeError> {
        match self {
            Self::Rfc3339 => rfc3339_ns(text).ok_or(TimeError::NotATime),
            Self::Civil => text_ns(text, Some(&Zone::UTC)),
            Self::Epoch(unit) => decimal_ns(text, *unit).ok_or(TimeError::NotATime),
            Self::Rule(rule) => {
                let ns = rule.written_ns(text)?;
                // `20260504` would be seconds of 1970.
                let is_guess = rule.guesses_unit() && text.trim().parse::<f64>().is_ok();
                if is_guess && !is_recent(ns) {
                    return Err(TimeError::OutOfRange);
                }
                Ok(ns)
            }
        }
    }

    /// What is wrong with a time, and what to write.
    pub(super) fn advice(error: TimeError) -> &'static str {
        match error {
            TimeError::NotATime => {
                "is no time in a form that is known: RFC 3339, YYYY-MM-DD HH:MM:SS, or a number of s, ms, \
                 us or ns since 1970; for any other write --time-format, such as '%d.%m.%Y %H:%M:%S'"
            }
            TimeError::NotInFormat => "is not written as --time-format says",
            TimeError::NeedsZone => {
                "has no offset from UTC: write --time-zone local (or UTC, +02:00, Europe/Berlin)"
            }
            TimeError::OutOfRange => {
                "is no time between 1677 and 2262, or a number that is none between 1990 and 2100: write --time-unit, \
                 or --time-format such as '%Y%m%d'"
            }
        }
    }
}

/// The column that somebody calls the time, or the two: `date,time`; by name, or by number from 1.
pub(super) fn named(
    header: &Line,
    lines: &[Line],
    name: &str,
    hints: &Hints,
) -> Result<TimeColumn, PlanError> {
    let place = |name: &str| {
        let by_name = header.iter().position(|other| other.trim() == name);
        let by_number = || {
            let number = name.parse::<usize>().ok()?;
            (1..=header.len()).contains(&number).then(|| number - 1)
        };
        by_name.or_else(by_number)
    };
    let found = match place(name) {
        Some(column) => Some((column, None)),
        None => name
            .split_once(',')
            .and_then(|(date, time)| Some((place(date.trim())?, Some(place(time.trim())?)))),
    };
    let (column, second) = found.ok_or_else(|| {
        let names: Vec<String> = header.iter().map(quoted).collect();
        PlanError(format!(
            "there is no column {}; line {} names {}",
            quoted(name),
            header.number(),
            names.join(", ")
        ))
    })?;
    let mut time = TimeColumn {
        column,
        second,
        format: TimeFormat::Civil,
    };
    let cells = cells(&time, lines);
    let given = hints.time_rule.clone().map(TimeFormat::Rule);
    if let Some(format) = given.or_else(|| most(&cells)) {
        time.format = format;
        let good = cells
            .iter()
            .filter(|(_, cell)| time.format.ns(cell).is_ok());
        if 2 * good.count() >= cells.len() && !cells.is_empty() {
            return Ok(time);
        }
    }
    let bad = cells
        .iter()
        .find_map(|(line, cell)| Some((line, cell, time.format.ns(cell).err()?)));
    Err(PlanError(match bad {
        Some((line, cell, error)) => format!(
            "column {} does not hold times: line {line}: {} {}",
            quoted(name),
            quoted(cell),
            TimeFormat::advice(error)
        ),
        None => format!(
            "column {} does not hold times: its first lines are empty",
            quoted(name)
        ),
    }))
}

/// The column that is the time by name and content, or by content alone.
pub(super) fn found(header: &Line, lines: &[Line], hints: &Hints) -> Option<TimeColumn> {
    let of = |column: usize| TimeColumn {
        column,
        second: None,
        format: TimeFormat::Civil,
    };
    let rule = hints.time_rule.clone().map(TimeFormat::Rule);
    let all = |column: usize| {
        let time = of(column);
        let cells = cells(&time, lines);
        let format = match &rule {
            Some(rule) if fits(rule, &cells) => rule.clone(),
            Some(_) => return None,
            None => every(&cells)?,
        };
        Some((TimeColumn { format, ..time }, cells))
    };
    let names = || {
        header
            .iter()
            .enumerate()
            .filter(|(_, name)| is_time_name(name))
    };
    let named = names().find_map(|(column, _)| Some(all(column)?.0));
    let mostly = || {
        names().find_map(|(column, _)| {
            let time = of(column);
            let cells = cells(&time, lines);
            let format = most(&cells).filter(|_| rule.is_none())?;
            Some(TimeColumn { format, ..time })
        })
    };
    let time = named.or_else(mostly).or_else(|| {
        (0..header.len()).find_map(|column| {
            let (time, cells) = all(column)?;
            // A rule takes nearly every number for a time.
            let is_number = !matches!(time.format, TimeFormat::Rfc3339 | TimeFormat::Civil)
                && cells.iter().any(|(_, cell)| cell.parse::<f64>().is_ok());
            let recent = |cell: &str| time.format.ns(cell).is_ok_and(|ns| EPOCH_NS.contains(&ns));
            let rising = || {
                cells.iter().all(|(_, cell)| recent(cell))
                    && cells.is_sorted_by_key(|(_, cell)| time.format.ns(cell).ok())
            };
            (!is_number || rising()).then_some(time)
        })
    })?;
    Some(with_time_of_day(time, header, lines))
}

/// A date alone, with the time of day that stands in a column of its own.
fn with_time_of_day(date: TimeColumn, header: &Line, lines: &[Line]) -> TimeColumn {
    let is_date = |(_, cell): &(u64, String)| !cell.contains(':');
    if !cells(&date, lines).iter().all(is_date) {
        return date;
    }
    let is_named = |column: &usize| header.get(*column).is_some_and(is_time_of_day_name);
    // A duration is written alike.
    let others = (0..header.len()).filter(|column| *column != date.column && is_named(column));
    let mut both = others.map(|column| TimeColumn {
        second: Some(column),
        ..date.clone()
    });
    let fits = |both: &TimeColumn| {
        let cells = cells(both, lines);
        let good = cells
            .iter()
            .filter(|(_, cell)| cell.contains(':') && both.format.ns(cell).is_ok());
        2 * good.count() > cells.len()
    };
    both.find(fits).unwrap_or(date)
}

/// Cells that are not empty, with their lines.
fn cells(time: &TimeColumn, lines: &[Line]) -> Vec<(u64, String)> {
    let cells = lines.iter().map(|line| (line.number(), time.text(line)));
    let said = cells.filter(|(_, cell)| !cell.is_empty());
    said.map(|(line, cell)| (line, cell.into_owned())).collect()
}

fn fits(format: &TimeFormat, cells: &[(u64, String)]) -> bool {
    !cells.is_empty() && cells.iter().all(|(_, cell)| format.ns(cell).is_ok())
}

/// The one format all `cells` are written in.
fn every(cells: &[(u64, String)]) -> Option<TimeFormat> {
    if cells.is_empty() {
        return None;
    }
    let recent = |format: &TimeFormat| {
        let mut times = cells.iter().map(|(_, cell)| format.ns(cell));
        times.all(|ns| ns.is_ok_and(|ns| EPOCH_NS.contains(&ns)))
    };
    let texts = [TimeFormat::Rfc3339, TimeFormat::Civil];
    let text = texts.into_iter().find(|format| fits(format, cells));
    text.or_else(|| numbers().find(recent))
}

/// The format that most `cells` are written in: a bad line hides no time.
fn most(cells: &[(u64, String)]) -> Option<TimeFormat> {
    every(cells).or_else(|| {
        let good = |format: &TimeFormat| {
            let is_number = matches!(format, TimeFormat::Epoch(_));
            let times = cells.iter().filter_map(|(_, cell)| format.ns(cell).ok());
            times
                .filter(|ns| !is_number || EPOCH_NS.contains(ns))
                .count()
        };
        let texts = [TimeFormat::Rfc3339, TimeFormat::Civil];
        let mut all = texts.into_iter().chain(numbers());
        all.find(|format| 2 * good(format) > cells.len())
    })
}

fn numbers() -> impl Iterator<Item = TimeFormat> {
    [
        TimeUnit::Seconds,
        TimeUnit::Millis,
        TimeUnit::Micros,
        TimeUnit::Nanos,
    ]
    .into_iter()
    .map(TimeFormat::Epoch)
}
