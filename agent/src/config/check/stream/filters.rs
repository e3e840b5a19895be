//! What can be said about topic filters before any topic arrives: which covers which.

/// One level of a filter; captures count as the wildcard they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level<'a> {
    Literal(&'a str),
    One,
    Rest,
}

fn levels(filter: &str) -> impl Iterator<Item = Level<'_>> {
    filter.split('/').map(|level| match level.chars().next() {
        Some('+') => Level::One,
        Some('#') => Level::Rest,
        _ => Level::Literal(level),
    })
}

/// Whether every topic that matches `later` matches `earlier` too.
pub(super) fn covers(earlier: &str, later: &str) -> bool {
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

/// Names of the captures.
pub(super) fn captures(filter: &str) -> impl Iterator<Item = &str> {
    filter
        .split('/')
        .filter_map(|level| level.strip_prefix(['+', '#']))
        .filter(|name| !name.is_empty())
}

/// A stream name made of the literal levels; `all` if there is none.
pub(super) fn name_for(filter: &str) -> String {
    let literals: Vec<&str> = levels(filter)
        .filter_map(|level| match level {
            Level::Literal(text) if !text.is_empty() => Some(text),
            _ => None,
        })
        .collect();
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
