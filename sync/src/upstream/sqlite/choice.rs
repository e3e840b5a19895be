//! Which table and column each field of a schema has, chosen at its first sight.

use std::collections::{HashMap, HashSet};

use rusqlite::{Connection, OptionalExtension, params};

use super::{
    names::{FIXED_COLUMNS, free_name, names_taken, quoted},
    views::ViewPart,
};
use crate::{
    sample::{Field, FieldType, Origin, Schema},
    upstream::told::Told,
};

/// Columns that identify a row: all that a further table has beside those of fields.
const KEY_COLUMNS: usize = 2;
/// `SQLite` takes 2,000 columns; the view needs some for the tags.
const COLUMNS_MAX: usize = 1_900;
/// Columns tried for a field; each would have to hold another type.
const BESIDE_MAX: usize = 5;

/// Created with the first further table; a file without one is as earlier versions made it.
const PARTS: &str = "
CREATE TABLE IF NOT EXISTS dunlin_parts (
    schema TEXT NOT NULL, number INTEGER NOT NULL, table_name TEXT NOT NULL,
    view_name TEXT NOT NULL, PRIMARY KEY (schema, number)
) WITHOUT ROWID;
";

/// Why a field has no column.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) reason: String,
    /// Whether a change of the tables would help; otherwise nothing ever will.
    pub(super) can_heal: bool,
}

/// The columns of one schema while they are chosen.
pub(super) struct Choice<'a> {
    connection: &'a Connection,
    schema: &'a Schema,
    pub(super) parts: Vec<ViewPart>,
    /// Columns that are not there yet, one entry a table.
    new: Vec<NewColumns>,
    /// Of each column of a field, in lower case, the table.
    part_of: HashMap<String, usize>,
    /// Names of columns, in lower case, that have been given away.
    taken: HashSet<String>,
    /// Names of fields that have a column beside that of their own name.
    beside: HashSet<String>,
}

/// A field that some device has had a column made for.
struct KnownField {
    column: String,
    kind: String,
    noted: Noted,
}

/// What is written down about a column.
#[derive(Default, PartialEq)]
struct Noted {
    /// The field whose values of another type it takes; empty: it is a field of its own; `None`: nobody knows.
    second_of: Option<String>,
    unit: Option<String>,
    /// What payloads call the field, where that is longer than its name.
    name: Option<String>,
    /// Nanoseconds UTC.
    since: Option<i64>,
}

/// What a table is to get.
struct NewColumns {
    is_table_new: bool,
    columns: Vec<(String, FieldType)>,
}

impl<'a> Choice<'a> {
    pub(super) fn new(
        connection: &'a Connection,
        schema: &'a Schema,
        table: String,
        view: String,
    ) -> rusqlite::Result<Self> {
        let mut names = vec![(table, view)];
        names.extend(further_of(connection, &schema.name)?);
        let mut choice = Self {
            connection,
            schema,
            parts: Vec::new(),
            new: Vec::new(),
            part_of: HashMap::new(),
            taken: FIXED_COLUMNS.map(str::to_owned).into(),
            beside: HashSet::new(),
        };
        for (number, (table, view)) in names.into_iter().enumerate() {
            let columns = columns_of(connection, &table)?;
            choice.new.push(NewColumns {
                is_table_new: columns.is_empty(),
                columns: Vec::new(),
            });
            let columns = columns.into_iter().skip(fixed_columns(number));
            let columns: Vec<String> = columns.collect();
            for column in &columns {
                choice.part_of.insert(column.to_ascii_lowercase(), number);
            }
            choice.parts.push(ViewPart {
                table,
                view,
                columns,
            });
        }
        choice.taken.extend(choice.part_of.keys().cloned());
        let mut statement =
            connection.prepare("SELECT column_name FROM dunlin_fields WHERE schema = ?1")?;
        for name in statement.query_map([&schema.name], |row| row.get::<_, String>(0))? {
            choice.taken.insert(name?.to_ascii_lowercase());
        }
        Ok(choice)
    }

    /// Columns chosen that a table which is there lacks.
    pub(super) fn columns_to_add(&self) -> usize {
        let grown = self.new.iter().filter(|new| !new.is_table_new);
        grown.map(|new| new.columns.len()).sum()
    }

    /// The column of the field at this position with its table, chosen and created at its first sight.
    pub(super) fn column(
        &mut self,
        position: usize,
        told: &Told,
    ) -> rusqlite::Result<Result<(usize, String), Refusal>> {
        let schema = self.schema;
        let (Field { name: field, kind }, origin) =
            (&schema.fields[position], schema.origin(position));
        let kind = *kind;
        let mut second_of = schema.first_of(position);
        if field.contains('\0') {
            return Ok(Err(Refusal {
                reason: format!("the field name {field:?} holds a NUL"),
                can_heal: false,
            }));
        }
        let mut name = field.clone();
        let mut first_found = None;
        for _ in 0..BESIDE_MAX {
            let (column, noted) = match self.known(&name)? {
                Some(known) if fits(kind, &known.kind) => (known.column, known.noted),
                Some(known) => {
                    first_found.get_or_insert(known.kind);
                    second_of = Some(field);
                    name = self.beside(name, kind);
                    continue;
                }
                None => (self.choose(&name, kind)?, Noted::default()),
            };
            self.note(&name, origin, second_of, &noted)?;
            if let Some(found) = first_found {
                self.beside.insert(name);
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
            let part = self.place(&column, kind)?;
            return Ok(Ok((part, column)));
        }
        Ok(Err(Refusal {
            reason: format!(
                "the field {field:?} is {kind}, but its column and those beside it hold other types; \
                 rename or drop one of them"
            ),
            can_heal: true,
        }))
    }

    /// The next name to try where the column of field `name` holds another type.
    fn beside(&self, name: String, kind: FieldType) -> String {
        let mut name = name;
        loop {
            name = format!("{name}_{kind}");
            if self.schema.field(&name).is_none() && !self.beside.contains(&name) {
                return name;
            }
        }
    }

    /// A field that has been met.
    fn known(&self, field: &str) -> rusqlite::Result<Option<KnownField>> {
        self.connection
            .prepare_cached(
                "SELECT column_name, type, second_of, unit, name, since FROM dunlin_fields
                 WHERE schema = ?1 AND field = ?2",
            )?
            .query_row([&self.schema.name, field], |row| {
                Ok(KnownField {
                    column: row.get(0)?,
                    kind: row.get(1)?,
                    noted: Noted {
                        second_of: row.get(2)?,
                        unit: row.get(3)?,
                        name: row.get(4)?,
                        since: row.get(5)?,
                    },
                })
            })
            .optional()
    }

    /// Writes down what is known of the column of a field, beside what others know. One that is a field of its
    /// own for any device is so for good: two fields in one column of the view would be worse than one field in
    /// two.
    fn note(
        &self,
        field: &str,
        origin: &Origin,
        second_of: Option<&str>,
        noted: &Noted,
    ) -> rusqlite::Result<()> {
        let second_of = match (second_of, &noted.second_of) {
            (Some(""), _) => Some(String::new()),
            (ours, None) => ours.map(str::to_owned),
            (_, theirs) => theirs.clone(),
        };
        let name = origin
            .long_name
            .as_ref()
            .filter(|name| !name.contains('\0'));
        let unit = origin.unit.as_ref().filter(|unit| !unit.contains('\0'));
        let new = Noted {
            second_of,
            // Whoever declares it knows it.
            unit: unit.or(noted.unit.as_ref()).cloned(),
            name: noted.name.as_ref().or(name).cloned(),
            since: noted.since.or(origin.since_ns),
        };
        if new == *noted {
            return Ok(());
        }
        self.connection
            .prepare_cached(
                "UPDATE dunlin_fields SET second_of = ?3, unit = ?4, name = ?5, since = ?6
                 WHERE schema = ?1 AND field = ?2",
            )?
            .execute(params![
                self.schema.name,
                field,
                new.second_of,
                new.unit,
                new.name,
                new.since
            ])?;
        Ok(())
    }

    /// A name for the column of a field that is met for the first time.
    fn choose(&mut self, field: &str, kind: FieldType) -> rusqlite::Result<String> {
        let column = free_name(field, &self.taken);
        self.taken.insert(column.to_ascii_lowercase());
        self.connection
            .prepare_cached(
                "INSERT INTO dunlin_fields (schema, field, column_name, type)
                 VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute([&self.schema.name, field, &column, kind.name()])?;
        Ok(column)
    }

    /// The table that has `column`, or is to get it: the first with room, or a further one.
    fn place(&mut self, column: &str, kind: FieldType) -> rusqlite::Result<usize> {
        let lower = column.to_ascii_lowercase();
        if let Some(part) = self.part_of.get(&lower) {
            return Ok(*part);
        }
        let has_room = |part: &ViewPart| part.columns.len() + FIXED_COLUMNS.len() < COLUMNS_MAX;
        let number = match self.parts.iter().position(has_room) {
            Some(number) => number,
            None => self.add_part()?,
        };
        self.new[number].columns.push((column.to_owned(), kind));
        self.parts[number].columns.push(column.to_owned());
        self.part_of.insert(lower, number);
        Ok(number)
    }

    fn add_part(&mut self) -> rusqlite::Result<usize> {
        self.connection.execute_batch(PARTS)?;
        let number = self.parts.len();
        let mut taken = names_taken(self.connection)?;
        let names = self.parts.iter().flat_map(|part| [&part.table, &part.view]);
        taken.extend(names.map(|name| name.to_ascii_lowercase()));
        let table = free_name(&format!("{}_{}", self.parts[0].table, number + 1), &taken);
        taken.insert(table.to_ascii_lowercase());
        let view = free_name(&format!("{table}_tagged"), &taken);
        self.connection.execute(
            "INSERT INTO dunlin_parts (schema, number, table_name, view_name)
             VALUES (?1, ?2, ?3, ?4)",
            params![self.schema.name, number as i64 + 1, table, view],
        )?;
        self.parts.push(ViewPart {
            table,
            view,
            columns: Vec::new(),
        });
        self.new.push(NewColumns {
            is_table_new: true,
            columns: Vec::new(),
        });
        Ok(number)
    }

    /// Makes what was chosen.
    pub(super) fn apply(&self) -> rusqlite::Result<()> {
        for (number, (part, new)) in self.parts.iter().zip(&self.new).enumerate() {
            let table = quoted(&part.table);
            let columns = new.columns.iter();
            let columns =
                columns.map(|(name, kind)| format!("{} {}", quoted(name), sql_type(*kind)));
            if new.is_table_new {
                let fixed = match number {
                    0 => ", is_train BOOLEAN, fold INTEGER, source_ts INTEGER",
                    _ => "",
                };
                let mut sql = format!(
                    "CREATE TABLE {table} (stream TEXT NOT NULL, ts INTEGER NOT NULL{fixed}"
                );
                for column in columns {
                    sql.push_str(", ");
                    sql.push_str(&column);
                }
                sql.push_str(", PRIMARY KEY (stream, ts)) WITHOUT ROWID");
                self.connection.execute_batch(&sql)?;
                continue;
            }
            for column in columns {
                let sql = format!("ALTER TABLE {table} ADD COLUMN {column}");
                self.connection.execute_batch(&sql)?;
            }
        }
        Ok(())
    }
}

/// How many columns of a table, in front, are none of fields.
pub(super) const fn fixed_columns(part: usize) -> usize {
    if part == 0 {
        FIXED_COLUMNS.len()
    } else {
        KEY_COLUMNS
    }
}

/// Further tables of a schema with their views, in order.
fn further_of(connection: &Connection, schema: &str) -> rusqlite::Result<Vec<(String, String)>> {
    let is_there = "SELECT count(*) FROM sqlite_master WHERE name = 'dunlin_parts'";
    if connection.query_row(is_there, [], |row| row.get::<_, i64>(0))? == 0 {
        return Ok(Vec::new());
    }
    let mut statement = connection.prepare(
        "SELECT table_name, view_name FROM dunlin_parts WHERE schema = ?1 ORDER BY number",
    )?;
    let names = statement.query_map([schema], |row| Ok((row.get(0)?, row.get(1)?)))?;
    names.collect()
}

/// The tables of a schema with their columns, in order; none of a table that is not there.
pub(crate) fn tables_of(
    connection: &Connection,
    schema: &str,
) -> rusqlite::Result<Vec<(String, Vec<String>)>> {
    let sql = "SELECT table_name FROM dunlin_schemas WHERE schema = ?1";
    let mut names = Vec::new();
    for name in connection
        .prepare_cached(sql)?
        .query_map([schema], |row| row.get(0))?
    {
        names.push(name?);
    }
    let further = further_of(connection, schema)?;
    names.extend(further.into_iter().map(|(table, _)| table));
    let tables = names.into_iter().map(|name| {
        let columns = columns_of(connection, &name)?;
        Ok((name, columns))
    });
    tables.collect()
}

/// Whether every value of type `kind` is kept whole in a column made for values of type `old`. (Beyond
/// 2^53 an integer is not, in a column of floats.)
fn fits(kind: FieldType, old: &str) -> bool {
    match kind {
        FieldType::F64 | FieldType::F32 => {
            old == FieldType::F64.name() || old == FieldType::F32.name()
        }
        FieldType::I64 | FieldType::Bool | FieldType::Text => old == kind.name(),
    }
}

const fn sql_type(kind: FieldType) -> &'static str {
    match kind {
        FieldType::F64 | FieldType::F32 => "REAL",
        FieldType::I64 => "INTEGER",
        FieldType::Bool => "BOOLEAN",
        FieldType::Text => "TEXT",
    }
}

/// Names of the columns of `table`, in order.
pub(super) fn columns_of(connection: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare("SELECT name FROM pragma_table_info(?1)")?;
    let names = statement.query_map([table], |row| row.get::<_, String>(0))?;
    names.collect()
}
