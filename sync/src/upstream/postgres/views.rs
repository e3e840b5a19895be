//! The views: a readable time and the tags as columns beside the values, and columns that are one field as
//! one. Pure.
//!
//! Their text depends on nothing but what is in the database, so that agents with different settings that
//! share it do not make them anew in turns. Columns stay in the order in which they came: a view that only
//! grows is replaced in place, and whatever others have built on it stays.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt::Write as _,
};

use super::{
    choice::{Part, fixed_columns},
    names::{free_name, literal, quoted},
    state::{KnownField, Relation},
};

/// Columns of a view.
const COLUMNS_MAX: usize = 1_600;
/// Second columns of second columns, by different devices.
const SECONDS_IN_A_ROW_MAX: usize = 8;

/// A view as it is to be.
pub(super) struct View {
    pub(super) name: String,
    columns: Vec<String>,
    /// From SELECT on.
    pub(super) select: String,
    /// Kept as the view's comment: tells whether it is as it is to be.
    pub(super) comment: String,
}

impl View {
    pub(super) fn is_made(&self, there: Option<&Relation>) -> bool {
        there.is_some_and(|view| view.comment.as_ref() == Some(&self.comment))
    }

    /// Whether it only adds columns to what is there.
    pub(super) fn extends(&self, there: Option<&Relation>) -> bool {
        there.is_none_or(|view| {
            let old = view.columns.iter().map(|(name, _)| name);
            old.eq(self.columns.iter().take(view.columns.len()))
        })
    }
}

/// The view of the table numbered `number`. The first shows what is in the further tables, too, as far as
/// there is room, and columns that are one field as one; those of further tables show these column by column.
pub(super) fn view(
    namespace: &str,
    number: usize,
    parts: &[Part],
    tags: &[String],
    fields: &BTreeMap<String, KnownField>,
    there: Option<&Relation>,
) -> View {
    let part = &parts[number];
    let mut taken = HashSet::from(["time".to_owned()]);
    let fixed = fixed_columns(number);
    taken.extend(fixed.iter().map(|name| (*name).to_owned()));
    let time = "'epoch'::timestamptz + (t.ts / 1000) * interval '1 microsecond'";
    let mut columns = vec![("time".to_owned(), time.to_owned())];
    let room = COLUMNS_MAX.saturating_sub(1 + fixed.len());
    for tag in in_order(tags).into_iter().take(room) {
        let name = free_name(tag, &taken);
        taken.insert(name.clone());
        columns.push((name, format!("s.tags ->> {}", literal(tag))));
    }
    let own = fixed
        .iter()
        .map(|name| ((*name).to_owned(), format!("t.{name}")));
    columns.extend(own);
    let mut used = BTreeSet::new();
    let shown = if number == 0 {
        shown(parts, &Joined::find(fields, parts))
    } else {
        let columns = part.columns.iter();
        let alone = columns.map(|(name, _)| (name.clone(), named(0, name), BTreeSet::new()));
        alone.collect()
    };
    for (name, expression, tables) in shown {
        if columns.len() >= COLUMNS_MAX {
            break;
        }
        let name = free_name(&name, &taken);
        taken.insert(name.clone());
        columns.push((name, expression));
        used.extend(tables);
    }
    if let Some(there) = there {
        let places = there.columns.iter().enumerate();
        let places: HashMap<&str, usize> = places.map(|(at, (name, _))| (&**name, at)).collect();
        columns.sort_by_key(|(name, _)| places.get(&**name).copied().unwrap_or(usize::MAX));
    }
    let listed: Vec<String> = columns
        .iter()
        .map(|(name, expression)| format!("{expression} AS {}", quoted(name)))
        .collect();
    let space = quoted(namespace);
    let mut select = format!(
        "SELECT {} FROM {space}.{} AS t JOIN {space}.dunlin_streams AS s ON s.stream = t.stream",
        listed.join(", "),
        quoted(&part.table)
    );
    for other in used {
        let _infallible = write!(
            select,
            " LEFT JOIN {space}.{} AS t{other} ON t{other}.stream = t.stream AND t{other}.ts = t.ts",
            quoted(&parts[other].table)
        );
    }
    let comment = format!("made by dunlin, {:08x}", crc32c::crc32c(select.as_bytes()));
    View {
        name: part.view.clone(),
        columns: columns.into_iter().map(|(name, _)| name).collect(),
        select,
        comment,
    }
}

/// The device first, then by name.
fn in_order(tags: &[String]) -> Vec<&String> {
    let mut tags: Vec<&String> = tags.iter().collect();
    tags.sort_by_key(|tag| (*tag != "device", *tag));
    tags
}

/// Columns of the first view for those of fields, with the further tables that each is in.
fn shown(parts: &[Part], joined: &Joined) -> Vec<(String, String, BTreeSet<usize>)> {
    let mut shown = Vec::new();
    for (number, part) in parts.iter().enumerate() {
        for (column, kind) in &part.columns {
            if joined.hidden.contains(column) {
                continue;
            }
            let mut tables = BTreeSet::from([number]);
            let mut all = vec![(named(number, column), &**kind)];
            for (beside, second, kind) in joined.seconds.get(column).into_iter().flatten() {
                tables.insert(*beside);
                all.push((named(*beside, second), kind));
            }
            tables.remove(&0);
            shown.push((column.clone(), as_one(&all), tables));
        }
    }
    shown
}

/// Columns that are one field as one: of their type, as numbers, or as texts if not all are numbers.
fn as_one(columns: &[(String, &str)]) -> String {
    let (first, kind) = &columns[0];
    if columns.len() == 1 {
        return first.clone();
    }
    let is_number = |kind: &str| matches!(kind, "f64" | "f32" | "i64");
    let cast = if columns.iter().all(|(_, other)| other == kind) {
        ""
    } else if columns.iter().all(|(_, kind)| is_number(kind)) {
        "::double precision"
    } else {
        "::text"
    };
    let columns = columns.iter().map(|(name, _)| format!("{name}{cast}"));
    format!("coalesce({})", columns.collect::<Vec<_>>().join(", "))
}

/// A column of the table with this number.
fn named(number: usize, column: &str) -> String {
    match number {
        0 => format!("t.{}", quoted(column)),
        _ => format!("t{number}.{}", quoted(column)),
    }
}

/// Columns of a schema that are one field with others.
#[derive(Default)]
struct Joined {
    /// Those that take values of a field, with their tables and types, by the column of that field.
    seconds: BTreeMap<String, Vec<(usize, String, String)>>,
    /// All of them.
    hidden: BTreeSet<String>,
}

impl Joined {
    fn find(fields: &BTreeMap<String, KnownField>, parts: &[Part]) -> Self {
        let of_part = parts.iter().enumerate().flat_map(|(number, part)| {
            let columns = part.columns.iter();
            columns.map(move |(column, kind)| (&**column, (number, kind)))
        });
        let places: HashMap<&str, (usize, &String)> = of_part.collect();
        let mut joined = Self::default();
        for field in fields.values() {
            let second_of = field.noted.second_of.as_deref();
            let Some(first) = second_of
                .filter(|of| !of.is_empty())
                .and_then(|of| first_of(fields, of))
            else {
                continue;
            };
            let second = &field.column;
            if first != second
                && places.contains_key(first)
                && let Some((number, kind)) = places.get(&**second)
            {
                let beside = (*number, second.clone(), (*kind).clone());
                joined
                    .seconds
                    .entry(first.to_owned())
                    .or_default()
                    .push(beside);
                joined.hidden.insert(second.clone());
            }
        }
        joined
    }
}

/// The column of the field at the beginning of a row of second ones.
fn first_of<'f>(fields: &'f BTreeMap<String, KnownField>, field: &str) -> Option<&'f str> {
    let mut found = fields.get(field)?;
    for _ in 0..SECONDS_IN_A_ROW_MAX {
        match found.noted.second_of.as_deref() {
            None | Some("") => return Some(&found.column),
            Some(of) => found = fields.get(of)?,
        }
    }
    None
}

#[cfg(test)]
mod tests;
