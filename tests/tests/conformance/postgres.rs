//! `PostgreSQL`, looked at with its own `psql`.

use std::{
    collections::BTreeSet,
    io::Write,
    process::{Command, Stdio},
    sync::Arc,
};

use async_trait::async_trait;
use dunlin_sync::{
    centre::Centre,
    conformance::{self, Cells, CentreTarget, Target},
    upstream::Upstream,
};

#[tokio::test]
async fn postgres_holds_what_every_upstream_must() {
    let Some(mut databases) = Databases::from_env() else {
        return;
    };
    let report = conformance::upstream(&mut databases).await;
    databases.drop_database().unwrap();
    assert!(report.is_passed(), "{report}");
    assert_eq!(report.unseen, []);
}

#[tokio::test]
async fn postgres_holds_what_every_centre_must() {
    let Some(mut databases) = Databases::from_env() else {
        return;
    };
    let report = conformance::centre(&mut databases).await;
    databases.drop_database().unwrap();
    assert!(report.is_passed(), "{report}");
}

/// A database of its own for each scenario.
struct Databases {
    /// The URL of any database there, in which others can be made.
    admin: String,
    /// The same without the database.
    server: String,
    database: Option<String>,
}

impl Databases {
    fn from_env() -> Option<Self> {
        let Ok(url) = std::env::var("DUNLIN_POSTGRES_URL") else {
            println!("skipped: DUNLIN_POSTGRES_URL is not set");
            return None;
        };
        Some(Self {
            server: url[..url.rfind('/').unwrap()].to_owned(),
            admin: url,
            database: None,
        })
    }

    fn url(&self) -> Result<String, String> {
        let database = self.database.as_ref().ok_or("no database yet")?;
        Ok(format!("{}/{database}", self.server))
    }

    fn drop_database(&mut self) -> Result<(), String> {
        if let Some(database) = self.database.take() {
            psql(
                &self.admin,
                &format!("DROP DATABASE {database} WITH (FORCE)"),
            )?;
        }
        Ok(())
    }

    /// Table and view of a schema.
    fn names(&self, schema: &str) -> Result<(String, String), String> {
        let sql = format!(
            "SELECT json_build_array(table_name, view_name) FROM dunlin_schemas WHERE schema = {}",
            literal(schema)
        );
        let rows = psql(&self.url()?, &sql)?;
        match rows.first().map(Vec::as_slice) {
            Some([Some(table), Some(view)]) => Ok((table.clone(), view.clone())),
            _ => Err(format!("no table of schema {schema:?}")),
        }
    }

    fn columns_of(&self, table: &str) -> Result<Vec<String>, String> {
        let sql = format!(
            "SELECT json_build_array(column_name) FROM information_schema.columns
             WHERE table_schema = current_schema() AND table_name = {}",
            literal(table)
        );
        let rows = psql(&self.url()?, &sql)?;
        Ok(rows.into_iter().flatten().flatten().collect())
    }

    /// What a column is read as: from the first view, or, where that has no room for it, from a further table.
    fn query(&self, schema: &str, columns: &[&str]) -> Result<String, String> {
        let (table, view) = self.names(schema)?;
        let sql = format!(
            "SELECT json_build_array(field, column_name) FROM dunlin_fields WHERE schema = {}",
            literal(schema)
        );
        let named = psql(&self.url()?, &sql)?;
        let name_of = |column: &str| {
            let mut named = named.iter();
            let found = named.find(|row| row[0].as_deref() == Some(column));
            found
                .and_then(|row| row[1].clone())
                .unwrap_or_else(|| column.to_owned())
        };
        let mut tables = vec![(self.columns_of(&view)?, view)];
        for part in 2..9 {
            let further = format!("{table}_{part}");
            tables.push((self.columns_of(&further)?, further));
        }
        let (mut cells, mut joined) = (Vec::new(), BTreeSet::new());
        for column in columns {
            let name = name_of(column);
            let mut holders = tables.iter();
            let holder = holders.position(|(columns, _)| columns.contains(&name));
            cells.push(match holder {
                None => "NULL".to_owned(),
                Some(number) => format!("t{number}.{}::text", quoted(&name)),
            });
            joined.extend(holder.filter(|number| *number > 0));
        }
        let joins = joined.into_iter().map(|number| {
            let table = quoted(&tables[number].1);
            format!(
                " LEFT JOIN {table} AS t{number} ON t{number}.ts = t0.ts \
                 AND t{number}.stream = t0.stream"
            )
        });
        let joins: String = joins.collect();
        Ok(format!(
            "SELECT array_to_json(ARRAY[{}]::text[]) FROM {} AS t0{joins}",
            cells.join(", "),
            quoted(&tables[0].1)
        ))
    }
}

#[async_trait]
impl CentreTarget for Databases {
    async fn begin(&mut self) -> Result<(), String> {
        Target::begin(self).await
    }

    fn connect(&self) -> Result<Arc<dyn Centre>, String> {
        super::connect_centre(&self.url()?)
    }

    fn upstream(&self) -> Result<Arc<dyn Upstream>, String> {
        Target::connect(self)
    }

    async fn pass(&self, ms: i64) -> Result<(), String> {
        psql(&self.url()?, &super::pass(ms)).map(drop)
    }
}

#[async_trait]
impl Target for Databases {
    async fn begin(&mut self) -> Result<(), String> {
        self.drop_database()?;
        let database = format!("dunlin_t{:016x}", rand::random::<u64>());
        psql(&self.admin, &format!("CREATE DATABASE {database}"))?;
        self.database = Some(database);
        Ok(())
    }

    fn connect(&self) -> Result<Arc<dyn Upstream>, String> {
        super::connect(&self.url()?)
    }

    async fn read(&self, schema: &str, columns: &[&str]) -> Result<Option<Cells>, String> {
        psql(&self.url()?, &self.query(schema, columns)?).map(Some)
    }

    async fn drop_tables(&self, schema: &str) -> Result<bool, String> {
        let (table, _) = self.names(schema)?;
        let drop = format!("DROP TABLE {} CASCADE", quoted(&table));
        psql(&self.url()?, &drop)?;
        Ok(true)
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Runs a statement; of a query, rows of JSON arrays of texts.
fn psql(url: &str, sql: &str) -> Result<Cells, String> {
    let words = |error: std::io::Error| format!("psql: {error}");
    let mut child = Command::new("psql")
        .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"])
        .args(["--set", "ON_ERROR_STOP=1", "--dbname", url])
        .env("PGCONNECT_TIMEOUT", "10")
        .env(
            "PGOPTIONS",
            "-c statement_timeout=60s -c client_min_messages=warning",
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(words)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(sql.as_bytes()).map_err(words)?;
    }
    let output = child.wait_with_output().map_err(words)?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let lines = String::from_utf8_lossy(&output.stdout);
    let rows = lines.lines().map(serde_json::from_str);
    rows.collect::<Result<_, _>>()
        .map_err(|error| format!("psql: {error}: {lines}"))
}
