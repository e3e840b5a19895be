//! What can be said about topic filters before any topic arrives: which covers which.

use super::FIELD;

/// One level of a filter; captures count as the wildcard they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level<'a> {
    Literal(&'a str),
    One,
    Rest,
}

fn levels(filter: &str) -> impl Iterator<Item = Level<'_>> {
    filter.split('/').map(|level| match level.chars().next() {
        _ if level == FIELD => Level::One,
        Some('+') => Level::One,
        Some('#') => Level::Rest,
        _ => Level::Literal(level),
    })
}

/// Whether every topic that matches `later` matches `earlier` too.
pub(crate) fn covers(earlier: &str, later: &str) -> bool {
    // A wildcard in front does not match topics that start with $.
    let hidden = |text: &str| text.starts_with('$');
    if hidden(later) && !hidden(earlier) {
        return false;
    }
    let (mut earlier, mut later) = (levels(earlier), levels(later));
    loop {
        match (earlier.next(), later.next()) {
            (Some(Level::Rest), _) | (None, None) => return true,
            (Some(Level::One), Some(Level::One | Level::Literal(_))) => {}
            (Some(Level::Literal(a)), Some(Level::Literal(b))) if a == b => {}
            _ => return false,
        }
    }
}

/// In front of a filter whose publishes several clients share.
const SHARE: &str = "$share/";

/// A filter without its group.
pub(crate) fn unshared(filter: &str) -> &str {
    let shared = filter
        .strip_prefix(SHARE)
        .and_then(|shared| shared.split_once('/'));
    shared.map_or(filter, |(_, filter)| filter)
}

/// Whether some topic matches both filters, shared or not.
pub(crate) fn overlap(one: &str, other: &str) -> bool {
    let (one, other) = (unshared(one), unshared(other));
    let hidden = |text: &str| text.starts_with('$');
    if hidden(one) != hidden(other) {
        return false;
    }
    let (mut one, mut other) = (levels(one), levels(other));
    loop {
        match (one.next(), other.next()) {
            (Some(Level::Rest), _) | (_, Some(Level::Rest)) | (None, None) => return true,
            (Some(Level::Literal(a)), Some(Level::Literal(b))) if a != b => return false,
            (Some(_), Some(_)) => {}
            _ => return false,
        }
    }
}

/// `filters` without those that another one of them covers. A broker may send a publish once for each
/// filter that matches it (MQTT 3.1.1, 3.3.5), and it would be stored as often.
pub(crate) fn without_covered(filters: &[String]) -> Vec<String> {
    let is_needed = |&(index, filter): &(usize, &String)| {
        let mut others = filters.iter().enumerate();
        !others.any(|(other_index, other)| {
            // Of equal ones the first is kept.
            let is_same = other == filter;
            let is_shared = [other, filter]
                .iter()
                .any(|filter| filter.starts_with(SHARE));
            is_same && other_index < index || !is_same && !is_shared && covers(other, filter)
        })
    };
    let needed = filters.iter().enumerate().filter(is_needed);
    needed.map(|(_, filter)| filter.clone()).collect()
}

#[cfg(test)]
mod tests;
