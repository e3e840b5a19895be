//! Which column of which supertable a field has, and what must change for that. Pure.
//!
//! A field has the column of its own name. Where that one holds another type, because another device
//! was first, its values go beside it: to the column of a field called `<field>_<type>`, and so on.
//! What does not fit into a supertable (4,096 columns, 65,531 bytes a row) goes to further ones,
//! `<table>_2`, `_3`: with the same tags, and `ts` as their only fixed column.

use std::collections::{BTreeSet, HashSet};

use super::{
    known::Parts,
    names::{self, FIXED, TAG_BYTES_MAX},
    supertable::{COLUMNS_MAX, ROW_BYTES_MAX, Supertable, TEXT_BYTES_MAX, column_bytes, sql_type},
};
use crate::sample::{Field, FieldType, Schema};

/// Width of a text column to start with.
const TEXT_BYTES_START: usize = 64;
/// Columns tried beside one of another type; each of them would have to be of a wrong type, too.
const BESIDE_MAX: usize = 4;

/// The names a schema has upstream.
pub(super) struct TableLayout {
    pub(super) supertable: String,
    pub(super) tags: Vec<String>,
    /// Of each field, the column of its own name.
    pub(super) fields: Vec<String>,
}

impl TableLayout {
    pub(super) fn new(schema: &Schema) -> Self {
        let (tags, fields) = names::columns(schema);
        Self {
            supertable: names::supertable(schema),
            tags,
            fields,
        }
    }
}

/// What the rows of a batch need of one field's column.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Need {
    /// Whether any row has a value.
    pub(super) used: bool,
    /// The longest text, at most [`TEXT_BYTES_MAX`]; 0 for other types.
    pub(super) text_bytes: usize,
}

/// Where a field's values go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ColumnPlace {
    /// Position among the supertables of the schema.
    pub(super) part: usize,
    pub(super) column: String,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Verb {
    AddTag,
    AddColumn,
    Widen,
}

/// One thing that ALTER STABLE has to do, or CREATE STABLE if there is no such part yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct SchemaChange {
    pub(super) part: usize,
    pub(super) name: String,
    pub(super) verb: Verb,
    /// The column or tag as it is to be.
    pub(super) definition: String,
}

/// What there is and what is missing.
#[derive(Debug, Default)]
pub(super) struct SchemaPlan {
    /// One entry a field: where its values go, once all changes are made; `None` if none are needed or
    /// there is no column to be had.
    pub(super) places: Vec<Option<ColumnPlace>>,
    pub(super) changes: Vec<SchemaChange>,
    /// Used fields that go beside the column of their own name, with the type that one has.
    pub(super) beside: Vec<(usize, String)>,
    /// Used fields for which a supertable that is there has no room, each with its position.
    pub(super) no_room: Vec<(usize, usize)>,
}

/// What is left of a supertable.
struct Room {
    columns: usize,
    bytes: usize,
}

impl Room {
    fn of(table: &Supertable, layout: &TableLayout) -> Self {
        let missing = layout.tags.iter().filter(|tag| !table.tags.contains(*tag));
        let tags = table.tags.len() + missing.count();
        Self {
            columns: COLUMNS_MAX.saturating_sub(table.columns.len() + tags),
            bytes: ROW_BYTES_MAX.saturating_sub(table.row_bytes()),
        }
    }

    fn new(layout: &TableLayout, part: usize) -> Self {
        let fixed = fixed(part);
        Self {
            columns: COLUMNS_MAX.saturating_sub(fixed.len() + layout.tags.len()),
            // None of them takes more than eight bytes.
            bytes: ROW_BYTES_MAX - 8 * fixed.len(),
        }
    }

    fn take(&mut self, columns: usize, bytes: usize) -> bool {
        let fits = columns <= self.columns && bytes <= self.bytes;
        if fits {
            self.columns -= columns;
            self.bytes -= bytes;
        }
        fits
    }
}

/// The columns that a part has whatever the schema.
pub(super) fn fixed(part: usize) -> &'static [&'static str] {
    if part == 0 { &FIXED } else { &FIXED[..1] }
}

/// Places the fields of `schema`; in a table that is not there yet all of them, otherwise those that
/// `needs` uses. Parts in `full` get no more columns, whatever we think of their room.
pub(super) fn plan(
    schema: &Schema,
    layout: &TableLayout,
    needs: &[Need],
    parts: &Parts,
    full: &BTreeSet<usize>,
) -> SchemaPlan {
    let mut plan = SchemaPlan::default();
    for (part, (_, table)) in parts.iter().enumerate() {
        for tag in layout.tags.iter().filter(|tag| !table.tags.contains(*tag)) {
            plan.changes.push(SchemaChange {
                part,
                name: tag.clone(),
                verb: Verb::AddTag,
                definition: tag_definition(tag),
            });
        }
    }
    let mut rooms: Vec<Room> = parts
        .iter()
        .map(|(_, table)| Room::of(table, layout))
        .collect();
    if rooms.is_empty() {
        rooms.push(Room::new(layout, 0));
    }
    let columns = columns(schema, layout, parts);
    for (index, (field, need)) in schema.fields.iter().zip(needs).enumerate() {
        let place = match &columns[index] {
            Some(column) if need.used || parts.is_empty() => {
                if need.used
                    && *column != layout.fields[index]
                    && let Some(found) = found(parts, &layout.fields[index])
                {
                    plan.beside.push((index, found.to_owned()));
                }
                Some(place(
                    field, index, column, *need, parts, full, layout, &mut rooms, &mut plan,
                ))
            }
            _ => None,
        };
        plan.places.push(place);
    }
    plan
}

/// The column of each field, used or not, so that it does not depend on the batch.
fn columns(schema: &Schema, layout: &TableLayout, parts: &Parts) -> Vec<Option<String>> {
    let own: HashSet<&str> = layout.fields.iter().map(String::as_str).collect();
    let mut beside: HashSet<String> = HashSet::new();
    let mut columns = Vec::with_capacity(schema.fields.len());
    for (field, own_column) in schema.fields.iter().zip(&layout.fields) {
        let is_free =
            |column: &str| found(parts, column).is_none_or(|word| word == sql_type(field.kind));
        let (mut name, mut column) = (field.name.clone(), own_column.clone());
        let mut tries = 0;
        while !is_free(&column) && tries < BESIDE_MAX {
            tries += 1;
            loop {
                name = format!("{name}_{}", field.kind);
                column = names::field(&name, &layout.tags);
                if !own.contains(&*column) && !beside.contains(&column) {
                    break;
                }
            }
        }
        let is_free = is_free(&column);
        if tries > 0 && is_free {
            beside.insert(column.clone());
        }
        columns.push(is_free.then_some(column));
    }
    columns
}

/// The type of the column called `column`, in whichever part; "a tag" if it is one.
fn found<'a>(parts: &'a Parts, column: &str) -> Option<&'a str> {
    let is_tag = |(_, table): &(String, Supertable)| table.tags.contains(column);
    if parts.iter().any(is_tag) {
        return Some("a tag");
    }
    let mut found = parts
        .iter()
        .filter_map(|(_, table)| table.columns.get(column));
    found.next().map(|(kind, _)| kind.word())
}

#[allow(clippy::too_many_arguments)]
fn place(
    field: &Field,
    index: usize,
    column: &str,
    need: Need,
    parts: &Parts,
    full: &BTreeSet<usize>,
    layout: &TableLayout,
    rooms: &mut Vec<Room>,
    plan: &mut SchemaPlan,
) -> ColumnPlace {
    let at = |part: usize| ColumnPlace {
        part,
        column: column.to_owned(),
    };
    let width = |part: usize| {
        let (_, table) = parts.get(part)?;
        table.columns.get(column).map(|(_, bytes)| *bytes)
    };
    let change = |part, verb, text_bytes| SchemaChange {
        part,
        name: column.to_owned(),
        verb,
        definition: column_definition(column, field.kind, text_bytes),
    };
    let is_text = field.kind == FieldType::Text;
    let enough = |bytes: usize| !is_text || bytes >= need.text_bytes;
    if let Some(part) = (0..parts.len()).find(|part| width(*part).is_some_and(enough)) {
        return at(part);
    }
    // A quarter more than was needed, so that a text that grows is not widened for every byte of it.
    let generous = (need.text_bytes + need.text_bytes / 4).next_multiple_of(64);
    let generous = generous.clamp(TEXT_BYTES_START, TEXT_BYTES_MAX);
    let widths = if is_text {
        [generous, need.text_bytes.max(1)]
    } else {
        [0, 0]
    };
    for (part, room) in rooms.iter_mut().enumerate() {
        let (columns, old_bytes) = match width(part) {
            Some(bytes) => (0, column_bytes(field.kind, bytes)),
            None => (1, 0),
        };
        for text_bytes in widths {
            let more = column_bytes(field.kind, text_bytes).saturating_sub(old_bytes);
            if !full.contains(&part) && room.take(columns, more) {
                let verb = if columns == 0 {
                    Verb::Widen
                } else {
                    Verb::AddColumn
                };
                plan.changes.push(change(part, verb, text_bytes));
                return at(part);
            }
        }
        if part < parts.len() {
            plan.no_room.push((index, part));
        }
    }
    // One that is empty takes any column.
    let part = rooms.len();
    let mut room = Room::new(layout, part);
    let fits = |text_bytes: &usize| room.take(1, column_bytes(field.kind, *text_bytes));
    let text_bytes = widths.into_iter().find(fits).unwrap_or(widths[1]);
    rooms.push(room);
    plan.changes.push(change(part, Verb::AddColumn, text_bytes));
    at(part)
}

fn column_definition(name: &str, kind: FieldType, text_bytes: usize) -> String {
    let word = sql_type(kind);
    if kind == FieldType::Text {
        format!("`{name}` {word}({text_bytes})")
    } else {
        format!("`{name}` {word}")
    }
}

pub(super) fn tag_definition(name: &str) -> String {
    format!("`{name}` VARCHAR({TAG_BYTES_MAX})")
}
