//! Names of tables and columns: which are taken, and how they are written.

use std::collections::HashSet;

use rusqlite::Connection;

pub(super) use crate::upstream::quoted;

/// Columns every table of a schema has, in order.
pub(super) const FIXED_COLUMNS: [&str; 5] = ["stream", "ts", "is_train", "fold", "source_ts"];

/// Names that tables and views have, in lower case.
pub(super) fn names_taken(connection: &Connection) -> rusqlite::Result<HashSet<String>> {
    let mut taken = HashSet::new();
    let mut statement = connection.prepare(
        "SELECT name FROM sqlite_master
         UNION SELECT table_name FROM dunlin_schemas UNION SELECT view_name FROM dunlin_schemas",
    )?;
    for name in statement.query_map([], |row| row.get::<_, String>(0))? {
        taken.insert(name?.to_ascii_lowercase());
    }
    Ok(taken)
}

/// `wish`, or the first of `wish_2`, `wish_3`, ... that `taken` (lower case) does not hold.
pub(super) fn free_name(wish: &str, taken: &HashSet<String>) -> String {
    let wish = if wish.is_empty() { "unnamed" } else { wish };
    let others = (2u64..).map(|number| format!("{wish}_{number}"));
    std::iter::once(wish.to_owned())
        .chain(others)
        .find(|name| !taken.contains(&name.to_ascii_lowercase()))
        .unwrap_or_default()
}
