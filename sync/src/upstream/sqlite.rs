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

pub(crate) mod choice;
mod database;
pub(crate) mod file;
mod insert;
mod names;
mod tables;
#[cfg(test)]
mod tests;
pub(crate) mod turns;
mod views;

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use rustix::fs::Access;

use self::{
    database::Database,
    file::Identity,
    turns::{DbError, Interrupt, Turns, explained, path_in},
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

/// A `SQLite` file as upstream. Calls take turns; each is bounded by the time-out.
pub struct Sqlite {
    turns: Turns<Database>,
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
            turns: Turns::new(path_in(&options.url)?, options.timeout),
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
        let (path, busy_max) = (self.turns.path().to_owned(), self.turns.busy_max());
        let (told, succession) = (Arc::clone(&self.told), Arc::clone(&self.succession));
        let work = move |slot: &mut Option<Database>, interrupt: &Interrupt| {
            let mut database = match succession.leave_what_is_gone(slot.take(), &path) {
                Some(database) => database,
                None => Database::open(&path, busy_max, &told)?,
            };
            succession.uses(database.identity(), &path);
            interrupt.is(database.interrupt_handle());
            let result = work(&mut database);
            if result.is_ok() {
                *slot = Some(database);
            }
            result
        };
        self.turns.with_slot(work).await
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
        if missing(self.turns.path())? {
            // Counting makes none.
            return Ok(0);
        }
        let (key, schema) = (tables::stream_key(stream), schema.name.clone());
        self.call(move |database| database.count(&schema, &key, range))
            .await
    }

    async fn describe(&self) -> Result<Description, UpstreamError> {
        let path = self.turns.path().to_owned();
        let busy_max = self.turns.busy_max();
        let looking = tokio::task::spawn_blocking(move || {
            // A file that is not there is not made.
            let missing = missing(&path)?;
            if !missing {
                database::prove_writable(&path, busy_max)
                    .map_err(|error| explained(&path, error))?;
            }
            Ok::<_, UpstreamError>(missing)
        });
        let missing = match tokio::time::timeout(self.turns.timeout(), looking).await {
            Ok(Ok(missing)) => missing?,
            Ok(Err(panic)) => return Err(UpstreamError::Unavailable(format!("sqlite: {panic}"))),
            Err(_) => return Err(self.turns.silent()),
        };
        Ok(Description {
            product: format!("SQLite {}", rusqlite::version()),
            database: (!missing).then(DatabaseDescription::default),
        })
    }

    async fn close(&self) -> Result<(), UpstreamError> {
        let path = self.turns.path().to_owned();
        let succession = Arc::clone(&self.succession);
        let work = move |slot: &mut Option<Database>, _: &Interrupt| match succession
            .leave_what_is_gone(slot.take(), &path)
        {
            Some(database) => database.close(),
            None => Ok(()),
        };
        self.turns.with_slot(work).await
    }

    fn times_replaced(&self) -> u64 {
        self.succession.replaced.load(Ordering::Relaxed)
    }

    fn location(&self) -> String {
        format!("sqlite:{}", self.turns.path().display())
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
