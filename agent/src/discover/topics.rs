//! From topics to filters: which levels are the same for all, which tell things apart, which name the field.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    draft::{Draft, Item, at, may_number_messages, merged, note_of_messages, part_of, with_level},
    levels::{Part, is_id, is_property_bag, is_serial},
    reading::Format,
    shape::similarity,
    values, words,
};

/// Topics that are compared with each other.
const COMPARED_MAX: usize = 60;
/// Most kinds of records that a level may tell apart.
const KINDS_MAX: usize = 16;

/// Rules for all of `items`.
pub(super) fn drafts<'t>(items: &[Item<'t>]) -> Vec<Draft<'t>> {
    let mut drafts = Vec::new();
    if let Some(sparkplug) = items
        .iter()
        .find(|item| item.reading.format == Format::Sparkplug)
    {
        let all = items
            .iter()
            .filter(|item| item.reading.format == Format::Sparkplug);
        drafts.push(Draft {
            parts: vec![
                Part::Literal("spBv1.0".to_owned()),
                Part::Literal("#".to_owned()),
            ],
            reading: sparkplug.reading.clone(),
            topics: all.map(|item| item.topic).collect(),
        });
    }
    let mut by_root: BTreeMap<String, Vec<&Item<'t>>> = BTreeMap::new();
    let open = open_roots(items);
    for item in items
        .iter()
        .filter(|item| item.reading.format != Format::Sparkplug)
    {
        let root = item.levels[0];
        let key = if open.contains(root) { "+" } else { root };
        by_root.entry(key.to_owned()).or_default().push(item);
    }
    for (root, items) in by_root {
        let root = match &*root {
            "+" => Part::Tag,
            root => Part::Literal(root.to_owned()),
        };
        let mut groups: BTreeMap<(bool, usize, String), Vec<&Item<'t>>> = BTreeMap::new();
        for item in items {
            let is_value = item.reading.is_one_value;
            let depth = if is_value && !item.reading.is_presence {
                0
            } else {
                item.levels.len()
            };
            let key = (is_value, depth, item.reading.shape());
            groups.entry(key).or_default().push(item);
        }
        for ((is_value, ..), group) in groups {
            for group in by_clock(group) {
                if is_value {
                    values::drafts(&root, &group, &mut drafts);
                } else {
                    of_records(&root, &group, &mut drafts);
                }
            }
        }
    }
    drafts
}

/// First levels that name things: those with numbers, and those below which there is the same.
fn open_roots<'t>(items: &[Item<'t>]) -> BTreeSet<&'t str> {
    let mut below: BTreeMap<(Vec<&str>, String), BTreeSet<&'t str>> = BTreeMap::new();
    let mut open = BTreeSet::new();
    for item in items.iter().filter(|item| item.levels.len() > 1) {
        let rest = &item.levels[1..];
        if is_serial(item.levels[0]) && rest.iter().any(|level| !is_id(level)) {
            open.insert(item.levels[0]);
        }
        if !rest.iter().all(|level| is_id(level)) {
            let key = (rest.to_vec(), item.reading.shape());
            below.entry(key).or_default().insert(item.levels[0]);
        }
    }
    for roots in below.into_values().filter(|roots| roots.len() > 1) {
        open.extend(roots);
    }
    // An empty first level is that of topics that begin with a slash.
    open.remove("");
    open.retain(|root| !root.starts_with('$'));
    open
}

/// Topics whose times are written alike; those without go with the most.
fn by_clock<'i, 't>(items: Vec<&'i Item<'t>>) -> Vec<Vec<&'i Item<'t>>> {
    let mut clocks: BTreeMap<String, Vec<&Item<'t>>> = BTreeMap::new();
    let mut without = Vec::new();
    for item in items {
        match item.reading.clock() {
            Some(clock) => clocks.entry(clock).or_default().push(item),
            None => without.push(item),
        }
    }
    let mut groups: Vec<Vec<&Item<'t>>> = clocks.into_values().collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.len()));
    match groups.first_mut() {
        Some(largest) => {
            largest.extend(without);
            largest.sort_by_key(|item| item.topic);
        }
        None => groups.push(without),
    }
    groups
}

/// Topics of records, all of the same depth.
fn of_records<'t>(root: &Part, items: &[&Item<'t>], drafts: &mut Vec<Draft<'t>>) {
    if let Some(level) = kind_level(items) {
        for value in at(items, level) {
            let part = with_level(items, level, value);
            of_records(root, &part, drafts);
        }
        return;
    }
    let mut parts = vec![root.clone()];
    for level in 1..items[0].levels.len() {
        let values = at(items, level);
        let before = items[0].levels[level - 1];
        let is_literal_before = matches!(parts.last(), Some(Part::Literal(_)));
        let value = items[0].levels[level];
        parts.push(match () {
            () if values.iter().all(|value| is_property_bag(value)) => Part::Any,
            () if values.len() > 1 || is_id(value) => part_of(items, level),
            // `plant/press`: others of its kind will be beside it.
            () if level == 1
                && items[0].levels.len() == 2
                && !words::names_a_kind_of_message(value) =>
            {
                Part::Tag
            }
            () if is_literal_before
                && words::names_a_kind_of_thing(before)
                && !words::names_a_kind_of_message(value) =>
            {
                Part::Tag
            }
            () => Part::Literal(value.to_owned()),
        });
    }
    let is_wide = !parts
        .iter()
        .any(|part| matches!(part, Part::Literal(literal) if !literal.is_empty()));
    if is_wide {
        for item in items {
            drafts.push(Draft::literal(item));
        }
        return;
    }
    // Where the payload names its only value, the last level does so again.
    let names_one = |item: &&Item<'_>| {
        let records = item.reading.records.as_ref();
        records.is_some_and(|records| records.name.is_some()) && item.reading.columns.len() == 1
    };
    if parts.last() == Some(&Part::Tag) && items.len() > 1 && items.iter().all(names_one) {
        parts.pop();
        parts.push(Part::Any);
    }
    let mut reading = merged(items);
    for (level, part) in parts.iter().enumerate().skip(1) {
        if *part == Part::Tag && may_number_messages(items, level) {
            reading.note(note_of_messages(level));
        }
    }
    drafts.push(Draft {
        parts,
        reading,
        topics: items.iter().map(|item| item.topic).collect(),
    });
}

/// The level, if there is one, that says what kind of records come: alike where it is the same, unlike
/// where it is not.
fn kind_level(items: &[&Item<'_>]) -> Option<usize> {
    if items.len() < 3 {
        return None;
    }
    let compared = &items[..items.len().min(COMPARED_MAX)];
    let keys: Vec<BTreeSet<String>> = compared
        .iter()
        .map(|item| item.reading.columns.keys().cloned().collect())
        .collect();
    let mut pairs: Vec<(usize, usize, f64)> = Vec::new();
    for (a, of_a) in keys.iter().enumerate() {
        let others = keys.iter().enumerate().skip(a + 1);
        pairs.extend(others.map(|(b, of_b)| (a, b, similarity(of_a, of_b))));
    }
    let mut best: Option<(f64, usize)> = None;
    let ids = |level: usize| {
        let values = at(items, level);
        values.len() > 1 && values.iter().filter(|value| is_id(value)).count() * 2 > values.len()
    };
    let has_ids = (0..items[0].levels.len()).any(ids);
    for level in 1..items[0].levels.len() {
        let values = at(items, level);
        if values.len() < 2
            || values.len() > KINDS_MAX
            || values.iter().filter(|value| is_id(value)).count() * 2 > values.len()
        {
            continue;
        }
        let (mut same, mut other) = ((0.0, 0), (0.0, 0));
        for (a, b, alike) in &pairs {
            let is_same = compared[*a].levels[level] == compared[*b].levels[level];
            let sum = if is_same { &mut same } else { &mut other };
            sum.0 += alike;
            sum.1 += 1;
        }
        if same.1 == 0 || other.1 == 0 {
            continue;
        }
        let gain = same.0 / f64::from(same.1) - other.0 / f64::from(other.1);
        // Where numbers tell things apart, words that come again tell kinds.
        let are_words = values.iter().all(|value| !is_id(value));
        if (gain > 0.25 || has_ids && are_words) && best.is_none_or(|(known, _)| gain > known) {
            best = Some((gain, level));
        }
    }
    best.map(|(_, level)| level)
}
