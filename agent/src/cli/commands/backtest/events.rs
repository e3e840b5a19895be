//! Alarms as an operator counts them: not rows, but one alarm until it is quiet again.

use std::{collections::BTreeMap, ops::Range, path::Path};

use dunlin_models::data::Rows;
use jiff::{civil::DateTime, tz::Offset};
use serde::Serialize;

use super::{Exit, misfit, read::Table};

/// Labelled spans hit, and alarms that were false.
///
/// Flags fewer rows apart than a window are one alarm, since their windows overlap. An alarm is false if
/// its first flag is outside every labelled span; a span is hit if any row in it is flagged.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Events {
    /// Labelled spans among the judged rows.
    pub(super) spans: u64,
    /// Of these, with a flagged row.
    pub(super) hit: u64,
    /// Alarms that began outside every span.
    pub(super) false_alarms: u64,
    /// Time judged; 0 without a time column.
    pub(super) months: f64,
}

impl Events {
    /// From the flags of rows, of which the first `lead` are not judged.
    pub(super) fn of(
        flags: &[bool],
        lead: usize,
        gap_rows: usize,
        spans: &[Range<usize>],
        months: f64,
    ) -> Self {
        let is_labelled = |row: usize| spans.iter().any(|span| span.contains(&row));
        let mut false_alarms = 0;
        let mut last: Option<usize> = None;
        for row in (lead..flags.len()).filter(|row| flags[*row]) {
            let begins = last.is_none_or(|last| row - last > gap_rows);
            false_alarms += u64::from(begins && !is_labelled(row));
            last = Some(row);
        }
        let hit = |span: &&Range<usize>| flags[span.start.max(lead)..span.end].contains(&true);
        Self {
            spans: spans.len() as u64,
            hit: spans.iter().filter(hit).count() as u64,
            false_alarms,
            months,
        }
    }

    /// Adds what was counted in another file.
    pub(super) fn add(&mut self, other: &Self) {
        self.spans += other.spans;
        self.hit += other.hit;
        self.false_alarms += other.false_alarms;
        self.months += other.months;
    }
}

/// Rows within the labelled spans of a JSON file: `{"dir/file.csv": [["from", "to"], ...]}`, both ends
/// included, found by the end of the data file's path.
pub(super) fn spans(path: &Path, table: &Table) -> Result<Vec<Range<usize>>, Exit> {
    let wrong = |what: String| Exit::Usage(format!("{}: {what}", path.display()));
    if !table.has_time {
        return Err(misfit(
            table,
            "needed: a time column, for --windows; found: none",
        ));
    }
    let all: BTreeMap<String, Vec<(String, String)>> =
        serde_json::from_str(&read_spans(path)?).map_err(|error| wrong(error.to_string()))?;
    let named = all.iter().filter(|(key, _)| table.path.ends_with(key));
    let named = named.max_by_key(|(key, _)| key.len());
    let by_name = || {
        let mut same = all
            .iter()
            .filter(|(key, _)| Path::new(key).file_name() == table.path.file_name());
        same.next().filter(|_| same.next().is_none())
    };
    let (_, times) = named
        .or_else(by_name)
        .ok_or_else(|| wrong(format!("it has no entry for {}", table.path.display())))?;
    times
        .iter()
        .map(|(from, to)| {
            let ns =
                |text: &str| time_ns(text).ok_or_else(|| wrong(format!("{text:?} is no time")));
            let (from, to) = (ns(from)?, ns(to)?);
            let start = table.ts.partition_point(|ts| *ts < from);
            Ok(start..table.ts.partition_point(|ts| *ts <= to).max(start))
        })
        .filter(|span| span.as_ref().is_ok_and(|span| !span.is_empty()) || span.is_err())
        .collect()
}

fn time_ns(text: &str) -> Option<i64> {
    let timestamp: jiff::Timestamp = match text.parse() {
        Ok(timestamp) => timestamp,
        Err(_) => Offset::UTC
            .to_timestamp(text.parse::<DateTime>().ok()?)
            .ok()?,
    };
    i64::try_from(timestamp.as_nanosecond()).ok()
}

/// Time of the rows to be judged.
pub(super) fn months(test: &Rows) -> f64 {
    const MONTH_NS: f64 = 365.25 / 12.0 * 86_400e9;
    let own = &test.ts[test.lead..];
    match (own.first(), own.last()) {
        (Some(first), Some(last)) => last.saturating_sub(*first) as f64 / MONTH_NS,
        _ => 0.0,
    }
}

/// Reads a file with labelled spans.
fn read_spans(path: &Path) -> Result<String, Exit> {
    std::fs::read_to_string(path)
        .map_err(|error| Exit::Failed(format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests;
