//! Filters for topics on which one value comes, whose name is in the topic.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    draft::{
        Draft, Item, at, may_number_messages, merged, name_field, note_of_messages, part_of,
        with_level,
    },
    levels::{Part, is_id, is_serial},
    reading::Format,
    words,
};

/// Rules for topics of one value each.
pub(super) fn drafts<'t>(root: &Part, items: &[&Item<'t>], drafts: &mut Vec<Draft<'t>>) {
    // What is written in a way of its own needs a rule of its own.
    let (special, usual): (Vec<&Item<'t>>, Vec<&Item<'t>>) = items
        .iter()
        .partition(|item| !item.reading.fields.is_empty());
    drafts.extend(special.into_iter().map(Draft::literal));
    // What follows the level of the name, if it only says that a value comes.
    let mut by_end: BTreeMap<Option<&str>, Vec<&Item<'t>>> = BTreeMap::new();
    for item in usual {
        let last = item.levels.last().copied().unwrap_or_default();
        let before = item.levels.iter().rev().nth(1).copied().unwrap_or_default();
        let is_number = before.bytes().all(|byte| byte.is_ascii_digit());
        let is_end = item.levels.len() > 2 && words::is_value_level(last) && !is_number;
        by_end.entry(is_end.then_some(last)).or_default().push(item);
    }
    for (end, group) in by_end {
        of_end(root, end, &group, drafts);
    }
}

fn of_end<'t>(root: &Part, end: Option<&str>, items: &[&Item<'t>], drafts: &mut Vec<Draft<'t>>) {
    let field_of = |item: &Item<'t>| item.levels.len() - 1 - usize::from(end.is_some());
    // A topic of one level is its field.
    if items.iter().any(|item| field_of(item) == 0) {
        for item in items {
            drafts.push(Draft::literal(item));
        }
        return;
    }
    let first_field = items.iter().map(|item| field_of(item)).min().unwrap_or(1);
    let last_tag = (1..first_field)
        .rev()
        .find(|&level| tells_things_apart(items, level, end));
    let begin = last_tag.map_or(1, |level| level + 1);
    // Of several kinds of things each has a rule, where a word tells them apart.
    let depths: BTreeSet<usize> = items.iter().map(|item| item.levels.len()).collect();
    let varying = |level: usize| at(items, level).len() > 1;
    if let Some(level) = (begin..first_field).find(|&level| varying(level))
        && (end.is_some() || last_tag.is_none() && depths.len() == 1 && splits_kinds(items, level))
    {
        for value in at(items, level) {
            let part = with_level(items, level, value);
            of_end(root, end, &part, drafts);
        }
        return;
    }
    if last_tag.is_none() && depths.len() > 1 {
        for depth in depths {
            let part: Vec<&Item<'t>> = items
                .iter()
                .copied()
                .filter(|item| item.levels.len() == depth)
                .collect();
            of_end(root, end, &part, drafts);
        }
        return;
    }
    let mut parts = vec![root.clone()];
    for level in 1..begin {
        let values = at(items, level);
        let value = items[0].levels[level];
        parts.push(match () {
            () if values.len() > 1 || is_id(value) => part_of(items, level),
            () if follows_kind(items, level) => Part::Tag,
            () => Part::Literal(value.to_owned()),
        });
    }
    let mut level = begin;
    while level < first_field && !varying(level) {
        parts.push(Part::Literal(items[0].levels[level].to_owned()));
        level += 1;
    }
    let is_presence = items[0].reading.is_presence;
    // Below a device are its values, however they are grouped; below a place may be further ones.
    let names_devices = |level: usize| {
        let serials = items
            .iter()
            .filter(|item| is_serial(item.levels[level]))
            .count();
        serials * 2 >= items.len()
    };
    if level == first_field && depths.len() == 1 {
        parts.push(Part::Field);
    } else if depths.len() == 1 && !is_presence && !last_tag.is_some_and(names_devices) {
        // The levels in front of the last one are places.
        parts.extend((level..first_field).map(|level| part_of(items, level)));
        parts.push(Part::Field);
    } else {
        parts.push(Part::RestField);
    }
    parts.extend(end.map(|end| Part::Literal(end.to_owned())));
    drafts.push(draft(parts, first_field, items));
}

/// Whether a level tells things apart: by numbers, or as there is the same below several of its values.
fn tells_things_apart(items: &[&Item<'_>], level: usize, end: Option<&str>) -> bool {
    let ids = items
        .iter()
        .filter(|item| is_id(item.levels[level]))
        .count();
    if ids * 2 >= items.len() || follows_kind(items, level) {
        return true;
    }
    let mut below: BTreeMap<&[&str], BTreeSet<&str>> = BTreeMap::new();
    for item in items {
        let rest = &item.levels[level + 1..item.levels.len() - usize::from(end.is_some())];
        below.entry(rest).or_default().insert(item.levels[level]);
    }
    below.values().any(|values| values.len() > 1)
}

fn follows_kind(items: &[&Item<'_>], level: usize) -> bool {
    items
        .iter()
        .all(|item| words::names_a_kind_of_thing(item.levels[level - 1]))
}

/// Whether each value of a level goes with one format.
fn splits_kinds(items: &[&Item<'_>], level: usize) -> bool {
    let mut formats: BTreeMap<&str, BTreeSet<Format>> = BTreeMap::new();
    for item in items {
        formats
            .entry(item.levels[level])
            .or_default()
            .insert(item.reading.format);
    }
    let all: BTreeSet<&Format> = formats.values().flatten().collect();
    all.len() > 1 && formats.values().all(|of_value| of_value.len() == 1)
}

fn draft<'t>(parts: Vec<Part>, field: usize, items: &[&Item<'t>]) -> Draft<'t> {
    let is_one = at(items, field).len() == 1 && parts.get(field) == Some(&Part::Field);
    let is_wide = !matches!(&parts[0], Part::Literal(_)) || items[0].reading.is_presence;
    if is_one && is_wide && items[0].reading.records.is_none() {
        return fixed(parts, field, items);
    }
    let numbers_messages = may_number_messages(items, field)
        || at(items, field).len() > 1 && part_of(items, field) == Part::Any;
    if parts.get(field) == Some(&Part::Field) && numbers_messages {
        return unnamed(parts, field, items);
    }
    Draft {
        parts,
        reading: merged(items),
        topics: items.iter().map(|item| item.topic).collect(),
    }
}

/// As [`draft`], where the level of the field is always the same.
fn fixed<'t>(mut parts: Vec<Part>, field: usize, items: &[&Item<'t>]) -> Draft<'t> {
    let name = items[0].levels[field];
    let mut reading = merged(items);
    if matches!(reading.format, Format::Number | Format::Bool | Format::Text) {
        parts[field] = Part::Literal(name.to_owned());
        name_field(&mut reading, name);
    }
    Draft {
        parts,
        reading,
        topics: items.iter().map(|item| item.topic).collect(),
    }
}

/// As [`draft`], where the level of the field has numbers that name none.
fn unnamed<'t>(mut parts: Vec<Part>, field: usize, items: &[&Item<'t>]) -> Draft<'t> {
    let mut reading = merged(items);
    parts[field] = part_of(items, field);
    name_field(&mut reading, "value");
    if parts[field] == Part::Tag {
        reading.note(note_of_messages(field));
    }
    Draft {
        parts,
        reading,
        topics: items.iter().map(|item| item.topic).collect(),
    }
}
