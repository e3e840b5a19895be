//! Rows on their way into one table.

use std::collections::HashSet;

use tokio_postgres::{Statement, types::Type};

use super::{
    array::{Array, Item, copy_of},
    codes,
    connection::{Connection, Failure, Parameter},
    names::{FIXED_COLUMNS, KEY_COLUMNS, literal, quoted},
    tables::PartPlan,
};
use crate::rows::Batch;

/// A setting that no server has. Asking for it is how a statement fails by itself, in a way that nothing of the
/// user's does.
const COLUMNS_CHANGED: &str = "dunlin.columns_changed";

/// Rows of one table, column by column; those columns alone in which there may be a value.
pub(super) struct PartRows<'b> {
    table: &'b str,
    names: Vec<&'b str>,
    columns: Vec<Array<'b>>,
    rows: usize,
}

impl<'b> PartRows<'b> {
    /// What of `items` goes to the table numbered `number`; `keys`: what the streams of the batch are called.
    pub(super) fn of(
        batch: &'b Batch,
        keys: &'b [String],
        number: usize,
        part: &'b PartPlan,
        items: &[Item],
    ) -> Option<Self> {
        let tables: HashSet<usize> = items.iter().map(|item| item.table).collect();
        let is_used = |field: usize| {
            let mut columns = tables
                .iter()
                .map(|table| &batch.tables[*table].rows.columns);
            columns.any(|columns| columns.get(field).is_some())
        };
        let fields = part.fields.iter().filter(|(field, _, _)| is_used(*field));
        let fields: Vec<&(usize, String, String)> = fields.collect();
        let of = |item: &Item| &batch.tables[item.table].rows;
        // A further table has a row where there is a value.
        let has_any = |item: &Item| {
            let mut columns = fields
                .iter()
                .filter_map(|(field, _, _)| of(item).columns.get(*field));
            number == 0 || columns.any(|column| column.is_present(item.row))
        };
        let items: Vec<Item> = items.iter().copied().filter(has_any).collect();
        if items.is_empty() {
            return None;
        }
        let keys = items.iter().map(|item| Some(&*keys[item.table]));
        let ts = items.iter().map(|item| Some(of(item).ts[item.row]));
        let mut columns = vec![Array::Text(keys.collect()), Array::I64(ts.collect())];
        if number == 0 {
            let is_train = items.iter().map(|item| Some(of(item).is_train[item.row]));
            let fold = items
                .iter()
                .map(|item| Some(of(item).fold[item.row].into()));
            let source_ts = items
                .iter()
                .map(|item| of(item).source_ts.get(item.row)?.as_ref().copied());
            columns.push(Array::Bool(is_train.collect()));
            columns.push(Array::I16(fold.collect()));
            columns.push(Array::I64(source_ts.collect()));
        }
        let mut names = FIXED_COLUMNS[..columns.len()].to_vec();
        for (field, column, kind) in fields {
            names.push(column);
            columns.push(Array::of_field(batch, &items, *field, kind));
        }
        Some(Self {
            table: &part.table,
            names,
            columns,
            rows: items.len(),
        })
    }

    pub(super) fn len(&self) -> usize {
        self.rows
    }

    fn listed(&self) -> String {
        let names: Vec<String> = self.names.iter().map(|name| quoted(name)).collect();
        names.join(", ")
    }

    pub(super) fn copy_sql(&self) -> String {
        format!(
            "COPY {} ({}) FROM STDIN (FORMAT binary)",
            self.table,
            self.listed()
        )
    }

    /// What finds the columns that are there and of the types that are sent; their names and types are the
    /// parameters from `first` on.
    fn found_columns(&self, first: usize) -> String {
        format!(
            "FROM pg_attribute AS a
             JOIN unnest(${first}, ${}) AS n(name, type) ON a.attname = n.name AND a.atttypid = n.type
             WHERE a.attrelid = to_regclass({}) AND NOT a.attisdropped",
            first + 1,
            literal(self.table)
        )
    }

    fn types(&self) -> Vec<u32> {
        let columns = self.columns.iter();
        columns.map(|column| column.types().0.oid()).collect()
    }

    fn has_changed(&self) -> Failure {
        Failure::Refused {
            code: "42804".into(),
            words: format!("table {} has changed since we looked at it", self.table),
        }
    }

    /// Holds the table as it is until the transaction ends, and makes sure that its columns are of the types
    /// that a COPY will send: what is of another length the server refuses, but not what is of the same.
    pub(super) async fn guard(&self, connection: &Connection) -> Result<(), Failure> {
        let types = self.types();
        let lock = format!("LOCK TABLE {} IN ROW EXCLUSIVE MODE", self.table);
        let parameters = [
            (&self.names as _, Type::TEXT_ARRAY),
            (&types as _, Type::OID_ARRAY),
        ];
        let counting = format!("SELECT count(*) {}", self.found_columns(1));
        let looking = connection.query(&counting, &parameters);
        let (locked, found) = tokio::join!(biased; connection.batch(&lock), looking);
        locked?;
        let found: i64 = match found?.first() {
            Some(row) => Connection::get(row, 0)?,
            None => 0,
        };
        if found == self.names.len() as i64 {
            return Ok(());
        }
        Err(self.has_changed())
    }

    /// Copies the rows in; fails if one is there already.
    pub(super) async fn copy(
        &self,
        connection: &Connection,
        statement: &Statement,
    ) -> Result<(), Failure> {
        let pieces = copy_of(&self.columns, self.rows);
        connection.copy(statement, pieces).await?;
        Ok(())
    }

    /// Inserts the rows; those that are there already take on these values, and nothing changes if they have
    /// them. Fails where a column is not of the type that is sent: the server would round a number to fit it in.
    pub(super) async fn merge(&self, connection: &Connection) -> Result<(), Failure> {
        let values = &self.names[KEY_COLUMNS..];
        let each = |of: fn(String) -> String| {
            let columns: Vec<String> = values.iter().map(|name| of(quoted(name))).collect();
            columns.join(", ")
        };
        let numbers: Vec<String> = (1..=self.names.len()).map(|n| format!("${n}")).collect();
        let sql = format!(
            "INSERT INTO {} AS t ({}) SELECT * FROM unnest({}) \
             WHERE (SELECT CASE WHEN count(*) = {} THEN true ELSE current_setting('{COLUMNS_CHANGED}')::bool END {}) \
             ON CONFLICT (stream, ts) DO UPDATE SET {} WHERE ROW({}) IS DISTINCT FROM ROW({})",
            self.table,
            self.listed(),
            numbers.join(", "),
            self.names.len(),
            self.found_columns(numbers.len() + 1),
            each(|column| format!("{column} = excluded.{column}")),
            each(|column| format!("t.{column}")),
            each(|column| format!("excluded.{column}")),
        );
        let types = self.types();
        let mut parameters: Vec<Parameter<'_>> =
            self.columns.iter().map(Array::parameter).collect();
        parameters.push((&self.names, Type::TEXT_ARRAY));
        parameters.push((&types, Type::OID_ARRAY));
        match connection.execute(&sql, &parameters).await {
            Err(Failure::Refused { code, words })
                if code == codes::NO_SUCH_OBJECT && words.contains(COLUMNS_CHANGED) =>
            {
                Err(self.has_changed())
            }
            done => done.map(drop),
        }
    }
}
