//! What in a payload tells devices apart, where the topic does not.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    levels::{MESSAGES_MIN, is_serial},
    spelling::pointer_part,
    words,
};
use crate::{record::decode::tree::Tree, topic::is_tag_name};

/// Tags that exist already or cannot be.
const RESERVED: [&str; 6] = ["device", "stream", "ts", "is_train", "fold", "source_ts"];
/// Most tags from a payload.
const TAGS_MAX: usize = 4;

/// Name and place of the tags that the payloads of one topic differ in, and which of them lie in the records
/// themselves; `levels` from the records outwards, `name` is where records of one value have their name. In a
/// list (`is_list`) less says that things are told apart.
pub(super) fn tags(
    levels: &[Vec<&Tree>],
    name: Option<&str>,
    is_list: bool,
) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for nodes in levels.iter().rev() {
        let mut places: BTreeMap<String, Vec<(usize, String)>> = BTreeMap::new();
        for (number, node) in nodes.iter().enumerate() {
            collect(node, "", number, &mut places);
        }
        places.retain(|at, _| Some(&**at) != name);
        let mut combined: Vec<String> = vec![String::new(); nodes.len()];
        let mut distinct = 1;
        let mut ranked: Vec<(&String, &Vec<(usize, String)>)> = places.iter().collect();
        let is_sure = |at: &str| words::is_identity(last_key(at));
        // What is sure to be a name comes first, then what tells most apart; of equals, the shorter place.
        ranked.sort_by_key(|(at, values)| {
            let different: BTreeSet<&str> = texts_of(values).collect();
            (!is_sure(at), std::cmp::Reverse(different.len()), at.len())
        });
        for (at, values) in ranked {
            let may = is_sure(at) || is_list || distinct > 1;
            let names_one = is_list && is_sure(at) && may_be_one_of_many(values, nodes.len());
            if names_one && found.is_empty() && distinct == 1 {
                found.push((tag_name(last_key(at), &found), at.clone()));
                continue;
            }
            if !may
                || found.len() >= TAGS_MAX
                || !tells_apart(values, nodes.len())
                || name_messages(last_key(at), values)
            {
                continue;
            }
            let mut next = combined.clone();
            for text in &mut next {
                text.push('\u{0}');
            }
            for (number, value) in values {
                next[*number].push_str(value);
            }
            let count = next.iter().collect::<BTreeSet<_>>().len();
            if count > distinct {
                distinct = count;
                combined = next;
                found.push((tag_name(last_key(at), &found), at.clone()));
            }
        }
    }
    found
}

fn collect(
    node: &Tree,
    path: &str,
    number: usize,
    places: &mut BTreeMap<String, Vec<(usize, String)>>,
) {
    for (key, value) in node.members() {
        let at = || format!("{path}/{}", pointer_part(key));
        match value {
            Tree::Object(_) if path.is_empty() && is_about_device(key) => {
                collect(value, &at(), number, places);
            }
            Tree::Text(text) | Tree::Number(text) if may_identify(key) && text.len() <= 128 => {
                let values = places.entry(at()).or_default();
                if values.last().is_none_or(|(last, _)| *last < number) {
                    values.push((number, text.clone()));
                }
            }
            _ => {}
        }
    }
}

fn texts_of(values: &[(usize, String)]) -> impl Iterator<Item = &str> {
    values.iter().map(|(_, text)| text.as_str())
}

fn may_identify(key: &str) -> bool {
    words::is_identity(key) || words::is_part_of_identity(key)
}

fn last_key(at: &str) -> &str {
    at.rsplit('/').next().unwrap_or_default()
}

fn is_about_device(key: &str) -> bool {
    let key = words::plain(key);
    [
        "device",
        "thing",
        "sensor",
        "source",
        "node",
        "asset",
        "enddeviceids",
    ]
    .iter()
    .any(|word| key.contains(word))
}

/// Whether all of these are the same name, of which a list may have others next time.
fn may_be_one_of_many(values: &[(usize, String)], nodes: usize) -> bool {
    let texts: BTreeSet<&str> = texts_of(values).collect();
    let is_name = |text: &&str| text.len() < 32 && text.parse::<f64>().is_err();
    values.len() == nodes && texts.len() == 1 && texts.iter().all(is_name)
}

/// Whether these are names of several things, and neither counters nor names of messages.
fn tells_apart(values: &[(usize, String)], nodes: usize) -> bool {
    let texts: Vec<&str> = texts_of(values).collect();
    let different: BTreeSet<&str> = texts.iter().copied().collect();
    if different.len() < 2 || texts.len() * 2 < nodes {
        return false;
    }
    let repeats = different.len() < texts.len();
    let are_numbers = texts.iter().all(|text| text.parse::<f64>().is_ok());
    let are_long = texts.iter().all(|text| text.len() >= 32);
    if are_numbers || are_long {
        return repeats && different.len() * 2 <= texts.len() + 1;
    }
    repeats || different.len() <= 64
}

/// Whether so many serial numbers, none of which came twice, are those of messages.
fn name_messages(key: &str, values: &[(usize, String)]) -> bool {
    let texts: Vec<&str> = texts_of(values).collect();
    let different: BTreeSet<&str> = texts.iter().copied().collect();
    ["id", "uid", "uuid"].contains(&&*words::plain(key))
        && texts.len() >= MESSAGES_MIN
        && different.len() == texts.len()
        && texts.iter().all(|text| is_serial(text))
}

/// A name that a tag may have, made of a key.
pub(super) fn tag_name(key: &str, taken: &[(String, String)]) -> String {
    let kept = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let mut name: String = key.trim_matches('$').chars().map(kept).take(50).collect();
    if !is_tag_name(&name) || name.starts_with('_') {
        name = format!("tag_{}", name.trim_start_matches('_'));
    }
    let is_taken = |name: &str| {
        RESERVED.contains(&&*name.to_ascii_lowercase())
            || taken
                .iter()
                .any(|(other, _)| other.eq_ignore_ascii_case(name))
    };
    if is_taken(&name) {
        name.push_str("_name");
    }
    let mut number = 2;
    let base = name.clone();
    while is_taken(&name) {
        name = format!("{base}_{number}");
        number += 1;
    }
    name
}
