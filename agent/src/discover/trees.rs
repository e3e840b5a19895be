//! Payloads with parts: JSON, CBOR, `MessagePack`.

use std::collections::BTreeSet;

use super::{
    bursts, columns, identity,
    reading::{Format, Reading, Records},
    shape,
    spelling::pointer_part,
    times, words,
};
use crate::{
    config::settings::{PayloadFormat, Pointer},
    record::decode::{
        path_of,
        tree::{self, Tree},
    },
};

/// Readings of payloads with parts.
pub(super) fn readings(
    format: Format,
    roots: &[&Tree],
    now_ns: i64,
) -> Result<Vec<Reading>, String> {
    if let Some(format) = senml(format, roots) {
        return Ok(vec![Reading::of(format)]);
    }
    if let Some(reading) = bursts::reading(format, roots, now_ns) {
        return Ok(vec![reading]);
    }
    if roots
        .iter()
        .all(|root| root.members().is_empty() && root.items().is_empty())
    {
        return Err("only empty objects came".to_owned());
    }
    let mut found = Vec::new();
    if let Some(reading) = value_alone(format, roots, now_ns) {
        found.push(reading);
    }
    match shape::walk(roots) {
        Some(walk) => {
            let is_plain = walk.path.is_empty() && walk.single.is_none();
            found.push(of_walk(format, &walk, now_ns));
            if !is_plain {
                found.push(plain(format, roots, now_ns));
            }
        }
        None => return Err("lists of bare values, whose meaning nothing says".to_owned()),
    }
    // Tables, or lists of what is in further lists, with nothing beside them.
    let has_tables =
        |reading: &Reading| !reading.exclude_fields.is_empty() && reading.tags.is_empty();
    let is_empty = |reading: &Reading| {
        has_tables(reading)
            && !reading
                .columns
                .iter()
                .any(|(path, column)| column.has_readings() && !reading.is_excluded(path))
    };
    found.retain(|reading| !is_empty(reading));
    if found.is_empty() {
        return Err("lists within lists, whose meaning nothing says".to_owned());
    }
    Ok(found)
}

/// All of each object, as it is.
fn plain(format: Format, roots: &[&Tree], now_ns: i64) -> Reading {
    let nodes = roots.iter().flat_map(|root| match root {
        Tree::List(items) => items.iter().collect::<Vec<_>>(),
        other => vec![*other],
    });
    let walk = shape::Walk {
        nodes: nodes.collect(),
        ..shape::Walk::default()
    };
    of_walk(format, &walk, now_ns)
}

fn of_walk(format: Format, walk: &shape::Walk<'_>, now_ns: i64) -> Reading {
    let mut reading = Reading::of(format);
    let mut levels = vec![walk.nodes.clone()];
    levels.extend(walk.levels.iter().rev().cloned());
    let name_at = walk.single.as_ref().and_then(|single| single.name.clone());
    let clock_levels = levels_for_time(walk, &levels);
    if let Some(clock) = times::find(&clock_levels, now_ns) {
        reading.needs_zone = clock.writing.needs_zone;
        reading.time_format = clock.writing.format;
        reading.time = Some(clock.at);
    }
    reading.tags.clone_from(&walk.tags);
    let names: Vec<(String, String)> = reading
        .tags
        .iter()
        .map(|(name, at)| (identity::tag_name(name, &[]), at.clone()))
        .collect();
    reading.tags = names;
    if reading.tags.is_empty() {
        reading.tags = identity::tags(&levels, name_at.as_deref(), walk.is_list);
    }
    reading.is_presence = walk.nodes.iter().all(|node| {
        let says = |value: &Tree| matches!(value, Tree::Text(text) if words::is_presence(text));
        !node.members().is_empty() && node.members().iter().all(|(_, value)| says(value))
    });
    if let Some(single) = &walk.single {
        reading.records = Some(single.clone());
        single_columns(&mut reading, &walk.nodes, single);
    } else {
        record_columns(&mut reading, walk);
    }
    note_left(&mut reading, &walk.left);
    if let Some(note) = &walk.note {
        reading.note(note.clone());
    }
    reading
}

/// Says what is not stored, but for tags.
fn note_left(reading: &mut Reading, left: &BTreeSet<String>) {
    let is_tag = |key: &str| {
        reading
            .tags
            .iter()
            .any(|(_, at)| at.strip_prefix('/') == Some(key))
    };
    let left: Vec<&str> = left
        .iter()
        .map(String::as_str)
        .filter(|key| !is_tag(key))
        .take(12)
        .collect();
    if !left.is_empty() {
        reading.note(format!(
            "about the message, and left out: {}",
            left.join(", ")
        ));
    }
}

/// What lies in whole records, but for what cannot be a field or is none.
fn record_columns(reading: &mut Reading, walk: &shape::Walk<'_>) {
    if !walk.path.is_empty() {
        reading.records = Some(Records {
            at: walk.path.clone(),
            ..Records::default()
        });
    }
    note_json_in_texts(&walk.nodes, reading);
    let mut lists = BTreeSet::new();
    for node in &walk.nodes {
        shape::lists_of_objects(node, "", &mut lists);
        columns::add_record(&mut reading.columns, node, &mut String::new());
    }
    reading.exclude_fields.extend(lists.iter().cloned());
    if !lists.is_empty() {
        let names: Vec<String> = lists.into_iter().collect();
        reading.note(format!(
            "left out, being lists of objects or lists: {}",
            names.join(", ")
        ));
    }
    // What is a tag need not be a field, too.
    for (_, at) in &reading.tags {
        let path = path_of(at).into_owned();
        if reading.columns.remove(&path).is_some() {
            reading.exclude_fields.push(path);
        }
    }
    if let Some(time) = &reading.time {
        reading.columns.remove(&*path_of(time));
    }
}

/// Texts that are JSON themselves, which stay texts.
fn note_json_in_texts(nodes: &[&Tree], reading: &mut Reading) {
    let is_json = |text: &str| {
        text.starts_with(['{', '[']) && tree::tree(text.as_bytes(), PayloadFormat::Json).is_some()
    };
    for (key, value) in nodes.iter().flat_map(|node| node.members()) {
        if let Tree::Text(text) = value
            && is_json(text)
        {
            let note = format!("{key} is JSON within a text, which stays a text");
            reading.note(note);
        }
    }
}

/// Records that are members of objects have what is around them, too.
fn levels_for_time<'t>(walk: &shape::Walk<'t>, levels: &[Vec<&'t Tree>]) -> Vec<Vec<&'t Tree>> {
    let is_map = walk
        .single
        .as_ref()
        .is_some_and(|single| single.name.is_none());
    if !is_map {
        return levels.to_vec();
    }
    let members = walk.nodes.iter().flat_map(|node| node.members());
    let mut all = vec![members.map(|(_, value)| value).collect()];
    all.extend(levels.iter().cloned());
    all
}

fn single_columns(reading: &mut Reading, nodes: &[&Tree], single: &Records) {
    let at = |node: &Tree, pointer: &str| -> Option<Tree> {
        let mut value = node;
        for key in Pointer::parse(pointer).0 {
            value = value.get(&key)?;
        }
        Some(value.clone())
    };
    let value_at = single.value.as_deref().unwrap_or_default();
    for node in nodes {
        match &single.name {
            Some(name_at) => {
                let Some(Tree::Text(name) | Tree::Number(name)) = at(node, name_at) else {
                    continue;
                };
                if let Some(value) = at(node, value_at) {
                    let mut path = name;
                    columns::add_record(&mut reading.columns, &value, &mut path);
                }
            }
            None => {
                for (key, member) in node.members() {
                    if let Some(value) = at(member, value_at) {
                        columns::add_record(&mut reading.columns, &value, &mut key.clone());
                    }
                }
            }
        }
    }
}

/// `{"value":21.5}` with no more than what is about it: the topic says what it is.
fn value_alone(format: Format, roots: &[&Tree], now_ns: i64) -> Option<Reading> {
    let mut value_key: Option<&str> = None;
    let mut left: BTreeSet<String> = BTreeSet::new();
    let mut column = columns::Column::default();
    for root in roots {
        let members = root.members();
        let key = words::value_among(members.iter().map(|(key, _)| &**key))?;
        // A letter is as good a name as any.
        if key.len() < 3 {
            return None;
        }
        let is_same = value_key.get_or_insert(key) == &key;
        let (is_payload, value) = (
            ["payload", "data", "result"].contains(&&*words::plain(key)),
            root.get(key)?,
        );
        let is_fit = match value {
            Tree::Number(_) | Tree::Bool(_) => true,
            Tree::Text(text) => !is_payload || text.parse::<f64>().is_ok(),
            Tree::Null => !is_payload,
            Tree::List(items) => !is_payload && items.is_empty(),
            _ => false,
        };
        let others_are_about = members.iter().all(|(other, value)| {
            other == key
                || match value {
                    Tree::Null => true,
                    Tree::Number(_) => {
                        times::is_time_name(other)
                            || words::is_meta_number(other)
                            || ["min", "max", "precision", "scale"].contains(&&*words::plain(other))
                    }
                    Tree::Text(_) => true,
                    Tree::Bool(_) => words::quality_among(std::iter::once(&**other)).is_some(),
                    Tree::Object(_) => words::is_meta_object(other),
                    _ => false,
                }
        });
        if !is_same || !is_fit || !others_are_about {
            return None;
        }
        column.add(value);
        let others = members.iter().filter(|(other, value)| {
            other != key && *value != Tree::Null && !times::is_time_name(other)
        });
        left.extend(others.map(|(other, _)| other.clone()).take(12));
    }
    let key = value_key?;
    // A payload that says itself what its value is called.
    let walk = shape::walk(roots)?;
    if walk.single.is_some() {
        return None;
    }
    let mut reading = Reading::of(format);
    reading.is_one_value = true;
    reading.records = Some(Records {
        value: Some(format!("/{}", pointer_part(key))),
        ..Records::default()
    });
    if let Some(clock) = times::find(std::slice::from_ref(&walk.nodes), now_ns) {
        reading.needs_zone = clock.writing.needs_zone;
        reading.time_format = clock.writing.format;
        reading.time = Some(clock.at);
    }
    reading.tags = identity::tags(&[walk.nodes], None, false);
    reading.columns.insert(String::new(), column);
    note_left(&mut reading, &left);
    Some(reading)
}

/// `SenML`, if the labels say so.
fn senml(format: Format, roots: &[&Tree]) -> Option<Format> {
    let texts = [
        "bn", "bt", "bu", "bv", "bs", "bver", "n", "u", "v", "vs", "vb", "vd", "s", "t", "ut",
    ];
    let numbers = [
        "-1", "-2", "-3", "-4", "-5", "-6", "0", "1", "2", "3", "4", "5", "6", "7", "8",
    ];
    let labels: &[&str] = match format {
        Format::Json => &texts,
        Format::Cbor => &numbers,
        _ => return None,
    };
    let mut is_sure = format == Format::Cbor;
    for root in roots {
        let items = root.items();
        if items.is_empty() {
            return None;
        }
        for item in items {
            let keys: Vec<&str> = item.members().iter().map(|(key, _)| &**key).collect();
            let known = |key: &&str| labels.contains(key) || key.ends_with('_');
            if keys.is_empty() || !keys.iter().all(known) {
                return None;
            }
            is_sure |= keys
                .iter()
                .any(|key| ["bn", "bt", "bu", "u", "vs", "vb", "bver"].contains(key));
            let is_in_seconds = |value: &Tree| matches!(value, Tree::Number(text) if text.parse::<f64>().is_ok_and(|s| s.abs() < 1e11));
            if item.get("t").is_some_and(|t| !is_in_seconds(t)) {
                return None;
            }
        }
    }
    is_sure.then_some(match format {
        Format::Cbor => Format::SenMlCbor,
        _ => Format::SenMl,
    })
}
