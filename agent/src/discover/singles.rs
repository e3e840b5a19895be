//! Objects that stand for one value each: where its name, its value and its quality are.

use std::collections::{BTreeMap, BTreeSet};

use super::{reading::Records, spelling::pointer_part, times, words};
use crate::record::decode::tree::Tree;

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
pub(super) fn single_objects(nodes: &[&Tree], is_list: bool) -> Option<Records> {
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
    let value_key = value.split('/').nth(1).unwrap_or_default();
    let quality = quality(nodes, &[name, value_key]);
    let quality_key = quality.as_ref().map_or("", |(key, _)| key);
    if has_other_readings(nodes, &[name, value_key, quality_key]) {
        return None;
    }
    // A list in which every object is called alike is one of records in time.
    let names: BTreeSet<String> = values_at(nodes, name)
        .iter()
        .map(|name| format!("{name:?}"))
        .collect();
    if !is_list
        && names.len() == 1
        && words::is_identity(name)
        && words::plain(name) != "id"
        && words::plain(name) != "name"
    {
        return None;
    }
    let (quality, good) = quality.map_or((None, Vec::new()), |(key, good)| {
        (Some(format!("/{}", pointer_part(&key))), good)
    });
    Some(Records {
        at: String::new(),
        name: Some(format!("/{}", pointer_part(name))),
        value: Some(value),
        quality,
        good,
    })
}

/// Objects whose members are objects of one value each, as `{"rpm":{"value":600}}`.
pub(super) fn value_map(nodes: &[&Tree]) -> Option<Records> {
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
    let value_key = value.split('/').nth(1).unwrap_or_default();
    let quality = quality(&members, &[value_key]);
    let quality_key = quality.as_ref().map_or("", |(key, _)| key);
    if has_other_readings(&members, &[value_key, quality_key]) {
        return None;
    }
    let (quality, good) = quality.map_or((None, Vec::new()), |(key, good)| {
        (Some(format!("/{}", pointer_part(&key))), good)
    });
    Some(Records {
        at: String::new(),
        name: None,
        value: Some(value),
        quality,
        good,
    })
}

/// Objects with several such maps in them and no readings beside, as `{"a":{"rpm":{"value":600}},"b":{..}}`.
pub(super) fn maps_beside_each_other(nodes: &[&Tree]) -> Option<Records> {
    let mut maps: Vec<&Tree> = Vec::new();
    let mut names: BTreeSet<&str> = BTreeSet::new();
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
                _ => {}
            }
        }
    }
    value_map(&maps)
}

/// The key that says how good a value is, and what it says of good ones, unless that is known.
fn quality(nodes: &[&Tree], but: &[&str]) -> Option<(String, Vec<String>)> {
    let keys = usual_keys(nodes, 0.5);
    let key = words::quality_among(keys.into_iter().filter(|key| !but.contains(key)))?;
    let mut said: BTreeMap<String, usize> = BTreeMap::new();
    for value in values_at(nodes, key) {
        let text = match value {
            Tree::Bool(truth) => truth.to_string(),
            Tree::Number(text) | Tree::Text(text) => text.clone(),
            _ => return None,
        };
        *said.entry(text).or_default() += 1;
    }
    let is_known = |text: &str| {
        let number = text
            .parse::<f64>()
            .is_ok_and(|code| (192.0..=255.0).contains(&code));
        text.eq_ignore_ascii_case("true") || text.to_lowercase().starts_with("good") || number
    };
    let is_word = |text: &str| {
        let lower = text.to_lowercase();
        let starts = [
            "good",
            "bad",
            "uncertain",
            "ok",
            "valid",
            "invalid",
            "true",
            "false",
            "stale",
            "error",
        ];
        starts.iter().any(|start| lower.starts_with(start)) || text.parse::<f64>().is_ok()
    };
    if !said.keys().all(|text| is_word(text)) {
        return None;
    }
    if said.keys().any(|text| is_known(text)) {
        return Some((key.to_owned(), Vec::new()));
    }
    let most = said
        .iter()
        .max_by_key(|(text, count)| (**count, std::cmp::Reverse((*text).clone())));
    let good = most
        .map(|(text, _)| text.clone())
        .filter(|text| !text.to_lowercase().starts_with("bad"))?;
    Some((key.to_owned(), vec![good]))
}
