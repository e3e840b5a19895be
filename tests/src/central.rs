//! What has arrived in the `SQLite` upstream.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};

use crate::records::{Numbered, WIDE_FIELDS};

/// Tables whose rows have a number, with their streams' schema of the same name.
const TABLES: [&str; 3] = ["records", "wide", "shunned"];

/// One row of such a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Timestamp, nanoseconds UTC.
    pub ts: i64,
    /// Its split.
    pub is_train: bool,
}

/// Every row by record number, and those that are there more than once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// By number.
    pub by_number: BTreeMap<u64, Row>,
    /// Numbers seen again.
    pub duplicates: Vec<u64>,
}

/// An answer of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The stream of answers that it is in.
    pub stream: String,
    /// Its own timestamp, nanoseconds UTC.
    pub ts: i64,
    /// That of the record it answers.
    pub record_ts: i64,
}

/// The upstream's file. Every look opens it anew: it may not exist yet.
#[derive(Clone, Debug)]
pub struct Central {
    path: PathBuf,
}

impl Central {
    /// The file `central.db` in `dir`.
    pub fn new(dir: &Path) -> Self {
        Self {
            path: dir.join("central.db"),
        }
    }

    /// For `--upstream`.
    pub fn url(&self) -> String {
        format!("sqlite:{}", self.path.display())
    }

    /// The database, read-only; `None` while there is no table `records`.
    ///
    /// # Errors
    /// What `SQLite` said.
    pub fn open(&self) -> rusqlite::Result<Option<Connection>> {
        if !self.path.exists() {
            return Ok(None);
        }
        let connection = Connection::open_with_flags(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        let tables: i64 = connection.query_row(
            "SELECT count(*) FROM sqlite_master WHERE name = 'records'",
            [],
            |row| row.get(0),
        )?;
        // The column comes with the first record.
        let columns: i64 = connection.query_row(
            "SELECT count(*) FROM pragma_table_info('records') WHERE name = 'n'",
            [],
            |row| row.get(0),
        )?;
        Ok((tables > 0 && columns > 0).then_some(connection))
    }

    /// Copies what is there to a file that is not.
    ///
    /// # Errors
    /// What `SQLite` said.
    pub fn copy_to(&self, path: &Path) -> rusqlite::Result<()> {
        let Some(connection) = self.open()? else {
            return Ok(());
        };
        connection.execute("VACUUM INTO ?1", [path.to_string_lossy()])?;
        Ok(())
    }

    /// Takes the file's lock: nobody else writes until it is dropped. `None` while there is no table.
    ///
    /// # Errors
    /// What `SQLite` said.
    pub fn lock(&self) -> rusqlite::Result<Option<Connection>> {
        if self.open()?.is_none() {
            return Ok(None);
        }
        let connection = Connection::open(&self.path)?;
        connection.busy_timeout(Duration::from_secs(10))?;
        connection.execute_batch("BEGIN IMMEDIATE")?;
        Ok(Some(connection))
    }

    /// Every row later than `after_ts`, stream by stream, handed to `visit` as (number, row).
    ///
    /// # Errors
    /// What `SQLite` said.
    pub fn each_after(
        &self,
        after_ts: i64,
        mut visit: impl FnMut(u64, Row),
    ) -> rusqlite::Result<()> {
        let Some(connection) = self.open()? else {
            return Ok(());
        };
        let mut streams =
            connection.prepare("SELECT stream FROM dunlin_streams WHERE schema = ?1")?;
        for table in TABLES {
            let streams: Vec<String> = streams
                .query_map([table], |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()?;
            if streams.is_empty() {
                continue;
            }
            let mut rows = connection.prepare(&format!(
                "SELECT CAST(n AS INTEGER), ts, is_train FROM {table} WHERE stream = ?1 AND ts > ?2",
            ))?;
            for stream in streams {
                let mut found = rows.query((stream, after_ts))?;
                while let Some(row) = found.next()? {
                    let (ts, is_train) = (row.get(1)?, row.get(2)?);
                    visit(row.get::<_, i64>(0)? as u64, Row { ts, is_train });
                }
            }
        }
        Ok(())
    }

    /// Whether rows of `shunned` are refused from now on, as by somebody who has forbidden it; nothing while there
    /// is no such table. Returns what it came to.
    ///
    /// # Errors
    /// What `SQLite` said.
    pub fn shun(&self, refuse: bool) -> rusqlite::Result<bool> {
        if self.open()?.is_none() {
            return Ok(false);
        }
        let connection = Connection::open(&self.path)?;
        connection.busy_timeout(Duration::from_secs(10))?;
        let tables: i64 = connection.query_row(
            "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'shunned'",
            [],
            |row| row.get(0),
        )?;
        let sql = match (refuse, tables > 0) {
            (_, false) => return Ok(false),
            (true, true) => {
                "CREATE TRIGGER IF NOT EXISTS shun BEFORE INSERT ON shunned
                 BEGIN SELECT RAISE(ABORT, 'no more of these'); END"
            }
            (false, true) => "DROP TRIGGER IF EXISTS shun",
        };
        connection.execute_batch(sql)?;
        Ok(refuse)
    }

    /// Wide records whose values are not those that were published, by number; and how many are right.
    ///
    /// # Errors
    /// What `SQLite` said.
    pub fn wrong_wide(&self) -> rusqlite::Result<(Vec<u64>, u64)> {
        let (mut wrong, mut right) = (Vec::new(), 0);
        let Some(connection) = self.open()? else {
            return Ok((wrong, right));
        };
        let mut known = connection.prepare("SELECT name FROM pragma_table_info('wide')")?;
        let known: Vec<String> = known
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        if known.is_empty() {
            return Ok((wrong, right));
        }
        // A column comes with its first value.
        let columns = (0..WIDE_FIELDS).map(|field| format!("w{field}"));
        let columns: Vec<String> = columns
            .map(|name| {
                if known.contains(&name) {
                    name
                } else {
                    "NULL".into()
                }
            })
            .collect();
        let sql = format!("SELECT CAST(n AS INTEGER), {} FROM wide", columns.join(","));
        let mut rows = connection.prepare(&sql)?;
        let mut found = rows.query([])?;
        while let Some(row) = found.next()? {
            let n = row.get::<_, i64>(0)? as u64;
            let cells = (1..=columns.len()).map(|at| row.get::<_, Option<f64>>(at));
            let cells = cells.collect::<rusqlite::Result<Vec<_>>>()?;
            if Numbered::wide_cells(n).eq(cells) {
                right += 1;
            } else {
                wrong.push(n);
            }
        }
        Ok((wrong, right))
    }

    /// Every answer later than `after_ts`, stream by stream.
    ///
    /// # Errors
    /// What `SQLite` said.
    pub fn answers_after(&self, after_ts: i64) -> rusqlite::Result<Vec<Answer>> {
        let mut answers = Vec::new();
        let Some(connection) = self.open()? else {
            return Ok(answers);
        };
        let mut streams = connection
            .prepare("SELECT stream FROM dunlin_streams WHERE schema = 'dunlin_predictions'")?;
        let streams: Vec<String> = streams
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        for stream in streams {
            let mut rows = connection.prepare(
                "SELECT ts, source_ts FROM dunlin_predictions WHERE stream = ?1 AND ts > ?2",
            )?;
            let mut found = rows.query((&stream, after_ts))?;
            while let Some(row) = found.next()? {
                answers.push(Answer {
                    stream: stream.clone(),
                    ts: row.get(0)?,
                    record_ts: row.get(1)?,
                });
            }
        }
        Ok(answers)
    }

    /// All rows.
    ///
    /// # Errors
    /// What `SQLite` said.
    pub fn rows(&self) -> rusqlite::Result<Rows> {
        let mut all = Rows::default();
        self.each_after(i64::MIN, |n, row| {
            if all.by_number.insert(n, row).is_some() {
                all.duplicates.push(n);
            }
        })?;
        Ok(all)
    }
}

impl Rows {
    /// What breaks the promise on timestamps: unique, and in the order of the numbers.
    pub fn disorder(&self) -> Vec<String> {
        let pairs = self.by_number.iter().zip(self.by_number.iter().skip(1));
        pairs
            .filter(|((_, a), (_, b))| a.ts >= b.ts)
            .map(|((a, row), (b, next))| {
                format!("record {a} at {} is not before {b} at {}", row.ts, next.ts)
            })
            .collect()
    }
}
