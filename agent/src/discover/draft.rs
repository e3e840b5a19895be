//! Rules as they are made: topics, a filter over them, and how to read what comes there.

use std::collections::BTreeSet;

use super::{
    bare,
    columns::{self, Column},
    field_line::FieldLine,
    levels::{MESSAGES_MIN, Part, is_serial},
    reading::{Format, Reading},
};

/// A topic, and how to read what comes there.
pub(super) struct Item<'t> {
    pub(super) topic: &'t str,
    pub(super) levels: Vec<&'t str>,
    pub(super) reading: Reading,
    /// One publish came, and the broker had not kept it.
    pub(super) came_once: bool,
    /// Levels that are a time near now.
    pub(super) time_levels: Vec<usize>,
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

/// What becomes of a level whose values differ, or name one of many of a kind: a time tells no things apart.
pub(super) fn part_of(items: &[&Item<'_>], level: usize) -> Part {
    let is_time = |item: &&Item<'_>| item.time_levels.contains(&level);
    if items.iter().all(is_time) {
        Part::Any
    } else {
        Part::Tag
    }
}

/// Whether a level may number messages: many serial numbers, and nothing came twice.
pub(super) fn may_number_messages(items: &[&Item<'_>], level: usize) -> bool {
    let values = at(items, level);
    values.len() >= MESSAGES_MIN
        && values.len() == items.len()
        && values.iter().all(|value| is_serial(value))
        && items.iter().all(|item| item.came_once)
}

/// What to say where [`may_number_messages`].
pub(super) fn note_of_messages(level: usize) -> String {
    format!(
        "each of these topics came once: if level {} numbers messages and no things, let it be + without a name",
        level + 1
    )
}

/// Those of the topics that have `value` at `level`.
pub(super) fn with_level<'i, 't>(
    items: &[&'i Item<'t>],
    level: usize,
    value: &str,
) -> Vec<&'i Item<'t>> {
    let all = items.iter().copied();
    all.filter(|item| item.levels[level] == value).collect()
}

/// Values of a level.
pub(super) fn at<'t>(items: &[&Item<'t>], level: usize) -> BTreeSet<&'t str> {
    let values = items.iter().filter_map(|item| item.levels.get(level));
    values.copied().collect()
}
