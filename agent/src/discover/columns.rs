//! What comes in one field: which types, and what must be said about it.

use std::collections::BTreeMap;

use super::{field_line::FieldLine, words};
use crate::record::decode::{is_field_name, tree::Tree};

/// Most fields looked at in a topic.
const COLUMNS_MAX: usize = 4_096;
/// Longest path of a field that is looked at, bytes.
pub(super) const PATH_BYTES_MAX: usize = 1_024;

/// Values of a field, by kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Column {
    pub(super) numbers: u64,
    /// Numbers other than 0 and 1.
    pub(super) other_numbers: u64,
    pub(super) bools: u64,
    /// Texts that are numbers.
    pub(super) number_texts: u64,
    /// Texts that are numbers with a decimal comma.
    pub(super) comma_texts: u64,
    /// Texts that are numbers with a unit.
    pub(super) unit_texts: u64,
    pub(super) unit: Option<&'static str>,
    /// `on`, `off`, `yes`, `no`, `true`, `false` as texts.
    pub(super) switches: u64,
    pub(super) texts: u64,
}

impl Column {
    pub(super) fn add(&mut self, value: &Tree) {
        match value {
            Tree::Bool(_) => self.bools += 1,
            Tree::Number(text) => self.add_number(text),
            Tree::Text(text) if words::is_missing(text) => {}
            Tree::Text(text) => self.add_text(text),
            _ => {}
        }
    }

    pub(super) fn add_number(&mut self, text: &str) {
        if words::is_missing(text) {
            return;
        }
        self.numbers += 1;
        let number = text.parse::<f64>().unwrap_or_default();
        self.other_numbers += u64::from(number != 0.0 && (number - 1.0).abs() > 0.0);
    }

    pub(super) fn add_text(&mut self, text: &str) {
        let text = text.trim();
        let is_truth = text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false");
        if is_truth || words::is_switch(text) {
            self.switches += 1;
        } else if text.parse::<f64>().is_ok_and(f64::is_finite) {
            self.number_texts += 1;
        } else if words::has_decimal_comma(text) {
            self.comma_texts += 1;
        } else if let Some(unit) = words::unit_behind(text) {
            self.unit_texts += 1;
            self.unit.get_or_insert(unit);
        } else {
            self.texts += 1;
        }
    }

    /// Whether any of its values is more than a text.
    pub(super) fn has_readings(&self) -> bool {
        self.numbers + self.bools + self.number_texts + self.comma_texts + self.unit_texts > 0
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.numbers += other.numbers;
        self.other_numbers += other.other_numbers;
        self.bools += other.bools;
        self.number_texts += other.number_texts;
        self.comma_texts += other.comma_texts;
        self.unit_texts += other.unit_texts;
        self.unit = self.unit.or(other.unit);
        self.switches += other.switches;
        self.texts += other.texts;
    }

    /// What must be declared for its values to be what they mean; `None` if they are what they look like.
    pub(super) fn declared(&self, name: &str) -> Option<FieldLine> {
        if self.texts > 0 {
            return None;
        }
        let written = self.comma_texts + self.unit_texts;
        let plain = self.numbers + self.number_texts;
        if written > 0 && self.switches == 0 {
            return Some(FieldLine {
                has_decimal_comma: self.comma_texts > 0,
                unit: self.unit,
                ..FieldLine::of(name, "f64")
            });
        }
        if written > 0 {
            return None;
        }
        let words = self.bools + self.switches;
        if words > 0 && plain > 0 && self.other_numbers == 0 && self.number_texts == 0 {
            return Some(FieldLine::of(name, "bool"));
        }
        if self.bools > 0 && self.switches > 0 && plain == 0 {
            return Some(FieldLine::of(name, "bool"));
        }
        if self.bools > 0 && self.switches == 0 && plain > 0 {
            return Some(FieldLine::of(name, "f64"));
        }
        None
    }
}

/// Fields that must be declared.
pub(super) fn declared(columns: &BTreeMap<String, Column>) -> Vec<FieldLine> {
    let columns = columns.iter().filter(|(path, _)| is_field_name(path));
    columns
        .filter_map(|(path, column)| column.declared(path))
        .collect()
}

/// Adds what lies in a record, by path.
pub(super) fn add_record(columns: &mut BTreeMap<String, Column>, record: &Tree, path: &mut String) {
    if path.len() > PATH_BYTES_MAX {
        return;
    }
    if record.is_scalar() {
        if columns.len() < COLUMNS_MAX || columns.contains_key(path) {
            columns.entry(path.clone()).or_default().add(record);
        }
        return;
    }
    let before = path.len();
    let mut add = |key: &str, value: &Tree| {
        if before > 0 {
            path.push('.');
        }
        path.push_str(key);
        add_record(columns, value, path);
        path.truncate(before);
    };
    for (key, value) in record.members() {
        add(key, value);
    }
    for (position, item) in record.items().iter().enumerate() {
        add(&position.to_string(), item);
    }
}
