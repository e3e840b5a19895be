//! What the database holds of a schema: read, never changed.

use std::collections::{BTreeMap, HashMap, HashSet};

use tokio_postgres::types::Type;

use super::{
    connection::{Connection, Failure},
    names::{literal, quoted},
};

/// The tables about the tables.
pub(super) const BOOKS: [&str; 5] = [
    "dunlin_format",
    "dunlin_schemas",
    "dunlin_parts",
    "dunlin_fields",
    "dunlin_streams",
];

/// What there is of one schema.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    /// Its tables with their views, the first one first; none: it was never met.
    pub(super) tables: Vec<(String, String)>,
    /// The tags of any of its streams, in order of appearance.
    pub(super) tags: Vec<String>,
    pub(super) fields: BTreeMap<String, KnownField>,
    /// Tables and views that are there, by name.
    pub(super) relations: HashMap<String, Relation>,
    /// Names that new tables and views cannot have.
    pub(super) taken: HashSet<String>,
}

/// A field that some device has had a column made for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct KnownField {
    pub(super) column: String,
    /// The word for the type it was made for.
    pub(super) kind: String,
    pub(super) noted: Noted,
}

/// What is written down about a column.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Noted {
    /// The field whose values of another type it takes; empty: it is a field of its own; `None`: nobody knows.
    pub(super) second_of: Option<String>,
    pub(super) unit: Option<String>,
    /// What payloads call the field, where that is longer than its name.
    pub(super) name: Option<String>,
    /// Nanoseconds UTC.
    pub(super) since: Option<i64>,
}

/// A table or a view.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Relation {
    pub(super) oid: u32,
    /// Names of its columns with words for their types, in order.
    pub(super) columns: Vec<(String, String)>,
    /// Columns it has ever had: those that were dropped count against the server's bound.
    pub(super) columns_ever: usize,
    pub(super) comment: Option<String>,
}

impl Relation {
    /// The word for the type of `column`.
    pub(super) fn kind_of(&self, column: &str) -> Option<&str> {
        let mut columns = self.columns.iter();
        columns
            .find(|(name, _)| name == column)
            .map(|(_, kind)| &**kind)
    }
}

/// The word for a type of the server's: ours where it is one of ours.
fn word(server_type: &str) -> &str {
    match server_type {
        "float8" => "f64",
        "float4" => "f32",
        "int8" => "i64",
        other => other,
    }
}

/// Reads what there is of `schema`, which must hold no NUL; `with_taken`: also which names are taken.
pub(super) async fn look(
    connection: &Connection,
    namespace: &str,
    schema: &str,
    with_taken: bool,
) -> Result<State, Failure> {
    let space = quoted(namespace);
    let of_schema = [(&schema as _, Type::TEXT)];
    let tables = format!(
        "SELECT table_name, view_name, tags, 0::bigint AS number FROM {space}.dunlin_schemas
         WHERE schema = $1 UNION ALL
         SELECT table_name, view_name, NULL, number FROM {space}.dunlin_parts WHERE schema = $1
         ORDER BY number"
    );
    let fields = format!(
        "SELECT field, column_name, type, second_of, unit, name, since FROM {space}.dunlin_fields
         WHERE schema = $1"
    );
    let relations = format!(
        "WITH names AS (
             SELECT table_name AS name FROM {space}.dunlin_schemas WHERE schema = $1
             UNION SELECT view_name FROM {space}.dunlin_schemas WHERE schema = $1
             UNION SELECT table_name FROM {space}.dunlin_parts WHERE schema = $1
             UNION SELECT view_name FROM {space}.dunlin_parts WHERE schema = $1
         )
         SELECT c.relname::text, c.oid, a.attname::text, a.attisdropped, coalesce(t.typname::text, ''),
                obj_description(c.oid, 'pg_class')
         FROM names AS n
         JOIN pg_class AS c ON c.relname = n.name AND c.relnamespace = {}::regnamespace
         JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0
         LEFT JOIN pg_type AS t ON t.oid = a.atttypid
         ORDER BY c.oid, a.attnum",
        literal(&space)
    );
    let taken = format!(
        "SELECT relname::text FROM pg_class WHERE relnamespace = {space_text}::regnamespace
         UNION SELECT typname::text FROM pg_type WHERE typnamespace = {space_text}::regnamespace
         UNION SELECT table_name FROM {space}.dunlin_schemas
         UNION SELECT view_name FROM {space}.dunlin_schemas
         UNION SELECT table_name FROM {space}.dunlin_parts
         UNION SELECT view_name FROM {space}.dunlin_parts",
        space_text = literal(&space)
    );
    let (tables, fields, relations, taken) = tokio::try_join!(
        connection.query(&tables, &of_schema),
        connection.query(&fields, &of_schema),
        connection.query(&relations, &of_schema),
        async {
            if with_taken {
                connection.query(&taken, &[]).await
            } else {
                Ok(Vec::new())
            }
        },
    )?;
    let mut state = State::default();
    for row in &tables {
        let names = (Connection::get(row, 0)?, Connection::get(row, 1)?);
        state.tables.push(names);
        if let Some(tags) = Connection::get(row, 2)? {
            state.tags = tags;
        }
    }
    for row in &fields {
        let field = KnownField {
            column: Connection::get(row, 1)?,
            kind: Connection::get(row, 2)?,
            noted: Noted {
                second_of: Connection::get(row, 3)?,
                unit: Connection::get(row, 4)?,
                name: Connection::get(row, 5)?,
                since: Connection::get(row, 6)?,
            },
        };
        state.fields.insert(Connection::get(row, 0)?, field);
    }
    for row in &relations {
        let relation: &mut Relation = state.relations.entry(Connection::get(row, 0)?).or_default();
        relation.oid = Connection::get(row, 1)?;
        relation.comment = Connection::get(row, 5)?;
        relation.columns_ever += 1;
        if !Connection::get::<bool>(row, 3)? {
            let kind = word(Connection::get(row, 4)?).to_owned();
            relation.columns.push((Connection::get(row, 2)?, kind));
        }
    }
    for row in &taken {
        state.taken.insert(Connection::get(row, 0)?);
    }
    Ok(state)
}
