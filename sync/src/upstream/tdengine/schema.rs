//! Tables as the server has them, and as a batch needs them.
//!
//! A raw block loses, without a word, whatever its table has no column for. So every column is known
//! from DESCRIBE before rows go out, and what is known is looked up again once a minute and after
//! every reconnect. What remains: values of a column that somebody drops, until the next look.

use std::{
    collections::{HashMap, HashSet},
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{
    client::{Client, Failure},
    codes,
    names::{self, FIXED, TAG_BYTES_MAX},
};
use crate::{
    sample::{FieldType, Schema},
    upstream::UpstreamError,
};

/// Longest text that is stored; longer ones are rejected. A row holds 64 KB in all.
pub(super) const TEXT_BYTES_MAX: usize = 16_384;
/// Width of a text column to start with; it grows in powers of two.
const TEXT_BYTES_START: usize = 128;
const KNOWN_FOR: Duration = Duration::from_mins(1);
const SUBTABLES_MAX: usize = 100_000;

/// What one connection has learnt.
#[derive(Default)]
pub(super) struct Known {
    supertables: Mutex<HashMap<String, (Instant, Arc<Supertable>)>>,
    subtables: Mutex<HashSet<String>>,
    /// One change of tables at a time.
    changing: tokio::sync::Mutex<()>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Known {
    fn supertable(&self, name: &str) -> Option<Arc<Supertable>> {
        let known = locked(&self.supertables);
        let (seen, table) = known.get(name)?;
        (seen.elapsed() < KNOWN_FOR).then(|| Arc::clone(table))
    }

    fn learn(&self, name: &str, table: &Arc<Supertable>) {
        let seen = (Instant::now(), Arc::clone(table));
        locked(&self.supertables).insert(name.to_owned(), seen);
    }

    pub(super) fn has_subtable(&self, name: &str) -> bool {
        locked(&self.subtables).contains(name)
    }

    pub(super) fn learn_subtable(&self, name: &str) {
        let mut known = locked(&self.subtables);
        if known.len() >= SUBTABLES_MAX {
            known.clear();
        }
        if !known.contains(name) {
            known.insert(name.to_owned());
        }
    }

    /// After the server has said that something is not as we remember.
    pub(super) fn forget(&self) {
        locked(&self.supertables).clear();
        locked(&self.subtables).clear();
    }
}

/// The type of a column, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ColumnType {
    Timestamp,
    Fold,
    Value(FieldType),
    Other(String),
}

impl ColumnType {
    fn described(word: &str) -> Self {
        match word {
            "TIMESTAMP" => Self::Timestamp,
            "TINYINT UNSIGNED" => Self::Fold,
            "DOUBLE" => Self::Value(FieldType::F64),
            "FLOAT" => Self::Value(FieldType::F32),
            "BIGINT" => Self::Value(FieldType::I64),
            "BOOL" => Self::Value(FieldType::Bool),
            "VARCHAR" | "BINARY" => Self::Value(FieldType::Text),
            other => Self::Other(other.to_owned()),
        }
    }

    fn word(&self) -> &str {
        match self {
            Self::Timestamp => "TIMESTAMP",
            Self::Fold => "TINYINT UNSIGNED",
            Self::Value(kind) => sql_type(*kind),
            Self::Other(word) => word,
        }
    }
}

const fn sql_type(kind: FieldType) -> &'static str {
    match kind {
        FieldType::F64 => "DOUBLE",
        FieldType::F32 => "FLOAT",
        FieldType::I64 => "BIGINT",
        FieldType::Bool => "BOOL",
        FieldType::Text => "VARCHAR",
    }
}

const FIXED_TYPES: [ColumnType; 4] = [
    ColumnType::Timestamp,
    ColumnType::Value(FieldType::Bool),
    ColumnType::Fold,
    ColumnType::Timestamp,
];

/// A supertable as DESCRIBE shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Supertable {
    /// Type and bytes by name.
    columns: HashMap<String, (ColumnType, usize)>,
    tags: HashSet<String>,
}

impl Supertable {
    fn described(records: &[Vec<String>]) -> Self {
        let mut table = Self::default();
        for record in records {
            let [name, word, bytes, note, ..] = record.as_slice() else {
                continue;
            };
            if note == "TAG" {
                table.tags.insert(name.clone());
            } else {
                let column = (ColumnType::described(word), bytes.parse().unwrap_or(0));
                table.columns.insert(name.clone(), column);
            }
        }
        table
    }
}

/// The names a schema has upstream.
pub(super) struct Layout {
    pub(super) supertable: String,
    pub(super) tags: Vec<String>,
    pub(super) fields: Vec<String>,
}

impl Layout {
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

/// A supertable made ready, as far as the server lets us.
pub(super) struct Ready {
    table: Arc<Supertable>,
    /// The server's words about columns and tags it would not make.
    refusals: HashMap<String, String>,
}

impl Ready {
    /// Why no row can be written at all.
    pub(super) fn refusal(&self, layout: &Layout) -> Option<String> {
        for (name, wanted) in FIXED.iter().zip(&FIXED_TYPES) {
            match self.table.columns.get(*name) {
                Some((found, _)) if found == wanted => {}
                found => {
                    return Some(self.words(name).unwrap_or_else(|| {
                        format!(
                            "table `{}` is not one of ours: column `{name}` is {}, not {}",
                            layout.supertable,
                            found.map_or("missing", |(found, _)| found.word()),
                            wanted.word()
                        )
                    }));
                }
            }
        }
        let missing = |tag: &&String| !self.table.tags.contains(*tag);
        layout.tags.iter().find(missing).map(|tag| {
            self.words(tag)
                .unwrap_or_else(|| format!("table `{}` has no tag `{tag}`", layout.supertable))
        })
    }

    /// Longest text that column `name` takes (0 for other types), or why it takes none of our values.
    pub(super) fn column(&self, name: &str, kind: FieldType) -> Result<usize, String> {
        match self.table.columns.get(name) {
            Some((ColumnType::Value(found), bytes)) if *found == kind => Ok(*bytes),
            Some((found, _)) => Err(format!(
                "column `{name}` is {}, a field of type {kind} needs {}",
                found.word(),
                sql_type(kind)
            )),
            None => Err(self
                .words(name)
                .unwrap_or_else(|| format!("there is no column `{name}`"))),
        }
    }

    fn words(&self, name: &str) -> Option<String> {
        self.refusals.get(name).cloned()
    }
}

/// Creates the supertable, its missing columns and tags, and widens its texts, where needed.
pub(super) async fn ready(
    client: &Client,
    schema: &Schema,
    layout: &Layout,
    needs: &[Need],
) -> Result<Ready, UpstreamError> {
    let known = &client.known;
    if let Some(table) = known.supertable(&layout.supertable)
        && changes(&table, schema, layout, needs).is_empty()
    {
        return Ok(Ready {
            table,
            refusals: HashMap::new(),
        });
    }

    let _one_at_a_time = known.changing.lock().await;
    let name = format!("{}.`{}`", client.database(), layout.supertable);
    let mut refusals = HashMap::new();
    let mut table = describe(client, &name).await?;
    if table.is_none() {
        let all = create_statement(&name, schema, layout, true);
        if note_refusal(client.execute(all).await)?.is_some() {
            // One field may be too much: start with none, so that only its rows suffer.
            let bare = create_statement(&name, schema, layout, false);
            if let Some(words) = note_refusal(client.execute(bare).await)? {
                refusals.insert(FIXED[0].to_owned(), words);
            }
        }
        table = describe(client, &name).await?;
    }
    let mut table = table.unwrap_or_default();
    if refusals.is_empty() {
        let changes = changes(&table, schema, layout, needs);
        for (column, change) in &changes {
            let alter = format!("ALTER STABLE {name} {change}");
            if let Some(words) = note_refusal(client.execute(alter).await)? {
                refusals.insert(column.clone(), words);
            }
        }
        if !changes.is_empty() {
            table = describe(client, &name).await?.unwrap_or_default();
        }
    }
    let table = Arc::new(table);
    known.learn(&layout.supertable, &table);
    Ok(Ready { table, refusals })
}

async fn describe(client: &Client, name: &str) -> Result<Option<Supertable>, UpstreamError> {
    match client.query(format!("DESCRIBE {name}")).await {
        Ok(records) => Ok(Some(Supertable::described(&records))),
        Err(Failure::Refused(refusal)) if codes::is_no_such_table(refusal.code) => Ok(None),
        Err(failure) => Err(failure.into()),
    }
}

/// The server's words if it will never do this; any other failure ends the write.
fn note_refusal(done: Result<(), Failure>) -> Result<Option<String>, UpstreamError> {
    match done {
        Ok(()) => Ok(None),
        Err(Failure::Refused(refusal)) if codes::is_about_the_statement(refusal.code) => {
            Ok(Some(refusal.text))
        }
        Err(failure) => Err(failure.into()),
    }
}

fn column_definition(name: &str, kind: FieldType, text_bytes: usize) -> String {
    let word = sql_type(kind);
    if kind == FieldType::Text {
        format!("`{name}` {word}({text_bytes})")
    } else {
        format!("`{name}` {word}")
    }
}

fn tag_definition(name: &str) -> String {
    format!("`{name}` VARCHAR({TAG_BYTES_MAX})")
}

fn create_statement(name: &str, schema: &Schema, layout: &Layout, with_fields: bool) -> String {
    let mut sql = format!("CREATE STABLE IF NOT EXISTS {name} (");
    for (number, (fixed, kind)) in FIXED.iter().zip(&FIXED_TYPES).enumerate() {
        let comma = if number == 0 { "" } else { ", " };
        let _infallible = write!(sql, "{comma}`{fixed}` {}", kind.word());
    }
    if with_fields {
        for (field, column) in schema.fields.iter().zip(&layout.fields) {
            sql.push_str(", ");
            sql.push_str(&column_definition(column, field.kind, TEXT_BYTES_START));
        }
    }
    let tags: Vec<String> = layout.tags.iter().map(|tag| tag_definition(tag)).collect();
    let _infallible = write!(sql, ") TAGS ({})", tags.join(", "));
    sql
}

/// What ALTER STABLE has to do, by column or tag.
fn changes(
    table: &Supertable,
    schema: &Schema,
    layout: &Layout,
    needs: &[Need],
) -> Vec<(String, String)> {
    let mut changes = Vec::new();
    for tag in &layout.tags {
        if !table.tags.contains(tag) {
            changes.push((tag.clone(), format!("ADD TAG {}", tag_definition(tag))));
        }
    }
    for ((field, column), need) in schema.fields.iter().zip(&layout.fields).zip(needs) {
        if !need.used {
            continue;
        }
        let text_bytes = need.text_bytes.next_power_of_two().max(TEXT_BYTES_START);
        let definition = column_definition(column, field.kind, text_bytes);
        match table.columns.get(column) {
            None => changes.push((column.clone(), format!("ADD COLUMN {definition}"))),
            Some((ColumnType::Value(FieldType::Text), bytes))
                if field.kind == FieldType::Text && *bytes < need.text_bytes =>
            {
                changes.push((column.clone(), format!("MODIFY COLUMN {definition}")));
            }
            Some(_) => {}
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::sample::Field;

    fn schema() -> Schema {
        let field = |name: &str, kind| Field {
            name: name.into(),
            kind,
        };
        Schema {
            id: 0,
            name: "m".into(),
            tag_names: vec!["device".into()],
            fields: vec![field("x", FieldType::F64), field("note", FieldType::Text)],
        }
    }

    fn described(rows: &[[&str; 4]]) -> Supertable {
        let records: Vec<Vec<String>> = rows
            .iter()
            .map(|row| row.iter().map(ToString::to_string).collect())
            .collect();
        Supertable::described(&records)
    }

    fn used(text_bytes: usize) -> Need {
        Need {
            used: true,
            text_bytes,
        }
    }

    const OURS: [[&str; 4]; 4] = [
        ["ts", "TIMESTAMP", "8", ""],
        ["is_train", "BOOL", "1", ""],
        ["fold", "TINYINT UNSIGNED", "1", ""],
        ["source_ts", "TIMESTAMP", "8", ""],
    ];

    #[test]
    fn create_names_everything_in_back_ticks() {
        let schema = schema();
        let layout = Layout::new(&schema);
        assert_eq!(
            create_statement("`d`.`m`", &schema, &layout, true),
            "CREATE STABLE IF NOT EXISTS `d`.`m` (`ts` TIMESTAMP, `is_train` BOOL, \
             `fold` TINYINT UNSIGNED, `source_ts` TIMESTAMP, `x` DOUBLE, `note` VARCHAR(128)) \
             TAGS (`device` VARCHAR(256))"
        );
    }

    #[test]
    fn only_what_is_used_and_missing_changes() {
        let (schema, layout) = (schema(), Layout::new(&schema()));
        let mut rows = OURS.to_vec();
        rows.extend([
            ["note", "VARCHAR", "128", ""],
            ["device", "VARCHAR", "256", "TAG"],
        ]);
        let table = described(&rows);
        let changes = |needs: [Need; 2]| super::changes(&table, &schema, &layout, &needs);
        assert!(changes([Need::default(), used(128)]).is_empty());
        assert_eq!(
            changes([used(0), used(300)]),
            [
                ("x".into(), "ADD COLUMN `x` DOUBLE".into()),
                ("note".into(), "MODIFY COLUMN `note` VARCHAR(512)".into())
            ]
        );
        let bare = described(&OURS);
        let added = super::changes(&bare, &schema, &layout, &[Need::default(); 2]);
        assert_eq!(added[0].1, "ADD TAG `device` VARCHAR(256)");
    }

    #[test]
    fn foreign_shapes_are_named() {
        let layout = Layout::new(&schema());
        let ready = |rows: &[[&str; 4]]| Ready {
            table: Arc::new(described(rows)),
            refusals: HashMap::new(),
        };
        let mut rows = OURS.to_vec();
        rows.extend([["x", "NCHAR", "8", ""], ["device", "VARCHAR", "256", "TAG"]]);
        let ours = ready(&rows);
        assert_eq!(ours.refusal(&layout), None);
        let words = ours.column("x", FieldType::F64).unwrap_err();
        assert_eq!(
            words,
            "column `x` is NCHAR, a field of type f64 needs DOUBLE"
        );
        rows[2][1] = "INT";
        assert!(
            ready(&rows)
                .refusal(&layout)
                .unwrap()
                .contains("`fold` is INT")
        );
        assert!(ready(&OURS).refusal(&layout).unwrap().contains("no tag"));
    }
}
