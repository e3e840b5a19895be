//! One open `SQLite` file: rows in, counts out. Blocks; knows nothing of tokio.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, InterruptHandle, OpenFlags, TransactionBehavior, params};

use super::{
    file::{self, Files, Identity},
    insert::insert,
    names,
    tables::{self, COLUMNS_AT_ONCE, TablePlan},
    turns::DbError,
};
use crate::{
    rows::{Batch, TableRows},
    sample::{Schema, SchemaId, Stream, StreamId, TimeRange},
    upstream::{Rejection, WriteReport, told::Told},
};

/// Version of the bookkeeping tables, in the file's `user_version`.
const FORMAT: i64 = 1;

/// Streams remembered as registered; where more come and go, all are looked up again.
const STREAMS_KNOWN_MAX: usize = 100_000;

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
    path: PathBuf,
    files: Files,
    told: Arc<Told>,
    plans: HashMap<SchemaId, TablePlan>,
    streams: HashMap<StreamId, KnownStream>,
    /// `SQLite`'s count of changes to the tables, when the plans were made.
    schema_version: i64,
}

struct KnownStream {
    stream: Arc<Stream>,
    tag_names: Vec<String>,
    key: String,
}

impl Database {
    /// Opens the file at `path`, creating it if missing.
    pub(super) fn open(path: &Path, busy_max: Duration, told: &Arc<Told>) -> Result<Self, DbError> {
        let mut connection = file::open(path, busy_max)?;
        connection.pragma_update(None, "cache_size", -4096)?;
        let format: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        match format {
            FORMAT if tables::are_books_kept(&connection)? => {}
            0 | FORMAT => {
                let immediate = TransactionBehavior::Immediate;
                let transaction = connection.transaction_with_behavior(immediate)?;
                tables::keep_books(&transaction)?;
                transaction.pragma_update(None, "user_version", FORMAT)?;
                transaction.commit()?;
                if format == 0 {
                    sync_directory_of(path);
                }
            }
            other => return Err(other_format(other)),
        }
        Ok(Self {
            connection,
            path: path.to_owned(),
            files: Files::at(path),
            told: Arc::clone(told),
            plans: HashMap::new(),
            streams: HashMap::new(),
            schema_version: 0,
        })
    }

    /// The file that is open.
    pub(super) fn identity(&self) -> Option<Identity> {
        self.files.identity()
    }

    /// Whether the path still names the file that is open.
    pub(super) fn is_in_place(&self) -> bool {
        self.files.are_at(&self.path)
    }

    /// Leaves a file that was removed or replaced: whole, wherever it is now, and without a journal
    /// beside what has its name now.
    pub(super) fn abandon(self) {
        let Self {
            connection,
            path,
            files,
            ..
        } = self;
        if let Err(error) = checkpoint(&connection) {
            tracing::warn!(
                path = %path.display(),
                %error,
                "the file that was here may lack its latest rows, wherever it is now"
            );
        }
        drop(connection);
        if let Err(error) = files.remove_journal(&path) {
            tracing::warn!(path = %path.display(), %error, "cannot remove the old file's journal");
        }
    }

    /// Closes it so that the file stands alone, with nothing in a journal beside it.
    pub(super) fn close(self) -> Result<(), DbError> {
        let done = checkpoint(&self.connection);
        // The last to close takes the journal away.
        self.connection.close().map_err(|(_, error)| error)?;
        done
    }

    /// Stops a running statement from another thread.
    pub(super) fn interrupt_handle(&self) -> InterruptHandle {
        self.connection.get_interrupt_handle()
    }

    /// Writes all rows in one transaction; tables that the file refuses are named and left out. Where very
    /// many columns are new they come before, in transactions of their own, so that what a time-out cuts
    /// short goes on from there.
    pub(super) fn write(&mut self, batch: &Batch) -> Result<WriteReport, DbError> {
        match self.add_columns(batch) {
            // Told with the rows that it concerns.
            Err(DbError::Sqlite(error)) if is_about_a_table(error.sqlite_error_code()) => {}
            done => done?,
        }
        match self.write_tables(batch, false) {
            Err(DbError::Sqlite(error)) if is_about_a_table(error.sqlite_error_code()) => {
                self.plans.clear();
                self.streams.clear();
                // Somebody may have taken these away, too.
                tables::keep_books(&self.connection)?;
                self.write_tables(batch, true)
            }
            done => done,
        }
    }

    fn add_columns(&mut self, batch: &Batch) -> Result<(), DbError> {
        let mut looked_at = HashSet::new();
        for table in &batch.tables {
            let schema = &table.schema;
            let is_known = self.plans.get(&schema.id);
            let is_known = is_known.is_some_and(|plan| plan.is_for(schema));
            // Thousands of streams may have one schema.
            let is_known = is_known || !looked_at.insert(schema.id);
            if is_known || schema.fields.len() <= COLUMNS_AT_ONCE || schema.name.contains('\0') {
                continue;
            }
            let mut more = true;
            while more {
                let behavior = TransactionBehavior::Immediate;
                let transaction = self.connection.transaction_with_behavior(behavior)?;
                more = tables::prepare_some(&transaction, schema, &self.told)?;
                transaction.commit()?;
            }
        }
        Ok(())
    }

    /// As [`Self::write`]; only if `one_by_one` is a table that is refused left out.
    fn write_tables(&mut self, batch: &Batch, one_by_one: bool) -> Result<WriteReport, DbError> {
        let Self {
            connection,
            told,
            plans,
            streams,
            schema_version,
            ..
        } = self;
        let mut report = WriteReport::default();
        let mut transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if version_of(&transaction)? != *schema_version || streams.len() > STREAMS_KNOWN_MAX {
            plans.clear();
            streams.clear();
        }
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
            let mut known = Caches {
                plans: &mut *plans,
                streams: &mut *streams,
                told,
            };
            if !one_by_one {
                write_table(&transaction, &mut known, (index, table), &mut report)?;
                continue;
            }
            let written = report.rows_written;
            let savepoint = transaction.savepoint()?;
            match write_table(&savepoint, &mut known, (index, table), &mut report) {
                Ok(()) => savepoint.commit()?,
                Err(error) => {
                    savepoint.finish()?;
                    if !is_about_a_table(error.sqlite_error_code()) || transaction.is_autocommit() {
                        return Err(error.into());
                    }
                    // What was rolled back takes tables with it that the caches believe in.
                    plans.clear();
                    streams.clear();
                    let reason = format!("{error}; its table is not as we left it");
                    report.refuse(index, report.rows_written - written, reason);
                }
            }
        }
        let version = version_of(&transaction)?;
        transaction.commit()?;
        *schema_version = version;
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
            names::quoted(&table)
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let count: i64 =
            statement.query_row(params![key, range.from.0, range.to.0], |row| row.get(0))?;
        Ok(count as u64)
    }
}

/// A new file is only there after a power cut if its directory is on the disk, too.
fn sync_directory_of(path: &Path) {
    let directory = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let synced = File::open(directory.unwrap_or(Path::new("."))).and_then(|dir| dir.sync_all());
    if let Err(error) = synced {
        tracing::warn!(path = %path.display(), %error, "cannot sync the directory of the database");
    }
}

/// What is known of the file, while a batch is written.
struct Caches<'a> {
    plans: &'a mut HashMap<SchemaId, TablePlan>,
    streams: &'a mut HashMap<StreamId, KnownStream>,
    told: &'a Told,
}

fn write_table(
    connection: &Connection,
    known: &mut Caches<'_>,
    (index, table): (usize, &TableRows),
    report: &mut WriteReport,
) -> rusqlite::Result<()> {
    if !is_known(known.streams, table) {
        register(connection, known.streams, table)?;
    }
    let plan = known_plan(connection, known.plans, table, known.told)?;
    let key = &known.streams[&table.stream.id].key;
    insert(connection, plan, key, index, table, report)
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

fn version_of(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "schema_version", |row| row.get(0))
}

/// Moves all rows from the journal into the file.
fn checkpoint(connection: &Connection) -> Result<(), DbError> {
    let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
    let is_busy: i64 = connection.query_row(sql, [], |row| row.get(0))?;
    if is_busy == 0 {
        Ok(())
    } else {
        let reason = "another program reads it; its latest rows are in the file ending in -wal";
        Err(DbError::Busy(reason))
    }
}

fn is_known(streams: &HashMap<StreamId, KnownStream>, table: &TableRows) -> bool {
    streams.get(&table.stream.id).is_some_and(|known| {
        (Arc::ptr_eq(&known.stream, &table.stream) || known.stream == table.stream)
            && known.tag_names == table.schema.tag_names
    })
}

fn register(
    connection: &Connection,
    streams: &mut HashMap<StreamId, KnownStream>,
    table: &TableRows,
) -> rusqlite::Result<()> {
    let key = tables::stream_key(&table.stream);
    tables::register_stream(connection, &key, &table.stream, &table.schema)?;
    let known = KnownStream {
        stream: Arc::clone(&table.stream),
        tag_names: table.schema.tag_names.clone(),
        key,
    };
    streams.insert(table.stream.id, known);
    Ok(())
}

fn known_plan<'a>(
    connection: &Connection,
    plans: &'a mut HashMap<SchemaId, TablePlan>,
    table: &TableRows,
    told: &Told,
) -> rusqlite::Result<&'a TablePlan> {
    let schema: &Arc<Schema> = &table.schema;
    let known = plans.get(&schema.id);
    if known.is_none_or(|plan| !plan.is_for(schema)) {
        plans.insert(schema.id, tables::prepare(connection, schema, told)?);
    }
    Ok(&plans[&schema.id])
}
