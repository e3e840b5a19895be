//! The first lines of a file: what is in front of the header, the header itself, and what the lines below it say
//! of the whole file.

use std::{
    collections::HashSet,
    io::{self, BufRead},
};

use super::{Hints, LINES_MAX, Line, LineFormat, Lines, OwnColumns, PlanError};
use crate::record::decode::{is_field_name, quoted, without_mark};

/// What comes behind the lines in front, how many lines these are, and the delimiter that `sep=` names.
pub(super) fn front<'h>(head: &'h str, hints: &Hints) -> (&'h str, u64, Option<u8>) {
    let mut rest = without_mark(head);
    let mut skipped = 0;
    let behind = |text: &'h str| text.split_once('\n').map_or("", |(_, rest)| rest);
    for _ in 0..hints.skip_lines {
        if rest.is_empty() {
            break;
        }
        rest = behind(rest);
        skipped += 1;
    }
    let line = rest.lines().next().unwrap_or_default().trim();
    let line = line.trim_matches('"');
    let named = match line.get(..4).map(str::to_ascii_lowercase).as_deref() {
        Some("sep=") => match line.as_bytes() {
            // `sep=` and a tab, which was trimmed.
            [_, _, _, _] => Some(b'\t'),
            [_, _, _, _, byte] if byte.is_ascii_punctuation() => Some(*byte),
            _ => None,
        },
        _ => None,
    };
    if named.is_some() {
        (behind(rest), skipped + 1, named)
    } else {
        (rest, skipped, None)
    }
}

pub(super) fn skip_line(file: &mut impl BufRead) -> io::Result<()> {
    loop {
        let chunk = file.fill_buf()?;
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let used = end.map_or(chunk.len(), |end| end + 1);
        file.consume(used);
        if end.is_some() || used == 0 {
            return Ok(());
        }
    }
}

/// Header and data lines, as far as they can be read.
pub(super) fn read(head: &str, format: LineFormat, passed: u64) -> Vec<Line> {
    let mut lines = Lines::new(head.as_bytes(), format, passed);
    let mut all = Vec::new();
    let mut line = Line::default();
    while all.len() <= LINES_MAX && lines.read(&mut line).is_ok_and(|more| more) {
        if line.bad().is_none() {
            all.push(line.clone());
        }
    }
    all
}

/// How well a delimiter explains the lines: how many are as wide as the header, then how wide that is.
pub(super) fn agreement(lines: &[Line]) -> (usize, usize) {
    let width = lines.first().map_or(0, Line::len);
    if width < 2 {
        return (0, width);
    }
    let agreeing = lines.iter().filter(|line| line.len() == width).count();
    (agreeing, width)
}

/// Whether numbers have a comma before their fraction, beyond doubt: some are as `21,5`, none as `21.5`, and
/// not all could have a comma for thousands.
pub(super) fn has_decimal_comma(lines: &[Line]) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let fraction = |cell: &str, mark: char| {
        let cell = cell.trim();
        let unsigned = cell.strip_prefix(['-', '+']).unwrap_or(cell);
        let (whole, fraction) = unsigned.split_once(mark)?;
        (digits(whole) && digits(fraction)).then_some(fraction.len())
    };
    let mut is_certain = false;
    for cell in lines.iter().flat_map(Line::iter) {
        if fraction(cell, '.').is_some() {
            return false;
        }
        is_certain |= fraction(cell, ',').is_some_and(|digits| digits != 3);
    }
    is_certain
}

pub(super) fn check_header(
    header: &Line,
    own: Option<&OwnColumns>,
    hints: &Hints,
) -> Result<(), PlanError> {
    let number = header.number();
    if header.iter().all(|name| name.parse::<f64>().is_ok()) {
        let comments = match hints.comment {
            Some(byte) => format!(
                "; if they are named behind {}, add --comment none",
                char::from(byte)
            ),
            None => String::new(),
        };
        return Err(PlanError(format!(
            "line {number} holds numbers only: put a line with the names of the columns in front{comments}"
        )));
    }
    let mut names = HashSet::new();
    let fields: Vec<(usize, &str)> = match own {
        Some(own) => own.fields.iter().map(|(at, name)| (*at, &**name)).collect(),
        None => header.iter().map(str::trim).enumerate().collect(),
    };
    for (column, name) in fields.into_iter().filter(|(_, name)| !name.is_empty()) {
        if !is_field_name(name) {
            return Err(PlanError(format!(
                "line {number}, column {}: {} cannot name a field; use 1 to 64 bytes without quotes, \
                 back-ticks and control characters (a text in front of the header? --skip-lines passes \
                 over lines)",
                column + 1,
                quoted(name)
            )));
        }
        if !names.insert(name) {
            return Err(PlanError(format!(
                "line {number}, column {}: {} is there twice; rename one",
                column + 1,
                quoted(name)
            )));
        }
    }
    Ok(())
}
