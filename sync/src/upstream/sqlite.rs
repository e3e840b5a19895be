//! The embedded default upstream: one `SQLite` file (`sqlite:central.db`).
//!
//! What a person finds in it with any `SQLite` tool:
//! - one table a schema, named after it: `stream` (device and stream name, joined with `/`), `ts`
//!   (nanoseconds UTC), `is_train`, `fold`, `source_ts`, then the fields under their own names;
//! - beside each a view `<table>_tagged` with a readable `time` and the tags as columns, so that
//!   `SELECT * FROM vibration_tagged WHERE machine = 'm1'` is all it takes;
//! - where a column holds another type, because another device was first, `<column>_<type>` beside it;
//! - what does not fit into a table in further ones, `<table>_2`, `_3`, joined in the view as far as it
//!   has room for them;
//! - `dunlin_streams`, `dunlin_schemas`, `dunlin_fields`, `dunlin_parts`: which stream has which tags,
//!   and which tables and column a schema and a field became where their own name was not free.
//!
//! Promises: a batch is one transaction, on the disk before [`Upstream::write`] returns; the same row
//! twice changes nothing. `SQLite` has no NaN: such a value is stored as NULL. A file that is removed
//! or replaced is noticed before the next batch, and the one that is there then is opened, or made.

mod choice;
mod database;
mod file;
mod insert;
mod names;
mod tables;
#[cfg(test)]
mod tests;
mod views;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use rusqlite::{ErrorCode, InterruptHandle};
use rustix::fs::Access;

use self::{
    database::{Database, DbError},
    file::Identity,
};
use super::{
    DatabaseDescription, Description, Upstream, UpstreamError, UpstreamOptions, WriteReport,
    told::Told,
};
use crate::{
    lock::unpoisoned,
    rows::Batch,
    sample::{Schema, Stream, TimeRange},
};

/// Longest wait for another program's lock on the file.
const BUSY_MAX: Duration = Duration::from_secs(5);

/// A `SQLite` file as upstream. Calls take turns; each is bounded by the time-out.
pub struct Sqlite {
    path: PathBuf,
    timeout: Duration,
    /// `None`: not open, or closed after an error.
    database: Arc<tokio::sync::Mutex<Option<Database>>>,
    interrupt: Arc<Mutex<Option<InterruptHandle>>>,
    told: Arc<Told>,
    succession: Arc<Succession>,
}

impl Sqlite {
    /// The file that `options.url` names: `sqlite:relative.db`, `sqlite:/absolute.db` or
    /// `sqlite:///absolute.db`. It is opened, and created if missing, at the first call.
    ///
    /// # Errors
    /// [`UpstreamError::Rejected`] if the URL names no file.
    pub fn new(options: &UpstreamOptions) -> Result<Self, UpstreamError> {
        Ok(Self {
            path: path_in(&options.url)?,
            timeout: options.timeout,
            database: Arc::default(),
            interrupt: Arc::default(),
            told: Arc::default(),
            succession: Arc::default(),
        })
    }

    /// Runs `work` on the open file. After an error nothing that was cached is certain: it is opened
    /// anew.
    async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Database) -> Result<T, DbError> + Send + 'static,
    ) -> Result<T, UpstreamError> {
        let (path, interrupt) = (self.path.clone(), Arc::clone(&self.interrupt));
        let (busy_max, told) = (BUSY_MAX.min(self.timeout / 2), Arc::clone(&self.told));
        let succession = Arc::clone(&self.succession);
        self.with_slot(move |slot| {
            let mut database = match succession.leave_what_is_gone(slot.take(), &path) {
                Some(database) => database,
                None => Database::open(&path, busy_max, &told)?,
            };
            succession.uses(database.identity(), &path);
            *unpoisoned(interrupt.lock()) = Some(database.interrupt_handle());
            let result = work(&mut database);
            if result.is_ok() {
                *slot = Some(database);
            }
            result
        })
        .await
    }

    /// Runs `work` on a blocking thread, one at a time, under the time-out.
    async fn with_slot<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Option<Database>) -> Result<T, DbError> + Send + 'static,
    ) -> Result<T, UpstreamError> {
        let running = Arc::new(AtomicBool::new(false));
        let ours = Arc::clone(&running);
        let answer = async {
            let mut slot = Arc::clone(&self.database).lock_owned().await;
            ours.store(true, Ordering::Release);
            let call = tokio::task::spawn_blocking(move || work(&mut slot));
            call.await
        };
        match tokio::time::timeout(self.timeout, answer).await {
            Ok(Ok(result)) => result.map_err(|error| upstream_error(&self.path, error)),
            Ok(Err(panic)) => Err(UpstreamError::Unavailable(format!("sqlite: {panic}"))),
            Err(_) => {
                if running.load(Ordering::Acquire)
                    && let Some(handle) = &*unpoisoned(self.interrupt.lock())
                {
                    handle.interrupt();
                }
                Err(self.silent())
            }
        }
    }

    fn silent(&self) -> UpstreamError {
        UpstreamError::Unavailable(format!(
            "{}: no answer within {:?}",
            self.path.display(),
            self.timeout
        ))
    }
}

#[async_trait]
impl Upstream for Sqlite {
    async fn write(&self, batch: &Batch) -> Result<WriteReport, UpstreamError> {
        // The blocking thread outlives this future when the time-out strikes, so it needs its own.
        let batch = batch.clone();
        self.call(move |database| database.write(&batch)).await
    }

    async fn count(
        &self,
        stream: &Stream,
        schema: &Schema,
        range: TimeRange,
    ) -> Result<u64, UpstreamError> {
        if missing(&self.path)? {
            // Counting makes none.
            return Ok(0);
        }
        let (key, schema) = (tables::stream_key(stream), schema.name.clone());
        self.call(move |database| database.count(&schema, &key, range))
            .await
    }

    async fn describe(&self) -> Result<Description, UpstreamError> {
        let path = self.path.clone();
        let busy_max = BUSY_MAX.min(self.timeout / 2);
        let looking = tokio::task::spawn_blocking(move || {
            // A file that is not there is not made.
            let missing = missing(&path)?;
            if !missing {
                database::prove_writable(&path, busy_max)
                    .map_err(|error| upstream_error(&path, error))?;
            }
            Ok::<_, UpstreamError>(missing)
        });
        let missing = match tokio::time::timeout(self.timeout, looking).await {
            Ok(Ok(missing)) => missing?,
            Ok(Err(panic)) => return Err(UpstreamError::Unavailable(format!("sqlite: {panic}"))),
            Err(_) => return Err(self.silent()),
        };
        Ok(Description {
            product: format!("SQLite {}", rusqlite::version()),
            database: (!missing).then(DatabaseDescription::default),
        })
    }

    async fn close(&self) -> Result<(), UpstreamError> {
        let (path, succession) = (self.path.clone(), Arc::clone(&self.succession));
        self.with_slot(
            move |slot| match succession.leave_what_is_gone(slot.take(), &path) {
                Some(database) => database.close(),
                None => Ok(()),
            },
        )
        .await
    }

    fn times_replaced(&self) -> u64 {
        self.succession.replaced.load(Ordering::Relaxed)
    }

    fn location(&self) -> String {
        format!("sqlite:{}", self.path.display())
    }
}

/// The files that have been in use one after the other.
#[derive(Default)]
struct Succession {
    last: Mutex<Option<Identity>>,
    replaced: AtomicU64,
}

impl Succession {
    /// `database`, unless its file was removed or replaced; that is told.
    fn leave_what_is_gone(&self, database: Option<Database>, path: &Path) -> Option<Database> {
        let database = database?;
        if database.is_in_place() {
            return Some(database);
        }
        *unpoisoned(self.last.lock()) = None;
        self.tell(path);
        database.abandon();
        None
    }

    /// `file` is used from here on. One that was put in place while none was open is told, too.
    fn uses(&self, file: Option<Identity>, path: &Path) {
        let Some(file) = file else { return };
        let before = unpoisoned(self.last.lock()).replace(file);
        if before.is_some_and(|before| before != file) {
            self.tell(path);
        }
    }

    fn tell(&self, path: &Path) {
        self.replaced.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(
            path = %path.display(),
            "this file was removed or replaced while it was in use; what is there now is used from \
             here on, or made anew. Rows that were in the old one alone are not in it: `dunlin status \
             --verify` names them, `dunlin upload --again` sends them"
        );
    }
}

/// Whether there is no file at `path` yet; an error if none could be made.
fn missing(path: &Path) -> Result<bool, UpstreamError> {
    if path.exists() {
        return Ok(false);
    }
    let directory = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    rustix::fs::access(directory, Access::WRITE_OK | Access::EXEC_OK)
        .map(|()| true)
        .map_err(|error| {
            let (path, directory) = (path.display(), directory.display());
            UpstreamError::Rejected(format!(
                "{path} cannot be made: {directory}: {error}; its directory must exist and be \
                 writable"
            ))
        })
}

fn path_in(url: &str) -> Result<PathBuf, UpstreamError> {
    let path = url.strip_prefix("sqlite:").unwrap_or(url);
    let path = path.strip_prefix("//").unwrap_or(path);
    let refused = |why: &str| {
        Err(UpstreamError::Rejected(format!(
            "{url:?} {why}; write sqlite:central.db or sqlite:///var/lib/central.db"
        )))
    };
    match path {
        "" => refused("names no file"),
        ":memory:" => refused("would forget everything at the next start"),
        _ if path.contains('\0') => refused("holds a NUL"),
        _ => Ok(PathBuf::from(path)),
    }
}

/// Sorts what `SQLite` says by what helps: waiting, or somebody changing something.
fn upstream_error(path: &Path, error: DbError) -> UpstreamError {
    let path = path.display();
    let error = match error {
        DbError::Sqlite(error) => error,
        DbError::Refused(reason) => return UpstreamError::Rejected(format!("{path}: {reason}")),
        DbError::Busy(reason) => return UpstreamError::Unavailable(format!("{path}: {reason}")),
    };
    let (later, advice) = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => (true, "make room on its disk"),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            (true, "another program holds its lock")
        }
        Some(
            ErrorCode::SystemIoFailure
            | ErrorCode::OperationInterrupted
            | ErrorCode::OutOfMemory
            | ErrorCode::SchemaChanged
            | ErrorCode::FileLockingProtocolFailed,
        ) => (true, "trying again"),
        Some(ErrorCode::NotADatabase) => (false, "the file is something else; name another one"),
        Some(ErrorCode::DatabaseCorrupt) => (
            false,
            "the file is damaged; move it away and a new one is begun",
        ),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            (false, "make the file and its directory writable for us")
        }
        Some(ErrorCode::CannotOpen) => (
            false,
            "its directory must exist and be writable, and it must not be a directory itself",
        ),
        _ => (false, "its tables are not as we left them"),
    };
    let text = format!("{path}: {error}; {advice}");
    if later {
        UpstreamError::Unavailable(text)
    } else {
        UpstreamError::Rejected(text)
    }
}
