//! Names of tables and columns: which are free, and how they are written.

use std::collections::HashSet;

use crate::second_field::shortened;
pub(super) use crate::upstream::quoted;

/// Longest name, bytes: what is longer the server would cut, and names that begin alike would meet.
pub(super) const NAME_BYTES_MAX: usize = 63;

/// Columns the first table of a schema has, in order; further ones have the first two.
pub(super) const FIXED_COLUMNS: [&str; 5] = ["stream", "ts", "is_train", "fold", "source_ts"];
/// Columns that identify a row.
pub(super) const KEY_COLUMNS: usize = 2;

/// Columns that every table has without asking.
pub(super) const SYSTEM_COLUMNS: [&str; 6] = ["tableoid", "ctid", "xmin", "xmax", "cmin", "cmax"];

/// `text` as a literal, whatever the server takes a backslash for; it must hold no NUL.
pub(super) fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// `wish`, or the first of `wish_2`, `wish_3`, ... that `taken` does not hold; shortened where it is too
/// long.
pub(super) fn free_name(wish: &str, taken: &HashSet<String>) -> String {
    let wish = if wish.is_empty() { "unnamed" } else { wish };
    let others = (2u64..).map(|number| {
        let suffix = format!("_{number}");
        let base = shortened(wish, NAME_BYTES_MAX.saturating_sub(suffix.len()));
        format!("{base}{suffix}")
    });
    std::iter::once(shortened(wish, NAME_BYTES_MAX))
        .chain(others)
        .find(|name| !taken.contains(name))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
