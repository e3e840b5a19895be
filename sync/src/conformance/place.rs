//! The place of one scenario, and connections to it that look at every answer.

use std::{
    cmp::Ordering::Equal,
    collections::BTreeSet,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use super::{
    report::{Finding, Outcome, same},
    target::Target,
};
use crate::{
    lock::unpoisoned,
    rows::{Batch, TableRows},
    sample::{Schema, TimeRange, Value},
    upstream::{Description, Upstream, UpstreamError, WriteReport},
};

/// How often a call is made that is answered with `Unavailable`, with pauses that double: it may mean nothing.
const TRIES_MAX: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// What was not read back.
const UNREAD: &str = "rows are not read back";

pub(super) struct Place<'t> {
    target: &'t dyn Target,
    /// Of the scenario's first row: an hour ago.
    pub(super) ts: i64,
    unseen: Mutex<BTreeSet<&'static str>>,
}

impl<'t> Place<'t> {
    pub(super) fn new(target: &'t dyn Target, ts: i64) -> Self {
        Self {
            target,
            ts,
            unseen: Mutex::default(),
        }
    }

    /// What could not be looked at.
    pub(super) fn unseen(&self) -> BTreeSet<&'static str> {
        unpoisoned(self.unseen.lock()).clone()
    }

    pub(super) fn connect(&self) -> Result<Connection, Finding> {
        let upstream = self.target.connect();
        upstream
            .map(Connection)
            .map_err(|error| Finding::new("connecting", "a connection", error))
    }

    /// Removes the tables of `schema`; whether that can be done.
    pub(super) async fn drop_tables(&self, schema: &str) -> Result<bool, Finding> {
        let dropped = self.target.drop_tables(schema).await;
        let dropped = dropped
            .map_err(|error| Finding::new("dropping tables", "what the target does", error))?;
        if !dropped {
            unpoisoned(self.unseen.lock()).insert("no tables are dropped");
        }
        Ok(dropped)
    }

    /// What `columns` hold in the records of `schema`; `None` where that cannot be read.
    pub(super) async fn read(
        &self,
        schema: &str,
        columns: &[&str],
    ) -> Result<Option<Vec<Vec<Option<String>>>>, Finding> {
        let what = format!("reading `{schema}`");
        let read = self.target.read(schema, columns).await;
        let read = read.map_err(|error| Finding::new(&what, "its rows", error))?;
        let Some(rows) = read else {
            unpoisoned(self.unseen.lock()).insert(UNREAD);
            return Ok(None);
        };
        match rows.iter().find(|row| row.len() != columns.len()) {
            Some(row) => Err(Finding::new(
                &what,
                format!("{} cells a row", columns.len()),
                row.len(),
            )),
            None => Ok(Some(rows)),
        }
    }

    /// Whether the schema of `tables` holds their rows and no others, in every column.
    pub(super) async fn holds(&self, tables: &[TableRows]) -> Outcome {
        let Some(schema) = tables.last().map(|table| Arc::clone(&table.schema)) else {
            return Ok(());
        };
        let names: Vec<&str> = schema.fields.iter().map(|f| f.name.as_str()).collect();
        self.holds_in(tables, &names).await
    }

    /// The same of these fields alone, beside timestamp, tags, split and source time.
    pub(super) async fn holds_in(&self, tables: &[TableRows], fields: &[&str]) -> Outcome {
        let Some(schema) = tables.last().map(|table| Arc::clone(&table.schema)) else {
            return Ok(());
        };
        let mut columns = vec!["ts"];
        columns.extend(schema.tag_names.iter().map(String::as_str));
        columns.extend(["is_train", "fold", "source_ts"]);
        columns.extend(fields);
        let Some(mut found) = self.read(&schema.name, &columns).await? else {
            return Ok(());
        };
        let mut expected: Vec<Vec<Option<Value>>> = Vec::new();
        for table in tables {
            let contents = columns
                .iter()
                .map(|column| Content::of(column, &table.schema));
            let contents: Vec<Content> = contents.collect();
            let record = |row| {
                let cells = contents.iter().map(|content| content.cell(table, row));
                cells.collect()
            };
            expected.extend((0..table.rows.len()).map(record));
        }
        let what = format!("rows of `{}`", schema.name);
        same(
            format!("the number of {what}"),
            &expected.len(),
            &found.len(),
        )?;
        let places = 1..=schema.tag_names.len();
        expected.sort_by_cached_key(|row| {
            let tags = row[places.clone()].iter();
            let tags = tags.map(|tag| tag.as_ref().map(shown));
            (number(row[0].as_ref()), tags.collect::<Vec<_>>())
        });
        found.sort_by_cached_key(|row| {
            let ts = row[0].as_ref().and_then(|ts| ts.parse::<i64>().ok());
            (ts.unwrap_or(i64::MAX), row[places.clone()].to_vec())
        });
        for (expected, found) in expected.iter().zip(&found) {
            let mut cells = expected.iter().zip(found);
            if !cells.all(|(value, cell)| self.is_same(value.as_ref(), cell.as_deref())) {
                let expected: Vec<_> = expected.iter().map(|v| v.as_ref().map(shown)).collect();
                let columns = columns.join(", ");
                return Err(Finding::new(
                    format!("{what}: {columns}"),
                    format!("{expected:?}"),
                    format!("{found:?}"),
                ));
            }
        }
        Ok(())
    }

    /// Whether a cell holds a value, as far as the upstream keeps it.
    pub(super) fn is_same(&self, value: Option<&Value>, cell: Option<&str>) -> bool {
        let value = value.filter(|value| match value {
            Value::F64(number) => number.is_finite() || self.target.keeps(*number),
            Value::F32(number) => number.is_finite() || self.target.keeps((*number).into()),
            _ => true,
        });
        let (Some(value), Some(cell)) = (value, cell) else {
            return value.is_none() && cell.is_none();
        };
        match value {
            Value::Bool(flag) => matches!(
                (flag, cell),
                (true, "true" | "t" | "1") | (false, "false" | "f" | "0")
            ),
            Value::I64(number) => cell.parse() == Ok(*number),
            Value::F64(number) => cell.parse().is_ok_and(|found: f64| {
                found.partial_cmp(number) == Some(Equal) || (found.is_nan() && number.is_nan())
            }),
            Value::F32(number) => cell.parse().is_ok_and(|found: f32| {
                found.partial_cmp(number) == Some(Equal) || (found.is_nan() && number.is_nan())
            }),
            Value::Text(text) => **text == *cell,
        }
    }
}

fn number(value: Option<&Value>) -> i64 {
    match value {
        Some(Value::I64(number)) => *number,
        _ => i64::MAX,
    }
}

/// A value as a cell holds it.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Bool(flag) => flag.to_string(),
        Value::I64(number) => number.to_string(),
        Value::F64(number) => number.to_string(),
        Value::F32(number) => number.to_string(),
        Value::Text(text) => text.to_string(),
    }
}

/// What a column of a table must hold.
enum Content {
    Ts,
    IsTrain,
    Fold,
    SourceTs,
    Tag(usize),
    Field(usize),
    Nothing,
}

impl Content {
    fn of(column: &str, schema: &Schema) -> Self {
        match column {
            "ts" => return Self::Ts,
            "is_train" => return Self::IsTrain,
            "fold" => return Self::Fold,
            "source_ts" => return Self::SourceTs,
            _ => {}
        }
        let tag = schema.tag_names.iter().position(|tag| tag == column);
        let field = || schema.field(column).map(Self::Field);
        tag.map(Self::Tag).or_else(field).unwrap_or(Self::Nothing)
    }

    fn cell(&self, table: &TableRows, row: usize) -> Option<Value> {
        let rows = &table.rows;
        match self {
            Self::Ts => Some(Value::I64(rows.ts[row])),
            Self::IsTrain => Some(Value::Bool(rows.is_train[row])),
            Self::Fold => Some(Value::I64(rows.fold[row].into())),
            Self::SourceTs => rows.source_ts[row].map(Value::I64),
            Self::Tag(tag) => Some(Value::Text(table.stream.tags.get(*tag)?.as_str().into())),
            Self::Field(field) => rows.columns.get(*field)?.get(row),
            Self::Nothing => None,
        }
    }
}

/// One of the connections to a place.
#[derive(Clone)]
pub(super) struct Connection(Arc<dyn Upstream>);

impl Connection {
    /// Writes `batch`; what came of it must account for every row.
    pub(super) async fn write(&self, batch: &Batch) -> Result<WriteReport, Finding> {
        let written = tried("writing", || self.0.write(batch)).await?;
        is_accounted_for(batch, &written)?;
        Ok(written)
    }

    /// The same where nothing may be left out.
    pub(super) async fn write_all(&self, batch: &Batch) -> Outcome {
        let written = self.write(batch).await?;
        let expected = WriteReport {
            rows_written: batch.rows() as u64,
            ..WriteReport::default()
        };
        same("what became of a batch", &expected, &written)
    }

    pub(super) async fn count(&self, table: &TableRows) -> Result<u64, Finding> {
        self.count_in(table, TimeRange::ALL).await
    }

    /// Rows of the stream of `table` within `range`.
    pub(super) async fn count_in(
        &self,
        table: &TableRows,
        range: TimeRange,
    ) -> Result<u64, Finding> {
        let (stream, schema) = (&table.stream, &table.schema);
        tried("counting", || self.0.count(stream, schema, range)).await
    }

    /// Whether as many rows of the stream of `table` are counted as it has.
    pub(super) async fn counts(&self, table: &TableRows) -> Outcome {
        let what = format!("rows of stream {:?} counted", table.stream.name);
        same(what, &(table.rows.len() as u64), &self.count(table).await?)
    }

    pub(super) async fn describe(&self) -> Result<Description, Finding> {
        tried("describing", || self.0.describe()).await
    }

    pub(super) async fn close(&self) -> Outcome {
        tried("closing", || self.0.close()).await
    }

    pub(super) fn times_replaced(&self) -> u64 {
        self.0.times_replaced()
    }

    pub(super) fn location(&self) -> String {
        self.0.location()
    }
}

/// A call of an upstream under way.
type Call<'c, T> = Pin<Box<dyn Future<Output = Result<T, UpstreamError>> + Send + 'c>>;

/// The answer to a call, tried again while there is none.
async fn tried<'c, T>(
    what: &str,
    mut call: impl FnMut() -> Call<'c, T> + Send,
) -> Result<T, Finding> {
    let mut tries = 1;
    loop {
        match call().await {
            Ok(answer) => return Ok(answer),
            Err(UpstreamError::Unavailable(_)) if tries < TRIES_MAX => {
                tokio::time::sleep(FIRST_PAUSE * 2_u32.pow(tries - 1)).await;
                tries += 1;
            }
            Err(error) => return Err(Finding::new(what, "an answer", error)),
        }
    }
}

/// Whether a report names every row of `batch` once: written, rejected, or of a refused table.
fn is_accounted_for(batch: &Batch, report: &WriteReport) -> Outcome {
    let refused: BTreeSet<usize> = report.refused.iter().map(|refused| refused.table).collect();
    let rejected: BTreeSet<(usize, usize)> = report
        .rejected
        .iter()
        .map(|rejection| (rejection.table, rejection.row))
        .collect();
    let rows = |table: &usize| batch.tables.get(*table).map_or(0, |table| table.rows.len());
    let is_sound = refused.len() == report.refused.len()
        && rejected.len() == report.rejected.len()
        && refused.iter().all(|table| *table < batch.tables.len())
        && rejected
            .iter()
            .all(|(table, row)| *row < rows(table) && !refused.contains(table));
    let held: usize = refused.iter().map(rows).sum();
    let sum = report.rows_written + (rejected.len() + held) as u64;
    if is_sound && sum == batch.rows() as u64 {
        return Ok(());
    }
    Err(Finding::new(
        "the report of a batch",
        format!(
            "each of {} rows of {} tables once: written, rejected or of a refused table",
            batch.rows(),
            batch.tables.len()
        ),
        format!("{report:?}"),
    ))
}
