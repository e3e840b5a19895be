//! Databases, supertables, subtables and rows in memory, with the limits that matter.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use super::sql::now_ns;

/// The server's error number and words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: u32,
    pub(super) message: String,
}

pub(super) fn refuse(code: u32, message: String) -> Refusal {
    Refusal { code, message }
}

/// One value of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Missing.
    Null,
    /// BOOL.
    Bool(bool),
    /// TINYINT UNSIGNED.
    U8(u8),
    /// BIGINT.
    I64(i64),
    /// TIMESTAMP in nanoseconds.
    Ts(i64),
    /// FLOAT.
    F32(f32),
    /// DOUBLE.
    F64(f64),
    /// VARCHAR.
    Text(String),
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Bool(x) => x.fmt(f),
            Self::U8(x) => x.fmt(f),
            Self::I64(x) | Self::Ts(x) => x.fmt(f),
            Self::F32(x) => x.fmt(f),
            Self::F64(x) => x.fmt(f),
            Self::Text(x) => x.fmt(f),
        }
    }
}

/// A column or tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    /// The type's word, as DESCRIBE shows it.
    pub(super) word: String,
    pub(super) bytes: usize,
}

impl Column {
    pub(super) fn fixed_bytes(word: &str) -> usize {
        match word {
            "BOOL" | "TINYINT UNSIGNED" => 1,
            "FLOAT" | "INT" => 4,
            _ => 8,
        }
    }

    fn takes(&self, cell: &Cell) -> bool {
        let word = match cell {
            Cell::Null => return true,
            Cell::Bool(_) => "BOOL",
            Cell::U8(_) => "TINYINT UNSIGNED",
            Cell::I64(_) => "BIGINT",
            Cell::Ts(_) => "TIMESTAMP",
            Cell::F32(_) => "FLOAT",
            Cell::F64(_) => "DOUBLE",
            Cell::Text(_) => "VARCHAR",
        };
        self.word == word
    }
}

/// Columns by name.
pub type Row = BTreeMap<String, Cell>;

#[derive(Clone, Debug, Default)]
pub(super) struct Supertable {
    pub(super) columns: Vec<Column>,
    pub(super) tags: Vec<Column>,
}

impl Supertable {
    pub(super) fn check(&self) -> Result<(), Refusal> {
        if let Some(long) = self.columns.iter().find(|column| column.name.len() > 64) {
            let name = &long.name;
            return Err(refuse(0x2617, format!("Invalid identifier name: {name}")));
        }
        if self.columns.len() + self.tags.len() > 4_096 {
            return Err(refuse(0x2640, "Too many columns".into()));
        }
        let head = |column: &Column| 2 * usize::from(column.word == "VARCHAR");
        let bytes = self
            .columns
            .iter()
            .map(|column| column.bytes + head(column));
        if bytes.sum::<usize>() > 65_531 {
            return Err(refuse(
                0x263E,
                "Row length exceeds max length: 65531".into(),
            ));
        }
        let mut names: Vec<&str> = self
            .columns
            .iter()
            .chain(&self.tags)
            .map(|column| column.name.as_str())
            .collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(refuse(0x263C, "Duplicated column names".into()));
        }
        Ok(())
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Subtable {
    pub(super) stable: String,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) rows: BTreeMap<i64, Row>,
}

#[derive(Clone, Debug)]
pub(super) struct Database {
    pub(super) precision: String,
    pub(super) keep: Duration,
    pub(super) supertables: BTreeMap<String, Supertable>,
    pub(super) subtables: BTreeMap<String, Subtable>,
}

impl Default for Database {
    fn default() -> Self {
        Self {
            precision: "ms".into(),
            keep: Duration::from_hours(24 * 3650),
            supertables: BTreeMap::new(),
            subtables: BTreeMap::new(),
        }
    }
}

impl Database {
    pub(super) fn supertable(&mut self, name: &str) -> Result<&mut Supertable, Refusal> {
        self.supertables
            .get_mut(name)
            .ok_or_else(|| refuse(0x2603, "Table does not exist".into()))
    }

    pub(super) fn supertable_of(&mut self, subtable: &str) -> Result<&Supertable, Refusal> {
        let missing = || refuse(0x2603, "Table does not exist".into());
        let stable = &self.subtables.get(subtable).ok_or_else(missing)?.stable;
        self.supertables.get(stable).ok_or_else(missing)
    }
}

/// The time range a database takes.
pub(super) struct Limits {
    oldest_ns: i64,
    newest_ns: i64,
    poison: BTreeSet<i64>,
}

impl Limits {
    /// The row's timestamp, if it is inside.
    pub(super) fn check(&self, row: &Row) -> Result<i64, Refusal> {
        match row.get("ts") {
            Some(Cell::Ts(ts)) if self.poison.contains(ts) => {
                Err(refuse(0x0200, "Invalid operation".into()))
            }
            Some(Cell::Ts(ts)) if (self.oldest_ns..=self.newest_ns).contains(ts) => Ok(*ts),
            Some(Cell::Ts(_)) => Err(refuse(0x060B, "Timestamp data out of range".into())),
            _ => Err(refuse(0x2635, "Incorrect TIMESTAMP value".into())),
        }
    }
}

/// Everything the double holds.
#[derive(Debug, Default)]
pub(super) struct Server {
    pub(super) databases: BTreeMap<String, Database>,
    pub(super) newest_ns: Option<i64>,
    /// Timestamps of rows that are refused for reasons of their own.
    pub(super) poison: BTreeSet<i64>,
    pub(super) statements: Vec<String>,
    pub(super) blocks: usize,
}

impl Server {
    pub(super) fn database(&mut self, name: &str) -> Result<&mut Database, Refusal> {
        self.databases
            .get_mut(name)
            .ok_or_else(|| refuse(0x0388, "Database not exist".into()))
    }

    pub(super) fn limits(&self, database: &str) -> Limits {
        let keep = self.databases.get(database).map(|found| found.keep);
        let keep_ns = keep.unwrap_or_default().as_nanos() as i64;
        Limits {
            oldest_ns: now_ns() - keep_ns,
            newest_ns: self.newest_ns.unwrap_or(i64::MAX),
            poison: self.poison.clone(),
        }
    }

    /// Adds a row; values of the same timestamp are replaced one by one, as the server does.
    pub(super) fn put(
        &mut self,
        database: &str,
        table: &str,
        ts: i64,
        row: Row,
    ) -> Result<(), Refusal> {
        let table = self.database(database)?.subtables.get_mut(table);
        let table = table.ok_or_else(|| refuse(0x2603, "Table does not exist".into()))?;
        table.rows.entry(ts).or_default().extend(row);
        Ok(())
    }

    /// Adds the rows of a raw block. Columns the table does not have are dropped without a word.
    pub(super) fn put_block(
        &mut self,
        database: &str,
        table: &str,
        rows: Vec<Row>,
    ) -> Result<(), Refusal> {
        let limits = self.limits(database);
        let columns = self
            .database(database)?
            .supertable_of(table)?
            .columns
            .clone();
        let mut planned = Vec::with_capacity(rows.len());
        let columns: BTreeMap<&str, &Column> = columns
            .iter()
            .map(|column| (&*column.name, column))
            .collect();
        for mut row in rows {
            row.retain(|name, _| columns.contains_key(&**name));
            for (name, cell) in &row {
                let column = columns[&**name];
                if !column.takes(cell) {
                    return Err(refuse(0x0118, "Invalid parameters".into()));
                }
                if matches!(cell, Cell::Text(text) if text.len() > column.bytes) {
                    return Err(refuse(0x0118, "Invalid parameters".into()));
                }
            }
            planned.push((limits.check(&row)?, row));
        }
        for (ts, row) in planned {
            self.put(database, table, ts, row)?;
        }
        Ok(())
    }
}
