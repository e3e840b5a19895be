//! Payloads that are lines: CSV, and `InfluxDB` line protocol.

use super::{
    columns::Column,
    field_line::FieldLine,
    reading::{Format, Reading},
    times, words,
};
use crate::{
    config::settings::{PayloadFormat, StreamRule},
    record::decode::{self, is_field_name},
    topic::TopicFilter,
};

/// Separators of cells.
const DELIMITERS: [char; 4] = [';', '\t', '|', ','];
/// Most lines looked at.
const LINES_MAX: usize = 200;

/// Lines of cells.
pub(super) struct Table {
    delimiter: char,
    header: Option<Vec<String>>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// What tables must have in common to be read alike.
    pub(super) fn layout(&self) -> (char, bool, usize) {
        let width = self.rows.first().map_or(0, Vec::len);
        (self.delimiter, self.header.is_some(), width)
    }

    fn column(&self, number: usize) -> impl Iterator<Item = &str> {
        let cells = self.rows.iter().filter_map(move |row| row.get(number));
        cells.map(String::as_str)
    }
}

/// Whether it is line protocol.
pub(super) fn is_influx(text: &str) -> bool {
    let measurement = text.split([',', ' ']).next().unwrap_or_default();
    if !text.contains('=') || !text.contains(' ') || measurement.contains('=') {
        return false;
    }
    let Ok(filter) = TopicFilter::parse("a") else {
        return false;
    };
    let rule = StreamRule {
        format: PayloadFormat::Influx,
        ..StreamRule::new("a".to_owned(), filter)
    };
    decode::decode(&rule, None, decode::Publish::of(text.as_bytes())).is_ok()
}

/// Cells of a text that is a table.
pub(super) fn table(text: &str, now_ns: i64) -> Option<Table> {
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .take(LINES_MAX)
        .collect();
    DELIMITERS
        .iter()
        .find_map(|&delimiter| table_with(&lines, delimiter, now_ns))
}

fn table_with(lines: &[&str], delimiter: char, now_ns: i64) -> Option<Table> {
    let cells = |line: &&str| -> Vec<String> {
        let cells = line.split(delimiter);
        cells
            .map(|cell| cell.trim().trim_matches('"').to_owned())
            .collect()
    };
    let mut rows: Vec<Vec<String>> = lines.iter().map(cells).collect();
    let width = rows.first()?.len();
    if width < 2 || rows.iter().any(|row| row.len() != width) {
        return None;
    }
    let is_number = |cell: &str| {
        cell.parse::<f64>().is_ok() || delimiter != ',' && words::has_decimal_comma(cell)
    };
    let is_time = |cell: &str| times::writing(&[cell], now_ns).is_some();
    let is_name = |cell: &String| is_field_name(cell) && !is_number(cell) && !is_time(cell);
    let has_header = rows.len() > 1
        && rows[0].iter().all(is_name)
        && rows[1..].iter().flatten().any(|cell| is_number(cell));
    let header = has_header.then(|| rows.remove(0));
    let first = rows.first()?;
    let numbers = first.iter().filter(|cell| is_number(cell)).count();
    let times = first.iter().filter(|cell| is_time(cell)).count();
    if header.is_none() {
        // A text with commas in it, or a number, is no table.
        let is_plain = first.iter().all(|cell| {
            is_number(cell) || is_time(cell) || cell.len() <= 32 && !cell.contains(' ')
        });
        let has_fraction = first
            .iter()
            .any(|cell| cell.contains('.') && is_number(cell));
        let is_sure = times > 0 && width >= 2
            || rows.len() > 1 && numbers > 0
            || numbers >= 2 && (has_fraction || delimiter != ',' || width >= 4);
        if !is_plain || numbers == 0 || !is_sure {
            return None;
        }
    }
    Some(Table {
        delimiter,
        header,
        rows,
    })
}

/// How to read tables of one layout.
pub(super) fn reading(tables: &[&Table], now_ns: i64) -> Reading {
    let (delimiter, has_header, width) = tables[0].layout();
    let mut reading = Reading::of(Format::Csv {
        delimiter,
        has_header,
    });
    let header = tables[0].header.as_deref();
    let name_of = |number: usize| {
        let named = header.and_then(|header| header.get(number));
        named
            .cloned()
            .unwrap_or_else(|| format!("column_{}", number + 1))
    };
    let mut clock: Option<(bool, usize, times::Writing)> = None;
    for number in 0..width {
        let cells = tables.iter().flat_map(|table| table.column(number));
        let cells: Vec<&str> = cells.filter(|cell| !words::is_missing(cell)).collect();
        let Some(writing) = times::writing(&cells, now_ns) else {
            continue;
        };
        let is_named = times::is_time_name(&name_of(number));
        if clock.as_ref().is_none_or(|(named, ..)| is_named && !named) {
            clock = Some((is_named, number, writing));
        }
    }
    let time_column = clock.as_ref().map(|(_, number, _)| *number);
    if let Some((_, number, writing)) = clock {
        reading.needs_zone = writing.needs_zone;
        reading.time_format = writing.format;
        reading.time = Some(if has_header {
            name_of(number)
        } else {
            number.to_string()
        });
    }
    for number in (0..width).filter(|number| Some(*number) != time_column) {
        let mut column = Column::default();
        for cell in tables.iter().flat_map(|table| table.column(number)) {
            if words::is_missing(cell) {
                continue;
            }
            if cell.parse::<f64>().is_ok() {
                column.add_number(cell);
            } else {
                column.add_text(cell);
            }
        }
        let name = name_of(number);
        let field = column.declared(&name);
        if has_header {
            reading.fields.extend(field);
        } else {
            let kind = match () {
                () if column.texts > 0 => "text",
                () if column.switches > 0 => "bool",
                () => "f64",
            };
            reading
                .fields
                .push(field.unwrap_or_else(|| FieldLine::of(&name, kind)));
        }
    }
    if !has_header {
        reading.note("no line names the columns: give them their names under fields".to_owned());
    }
    reading
}
