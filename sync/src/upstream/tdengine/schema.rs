//! The supertables of a schema made ready for a batch.
//!
//! A raw block loses, without a word, whatever its table has no column for. So every column is known
//! from DESCRIBE before rows go out, and what is known is looked up again every ten seconds, after
//! every reconnect, and at once where something was refused. What remains: values of a column that
//! somebody drops, until the next look.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fmt::Write as _,
    sync::Arc,
};

use super::{
    client::{Client, Failure},
    codes,
    known::Parts,
    names::{self, FIXED},
    plan::{
        ColumnPlace, Need, SchemaChange, SchemaPlan, TableLayout, Verb, fixed, plan, tag_definition,
    },
    supertable::{ColumnType, FIXED_TYPES, ROW_BYTES_MAX, Supertable},
};
use crate::{
    sample::Schema,
    upstream::{UpstreamError, told::Told},
};

/// Looks at the tables, each followed by changes, before they are said to keep changing.
const ROUNDS_MAX: usize = 8;

/// The supertables of a schema, as far as the server lets us have them.
pub(super) struct Ready {
    parts: Arc<Parts>,
    places: Vec<Option<ColumnPlace>>,
    /// The server's words about what it would not make, by part and name.
    refusals: HashMap<(usize, String), String>,
}

impl Ready {
    /// Why no row can be written at all, and what would help.
    pub(super) fn refusal(&self, layout: &TableLayout) -> Option<String> {
        if self.parts.is_empty() {
            return Some(
                self.words(0, FIXED[0])
                    .unwrap_or_else(|| format!("table `{}` cannot be made", layout.supertable)),
            );
        }
        self.parts.iter().enumerate().find_map(|(part, (name, table))| {
            for (column, wanted) in fixed(part).iter().zip(&FIXED_TYPES) {
                let found = table.columns.get(*column).map(|(found, _)| found);
                if found != Some(wanted) {
                    return Some(format!(
                        "table `{name}` is not one of ours: column `{column}` is {}, not {}; rename \
                         that table",
                        found.map_or("missing", ColumnType::word),
                        wanted.word()
                    ));
                }
            }
            let missing = layout.tags.iter().find(|tag| !table.tags.contains(*tag));
            missing.map(|tag| {
                self.words(part, tag)
                    .unwrap_or_else(|| format!("table `{name}` has no tag `{tag}`"))
            })
        })
    }

    /// Where the values of field number `field` go, or why nowhere.
    pub(super) fn place(&self, field: usize, column: &str) -> Result<&ColumnPlace, String> {
        let Some(place) = self.places.get(field).and_then(Option::as_ref) else {
            return Err(format!(
                "column `{column}` and those beside it are of other types; rename or drop one of them"
            ));
        };
        let refused = self.words(place.part, &place.column);
        refused.map_or(Ok(place), Err)
    }

    /// The supertables in order.
    pub(super) fn parts(&self) -> &Arc<Parts> {
        &self.parts
    }

    fn words(&self, part: usize, name: &str) -> Option<String> {
        self.refusals.get(&(part, name.to_owned())).cloned()
    }
}

/// Creates supertables, missing columns and tags, and widens texts, where needed.
pub(super) async fn ready(
    client: &Client,
    schema: &Schema,
    layout: &TableLayout,
    needs: &[Need],
    told: &Told,
) -> Result<Ready, UpstreamError> {
    let known = &client.known;
    if let Some(parts) = known.parts(&layout.supertable) {
        let plan = plan(schema, layout, needs, &parts, &BTreeSet::new());
        if plan.changes.is_empty() {
            return Ok(Ready {
                parts,
                places: plan.places,
                refusals: HashMap::new(),
            });
        }
    }

    let _one_at_a_time = known.changing.lock().await;
    let mut attempt = Attempt::default();
    for _ in 0..ROUNDS_MAX {
        let parts = describe_parts(client, schema, layout, needs).await?;
        let plan = plan(schema, layout, needs, &parts, &attempt.full);
        let is_refused = |change: &&SchemaChange| attempt.tried.contains(*change);
        let pending: Vec<SchemaChange> = plan
            .changes
            .iter()
            .filter(|change| !is_refused(change))
            .cloned()
            .collect();
        if pending.is_empty() {
            tell(schema, layout, &plan, &parts, told);
            let parts = Arc::new(parts);
            if attempt.refusals.is_empty() {
                known.learn_parts(&layout.supertable, &parts);
            } else {
                known.forget_parts(&layout.supertable);
            }
            return Ok(Ready {
                parts,
                places: plan.places,
                refusals: attempt.refusals,
            });
        }
        attempt
            .make(client, schema, layout, &parts, &pending)
            .await?;
    }
    Err(UpstreamError::Unavailable(format!(
        "table `{}` keeps changing",
        layout.supertable
    )))
}

/// What was refused while making the tables of one schema ready.
#[derive(Default)]
struct Attempt {
    tried: HashSet<SchemaChange>,
    refusals: HashMap<(usize, String), String>,
    /// Parts that the server calls full.
    full: BTreeSet<usize>,
}

impl Attempt {
    /// Does `changes`; what is refused is noted.
    async fn make(
        &mut self,
        client: &Client,
        schema: &Schema,
        layout: &TableLayout,
        parts: &Parts,
        changes: &[SchemaChange],
    ) -> Result<(), UpstreamError> {
        for change in changes {
            if change.part < parts.len() {
                let (verb, (name, table)) = (verb(change.verb), &parts[change.part]);
                if change.verb == Verb::AddTag && table.columns.contains_key(&change.name) {
                    let (tag, reason) = (&change.name, "has a column of that name; rename one");
                    self.refuse(change, format!("no tag `{tag}`: table `{name}` {reason}"));
                    continue;
                }
                let sql = format!(
                    "ALTER STABLE {}.`{name}` {verb} {}",
                    client.database(),
                    change.definition
                );
                let done = client.execute(sql).await;
                self.note(done, change)?;
            }
        }
        let next = parts.len();
        let columns: Vec<&SchemaChange> = changes
            .iter()
            .filter(|change| change.part == next)
            .collect();
        if next > 0 && columns.is_empty() {
            return Ok(());
        }
        let name = part_name(client, schema, next).await?;
        let create = |columns: &[&SchemaChange]| {
            let name = format!("{}.`{name}`", client.database());
            client.execute(create_statement(&name, next, columns, layout))
        };
        let Some(words) = words_of_refusal(create(&columns).await)? else {
            return Ok(());
        };
        // One column may be too much: begin with as few as there can be, and add the others singly.
        let few = columns.iter().take(usize::from(next > 0)).copied();
        let few: Vec<&SchemaChange> = few.collect();
        if words_of_refusal(create(&few).await)?.is_some() {
            let fixed = (next, FIXED[0].to_owned());
            self.refusals.insert(fixed, words.clone());
            for change in columns {
                self.refuse(change, words.clone());
            }
        }
        Ok(())
    }

    /// The next look shows what was done; a change that was refused is not tried again.
    fn note(
        &mut self,
        done: Result<(), Failure>,
        change: &SchemaChange,
    ) -> Result<(), UpstreamError> {
        match done {
            Err(Failure::Refused(refusal)) if codes::is_there_already(refusal.code) => Ok(()),
            Err(Failure::Refused(refusal))
                if codes::is_about_room(refusal.code) && change.verb != Verb::AddTag =>
            {
                self.full.insert(change.part);
                Ok(())
            }
            done => {
                if let Some(words) = words_of_refusal(done)? {
                    self.refuse(change, words);
                }
                Ok(())
            }
        }
    }

    fn refuse(&mut self, change: &SchemaChange, words: String) {
        self.refusals
            .insert((change.part, change.name.clone()), words);
        self.tried.insert(change.clone());
    }
}

/// Says once what has gone to another place than people look for it.
fn tell(schema: &Schema, layout: &TableLayout, plan: &SchemaPlan, parts: &Parts, told: &Told) {
    for (field, found) in &plan.beside {
        let (name, kind) = (&schema.fields[*field].name, schema.fields[*field].kind);
        if let Some(Some(place)) = plan.places.get(*field)
            && told.is_first(format!("beside {} {name} {kind}", layout.supertable))
        {
            tracing::warn!(
                table = layout.supertable,
                field = name,
                "column `{}` is {found} upstream, made for another device; our {kind} values go to \
                 column `{}` beside it",
                layout.fields[*field],
                place.column
            );
        }
    }
    for (field, part) in &plan.no_room {
        let (table, described) = &parts[*part];
        if let Some(Some(place)) = plan.places.get(*field)
            && told.is_first(format!("full {table}"))
        {
            let columns = described.columns.len() + described.tags.len();
            tracing::warn!(
                table,
                "no room for column `{}`: {} of the {ROW_BYTES_MAX} bytes of a row are used up by \
                 {columns} columns and tags; what does not fit goes to a further table",
                place.column,
                described.row_bytes()
            );
        }
    }
}

const fn verb(verb: Verb) -> &'static str {
    match verb {
        Verb::AddTag => "ADD TAG",
        Verb::AddColumn => "ADD COLUMN",
        Verb::Widen => "MODIFY COLUMN",
    }
}

/// The supertables of `schema` that are there, as far as they are needed.
async fn describe_parts(
    client: &Client,
    schema: &Schema,
    layout: &TableLayout,
    needs: &[Need],
) -> Result<Parts, UpstreamError> {
    let mut parts = Parts::new();
    loop {
        let name = part_name(client, schema, parts.len()).await?;
        match describe(client, &name).await? {
            Some(table) => parts.push((name, table)),
            None => return Ok(parts),
        }
        let plan = plan(schema, layout, needs, &parts, &BTreeSet::new());
        if plan
            .changes
            .iter()
            .all(|change| change.verb == Verb::AddTag)
        {
            return Ok(parts);
        }
    }
}

/// The name of a part: another one where a schema of our name for it has come first.
async fn part_name(client: &Client, schema: &Schema, part: usize) -> Result<String, UpstreamError> {
    if part == 0 {
        return Ok(names::supertable(schema));
    }
    let name = names::part(schema, part);
    let table = describe(client, &name).await?;
    let is_a_schemas = table.is_some_and(|table| table.columns.contains_key(FIXED[1]));
    Ok(if is_a_schemas {
        names::part_beside(schema, part)
    } else {
        name
    })
}

/// The supertable called `name`; `None` if there is none.
pub(super) async fn describe(
    client: &Client,
    name: &str,
) -> Result<Option<Supertable>, UpstreamError> {
    let sql = format!("DESCRIBE {}.`{name}`", client.database());
    match client.query(sql).await {
        Ok(records) => Ok(Some(Supertable::described(&records))),
        Err(Failure::Refused(refusal)) if codes::is_no_such_table(refusal.code) => Ok(None),
        Err(failure) => Err(failure.into()),
    }
}

/// The server's words if it will not do this until somebody helps; any other failure ends the write.
fn words_of_refusal(done: Result<(), Failure>) -> Result<Option<String>, UpstreamError> {
    match done {
        Ok(()) => Ok(None),
        Err(Failure::Refused(refusal)) if codes::is_about_the_statement(refusal.code) => {
            Ok(Some(refusal.text))
        }
        Err(failure) => Err(failure.into()),
    }
}

fn create_statement(
    name: &str,
    part: usize,
    columns: &[&SchemaChange],
    layout: &TableLayout,
) -> String {
    let mut sql = format!("CREATE STABLE IF NOT EXISTS {name} (");
    for (number, (column, kind)) in fixed(part).iter().zip(&FIXED_TYPES).enumerate() {
        let comma = if number == 0 { "" } else { ", " };
        let _infallible = write!(sql, "{comma}`{column}` {}", kind.word());
    }
    for column in columns {
        sql.push_str(", ");
        sql.push_str(&column.definition);
    }
    let tags: Vec<String> = layout.tags.iter().map(|tag| tag_definition(tag)).collect();
    let _infallible = write!(sql, ") TAGS ({})", tags.join(", "));
    sql
}

#[cfg(test)]
mod tests;
