//! Which table and column each field of a schema has, chosen at its first sight. Pure.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{
    names::{FIXED_COLUMNS, KEY_COLUMNS, SYSTEM_COLUMNS, free_name},
    state::{BOOKS, KnownField, Noted, State},
};
use crate::{
    sample::{Field, FieldType, Origin, Schema},
    second_field::second_field,
    upstream::told::Told,
};

/// The server takes 1,600 columns, among them those that were dropped.
const COLUMNS_MAX: usize = 1_500;
/// A row must fit into a page of 8 KiB, with long texts stored elsewhere.
const ROW_BYTES_MAX: usize = 7_600;
/// Columns tried for a field; each would have to hold another type.
const BESIDE_MAX: usize = 5;

/// Why a field has no column.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) reason: String,
    /// Whether a change of the tables would help; otherwise nothing ever will.
    pub(super) can_heal: bool,
}

/// One table of a schema as it is to be.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Part {
    pub(super) table: String,
    pub(super) view: String,
    /// `None`: it is to be made.
    pub(super) oid: Option<u32>,
    /// Columns beyond the fixed ones with words for their types, in order.
    pub(super) columns: Vec<(String, String)>,
    /// How many of these, at the end, are to be added.
    pub(super) columns_new: usize,
    columns_ever: usize,
    row_bytes: usize,
}

/// Where a field's values go.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Place {
    pub(super) part: usize,
    pub(super) column: String,
    /// The word for the type of the column.
    pub(super) kind: String,
}

/// The columns of one schema as they are to be.
pub(super) struct Choice {
    pub(super) parts: Vec<Part>,
    /// By position of the field.
    pub(super) places: Vec<Result<Place, Refusal>>,
    /// Fields of which something new is to be written down.
    pub(super) notes: BTreeMap<String, KnownField>,
    /// All fields, with what is new.
    pub(super) fields: BTreeMap<String, KnownField>,
    /// Tags to be written down, if there are new ones.
    pub(super) tags: Vec<String>,
    pub(super) has_new_tags: bool,
    /// Tables that are known already; the names of the others are to be written down.
    pub(super) parts_known: usize,
    part_of: HashMap<String, usize>,
    taken: HashSet<String>,
    names_taken: HashSet<String>,
}

/// Chooses. Without `state.taken` the names of new tables and views are no more than wishes.
pub(super) fn choose(schema: &Schema, state: &State, told: &Told) -> Choice {
    let mut choice = Choice::new(schema, state);
    let mut beside = HashSet::new();
    for position in 0..schema.fields.len() {
        let place = choice.place_field(schema, position, &mut beside, told);
        choice.places.push(place);
    }
    choice
}

impl Choice {
    fn new(schema: &Schema, state: &State) -> Self {
        let mut choice = Self {
            parts: Vec::new(),
            places: Vec::new(),
            notes: BTreeMap::new(),
            fields: state.fields.clone(),
            tags: state.tags.clone(),
            has_new_tags: false,
            parts_known: state.tables.len(),
            part_of: HashMap::new(),
            taken: FIXED_COLUMNS
                .iter()
                .chain(&SYSTEM_COLUMNS)
                .map(|name| (*name).to_owned())
                .collect(),
            names_taken: state.taken.clone(),
        };
        for tag in &schema.tag_names {
            // Nothing that is stored can be called so.
            let tag = tag.replace('\0', "_");
            if !choice.tags.contains(&tag) {
                choice.tags.push(tag);
                choice.has_new_tags = true;
            }
        }
        for (table, view) in &state.tables {
            choice.add_known(state, table.clone(), view.clone());
        }
        if choice.parts.is_empty() {
            let wish = match &*schema.name {
                name if BOOKS.contains(&name) => format!("t_{name}"),
                name => name.to_owned(),
            };
            choice.add_part(&wish);
        }
        let columns = choice.fields.values().map(|field| field.column.clone());
        choice.taken.extend(columns);
        choice
    }

    fn add_known(&mut self, state: &State, table: String, view: String) {
        let number = self.parts.len();
        let fixed = fixed_columns(number);
        let mut part = Part {
            table,
            view,
            oid: None,
            columns: Vec::new(),
            columns_new: 0,
            columns_ever: fixed.len(),
            row_bytes: row_bytes(number),
        };
        if let Some(relation) = state.relations.get(&part.table) {
            part.oid = Some(relation.oid);
            part.columns_ever = relation.columns_ever;
            let columns = relation.columns.iter();
            let columns = columns.filter(|(name, _)| !fixed.contains(&&**name));
            part.columns = columns.cloned().collect();
            let bytes = part.columns.iter().map(|(_, kind)| column_bytes(kind));
            part.row_bytes += bytes.sum::<usize>();
        }
        for (column, _) in &part.columns {
            self.part_of.insert(column.clone(), number);
            self.taken.insert(column.clone());
        }
        self.parts.push(part);
    }

    fn add_part(&mut self, wish: &str) -> usize {
        let number = self.parts.len();
        let table = free_name(wish, &self.names_taken);
        self.names_taken.insert(table.clone());
        let view = free_name(&format!("{table}_tagged"), &self.names_taken);
        self.names_taken.insert(view.clone());
        self.parts.push(Part {
            table,
            view,
            oid: None,
            columns: Vec::new(),
            columns_new: 0,
            columns_ever: fixed_columns(number).len(),
            row_bytes: row_bytes(number),
        });
        number
    }

    /// The word for the type that the column of a known field has.
    fn kind_of(&self, known: &KnownField) -> String {
        let part = self
            .part_of
            .get(&known.column)
            .map(|part| &self.parts[*part]);
        let mut columns = part.into_iter().flat_map(|part| &part.columns);
        let there = columns.find(|(name, _)| *name == known.column);
        there.map_or(&known.kind, |(_, kind)| kind).clone()
    }

    fn place_field(
        &mut self,
        schema: &Schema,
        position: usize,
        beside: &mut HashSet<String>,
        told: &Told,
    ) -> Result<Place, Refusal> {
        let (Field { name: field, kind }, origin) =
            (&schema.fields[position], schema.origin(position));
        let kind = *kind;
        let mut second_of = schema.first_of(position);
        if field.contains('\0') {
            return Err(Refusal {
                reason: format!("the field name {field:?} holds a NUL"),
                can_heal: false,
            });
        }
        let mut name = field.clone();
        let mut first_found = None;
        for _ in 0..BESIDE_MAX {
            let known = match self.fields.get(&name) {
                Some(known) => {
                    let found = self.kind_of(known);
                    if !fits(kind, &found) {
                        first_found.get_or_insert(found);
                        second_of = Some(field);
                        name = next_beside(schema, beside, name, kind);
                        continue;
                    }
                    KnownField {
                        kind: found,
                        ..known.clone()
                    }
                }
                None => self.new_field(&name, kind),
            };
            self.note(&name, origin, second_of, &known);
            let KnownField {
                column, kind: held, ..
            } = known;
            if let Some(found) = first_found {
                beside.insert(name);
                let table = &self.parts[0].table;
                if told.is_first(format!("beside {table} {field} {kind}")) {
                    tracing::warn!(
                        table,
                        field,
                        "the column of this field holds {found}, made for another device; our \
                         {kind} values go to column `{column}` beside it"
                    );
                }
            }
            return Ok(Place {
                part: self.place(&column, &held),
                column,
                kind: held,
            });
        }
        Err(Refusal {
            reason: format!(
                "the field {field:?} is {kind}, but its column and those beside it hold other types; \
                 rename or drop one of them"
            ),
            can_heal: true,
        })
    }

    /// A field that is met for the first time.
    fn new_field(&mut self, name: &str, kind: FieldType) -> KnownField {
        let column = free_name(name, &self.taken);
        self.taken.insert(column.clone());
        let known = KnownField {
            column,
            kind: kind.name().to_owned(),
            noted: Noted::default(),
        };
        self.fields.insert(name.to_owned(), known.clone());
        self.notes.insert(name.to_owned(), known.clone());
        known
    }

    /// Writes down what is known of the column of a field, beside what others know. One that is a field of its
    /// own for any device is so for good: two fields in one column of the view would be worse than one field in
    /// two.
    fn note(&mut self, field: &str, origin: &Origin, second_of: Option<&str>, known: &KnownField) {
        let noted = &known.noted;
        let second_of = match (second_of, &noted.second_of) {
            (Some(""), _) => Some(String::new()),
            (ours, None) => ours.map(str::to_owned),
            (_, theirs) => theirs.clone(),
        };
        let without_nul = |text: &Option<String>| text.clone().filter(|text| !text.contains('\0'));
        let new = Noted {
            second_of,
            // Whoever declares it knows it.
            unit: without_nul(&origin.unit).or_else(|| noted.unit.clone()),
            name: noted
                .name
                .clone()
                .or_else(|| without_nul(&origin.long_name)),
            since: noted.since.or(origin.since_ns),
        };
        if new == *noted {
            return;
        }
        if let Some(there) = self.fields.get_mut(field) {
            there.noted = new;
            self.notes.insert(field.to_owned(), there.clone());
        }
    }

    /// The table that has `column`, or is to get it: the first with room, or a further one.
    fn place(&mut self, column: &str, kind: &str) -> usize {
        if let Some(part) = self.part_of.get(column) {
            return *part;
        }
        let bytes = column_bytes(kind);
        let has_room = |part: &Part| {
            part.columns_ever < COLUMNS_MAX && part.row_bytes + bytes <= ROW_BYTES_MAX
        };
        let with_room = self.parts.iter().position(has_room);
        let number = with_room.unwrap_or_else(|| {
            let wish = format!("{}_{}", self.parts[0].table, self.parts.len() + 1);
            self.add_part(&wish)
        });
        let part = &mut self.parts[number];
        part.columns.push((column.to_owned(), kind.to_owned()));
        part.columns_new += 1;
        part.columns_ever += 1;
        part.row_bytes += bytes;
        self.part_of.insert(column.to_owned(), number);
        number
    }

    /// Whether tables or what is written down must change (views aside).
    pub(super) fn changes_tables(&self) -> bool {
        self.has_new_tags
            || !self.notes.is_empty()
            || self.parts.len() > self.parts_known
            || self
                .parts
                .iter()
                .any(|part| part.oid.is_none() || part.columns_new > 0)
    }
}

/// The next name to try where the column of field `name` holds another type.
fn next_beside(
    schema: &Schema,
    beside: &HashSet<String>,
    mut name: String,
    kind: FieldType,
) -> String {
    loop {
        name = second_field(&name, kind, 1);
        if schema.field(&name).is_none() && !beside.contains(&name) {
            return name;
        }
    }
}

/// The columns of a table that are none of fields.
pub(super) fn fixed_columns(part: usize) -> &'static [&'static str] {
    if part == 0 {
        &FIXED_COLUMNS
    } else {
        &FIXED_COLUMNS[..KEY_COLUMNS]
    }
}

/// Whether every value of type `kind` is kept whole in a column of type `old`.
fn fits(kind: FieldType, old: &str) -> bool {
    old == kind.name() || kind == FieldType::F32 && old == FieldType::F64.name()
}

/// What a value takes in a row at most, with what aligns it; long texts are a pointer.
fn column_bytes(kind: &str) -> usize {
    match kind {
        "text" => 24,
        _ => 8,
    }
}

fn row_bytes(part: usize) -> usize {
    // The header with its bit a column; the name of the stream may be long.
    let header = 24 + COLUMNS_MAX / 8;
    header + 24 + 8 * fixed_columns(part).len()
}

/// The server's name for the type that a word of ours stands for.
pub(super) fn sql_type(word: &str) -> &str {
    match word {
        "f64" => "double precision",
        "f32" => "real",
        "i64" => "bigint",
        "bool" => "boolean",
        _ => "text",
    }
}

#[cfg(test)]
mod tests;
