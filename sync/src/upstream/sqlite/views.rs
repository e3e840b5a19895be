//! The views: a readable time and the tags as columns beside the values, and columns that are one field as
//! one.
//!
//! Their text depends on nothing but what is in the file, so that agents with different settings that
//! share it do not make them anew in turns.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Write as _,
};

use rusqlite::{Connection, OptionalExtension};

use super::names::{FIXED_COLUMNS, quoted};

/// Columns of a table, a view or a result, in a default build of `SQLite`.
const COLUMNS_MAX: usize = 2_000;

/// Second columns of second columns, by different devices.
const SECONDS_IN_A_ROW_MAX: usize = 8;

/// One table of a schema with its view and the columns beyond the fixed ones.
pub(super) struct ViewPart {
    pub(super) table: String,
    pub(super) view: String,
    pub(super) columns: Vec<String>,
}

/// Makes the views of a schema as they must be. The first shows what is in the further tables, too, as
/// far as there is room, and columns that are one field as one; each further table has a view of its own as
/// well, column by column.
pub(super) fn ensure(
    connection: &Connection,
    schema: &str,
    parts: &[ViewPart],
) -> rusqlite::Result<()> {
    let tags = tags_of(connection, schema)?;
    let joined = Joined::find(connection, schema, parts)?;
    for (number, part) in parts.iter().enumerate() {
        let mut sql = select(part, &tags);
        let mut joins = String::new();
        if number == 0 {
            let used = columns(&mut sql, tags.len(), parts, &joined);
            for other in used {
                let _infallible = write!(
                    joins,
                    " LEFT JOIN {} AS t{other} ON t{other}.stream = t.stream AND t{other}.ts = t.ts",
                    quoted(&parts[other].table)
                );
            }
        } else {
            sql.push_str(", t.*");
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

/// Appends the columns of the first view to `sql`; the further tables that these are in.
fn columns(sql: &mut String, tags: usize, parts: &[ViewPart], joined: &Joined) -> BTreeSet<usize> {
    let mut used = BTreeSet::new();
    let mut count = 1 + tags + FIXED_COLUMNS.len();
    if joined.seconds.is_empty() {
        sql.push_str(", t.*");
    } else {
        for column in FIXED_COLUMNS {
            let _infallible = write!(sql, ", t.{column}");
        }
    }
    for (number, part) in parts.iter().enumerate() {
        for column in &part.columns {
            let lower = column.to_ascii_lowercase();
            if joined.hidden.contains(&lower) {
                continue;
            }
            if number > 0 && count == COLUMNS_MAX {
                return used;
            }
            count += 1;
            if number == 0 && joined.seconds.is_empty() {
                continue;
            }
            let mut names = vec![named(number, column)];
            used.extend(Some(number).filter(|number| *number > 0));
            for (beside, second) in joined.seconds.get(&lower).into_iter().flatten() {
                names.push(named(*beside, second));
                used.extend(Some(*beside).filter(|number| *number > 0));
            }
            let _infallible = match &names[..] {
                [only] => write!(sql, ", {only}"),
                all => write!(sql, ", coalesce({}) AS {}", all.join(", "), quoted(column)),
            };
        }
    }
    used
}

/// A column of the table with this number.
fn named(number: usize, column: &str) -> String {
    match number {
        0 => format!("t.{}", quoted(column)),
        _ => format!("t{number}.{}", quoted(column)),
    }
}

/// Columns of a schema, by their names in lower case, that are one field with others.
#[derive(Default)]
struct Joined {
    /// Those that take values of a field, with their tables, by the column of that field.
    seconds: BTreeMap<String, Vec<(usize, String)>>,
    /// All of them.
    hidden: BTreeSet<String>,
}

impl Joined {
    fn find(connection: &Connection, schema: &str, parts: &[ViewPart]) -> rusqlite::Result<Self> {
        let mut statement = connection.prepare_cached(
            "SELECT field, column_name, coalesce(second_of, '') FROM dunlin_fields
             WHERE schema = ?1 ORDER BY field",
        )?;
        let fields = statement.query_map([schema], |row| {
            Ok((row.get(0)?, (row.get(1)?, row.get(2)?)))
        })?;
        let fields: BTreeMap<String, (String, String)> = fields.collect::<Result<_, _>>()?;
        if fields.values().all(|(_, second_of)| second_of.is_empty()) {
            return Ok(Self::default());
        }
        let of_part = parts.iter().enumerate().flat_map(|(number, part)| {
            let columns = part.columns.iter();
            columns.map(move |column| (column.to_ascii_lowercase(), (number, column)))
        });
        let places: HashMap<String, (usize, &String)> = of_part.collect();
        let mut joined = Self::default();
        for (column, second_of) in fields.values().filter(|(_, of)| !of.is_empty()) {
            let Some(first) = first_of(&fields, second_of) else {
                continue;
            };
            let (first, second) = (first.to_ascii_lowercase(), column.to_ascii_lowercase());
            if first != second
                && places.contains_key(&first)
                && let Some((number, column)) = places.get(&second)
            {
                let beside = (*number, (*column).clone());
                joined.seconds.entry(first).or_default().push(beside);
                joined.hidden.insert(second);
            }
        }
        Ok(joined)
    }
}

/// The column of the field at the beginning of a row of second ones.
fn first_of<'f>(fields: &'f BTreeMap<String, (String, String)>, field: &str) -> Option<&'f str> {
    let mut found = fields.get(field)?;
    for _ in 0..SECONDS_IN_A_ROW_MAX {
        if found.1.is_empty() {
            return Some(&found.0);
        }
        found = fields.get(&found.1)?;
    }
    None
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
