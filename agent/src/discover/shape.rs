//! Where in a payload the records are: what is around them, and what each is made of.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    columns::PATH_BYTES_MAX,
    reading::Records,
    singles::{Single, maps_beside_each_other, single_objects, usual_keys, value_map, values_at},
    spelling::pointer_part,
    times, words,
};
use crate::record::decode::tree::Tree;

/// Objects looked at in one place.
const NODES_MAX: usize = 4_096;
/// Levels around records.
const LEVELS_MAX: usize = 8;
/// The tag that keys become which name things.
const KEY_TAG: &str = "part";

/// Where the records are.
#[derive(Default)]
pub(super) struct Walk<'t> {
    /// The way as a JSON pointer, with `+` where keys are tags.
    pub(super) path: String,
    /// What is around them, from the outside.
    pub(super) levels: Vec<Vec<&'t Tree>>,
    /// The records, or the objects of one value each.
    pub(super) nodes: Vec<&'t Tree>,
    /// What they are made of, if each is one value.
    pub(super) single: Option<Records>,
    /// Name and place of tags that stand beside the readings.
    pub(super) tags: Vec<(String, String)>,
    /// What was passed over on the way, and lies beside single values.
    pub(super) left: BTreeSet<String>,
    /// What else is to be said.
    pub(super) note: Option<String>,
    /// They lie in lists.
    pub(super) is_list: bool,
}

/// Objects among `nodes`, lists replaced by what is in them.
fn objects<'t>(nodes: &[&'t Tree], is_list: &mut bool) -> Vec<&'t Tree> {
    let mut found = Vec::new();
    for node in nodes {
        match node {
            Tree::List(items) => {
                *is_list = true;
                let inner: Vec<&Tree> = items.iter().take(NODES_MAX).collect();
                found.extend(objects(&inner, is_list));
            }
            Tree::Object(_) => found.push(*node),
            _ => {}
        }
        if found.len() >= NODES_MAX {
            break;
        }
    }
    found
}

/// Follows the way from whole payloads to their records; `None` if there are no objects.
pub(super) fn walk<'t>(roots: &[&'t Tree]) -> Option<Walk<'t>> {
    let mut walk = Walk::default();
    walk.nodes = objects(roots, &mut walk.is_list);
    if walk.nodes.is_empty() {
        return None;
    }
    while walk.levels.len() < LEVELS_MAX {
        let single = single_objects(&walk.nodes, walk.is_list);
        if let Some(single) = single.or_else(|| value_map(&walk.nodes)) {
            walk.end_with(walk.path.clone(), single);
            break;
        }
        let (step, key) = if is_keyed(&walk.nodes) {
            (format!("/+{KEY_TAG}"), None)
        } else if let Some(key) = container(&walk.nodes) {
            (format!("/{}", pointer_part(key)), Some(key.to_owned()))
        } else {
            walk.step_into_maps();
            break;
        };
        if key.is_none() && walk.path.contains('+') {
            break;
        }
        if let Some(key) = &key {
            walk.note_siblings(key);
        }
        let mut inner = Vec::new();
        for node in &walk.nodes {
            for (own, value) in node.members() {
                if key.as_ref().is_none_or(|key| key == own) {
                    inner.push(value);
                }
            }
        }
        let nodes = objects(&inner, &mut walk.is_list);
        if nodes.is_empty() {
            break;
        }
        walk.path.push_str(&step);
        let around = std::mem::replace(&mut walk.nodes, nodes);
        walk.levels.push(around);
    }
    Some(walk)
}

impl Walk<'_> {
    fn end_with(&mut self, at: String, single: Single) {
        self.single = Some(Records {
            at,
            ..single.records
        });
        self.left.extend(single.left);
        self.note = single.note;
    }

    /// One step further where maps of single values lie beside each other.
    fn step_into_maps(&mut self) {
        let Some(single) = maps_beside_each_other(&self.nodes) else {
            return;
        };
        self.end_with(format!("{}/+", self.path), single);
        let inner = self.nodes.iter().flat_map(|node| node.members());
        let maps = inner
            .map(|(_, value)| value)
            .filter(|value| !value.is_scalar());
        let maps = maps.collect();
        let around = std::mem::replace(&mut self.nodes, maps);
        self.levels.push(around);
    }

    /// Tags beside the readings, and what else is left behind.
    fn note_siblings(&mut self, key: &str) {
        let is_beside =
            |word: &str| ["tags", "labels", "dimensions"].contains(&&*words::plain(word));
        for node in &self.nodes {
            for (own, value) in node.members() {
                if own == key || words::is_missing(own) {
                    continue;
                }
                let at = format!("/{}", pointer_part(own));
                if words::is_sure_container(key) && is_beside(own) {
                    for (name, inner) in value.members() {
                        let tag = (name.clone(), format!("{at}/{}", pointer_part(name)));
                        if matches!(inner, Tree::Text(_)) && !self.tags.contains(&tag) {
                            self.tags.push(tag);
                        }
                    }
                    let metric = ["name", "measurement", "metric"];
                    let named = node.members().iter();
                    let named = named
                        .filter(|(name, value)| {
                            metric.contains(&&**name) && matches!(value, Tree::Text(_))
                        })
                        .map(|(name, _)| ("metric".to_owned(), format!("/{name}")));
                    for tag in named {
                        if !self.tags.contains(&tag) {
                            self.tags.push(tag);
                        }
                    }
                } else if !times::is_time_name(own) && self.left.len() < 64 {
                    self.left.insert(own.clone());
                }
            }
        }
    }
}

/// Whether the keys name things, each with an object of the same kind.
fn is_keyed(nodes: &[&Tree]) -> bool {
    let mut shapes: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for node in nodes {
        for (key, value) in node.members() {
            let mut is_list = false;
            let inner = objects(&[value], &mut is_list);
            if inner.is_empty() || words::is_container(key) {
                return false;
            }
            let shape = shapes.entry(key).or_default();
            for object in inner {
                shape.extend(object.members().iter().map(|(key, _)| key.clone()));
            }
        }
    }
    let looks_like_a_name = |key: &str| key.contains(|c: char| c.is_ascii_digit() || c == ' ');
    let mut keys = shapes.iter();
    let Some((first, of_first)) = keys.next() else {
        return false;
    };
    if of_first.len() < 2 {
        return false;
    }
    if shapes.len() == 1 {
        let is_list = nodes.iter().all(|node| {
            node.get(first)
                .is_some_and(|value| matches!(value, Tree::List(_)))
        });
        return is_list && looks_like_a_name(first);
    }
    keys.all(|(_, shape)| similarity(shape, of_first) >= 0.6)
}

/// Share of what two sets have in common.
pub(super) fn similarity(a: &BTreeSet<String>, b: &BTreeSet<String>) -> f64 {
    let common = a.intersection(b).count();
    let all = a.union(b).count();
    if all == 0 {
        1.0
    } else {
        common as f64 / all as f64
    }
}

/// The key under which the readings are, if all else is about them.
fn container<'t>(nodes: &[&'t Tree]) -> Option<&'t str> {
    let keys = usual_keys(nodes, 0.5);
    let outside = keys.iter().filter(|key| {
        let is_number = values_at(nodes, key)
            .iter()
            .any(|value| matches!(value, Tree::Number(_)));
        is_number
            && !times::is_time_name(key)
            && !words::is_meta_number(key)
            && !words::is_identity(key)
            && !words::is_part_of_identity(key)
    });
    if outside.count() > 0 {
        return None;
    }
    let mut best: Option<(usize, &str)> = None;
    let mut others = 0;
    for key in keys {
        let values = values_at(nodes, key);
        let mut is_list = false;
        let inner = objects(&values, &mut is_list);
        if inner.is_empty() {
            continue;
        }
        let has_numbers = inner.iter().any(|object| has_readings(object, 0));
        let rank = match () {
            () if words::is_sure_container(key) => 0,
            () if words::is_container(key) && is_list && has_numbers => 1,
            () if words::is_container(key) && has_numbers => 2,
            () if is_list && has_numbers && !words::is_meta_object(key) => 3,
            () => {
                others += usize::from(!words::is_meta_object(key) && has_numbers);
                continue;
            }
        };
        if best.is_some() && rank > 0 {
            others += 1;
        }
        if best.is_none_or(|(known, _)| rank < known) {
            best = Some((rank, key));
        }
    }
    let (rank, key) = best?;
    (rank == 0 || others == 0).then_some(key)
}

fn has_readings(node: &Tree, depth: usize) -> bool {
    let is_reading = |tree: &Tree| match tree {
        Tree::Number(_) | Tree::Bool(_) => true,
        Tree::Text(text) => text.parse::<f64>().is_ok(),
        other => depth < 6 && has_readings(other, depth + 1),
    };
    node.members().iter().any(|(_, value)| is_reading(value)) || node.items().iter().any(is_reading)
}

/// Lists of objects or lists in records, by their dotted paths: they cannot be fields.
pub(super) fn lists_of_objects(node: &Tree, path: &str, found: &mut BTreeSet<String>) {
    if path.len() > PATH_BYTES_MAX {
        return;
    }
    let inner = |key: &str| {
        if path.is_empty() {
            key.to_owned()
        } else {
            format!("{path}.{key}")
        }
    };
    for (key, value) in node.members() {
        let is_list = matches!(value.items().first(), Some(Tree::Object(_) | Tree::List(_)));
        if is_list && found.len() < 64 {
            found.insert(inner(key));
        } else {
            lists_of_objects(value, &inner(key), found);
        }
    }
    for (position, item) in node.items().iter().enumerate() {
        lists_of_objects(item, &inner(&position.to_string()), found);
    }
}
