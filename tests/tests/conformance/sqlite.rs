//! A `SQLite` file.

use std::{
    collections::{BTreeSet, HashMap},
    path::PathBuf,
    sync::Arc,
};

use async_trait::async_trait;
use dunlin_sync::{
    centre::Centre,
    conformance::{self, Cells, CentreTarget, Target},
    upstream::Upstream,
};
use rusqlite::{Connection, types::ValueRef};

#[tokio::test]
async fn sqlite_holds_what_every_upstream_must() {
    let report = conformance::upstream(&mut Files::default()).await;
    assert!(report.is_passed(), "{report}");
    assert_eq!(report.unseen, []);
}

#[tokio::test]
async fn sqlite_holds_what_every_centre_must() {
    let report = conformance::centre(&mut Files::default()).await;
    assert!(report.is_passed(), "{report}");
}

/// A file of its own for each scenario.
#[derive(Default)]
pub(crate) struct Files(Option<tempfile::TempDir>);

impl Files {
    fn path(&self) -> Result<PathBuf, String> {
        let dir = self.0.as_ref().ok_or("no file yet")?;
        Ok(dir.path().join("central.db"))
    }

    /// Runs `work` as a person with the shell would.
    fn shell<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, String> {
        let connection = Connection::open(self.path()?);
        let done = connection.and_then(|connection| work(&connection));
        done.map_err(|error| error.to_string())
    }
}

#[async_trait]
impl CentreTarget for Files {
    async fn begin(&mut self) -> Result<(), String> {
        Target::begin(self).await
    }

    fn connect(&self) -> Result<Arc<dyn Centre>, String> {
        super::connect_centre(&format!("sqlite:{}", self.path()?.display()))
    }

    fn upstream(&self) -> Result<Arc<dyn Upstream>, String> {
        Target::connect(self)
    }

    async fn pass(&self, ms: i64) -> Result<(), String> {
        self.shell(|connection| connection.execute(&super::pass(ms), []).map(drop))
    }
}

#[async_trait]
impl Target for Files {
    async fn begin(&mut self) -> Result<(), String> {
        self.0 = Some(tempfile::tempdir().map_err(|error| error.to_string())?);
        Ok(())
    }

    fn connect(&self) -> Result<Arc<dyn Upstream>, String> {
        super::connect(&format!("sqlite:{}", self.path()?.display()))
    }

    fn keeps(&self, number: f64) -> bool {
        !number.is_nan()
    }

    async fn read(&self, schema: &str, columns: &[&str]) -> Result<Option<Cells>, String> {
        self.shell(|connection| read(connection, schema, columns))
            .map(Some)
    }

    async fn drop_tables(&self, schema: &str) -> Result<bool, String> {
        self.shell(|connection| {
            let (table, view) = names(connection, schema)?;
            connection.execute_batch(&format!(
                "DROP VIEW {}; DROP TABLE {};",
                quoted(&view),
                quoted(&table)
            ))
        })?;
        Ok(true)
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Table and view of a schema.
fn names(connection: &Connection, schema: &str) -> rusqlite::Result<(String, String)> {
    let sql = "SELECT table_name, view_name FROM dunlin_schemas WHERE schema = ?1";
    connection.query_row(sql, [schema], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// What a column is read as: from the first view, or, where that has no room for it, from a further table.
fn read(connection: &Connection, schema: &str, columns: &[&str]) -> rusqlite::Result<Cells> {
    let (table, view) = names(connection, schema)?;
    let sql = "SELECT field, column_name FROM dunlin_fields WHERE schema = ?1";
    let mut statement = connection.prepare(sql)?;
    let named = statement.query_map([schema], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let named: HashMap<String, String> = named.collect::<Result<_, _>>()?;
    let mut tables = vec![(columns_of(connection, &view)?, view)];
    for part in 2..9 {
        let further = format!("{table}_{part}");
        tables.push((columns_of(connection, &further)?, further));
    }
    let (mut cells, mut joined) = (Vec::new(), BTreeSet::new());
    for column in columns {
        let name = named.get(*column).map_or(*column, String::as_str);
        let is_there = |columns: &Vec<String>| columns.iter().any(|c| c.eq_ignore_ascii_case(name));
        let holder = tables.iter().position(|(columns, _)| is_there(columns));
        cells.push(match holder {
            None => "NULL".to_owned(),
            Some(number) => format!("t{number}.{}", quoted(name)),
        });
        joined.extend(holder.filter(|number| *number > 0));
    }
    let joins = joined.into_iter().map(|number| {
        let table = quoted(&tables[number].1);
        format!(" LEFT JOIN {table} AS t{number} ON t{number}.ts = t0.ts AND t{number}.stream = t0.stream")
    });
    let sql = format!(
        "SELECT {} FROM {} AS t0{}",
        cells.join(", "),
        quoted(&tables[0].1),
        joins.collect::<String>()
    );
    let mut statement = connection.prepare(&sql)?;
    let rows = statement.query_map([], |row| {
        (0..columns.len())
            .map(|column| row.get_ref(column).map(cell))
            .collect()
    })?;
    rows.collect()
}

fn columns_of(connection: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare("SELECT name FROM pragma_table_info(?1)")?;
    statement.query_map([table], |row| row.get(0))?.collect()
}

fn cell(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
        ValueRef::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(_) => Some("a blob".into()),
    }
}
