//! One open `SQLite` file: rows in, counts out. Blocks; knows nothing of tokio.

use std::{collections::HashMap, fs::File, path::Path, sync::Arc, time::Duration};

use rusqlite::{
    Connection, ErrorCode, InterruptHandle, OpenFlags, Statement, TransactionBehavior, params,
};

use super::tables::{self, Plan};
use crate::{
    rows::{Batch, Column, TableRows, Values},
    sample::{Schema, SchemaId, Stream, StreamId, TimeRange},
    umask,
    upstream::{Rejection, WriteReport},
};

/// Version of the bookkeeping tables, in the file's `user_version`.
const FORMAT: i64 = 1;

/// What went wrong with the file.
pub(super) enum DbError {
    /// As `SQLite` says.
    Sqlite(rusqlite::Error),
    /// We will not touch it, for this reason.
    Refused(String),
}

impl From<rusqlite::Error> for DbError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// Whether rows could be written to the file at `path`, which is there: takes its lock for writing
/// and gives it back.
pub(super) fn prove_writable(path: &Path, busy_max: Duration) -> Result<(), DbError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(busy_max)?;
    let format: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if format > FORMAT {
        return Err(other_format(format));
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    Ok(transaction.rollback()?)
}

fn other_format(format: i64) -> DbError {
    DbError::Refused(format!(
        "format {format}, this version writes format {FORMAT}; name another file"
    ))
}

/// An open file, with what is known to be in it. After an error it must be dropped: a transaction
/// rolled back takes tables with it that the caches believe in.
pub(super) struct Database {
    connection: Connection,
    plans: HashMap<SchemaId, Plan>,
    streams: HashMap<StreamId, KnownStream>,
}

struct KnownStream {
    stream: Arc<Stream>,
    tag_names: Vec<String>,
    key: String,
}

impl Database {
    /// Opens the file at `path`, creating it if missing.
    pub(super) fn open(path: &Path, busy_max: Duration) -> Result<Self, DbError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        // Others read it. What is in its way SQLite says itself.
        if let Ok(file) = File::options().write(true).create_new(true).open(path) {
            let _ours_alone = umask::open_to_others(&file);
        }
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(busy_max)?;
        connection.set_prepared_statement_cache_capacity(64);
        // A file system without shared memory refuses WAL and keeps its journal: slower, as safe.
        connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
        // The cursor moves on as soon as we have answered, so answered must mean on the disk.
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "cache_size", -4096)?;
        connection.pragma_update_and_check(None, "journal_size_limit", 16 << 20, |_| Ok(()))?;
        let format: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        match format {
            0 => {
                connection.execute_batch(&format!(
                    "BEGIN IMMEDIATE; {} PRAGMA user_version = {FORMAT}; COMMIT",
                    tables::BOOKKEEPING
                ))?;
                sync_directory_of(path);
            }
            FORMAT => {}
            other => return Err(other_format(other)),
        }
        Ok(Self {
            connection,
            plans: HashMap::new(),
            streams: HashMap::new(),
        })
    }

    /// Stops a running statement from another thread.
    pub(super) fn interrupt_handle(&self) -> InterruptHandle {
        self.connection.get_interrupt_handle()
    }

    /// Writes all rows in one transaction; tables that the file refuses are named and left out.
    pub(super) fn write(&mut self, batch: &Batch) -> Result<WriteReport, DbError> {
        match self.write_tables(batch, false) {
            Err(DbError::Sqlite(error)) if is_about_a_table(error.sqlite_error_code()) => {
                self.forget();
                self.write_tables(batch, true)
            }
            done => done,
        }
    }

    /// What was rolled back takes tables with it that the caches believe in.
    fn forget(&mut self) {
        self.plans.clear();
        self.streams.clear();
    }

    /// As [`Self::write`]; only if `one_by_one` is a table that is refused left out.
    fn write_tables(&mut self, batch: &Batch, one_by_one: bool) -> Result<WriteReport, DbError> {
        let Self {
            connection,
            plans,
            streams,
        } = self;
        let mut report = WriteReport::default();
        let mut transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for (index, table) in batch.tables.iter().enumerate() {
            if table.schema.name.contains('\0') || table.stream.name.contains('\0') {
                let reason = "the name of the stream holds a NUL";
                let rows = 0..table.rows.len();
                report.rejected.extend(rows.map(|row| Rejection {
                    table: index,
                    row,
                    reason: reason.into(),
                    is_out_of_time: false,
                }));
                continue;
            }
            if !one_by_one {
                write_table(&transaction, streams, plans, (index, table), &mut report)?;
                continue;
            }
            let written = report.rows_written;
            let savepoint = transaction.savepoint()?;
            match write_table(&savepoint, streams, plans, (index, table), &mut report) {
                Ok(()) => savepoint.commit()?,
                Err(error) => {
                    savepoint.finish()?;
                    if !is_about_a_table(error.sqlite_error_code()) || transaction.is_autocommit() {
                        return Err(error.into());
                    }
                    plans.clear();
                    streams.clear();
                    let reason = format!("{error}; its table is not as we left it");
                    report.refuse(index, report.rows_written - written, reason);
                }
            }
        }
        transaction.commit()?;
        Ok(report)
    }

    /// Rows of one stream within `range`.
    pub(super) fn count(
        &mut self,
        schema: &str,
        key: &str,
        range: TimeRange,
    ) -> Result<u64, DbError> {
        let Some(table) = tables::table_of(&self.connection, schema)? else {
            return Ok(0);
        };
        let sql = format!(
            "SELECT count(*) FROM {} WHERE stream = ?1 AND ts BETWEEN ?2 AND ?3",
            tables::quoted(&table)
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let count: i64 =
            statement.query_row(params![key, range.from.0, range.to.0], |row| row.get(0))?;
        Ok(count as u64)
    }
}

/// Whether an error is about one table and not about the file, our rights or the moment.
fn is_about_a_table(code: Option<ErrorCode>) -> bool {
    !matches!(
        code,
        Some(
            ErrorCode::DiskFull
                | ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::SystemIoFailure
                | ErrorCode::OperationInterrupted
                | ErrorCode::OperationAborted
                | ErrorCode::OutOfMemory
                | ErrorCode::SchemaChanged
                | ErrorCode::FileLockingProtocolFailed
                | ErrorCode::NotADatabase
                | ErrorCode::DatabaseCorrupt
                | ErrorCode::ReadOnly
                | ErrorCode::PermissionDenied
                | ErrorCode::CannotOpen
        )
    )
}

fn write_table(
    connection: &Connection,
    streams: &mut HashMap<StreamId, KnownStream>,
    plans: &mut HashMap<SchemaId, Plan>,
    (index, table): (usize, &TableRows),
    report: &mut WriteReport,
) -> rusqlite::Result<()> {
    let key = known_key(connection, streams, table)?;
    let plan = known_plan(connection, plans, &table.schema)?;
    insert(connection, plan, key, index, table, report)
}

/// A new file is only there after a power cut if its directory is on the disk, too.
fn sync_directory_of(path: &Path) {
    let directory = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let synced = File::open(directory.unwrap_or(Path::new("."))).and_then(|dir| dir.sync_all());
    if let Err(error) = synced {
        tracing::warn!(path = %path.display(), %error, "cannot sync the directory of the database");
    }
}

fn known_key<'a>(
    connection: &Connection,
    streams: &'a mut HashMap<StreamId, KnownStream>,
    table: &TableRows,
) -> rusqlite::Result<&'a str> {
    let is_known = streams.get(&table.stream.id).is_some_and(|known| {
        (Arc::ptr_eq(&known.stream, &table.stream) || known.stream == table.stream)
            && known.tag_names == table.schema.tag_names
    });
    if !is_known {
        let key = tables::stream_key(&table.stream);
        tables::register_stream(connection, &key, &table.stream, &table.schema)?;
        let known = KnownStream {
            stream: Arc::clone(&table.stream),
            tag_names: table.schema.tag_names.clone(),
            key,
        };
        streams.insert(table.stream.id, known);
    }
    Ok(&streams[&table.stream.id].key)
}

fn known_plan<'a>(
    connection: &Connection,
    plans: &'a mut HashMap<SchemaId, Plan>,
    schema: &Arc<Schema>,
) -> rusqlite::Result<&'a Plan> {
    let known = plans.get(&schema.id);
    if known.is_none_or(|plan| !Arc::ptr_eq(&plan.schema, schema) && plan.schema != *schema) {
        plans.insert(schema.id, tables::prepare(connection, schema)?);
    }
    Ok(&plans[&schema.id])
}

fn insert(
    connection: &Connection,
    plan: &Plan,
    key: &str,
    index: usize,
    table: &TableRows,
    report: &mut WriteReport,
) -> rusqlite::Result<()> {
    let rows = &table.rows;
    let mut statement = connection.prepare_cached(&plan.upsert)?;
    statement.raw_bind_parameter(1, key)?;
    let mut stored: Vec<(usize, &Column)> = Vec::with_capacity(plan.fields.len());
    let mut refused: Vec<(&str, &Column)> = Vec::new();
    for (number, field) in plan.fields.iter().enumerate() {
        match (field, rows.columns.get(number)) {
            (Ok(parameter), Some(column)) => stored.push((*parameter, column)),
            (Ok(parameter), None) => statement.raw_bind_parameter(*parameter, None::<i64>)?,
            (Err(reason), Some(column)) => refused.push((reason, column)),
            (Err(_), None) => {}
        }
    }
    for row in 0..rows.len() {
        let mut reject = |reason: String| {
            report.rejected.push(Rejection {
                table: index,
                row,
                reason,
                is_out_of_time: false,
            });
        };
        if let Some((reason, _)) = refused.iter().find(|(_, column)| column.is_present(row)) {
            reject((*reason).to_owned());
            continue;
        }
        statement.raw_bind_parameter(2, rows.ts[row])?;
        statement.raw_bind_parameter(3, rows.is_train[row])?;
        statement.raw_bind_parameter(4, rows.fold[row])?;
        statement.raw_bind_parameter(5, rows.source_ts[row])?;
        let bound = stored
            .iter()
            .try_for_each(|(parameter, column)| bind(&mut statement, *parameter, column, row));
        match bound.and_then(|()| statement.raw_execute()) {
            Ok(_) => report.rows_written += 1,
            Err(error) if is_about_the_row(&error) && !connection.is_autocommit() => {
                reject(error.to_string());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn bind(
    statement: &mut Statement<'_>,
    parameter: usize,
    column: &Column,
    row: usize,
) -> rusqlite::Result<()> {
    if !column.is_present(row) {
        return statement.raw_bind_parameter(parameter, None::<i64>);
    }
    match &column.values {
        Values::F64(values) => statement.raw_bind_parameter(parameter, values[row]),
        Values::F32(values) => statement.raw_bind_parameter(parameter, f64::from(values[row])),
        Values::I64(values) => statement.raw_bind_parameter(parameter, values[row]),
        Values::Bool(values) => statement.raw_bind_parameter(parameter, values[row]),
        Values::Text(values) => statement.raw_bind_parameter(parameter, &*values[row]),
    }
}

/// Whether the row itself is at fault: somebody's constraint or trigger, or a value too large.
fn is_about_the_row(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch)
    )
}
