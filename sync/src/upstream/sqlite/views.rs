//! The views: a readable time and the tags as columns beside the values.
//!
//! Their text depends on nothing but what is in the file, so that agents with different settings that
//! share it do not make them anew in turns.

use std::fmt::Write as _;

use rusqlite::{Connection, OptionalExtension};

use super::names::{FIXED_COLUMNS, quoted};

/// Columns of a table, a view or a result, in a default build of `SQLite`.
const COLUMNS_MAX: usize = 2_000;

/// One table of a schema with its view and the columns beyond the fixed ones.
pub(super) struct ViewPart {
    pub(super) table: String,
    pub(super) view: String,
    pub(super) columns: Vec<String>,
}

/// Makes the views of a schema as they must be. The first shows what is in the further tables, too, as
/// far as there is room; each of these has a view of its own as well.
pub(super) fn ensure(
    connection: &Connection,
    schema: &str,
    parts: &[ViewPart],
) -> rusqlite::Result<()> {
    let tags = tags_of(connection, schema)?;
    for (number, part) in parts.iter().enumerate() {
        let mut columns = 1 + tags.len() + FIXED_COLUMNS.len() + part.columns.len();
        let mut sql = select(part, &tags);
        let mut joins = String::new();
        let further = parts.iter().enumerate().skip(number + 1);
        for (other, further) in further.filter(|_| number == 0) {
            let shown = COLUMNS_MAX
                .saturating_sub(columns)
                .min(further.columns.len());
            if shown == 0 {
                break;
            }
            columns += shown;
            for column in &further.columns[..shown] {
                let _infallible = write!(sql, ", t{other}.{}", quoted(column));
            }
            let _infallible = write!(
                joins,
                " LEFT JOIN {} AS t{other} ON t{other}.stream = t.stream AND t{other}.ts = t.ts",
                quoted(&further.table)
            );
        }
        let _infallible = write!(
            sql,
            " FROM {} AS t JOIN dunlin_streams AS s ON s.stream = t.stream{joins}",
            quoted(&part.table)
        );
        create(connection, &part.view, &sql)?;
    }
    Ok(())
}

fn select(part: &ViewPart, tags: &[String]) -> String {
    let mut sql = format!(
        "CREATE VIEW {} AS SELECT \
         strftime('%Y-%m-%dT%H:%M:%fZ', t.ts / 1000000000.0, 'unixepoch') AS time",
        quoted(&part.view)
    );
    for tag in tags {
        let _infallible = write!(
            sql,
            ", (SELECT value FROM json_each(s.tags) WHERE key = '{}') AS {}",
            tag.replace('\'', "''"),
            quoted(tag)
        );
    }
    sql.push_str(", t.*");
    sql
}

/// The tags that any stream of `schema` has: the device first, then by name.
fn tags_of(connection: &Connection, schema: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare_cached(
        "SELECT DISTINCT tag.key FROM dunlin_streams AS s, json_each(s.tags) AS tag
         WHERE s.schema = ?1 ORDER BY tag.key <> 'device', tag.key",
    )?;
    let tags = statement.query_map([schema], |row| row.get::<_, String>(0))?;
    let tags: Vec<String> = tags.collect::<Result<_, _>>()?;
    Ok(tags.into_iter().filter(|tag| !tag.contains('\0')).collect())
}

fn create(connection: &Connection, view: &str, sql: &str) -> rusqlite::Result<()> {
    let there: Option<String> = connection
        .query_row(
            "SELECT sql FROM sqlite_master WHERE type = 'view' AND name = ?1",
            [view],
            |row| row.get(0),
        )
        .optional()?;
    if there.as_deref() != Some(sql) {
        connection.execute_batch(&format!("DROP VIEW IF EXISTS {}; {sql}", quoted(view)))?;
    }
    Ok(())
}
