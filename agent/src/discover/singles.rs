//! Objects that stand for one value each: where its name, its value and its quality are.

use std::collections::{BTreeMap, BTreeSet};

use super::{levels::is_serial, reading::Records, spelling::pointer_part, times, words};
use crate::record::decode::tree::Tree;

/// Most keys that are named as left out.
const LEFT_MAX: usize = 64;

/// Objects of one value each: where it is, and what is to be said of them.
pub(super) struct Single {
    pub(super) records: Records,
    /// Keys beside the values, of what is not stored.
    pub(super) left: BTreeSet<String>,
    pub(super) note: Option<String>,
}

/// What says how good a value is.
struct Quality {
    key: String,
    /// What it says of good values, nothing if that is known; `None` if nobody can tell.
    good: Option<Vec<String>>,
    note: Option<String>,
}

/// Keys that most of `nodes` have, in the order in which they came first.
pub(super) fn usual_keys<'t>(nodes: &[&'t Tree], share: f64) -> Vec<&'t str> {
    let mut order: Vec<&str> = Vec::new();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for node in nodes {
        for (key, _) in node.members() {
            let count = counts.entry(key).or_default();
            *count += 1;
            if *count == 1 {
                order.push(key);
            }
        }
    }
    let enough = |key: &&str| {
        counts
            .get(*key)
            .is_some_and(|&count| count as f64 >= share * nodes.len() as f64)
    };
    order.into_iter().filter(enough).collect()
}

pub(super) fn values_at<'t>(nodes: &[&'t Tree], key: &str) -> Vec<&'t Tree> {
    nodes.iter().filter_map(|node| node.get(key)).collect()
}

/// The place of the value within objects of one value each.
fn value_place(nodes: &[&Tree], but: Option<&str>) -> Option<String> {
    let keys = usual_keys(nodes, 0.3);
    let others = |key: &&str| Some(*key) != but;
    let value = words::value_among(keys.iter().copied().filter(others));
    if let Some(key) = value {
        let values = values_at(nodes, key);
        let at = format!("/{}", pointer_part(key));
        if values.iter().any(|value| value.is_scalar()) {
            return Some(at);
        }
        if values.iter().all(|value| matches!(value, Tree::Object(_))) {
            let inner = usual_keys(&values, 0.5);
            let inner = words::value_among(inner.into_iter())?;
            let scalar = values_at(&values, inner)
                .iter()
                .all(|value| value.is_scalar());
            return scalar.then(|| format!("{at}/{}", pointer_part(inner)));
        }
        return None;
    }
    // `{"properties":{"value":..}}`
    let [only] = keys.as_slice() else {
        return None;
    };
    let inner = values_at(nodes, only);
    let key = words::value_among(usual_keys(&inner, 0.5).into_iter())?;
    let scalar = values_at(&inner, key).iter().all(|value| value.is_scalar());
    scalar.then(|| format!("/{}/{}", pointer_part(only), pointer_part(key)))
}

/// Numbers among the members that are neither the value nor about it.
fn has_other_readings(nodes: &[&Tree], but: &[&str]) -> bool {
    let is_about = |key: &str| {
        but.contains(&key)
            || times::is_time_name(key)
            || words::is_meta_number(key)
            || words::is_identity(key)
            || words::is_part_of_identity(key)
            || [
                "min",
                "max",
                "unit",
                "scale",
                "precision",
                "ttl",
                "type",
                "datatype",
                "decimals",
            ]
            .contains(&&*words::plain(key))
    };
    nodes.iter().any(|node| {
        let mut members = node.members().iter();
        members.any(|(key, value)| matches!(value, Tree::Number(_)) && !is_about(key))
    })
}

/// Objects that are a name and a value each, as `{"id":"rpm","v":600}`.
pub(super) fn single_objects(nodes: &[&Tree], is_list: bool) -> Option<Single> {
    let share = if is_list { 0.9 } else { 0.99 };
    let keys = usual_keys(nodes, share);
    let can_name = |key: &&str| {
        values_at(nodes, key).iter().all(|value| match value {
            Tree::Text(text) => text.len() <= 256,
            Tree::Number(_) => is_list,
            _ => false,
        })
    };
    let name = words::name_among(keys.iter().copied().filter(can_name))?;
    let value = value_place(nodes, Some(name))?;
    let single = single(nodes, Some(name), value)?;
    let named = values_at(nodes, name);
    if !is_list && name_messages(name, &named) {
        return None;
    }
    // A list in which every object is called alike is one of records in time.
    let names: BTreeSet<String> = named.iter().map(|name| format!("{name:?}")).collect();
    if !is_list
        && names.len() == 1
        && words::is_identity(name)
        && words::plain(name) != "id"
        && words::plain(name) != "name"
    {
        return None;
    }
    Some(single)
}

/// Whether the names under `key` are those of messages: they look like it, and none comes twice.
fn name_messages(key: &str, names: &[&Tree]) -> bool {
    let may = ["id", "uid", "uuid", "name", "key"].contains(&&*words::plain(key));
    let texts = names.iter().filter_map(|name| match name {
        Tree::Text(text) => Some(text.as_str()),
        _ => None,
    });
    let texts: Vec<&str> = texts.collect();
    let different: BTreeSet<&str> = texts.iter().copied().collect();
    may && different.len() == texts.len()
        && texts.iter().all(|text| text.len() >= 32 || is_serial(text))
}

/// Objects of one value each, unless there are further readings in them.
fn single(nodes: &[&Tree], name: Option<&str>, value: String) -> Option<Single> {
    let value_key = value.split('/').nth(1).unwrap_or_default();
    let mut but = vec![value_key];
    but.extend(name);
    let quality = quality(nodes, &but);
    but.extend(quality.as_ref().map(|quality| &*quality.key));
    if has_other_readings(nodes, &but) {
        return None;
    }
    let left = nodes.iter().flat_map(|node| node.members());
    let left = left.filter(|(key, value)| {
        *value != Tree::Null && !but.contains(&&**key) && !times::is_time_name(key)
    });
    let left = left.map(|(key, _)| key.clone()).take(LEFT_MAX).collect();
    let mut records = Records {
        name: name.map(|name| format!("/{}", pointer_part(name))),
        ..Records::default()
    };
    let mut note = None;
    if let Some(quality) = quality {
        note = quality.note;
        if let Some(good) = quality.good {
            records.quality = Some(format!("/{}", pointer_part(&quality.key)));
            records.good = good;
        }
    }
    records.value = Some(value);
    Some(Single {
        records,
        left,
        note,
    })
}

/// Objects whose members are objects of one value each, as `{"rpm":{"value":600}}`.
pub(super) fn value_map(nodes: &[&Tree]) -> Option<Single> {
    let members: Vec<&Tree> = nodes
        .iter()
        .flat_map(|node| node.members())
        .map(|(_, value)| value)
        .collect();
    if members.is_empty()
        || !members
            .iter()
            .all(|member| matches!(member, Tree::Object(_)))
    {
        return None;
    }
    let value = value_place(&members, None)?;
    single(&members, None, value)
}

/// Objects with several such maps in them and no readings beside, as `{"a":{"rpm":{"value":600}},"b":{..}}`.
pub(super) fn maps_beside_each_other(nodes: &[&Tree]) -> Option<Single> {
    let mut maps: Vec<&Tree> = Vec::new();
    let mut names: BTreeSet<&str> = BTreeSet::new();
    let mut left: BTreeSet<String> = BTreeSet::new();
    for node in nodes {
        names.clear();
        for (key, value) in node.members() {
            match value {
                Tree::Object(members) => {
                    // What is called alike would be one field.
                    if !members.iter().all(|(name, _)| names.insert(name)) {
                        return None;
                    }
                    maps.push(value);
                }
                Tree::Number(_) if !times::is_time_name(key) && !words::is_meta_number(key) => {
                    return None;
                }
                Tree::List(_) => return None,
                Tree::Null => {}
                _ if times::is_time_name(key) || left.len() >= LEFT_MAX => {}
                _ => {
                    left.insert(key.clone());
                }
            }
        }
    }
    let mut single = value_map(&maps)?;
    single.left.extend(left);
    Some(single)
}

/// The key that says how good a value is, and what it says of good ones. What is known for bad never becomes
/// good because nothing else came: a machine may have stood still.
fn quality(nodes: &[&Tree], but: &[&str]) -> Option<Quality> {
    let keys = usual_keys(nodes, 0.5);
    let key = words::quality_among(keys.into_iter().filter(|key| !but.contains(key)))?;
    let mut said: BTreeSet<String> = BTreeSet::new();
    for value in values_at(nodes, key) {
        said.insert(match value {
            Tree::Bool(truth) => truth.to_string(),
            Tree::Number(text) | Tree::Text(text) => text.clone(),
            _ => return None,
        });
    }
    let is_known = |text: &str| {
        let number = text
            .parse::<f64>()
            .is_ok_and(|code| (192.0..=255.0).contains(&code));
        text.eq_ignore_ascii_case("true") || text.to_lowercase().starts_with("good") || number
    };
    let starts_with = |text: &str, words: &[&str]| {
        let lower = text.to_lowercase();
        words.iter().any(|word| lower.starts_with(word))
    };
    let is_bad = |text: &str| {
        let words = ["bad", "uncertain", "invalid", "false", "stale", "error"];
        starts_with(text, &words)
    };
    // A code of 0 is that of OPC UA for good; other numbers mean what their maker wants.
    let is_code = ["statuscode", "qualitycode", "code"].contains(&&*words::plain(key));
    let may_be_good = |text: &str| starts_with(text, &["ok", "valid"]) || is_code && text == "0";
    let is_word = |text: &String| {
        is_known(text) || is_bad(text) || may_be_good(text) || text.parse::<f64>().is_ok()
    };
    if !said.iter().all(is_word) {
        return None;
    }
    let mut quality = Quality {
        key: key.to_owned(),
        good: Some(Vec::new()),
        note: None,
    };
    if said.iter().any(|text| is_known(text)) {
        return Some(quality);
    }
    let good = said.iter().filter(|text| may_be_good(text)).take(8);
    let good: Vec<String> = good.cloned().collect();
    if good.is_empty() {
        let came = said.iter().next().map_or("", String::as_str);
        quality.note = Some(format!(
            "{key} may say how good a value is, and nothing that is known for good came ({came}): all values \
             are stored, unless records has quality and good"
        ));
        quality.good = None;
    } else {
        quality.note = Some(format!(
            "that {} means a good value is a guess",
            good.join(", ")
        ));
        quality.good = Some(good);
    }
    Some(quality)
}
