//! What can be said about a topic filter from its text alone.

use crate::topic::FIELD;

/// Names of the captures.
pub(super) fn captures(filter: &str) -> impl Iterator<Item = &str> {
    filter
        .split('/')
        .filter_map(|level| level.strip_prefix(['+', '#']))
        .filter(|name| !name.is_empty() && *name != FIELD)
}

/// A stream name made of the literal levels; `all` if there is none.
pub(super) fn name_for(filter: &str) -> String {
    let is_literal =
        |level: &&str| !level.is_empty() && !level.starts_with(['+', '#']) && *level != FIELD;
    let literals: Vec<&str> = filter.split('/').filter(is_literal).collect();
    let joined = literals.join("_");
    let kept = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let mut name: String = joined
        .chars()
        .map(|c| if kept(c) { c } else { '_' })
        .take(60)
        .collect();
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        name.insert_str(0, if name.is_empty() { "all" } else { "s_" });
    }
    name
}

#[cfg(test)]
mod tests;
