//! What the payloads of one topic are.

use std::collections::BTreeMap;

use super::{
    bare, binary, bursts, columns, identity, lines,
    reading::{Format, Reading},
    shape, times, words,
};
use crate::{
    config::settings::PayloadFormat,
    record::decode::tree::{self, Tree},
};

/// Most bytes that a compressed payload may hold.
const INFLATED_BYTES_MAX: usize = 256 << 10;

/// What a payload is by itself.
enum Sample {
    /// Something with parts.
    Parts(Format, Tree),
    /// Several JSON texts, one a line.
    Lines(Vec<Tree>),
    /// One value.
    Bare(String),
    Csv(lines::Table),
    Influx,
    Floats,
    Unknown(String),
}

impl Sample {
    fn kind(&self) -> (usize, String) {
        match self {
            Self::Parts(format, _) => (0, format.word().to_owned()),
            Self::Lines(_) => (1, String::new()),
            Self::Bare(_) => (2, String::new()),
            Self::Csv(table) => (3, format!("{:?}", table.layout())),
            Self::Influx => (4, String::new()),
            Self::Floats => (5, String::new()),
            Self::Unknown(_) => (6, String::new()),
        }
    }
}

/// How to read the payloads of `topic`, the likeliest first; or why there is no way.
pub(super) fn readings(topic: &str, samples: &[Vec<u8>]) -> Result<Vec<Reading>, String> {
    if topic.starts_with("spBv1.0/") {
        return Ok(vec![Reading::of(Format::Sparkplug)]);
    }
    let mut kinds: BTreeMap<(usize, String), (usize, Vec<Sample>)> = BTreeMap::new();
    for (number, payload) in samples.iter().enumerate() {
        let sample = sample(payload);
        let (_, group) = kinds.entry(sample.kind()).or_insert_with(|| (number, Vec::new()));
        group.push(sample);
    }
    // What came most often, or first.
    let most = kinds
        .into_iter()
        .max_by_key(|((kind, _), (first, group))| (*kind < 6, group.len(), std::cmp::Reverse(*first)));
    let Some((_, (_, group))) = most else {
        return Err("only empty payloads came".to_owned());
    };
    let others = samples.len() - group.len();
    let mut found = of_group(&group)?;
    if others > 0 {
        let note = format!(
            "{others} of {} different payloads on one topic are of another format and would go to quarantine",
            samples.len()
        );
        for reading in &mut found {
            reading.notes.push(note.clone());
        }
    }
    Ok(found)
}

fn of_group(group: &[Sample]) -> Result<Vec<Reading>, String> {
    match &group[0] {
        Sample::Parts(format, _) => {
            let roots: Vec<&Tree> = group
                .iter()
                .filter_map(|sample| match sample {
                    Sample::Parts(_, tree) => Some(tree),
                    _ => None,
                })
                .collect();
            of_trees(*format, &roots)
        }
        Sample::Lines(_) => {
            let roots = group.iter().flat_map(|sample| match sample {
                Sample::Lines(trees) => trees.as_slice(),
                _ => &[],
            });
            of_trees(Format::NdJson, &roots.collect::<Vec<_>>())
        }
        Sample::Bare(_) => {
            let texts = group.iter().filter_map(|sample| match sample {
                Sample::Bare(text) => Some(&**text),
                _ => None,
            });
            bare::reading(&texts.collect::<Vec<_>>()).map(|reading| vec![reading])
        }
        Sample::Csv(_) => {
            let tables = group.iter().filter_map(|sample| match sample {
                Sample::Csv(table) => Some(table),
                _ => None,
            });
            Ok(vec![lines::reading(&tables.collect::<Vec<_>>())])
        }
        Sample::Influx => Ok(vec![Reading::of(Format::Influx)]),
        Sample::Floats => {
            let mut reading = Reading::of(Format::Raw);
            reading.sample_type = Some("f32");
            let note = "binary data: samples of 32 bits is a guess, and so is that they are floats";
            reading.notes.push(note.to_owned());
            Ok(vec![reading])
        }
        Sample::Unknown(why) => Err(why.clone()),
    }
}

fn sample(payload: &[u8]) -> Sample {
    let inflated = match tree::inflated(payload, INFLATED_BYTES_MAX) {
        Ok(inflated) => inflated,
        Err(reject) => return Sample::Unknown(reject.detail),
    };
    let Ok(text) = std::str::from_utf8(&inflated) else {
        return of_bytes(&inflated);
    };
    let trimmed = text.trim_start_matches('\u{feff}').trim_end_matches('\0').trim();
    let is_binary = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r');
    if trimmed.contains(is_binary) {
        return of_bytes(&inflated);
    }
    match tree::tree(trimmed.as_bytes(), PayloadFormat::Json) {
        Some(tree) if !tree.is_scalar() => return Sample::Parts(Format::Json, tree),
        Some(Tree::Text(text)) => return Sample::Bare(text),
        Some(_) => return Sample::Bare(trimmed.to_owned()),
        None => {}
    }
    if trimmed.starts_with(['{', '[']) {
        return json_lines(trimmed);
    }
    if trimmed.starts_with('<') {
        return Sample::Unknown("XML: no format of Dunlin's".to_owned());
    }
    if lines::is_influx(trimmed) {
        return Sample::Influx;
    }
    if let Some(table) = lines::table(trimmed) {
        return Sample::Csv(table);
    }
    bare::opaque(trimmed).map_or_else(
        || Sample::Bare(trimmed.to_owned()),
        |why| Sample::Unknown(why.to_owned()),
    )
}

fn json_lines(text: &str) -> Sample {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let trees = lines.map(|line| tree::tree(line.as_bytes(), PayloadFormat::NdJson));
    let trees: Option<Vec<Tree>> = trees.collect();
    match trees {
        Some(trees) if trees.len() > 1 && trees.iter().all(|tree| !tree.is_scalar()) => {
            Sample::Lines(trees)
        }
        _ => Sample::Unknown("looks like JSON and is none".to_owned()),
    }
}

fn of_bytes(bytes: &[u8]) -> Sample {
    if let Some(what) = binary::known(bytes) {
        return Sample::Unknown(what.to_owned());
    }
    let formats = [
        (Format::MessagePack, PayloadFormat::MessagePack),
        (Format::Cbor, PayloadFormat::Cbor),
    ];
    for (format, payload_format) in formats {
        if let Some(tree) = tree::tree(bytes, payload_format)
            && !tree.is_scalar()
            && (!tree.members().is_empty() || !tree.items().is_empty())
        {
            return Sample::Parts(format, tree);
        }
    }
    if binary::are_floats(bytes) {
        return Sample::Floats;
    }
    Sample::Unknown(binary::unknown(bytes))
}

/// Readings of payloads with parts.
fn of_trees(format: Format, roots: &[&Tree]) -> Result<Vec<Reading>, String> {
    if let Some(format) = senml(format, roots) {
        return Ok(vec![Reading::of(format)]);
    }
    if let Some(reading) = bursts::reading(format, roots) {
        return Ok(vec![reading]);
    }
    if roots.iter().all(|root| root.members().is_empty() && root.items().is_empty()) {
        return Err("only empty objects came".to_owned());
    }
    let mut found = Vec::new();
    if let Some(reading) = value_alone(format, roots) {
        found.push(reading);
    }
    match shape::walk(roots) {
        Some(walk) => {
            let is_plain = walk.path.is_empty() && walk.single.is_none();
            found.push(of_walk(format, walk));
            if !is_plain {
                found.push(plain(format, roots));
            }
        }
        None => return Err("lists of bare values, whose meaning nothing says".to_owned()),
    }
    Ok(found)
}

/// All of each object, as it is.
fn plain(format: Format, roots: &[&Tree]) -> Reading {
    let nodes = roots.iter().flat_map(|root| match root {
        Tree::List(items) => items.iter().collect::<Vec<_>>(),
        other => vec![*other],
    });
    let walk = shape::Walk {
        nodes: nodes.collect(),
        ..shape::Walk::default()
    };
    of_walk(format, walk)
}

fn of_walk(format: Format, walk: shape::Walk<'_>) -> Reading {
    let mut reading = Reading::of(format);
    let mut levels = vec![walk.nodes.clone()];
    levels.extend(walk.levels.iter().rev().cloned());
    let name_at = walk.single.as_ref().and_then(|single| single.name.clone());
    let clock_levels = levels_for_time(&walk, &levels);
    if let Some(clock) = times::find(&clock_levels) {
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
        reading.tags = identity::tags(&levels, name_at.as_deref());
    }
    reading.is_presence = walk.nodes.iter().all(|node| {
        let says = |value: &Tree| matches!(value, Tree::Text(text) if words::is_presence(text));
        !node.members().is_empty() && node.members().iter().all(|(_, value)| says(value))
    });
    match &walk.single {
        Some(single) => {
            reading.records = Some(single.clone());
            single_columns(&mut reading, &walk.nodes, single);
        }
        None => {
            if !walk.path.is_empty() {
                reading.records = Some(super::reading::Records {
                    at: walk.path.clone(),
                    ..super::reading::Records::default()
                });
            }
            let mut lists = std::collections::BTreeSet::new();
            for node in &walk.nodes {
                shape::lists_of_objects(node, "", &mut lists);
                columns::add_record(&mut reading.columns, node, &mut String::new());
            }
            reading.exclude_fields.extend(lists.iter().cloned());
            if !lists.is_empty() {
                let names: Vec<String> = lists.into_iter().collect();
                reading.notes.push(format!("left out, being lists of objects: {}", names.join(", ")));
            }
            // What is a tag need not be a field, too.
            for (_, at) in &reading.tags {
                let path = crate::record::decode::path_of(at).into_owned();
                if reading.columns.remove(&path).is_some() {
                    reading.exclude_fields.push(path);
                }
            }
            if let Some(time) = &reading.time {
                reading.columns.remove(&*crate::record::decode::path_of(time));
            }
        }
    }
    if !walk.left.is_empty() {
        let left: Vec<&str> = walk.left.iter().map(String::as_str).take(12).collect();
        reading.notes.push(format!("about the message, and left out: {}", left.join(", ")));
    }
    reading
}

/// Records that are members of objects have what is around them, too.
fn levels_for_time<'t>(walk: &shape::Walk<'t>, levels: &[Vec<&'t Tree>]) -> Vec<Vec<&'t Tree>> {
    let is_map = walk.single.as_ref().is_some_and(|single| single.name.is_none());
    if !is_map {
        return levels.to_vec();
    }
    let members = walk.nodes.iter().flat_map(|node| node.members());
    let mut all = vec![members.map(|(_, value)| value).collect()];
    all.extend(levels.iter().cloned());
    all
}

fn single_columns(reading: &mut Reading, nodes: &[&Tree], single: &super::reading::Records) {
    let at = |node: &Tree, pointer: &str| -> Option<Tree> {
        let mut value = node;
        for key in crate::config::settings::Pointer::parse(pointer).0 {
            value = value.get(&key)?;
        }
        Some(value.clone())
    };
    let value_at = single.value.as_deref().unwrap_or_default();
    for node in nodes {
        match &single.name {
            Some(name_at) => {
                let name = match at(node, name_at) {
                    Some(Tree::Text(text) | Tree::Number(text)) => text,
                    _ => continue,
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
fn value_alone(format: Format, roots: &[&Tree]) -> Option<Reading> {
    let mut value_key: Option<&str> = None;
    let mut column = columns::Column::default();
    for root in roots {
        let members = root.members();
        let key = words::value_among(members.iter().map(|(key, _)| &**key))?;
        let is_same = value_key.get_or_insert(key) == &key;
        let (is_payload, value) = (["payload", "data", "result"].contains(&&*words::plain(key)), root.get(key)?);
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
                    Tree::Text(_) | Tree::Bool(_) => true,
                    Tree::Object(_) => words::is_meta_object(other),
                    _ => false,
                }
        });
        if !is_same || !is_fit || !others_are_about {
            return None;
        }
        column.add(value);
    }
    let key = value_key?;
    // A payload that says itself what its value is called.
    let walk = shape::walk(roots)?;
    if walk.single.is_some() {
        return None;
    }
    let mut reading = Reading::of(format);
    reading.is_one_value = true;
    reading.records = Some(super::reading::Records {
        value: Some(format!("/{}", super::reading::pointer_part(key))),
        ..super::reading::Records::default()
    });
    if let Some(clock) = times::find(std::slice::from_ref(&walk.nodes)) {
        reading.needs_zone = clock.writing.needs_zone;
        reading.time_format = clock.writing.format;
        reading.time = Some(clock.at);
    }
    reading.tags = identity::tags(&[walk.nodes], None);
    reading.columns.insert(String::new(), column);
    Some(reading)
}

/// `SenML`, if the labels say so.
fn senml(format: Format, roots: &[&Tree]) -> Option<Format> {
    let texts = ["bn", "bt", "bu", "bv", "bs", "bver", "n", "u", "v", "vs", "vb", "vd", "s", "t", "ut"];
    let numbers = ["-1", "-2", "-3", "-4", "-5", "-6", "0", "1", "2", "3", "4", "5", "6", "7", "8"];
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
            is_sure |= keys.iter().any(|key| ["bn", "bt", "bu", "u", "vs", "vb", "bver"].contains(key));
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
