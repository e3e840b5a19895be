//! Tables, columns and views made as a schema needs them; where its rows go then.

use std::{collections::HashMap, sync::Arc};

use tokio_postgres::types::Type;

use super::{
    books,
    choice::{Choice, Part, Place, Refusal, choose, fixed_columns, sql_type},
    codes,
    connection::{Connection, Failure},
    names::quoted,
    state::{State, look},
    views::{self, View},
};
use crate::{sample::Schema, upstream::told::Told};

/// Words for the types of the fixed columns, and how they are made.
const FIXED_KINDS: [(&str, &str); 5] = [
    ("text", "text COLLATE \"C\" NOT NULL"),
    ("i64", "bigint NOT NULL"),
    ("bool", "boolean"),
    ("int2", "smallint"),
    ("i64", "bigint"),
];

/// Where the rows of one schema go.
pub(super) struct TablePlan {
    /// The schema this was made for.
    pub(super) schema: Arc<Schema>,
    /// One entry a table.
    pub(super) parts: Vec<PartPlan>,
    /// By field: why no value of it can be stored; and whether somebody could change that.
    pub(super) refused: HashMap<usize, Refusal>,
    /// The first table and what it was when this was made; `None`: it was made for this.
    pub(super) oid: Option<u32>,
    /// A table that was there once was gone, and was made again.
    pub(super) was_gone: bool,
}

impl TablePlan {
    /// Whether it was made for `schema` as it is now.
    pub(super) fn is_for(&self, schema: &Arc<Schema>) -> bool {
        Arc::ptr_eq(&self.schema, schema) || self.schema.is_stored_as(schema)
    }
}

/// Where a part of the fields goes.
pub(super) struct PartPlan {
    /// Quoted, with its namespace.
    pub(super) table: String,
    /// Fields with their columns and words for the types of these.
    pub(super) fields: Vec<(usize, String, String)>,
}

/// Makes tables, columns and views of `schema` as they must be. Its name must hold no NUL.
pub(super) async fn prepare(
    connection: &Connection,
    namespace: &str,
    schema: &Arc<Schema>,
    told: &Told,
) -> Result<TablePlan, Failure> {
    let state = look(connection, namespace, &schema.name, false).await?;
    let choice = choose(schema, &state, told);
    if !choice.changes_tables() && wrong_views(namespace, &choice, &state).is_empty() {
        return plan(namespace, schema, choice, &state);
    }
    let changing = async {
        let begin = books::begin_changes(connection.timeout());
        connection.batch(&begin).await?;
        change(connection, namespace, schema, told).await
    };
    match changing.await {
        Ok(plan) => {
            connection.batch("COMMIT").await?;
            Ok(plan)
        }
        Err(failure) => {
            if !matches!(failure, Failure::Broken(_)) {
                connection.batch("ROLLBACK").await?;
            }
            Err(failure)
        }
    }
}

/// Looks again, where nobody else can change anything, and makes what is missing.
async fn change(
    connection: &Connection,
    namespace: &str,
    schema: &Arc<Schema>,
    told: &Told,
) -> Result<TablePlan, Failure> {
    let state = look(connection, namespace, &schema.name, true).await?;
    let choice = choose(schema, &state, told);
    check_fixed(&choice, &state)?;
    note(connection, namespace, schema, &choice).await?;
    let mut sql = String::new();
    for (number, part) in choice.parts.iter().enumerate() {
        sql.push_str(&definition(namespace, number, part));
    }
    if !sql.is_empty() {
        connection.batch(&sql).await?;
    }
    for view in wrong_views(namespace, &choice, &state) {
        let there = state.relations.contains_key(&view.name);
        let extends = view.extends(state.relations.get(&view.name));
        make_view(connection, namespace, &view, there, extends, told).await?;
    }
    let was_gone = choice.parts.iter().take(choice.parts_known);
    let was_gone = was_gone.clone().any(|part| part.oid.is_none());
    let plan = plan(namespace, schema, choice, &state)?;
    Ok(TablePlan { was_gone, ..plan })
}

/// Views that are not as they are to be.
fn wrong_views(namespace: &str, choice: &Choice, state: &State) -> Vec<View> {
    let views = choice.parts.iter().enumerate().map(|(number, part)| {
        let there = state.relations.get(&part.view);
        let (parts, tags) = (&choice.parts, &choice.tags);
        views::view(namespace, number, parts, tags, &choice.fields, there)
    });
    views
        .filter(|view| !view.is_made(state.relations.get(&view.name)))
        .collect()
}

/// Somebody else's table under a name of ours.
fn check_fixed(choice: &Choice, state: &State) -> Result<(), Failure> {
    for (number, part) in choice.parts.iter().enumerate() {
        let Some(there) = state.relations.get(&part.table) else {
            continue;
        };
        for (name, (kind, _)) in fixed_columns(number).iter().zip(FIXED_KINDS) {
            let found = there.kind_of(name);
            if found != Some(kind) {
                let found = found.unwrap_or("missing");
                return Err(Failure::Refused {
                    code: "42804".into(),
                    words: format!(
                        "table {}: its column \"{name}\" is {found}, not {kind}: it is not as we made \
                         it; rename or drop it",
                        part.table
                    ),
                });
            }
        }
    }
    Ok(())
}

/// Writes down what is new.
async fn note(
    connection: &Connection,
    namespace: &str,
    schema: &Schema,
    choice: &Choice,
) -> Result<(), Failure> {
    let space = quoted(namespace);
    let name = &schema.name;
    let first = &choice.parts[0];
    if choice.parts_known == 0 || choice.has_new_tags {
        let sql = format!(
            "INSERT INTO {space}.dunlin_schemas (schema, table_name, view_name, tags)
             VALUES ($1, $2, $3, $4) ON CONFLICT (schema) DO UPDATE SET tags = excluded.tags"
        );
        let parameters = [
            (name as _, Type::TEXT),
            (&first.table as _, Type::TEXT),
            (&first.view as _, Type::TEXT),
            (&choice.tags as _, Type::TEXT_ARRAY),
        ];
        connection.execute(&sql, &parameters).await?;
    }
    for (number, part) in choice
        .parts
        .iter()
        .enumerate()
        .skip(choice.parts_known.max(1))
    {
        let sql = format!("INSERT INTO {space}.dunlin_parts VALUES ($1, $2, $3, $4)");
        let number = number as i64 + 1;
        let parameters = [
            (name as _, Type::TEXT),
            (&number as _, Type::INT8),
            (&part.table as _, Type::TEXT),
            (&part.view as _, Type::TEXT),
        ];
        connection.execute(&sql, &parameters).await?;
    }
    if choice.notes.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "INSERT INTO {space}.dunlin_fields (schema, field, column_name, type, second_of, unit, name, since)
         SELECT $1, * FROM unnest($2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (schema, field) DO UPDATE SET second_of = excluded.second_of,
             unit = excluded.unit, name = excluded.name, since = excluded.since"
    );
    let fields: Vec<&String> = choice.notes.keys().collect();
    let notes = choice.notes.values();
    let columns: Vec<&String> = notes.clone().map(|field| &field.column).collect();
    let kinds: Vec<&String> = notes.clone().map(|field| &field.kind).collect();
    let second_of: Vec<_> = notes.clone().map(|field| &field.noted.second_of).collect();
    let units: Vec<_> = notes.clone().map(|field| &field.noted.unit).collect();
    let names: Vec<_> = notes.clone().map(|field| &field.noted.name).collect();
    let since: Vec<_> = notes.map(|field| field.noted.since).collect();
    let parameters = [
        (name as _, Type::TEXT),
        (&fields as _, Type::TEXT_ARRAY),
        (&columns as _, Type::TEXT_ARRAY),
        (&kinds as _, Type::TEXT_ARRAY),
        (&second_of as _, Type::TEXT_ARRAY),
        (&units as _, Type::TEXT_ARRAY),
        (&names as _, Type::TEXT_ARRAY),
        (&since as _, Type::INT8_ARRAY),
    ];
    connection.execute(&sql, &parameters).await?;
    Ok(())
}

/// What makes a table, or adds the columns it lacks; empty if there is nothing to do.
fn definition(namespace: &str, number: usize, part: &Part) -> String {
    let table = format!("{}.{}", quoted(namespace), quoted(&part.table));
    let column = |(name, kind): &(String, String)| format!("{} {}", quoted(name), sql_type(kind));
    if part.oid.is_some() {
        let new = part.columns.len() - part.columns_new;
        let added = part.columns[new..].iter();
        let added: Vec<_> = added
            .map(|new| format!("ADD COLUMN {}", column(new)))
            .collect();
        if added.is_empty() {
            return String::new();
        }
        return format!("ALTER TABLE {table} {};\n", added.join(", "));
    }
    let fixed = fixed_columns(number).iter().zip(FIXED_KINDS);
    let fixed = fixed.map(|(name, (_, kind))| format!("{name} {kind}"));
    let columns: Vec<String> = fixed.chain(part.columns.iter().map(column)).collect();
    format!(
        "CREATE TABLE {table} ({}, PRIMARY KEY (stream, ts));\n",
        columns.join(", ")
    )
}

/// Makes one view, or leaves it as it is where others have built on it: it holds no rows up.
async fn make_view(
    connection: &Connection,
    namespace: &str,
    view: &View,
    there: bool,
    extends: bool,
    told: &Told,
) -> Result<(), Failure> {
    let name = format!("{}.{}", quoted(namespace), quoted(&view.name));
    let comment = format!("COMMENT ON VIEW {name} IS '{}'", view.comment);
    connection.batch("SAVEPOINT the_view").await?;
    let mut made = Err(Failure::Broken(String::new()));
    if extends {
        let sql = format!(
            "CREATE OR REPLACE VIEW {name} AS {}; {comment}",
            view.select
        );
        made = connection.batch(&sql).await;
    }
    let is_to_replace = |failure: &Failure| there && !failure.is(codes::LOCKED);
    if made.as_ref().is_err_and(is_to_replace) {
        // Whoever was let in before is let in again.
        connection.batch("ROLLBACK TO SAVEPOINT the_view").await?;
        made = async {
            let grants = grants_on(connection, &name).await?;
            let sql = format!(
                "DROP VIEW {name}; CREATE VIEW {name} AS {}; {comment}{grants}",
                view.select
            );
            connection.batch(&sql).await
        }
        .await;
    }
    match made {
        Ok(()) => Ok(()),
        Err(broken @ Failure::Broken(_)) => Err(broken),
        Err(refused) => {
            connection.batch("ROLLBACK TO SAVEPOINT the_view").await?;
            if told.is_first(format!("view {name}")) {
                tracing::warn!(
                    view = %name,
                    error = %refused.words(),
                    "this view stays as it is and does not show what is new; drop what was built on it, \
                     and it is made anew with the next new column"
                );
            }
            Ok(())
        }
    }
}

async fn grants_on(connection: &Connection, view: &str) -> Result<String, Failure> {
    let rows = connection
        .query(
            "SELECT format('; GRANT %s ON %s TO %s', acl.privilege_type, $1,
                 CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(acl.grantee)) END)
             FROM pg_class AS c, aclexplode(c.relacl) AS acl
             WHERE c.oid = to_regclass($1) AND acl.grantee <> c.relowner",
            &[(&view, Type::TEXT)],
        )
        .await?;
    let grants = rows.iter().map(|row| Connection::get::<String>(row, 0));
    grants.collect()
}

fn plan(
    namespace: &str,
    schema: &Arc<Schema>,
    choice: Choice,
    state: &State,
) -> Result<TablePlan, Failure> {
    check_fixed(&choice, state)?;
    let mut parts: Vec<PartPlan> = choice
        .parts
        .iter()
        .map(|part| PartPlan {
            table: format!("{}.{}", quoted(namespace), quoted(&part.table)),
            fields: Vec::new(),
        })
        .collect();
    let mut refused = HashMap::new();
    for (field, place) in choice.places.into_iter().enumerate() {
        match place {
            Ok(Place { part, column, kind }) => parts[part].fields.push((field, column, kind)),
            Err(refusal) => {
                refused.insert(field, refusal);
            }
        }
    }
    Ok(TablePlan {
        schema: Arc::clone(schema),
        parts,
        refused,
        oid: choice.parts[0].oid,
        was_gone: false,
    })
}
