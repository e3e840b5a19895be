//! Payloads that are bursts of samples.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    binary,
    reading::{Format, Reading},
    spelling::pointer_part,
    times, words,
};
use crate::record::decode::tree::Tree;

/// Shorter lists are values beside each other.
const SAMPLES_MIN: usize = 16;
/// Levels that are looked at.
const DEPTH_MAX: usize = 3;

/// A list of numbers, and how long it is.
struct Found {
    length: usize,
    are_times: bool,
}

/// How to read bursts, if these are any.
pub(super) fn reading(format: Format, roots: &[&Tree], now_ns: i64) -> Option<Reading> {
    let first = roots.first()?;
    let mut reading = Reading::of(format);
    if !first.items().is_empty() {
        let is_burst = roots
            .iter()
            .all(|root| are_numbers(root) && root.items().len() >= SAMPLES_MIN);
        reading.samples.push("/".to_owned());
        return is_burst.then_some(reading);
    }
    let mut lists: BTreeMap<String, Found> = BTreeMap::new();
    collect(first, "", 0, now_ns, &mut lists);
    let has_times = lists.values().any(|list| list.are_times);
    let enough = if has_times { 2 } else { SAMPLES_MIN };
    let longest = lists
        .values()
        .map(|list| list.length)
        .max()
        .unwrap_or_default();
    if longest >= enough {
        let same = lists.iter().filter(|(_, list)| list.length == longest);
        for (at, list) in same {
            if list.are_times && reading.time.is_none() {
                reading.time = Some(at.clone());
            } else {
                reading.samples.push(at.clone());
            }
        }
    } else {
        encoded(first, "", 0, &mut reading);
    }
    if reading.samples.is_empty() {
        return None;
    }
    let others_have_them = roots.iter().all(|root| {
        reading
            .samples
            .iter()
            .all(|at| value_at(root, at).is_some())
    });
    if !others_have_them {
        return None;
    }
    if reading.time.is_none() {
        let keys = first
            .members()
            .iter()
            .filter(|(_, value)| matches!(value, Tree::Number(_)));
        let rate = words::rate_among(keys.map(|(key, _)| &**key));
        reading.rate_at = rate.map(|key| format!("/{}", pointer_part(key)));
        if let Some(clock) = times::find(&[roots.to_vec()], now_ns) {
            reading.needs_zone = clock.writing.needs_zone;
            reading.time_format = clock.writing.format;
            reading.time = Some(clock.at);
        }
        if reading.rate_at.is_none() && reading.time.is_some() {
            let note = "nothing says how fast the samples follow each other: add rate_hz = 1000, or what it is";
            reading.note(note.to_owned());
        }
    }
    let note = "a burst: one record a sample; reduce = [\"rms\", \"crest\", \"kurtosis\"] stores one record of features";
    reading.note(note.to_owned());
    Some(reading)
}

fn value_at<'t>(root: &'t Tree, pointer: &str) -> Option<&'t Tree> {
    let mut value = root;
    for key in crate::config::settings::Pointer::parse(pointer).0 {
        value = value.get(&key)?;
    }
    Some(value)
}

fn are_numbers(list: &Tree) -> bool {
    let is_number = |item: &Tree| matches!(item, Tree::Number(_) | Tree::Null);
    list.items().iter().all(is_number) && list.items().iter().any(|item| *item != Tree::Null)
}

fn collect(
    node: &Tree,
    path: &str,
    depth: usize,
    now_ns: i64,
    lists: &mut BTreeMap<String, Found>,
) {
    for (key, value) in node.members() {
        let at = format!("{path}/{}", pointer_part(key));
        let texts: Option<Vec<&str>> = value.items().iter().map(text_of).collect();
        let are_times = times::is_time_name(key)
            && texts
                .is_some_and(|texts| texts.len() > 1 && times::writing(&texts, now_ns).is_some());
        if are_times || are_numbers(value) {
            let length = value.items().len();
            lists.insert(at, Found { length, are_times });
        } else if depth + 1 < DEPTH_MAX {
            collect(value, &at, depth + 1, now_ns, lists);
        }
    }
}

fn text_of(item: &Tree) -> Option<&str> {
    match item {
        Tree::Number(text) | Tree::Text(text) => Some(text),
        _ => None,
    }
}

/// Samples in base 64, if a rate stands beside them.
fn encoded(node: &Tree, path: &str, depth: usize, reading: &mut Reading) {
    let rate = words::rate_among(node.members().iter().map(|(key, _)| &**key));
    for (key, value) in node.members() {
        let at = format!("{path}/{}", pointer_part(key));
        match value {
            Tree::Text(text) if rate.is_some() && text.len() >= 64 => {
                let Ok(bytes) = STANDARD.decode(text.trim()) else {
                    continue;
                };
                if binary::are_floats(&bytes) {
                    reading.samples.push(at);
                    reading.sample_type = Some("f32");
                } else if bytes.len().is_multiple_of(2) {
                    reading.samples.push(at);
                    reading.sample_type = Some("i16");
                    let note = "samples in base 64: that they are integers of 16 bits is a guess";
                    reading.note(note.to_owned());
                }
            }
            Tree::Object(_) if depth + 1 < DEPTH_MAX => encoded(value, &at, depth + 1, reading),
            _ => {}
        }
    }
}
