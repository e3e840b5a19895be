//! What type a column is of, by its cells.

use std::io::{self, BufRead};

use dunlin_sync::sample::{Field, FieldType};

use super::{CsvPlan, Line, Lines, is_missing, parse_bool};
use crate::{
    config::settings::{Conversion, MissingWords},
    record::decode::value::large_integer,
};

/// Cells of a column, as far as they are seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Seen {
    /// Cells that say something.
    said: u64,
    truths: u64,
    numbers: u64,
    whole: u64,
    /// Integers that a float would change.
    large: u64,
    /// Digits that a number would change: a code with zeros in front, or of more than 64 bits.
    codes: u64,
    quoted: u64,
    /// The first that is no number.
    word: Option<String>,
}

impl Seen {
    pub(super) fn add(
        &mut self,
        text: &str,
        is_quoted: bool,
        missing: &MissingWords,
        conversion: Option<&Conversion>,
    ) {
        self.quoted += u64::from(is_quoted);
        let text = text.trim();
        if is_missing(text) || missing.contains(text) {
            return;
        }
        self.said += 1;
        self.truths += u64::from(parse_bool(text).is_some());
        let is_number = match conversion {
            Some(conversion) => conversion.decimal(text).parse::<f64>().is_ok(),
            None => text.parse::<f64>().is_ok(),
        };
        if !is_number && self.word.is_none() {
            self.word = Some(text.to_owned());
        }
        let is_whole = text.parse::<i64>().is_ok();
        self.numbers += u64::from(is_number);
        self.whole += u64::from(is_whole);
        self.large += u64::from(large_integer(text).is_some());
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        let is_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
        let is_padded = digits.len() > 1 && digits.starts_with('0');
        self.codes += u64::from(is_digits && (is_padded || !is_whole));
    }

    /// Whether no cell says anything.
    pub(super) fn is_empty(&self) -> bool {
        self.said == 0 && self.quoted == 0
    }

    /// The type that holds all of these as they are.
    pub(super) fn kind(&self, is_own: bool) -> FieldType {
        // An export quotes every text, also one that looks like a number.
        if (is_own && self.quoted > 0) || self.said == 0 {
            FieldType::Text
        } else if self.truths == self.said {
            FieldType::Bool
        } else if self.numbers < self.said || self.codes > 0 {
            FieldType::Text
        } else if (is_own || self.large > 0) && self.whole == self.said {
            FieldType::I64
        } else {
            FieldType::F64
        }
    }

    /// The cell for which a column is text that would hold numbers.
    pub(super) fn doubtful(&self) -> Option<&String> {
        let word = self.word.as_ref();
        word.filter(|_| self.numbers < self.said && 2 * self.numbers > self.said)
    }
}

impl CsvPlan {
    pub(super) fn kind_of(
        &mut self,
        column: usize,
        name: &str,
        lines: &[Line],
        is_own: bool,
    ) -> FieldType {
        let mut seen = Seen::default();
        for line in lines {
            self.see(&mut seen, column, line);
        }
        if seen.is_empty() {
            self.undecided.push(column);
        }
        let doubtful = seen.doubtful().map(|word| (name.to_owned(), word.clone()));
        self.doubtful.extend(doubtful);
        seen.kind(is_own)
    }

    fn see(&self, seen: &mut Seen, column: usize, line: &Line) {
        if let Some(text) = line.get(column) {
            let is_quoted = line.is_quoted(column);
            seen.add(text, is_quoted, &self.missing, self.conversion.as_ref());
        }
    }

    /// Whether [`CsvPlan::settle`] has nothing to do.
    pub fn is_settled(&self) -> bool {
        self.undecided.is_empty()
    }

    /// Decides new columns of which the first lines hold no value by all `lines`; one without a value becomes
    /// no field, unless all are so.
    ///
    /// # Errors
    /// What the system said.
    pub fn settle<R: BufRead>(&mut self, mut lines: Lines<R>) -> io::Result<()> {
        let open = std::mem::take(&mut self.undecided);
        let mut all: Vec<Seen> = vec![Seen::default(); open.len()];
        let mut line = Line::default();
        while lines.read(&mut line)? {
            if line.len() == self.width && !self.is_header(&line) {
                for (column, seen) in open.iter().zip(&mut all) {
                    self.see(seen, *column, &line);
                }
            }
        }
        let is_own = self.own.is_some();
        let mut empty = Vec::new();
        for (column, seen) in open.iter().zip(&all) {
            let mut columns = self.columns.iter_mut();
            let Some((_, field)) = columns.find(|(at, _)| at == column) else {
                continue;
            };
            if seen.is_empty() {
                empty.push(field.name.clone());
                continue;
            }
            field.kind = seen.kind(is_own);
            let mut new_fields = self.new_fields.iter_mut();
            if let Some(new) = new_fields.find(|new| new.name == field.name) {
                new.kind = field.kind;
            }
            let doubtful = seen.doubtful();
            let doubtful = doubtful.map(|word| (field.name.clone(), word.clone()));
            self.doubtful.extend(doubtful);
        }
        if empty.len() < self.columns.len() {
            self.leave_out(&empty);
        }
        Ok(())
    }

    fn leave_out(&mut self, names: &[String]) {
        let is_left = |field: &Field| names.contains(&field.name);
        let places = self.columns.iter().zip(&self.places);
        let gone = places.filter(|((_, field), _)| is_left(field));
        let gone: Vec<usize> = gone.map(|(_, place)| *place).collect();
        self.columns.retain(|(_, field)| !is_left(field));
        self.new_fields.retain(|field| !is_left(field));
        self.places.retain(|place| !gone.contains(place));
        for place in &mut self.places {
            *place -= gone.iter().filter(|other| *other < place).count();
        }
    }
}

#[cfg(test)]
mod tests;
