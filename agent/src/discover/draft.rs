//! Rules as they are made: topics, a filter over them, and how to read what comes there.

use std::collections::BTreeSet;

use super::{
    bare,
    columns::{self, Column},
    field_line::FieldLine,
    levels::Part,
    reading::{Format, Reading},
};

/// A topic, and how to read what comes there.
pub(super) struct Item<'t> {
    pub(super) topic: &'t str,
    pub(super) levels: Vec<&'t str>,
    pub(super) reading: Reading,
}

/// A rule: a filter, and how to read what comes there.
pub(super) struct Draft<'t> {
    pub(super) parts: Vec<Part>,
    pub(super) reading: Reading,
    pub(super) topics: Vec<&'t str>,
}

impl<'t> Draft<'t> {
    /// Of one topic, word by word.
    pub(super) fn literal(item: &Item<'t>) -> Self {
        let levels = item.levels.iter();
        let mut parts: Vec<Part> = levels
            .map(|level| Part::Literal((*level).to_owned()))
            .collect();
        let mut reading = merged(&[item]);
        if reading.is_one_value {
            name_field(
                &mut reading,
                item.levels.last().copied().unwrap_or_default(),
            );
            if reading.records.is_some() {
                parts.pop();
                parts.push(Part::Field);
            }
        }
        Self {
            parts,
            reading,
            topics: vec![item.topic],
        }
    }
}

/// Gives the only field the name that its topic has.
pub(super) fn name_field(reading: &mut Reading, name: &str) {
    if !reading.format.is_bare() || !crate::record::decode::is_field_name(name) {
        return;
    }
    let kind = match reading.format {
        Format::Number => "f64",
        Format::Bool => "bool",
        Format::Text => "text",
        // What is declared would not be whatever comes.
        _ => return,
    };
    match reading.fields.first_mut() {
        Some(field) => name.clone_into(&mut field.name),
        None => reading.fields.push(FieldLine::of(name, kind)),
    }
}

/// All of them as one.
pub(super) fn merged(items: &[&Item<'_>]) -> Reading {
    let mut reading = items[0].reading.clone();
    for item in &items[1..] {
        reading.merge(&item.reading);
    }
    if reading.is_one_value && reading.format.is_bare() {
        let mut all = Column::default();
        for item in items {
            for column in item.reading.columns.values() {
                all.merge(column);
            }
        }
        reading.format = bare::format_of(&all);
    } else if !matches!(reading.format, Format::Csv { .. }) && !reading.is_one_value {
        reading.fields = columns::declared(&reading.columns);
    }
    reading
}

/// Values of a level.
pub(super) fn at<'t>(items: &[&Item<'t>], level: usize) -> BTreeSet<&'t str> {
    let values = items.iter().filter_map(|item| item.levels.get(level));
    values.copied().collect()
}
