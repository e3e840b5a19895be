//! The way out: a central time-series database behind one trait.
//!
//! Another database is a new file with an implementation of [`Upstream`] and one line in [`connect`]. What must
//! hold for each is a suite: `crate::conformance`.

mod losses;
#[cfg(feature = "postgres")]
pub mod postgres;
mod relay;
mod server_url;
#[cfg(feature = "sqlite")]
pub mod sqlite;
pub mod tdengine;
mod told;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use async_trait::async_trait;

use crate::{
    rows::Batch,
    sample::{Schema, Stream, TimeRange},
};

/// A row the upstream will never take, by its place in the batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Index into [`Batch::tables`].
    pub table: usize,
    /// Index into that table's rows.
    pub row: usize,
    /// The upstream's own words, without secrets.
    pub reason: String,
    /// Its timestamp lies outside the time that the upstream keeps: says nothing about other rows of
    /// its stream.
    pub is_out_of_time: bool,
}

/// A table that the upstream does not take until somebody changes something there, by its place in the
/// batch. None of its rows need be upstream; the caller keeps them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableRefusal {
    /// Index into [`Batch::tables`].
    pub table: usize,
    /// The upstream's own words, without secrets.
    pub reason: String,
}

/// What became of a batch: rows written + rows rejected + rows of refused tables = rows given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteReport {
    /// Rows that are upstream now.
    pub rows_written: u64,
    /// Rows that will never be.
    pub rejected: Vec<Rejection>,
    /// Tables refused as a whole, each once; no row of them is in `rejected`.
    pub refused: Vec<TableRefusal>,
}

impl WriteReport {
    /// `table` is refused: what was said of its rows, of which `rows` count as written, is void.
    pub fn refuse(&mut self, table: usize, rows_written: u64, reason: String) {
        self.rows_written = self.rows_written.saturating_sub(rows_written);
        self.rejected.retain(|rejection| rejection.table != table);
        self.refused.push(TableRefusal { table, reason });
    }
}

/// What an upstream is, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Product and version.
    pub product: String,
    /// The database; `None`: it is made at the first upload.
    pub database: Option<DatabaseDescription>,
}

/// What a database is like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DatabaseDescription {
    /// Unit of its time, if it is not nanoseconds: it cannot be used then.
    pub coarse_precision: Option<String>,
    /// How long it keeps rows, in its own words; `None`: for ever.
    pub keep: Option<String>,
}

/// What the caller does next.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// Try the same again later: nothing is known about what was written, and writing twice is harmless.
    #[error("upstream unavailable: {0}")]
    Unavailable(String),
    /// Trying again will not help until somebody changes the set-up (address, rights). Where one table
    /// is to blame, [`WriteReport::refused`] names it instead, and the rest is written.
    #[error("upstream refused: {0}")]
    Rejected(String),
}

/// A central time-series database.
///
/// Writing the same row (stream and timestamp) twice changes nothing.
#[async_trait]
pub trait Upstream: Send + Sync {
    /// Writes every row of `batch`, creating tables and columns as needed.
    /// Rows that can never be taken come back as rejections, tables that are refused as refusals; neither
    /// stops the others.
    ///
    /// May be dropped at any `await`, after a time-out: leave nothing half open there. The batch comes again.
    ///
    /// # Errors
    /// [`UpstreamError::Unavailable`] after which the whole batch is sent again;
    /// [`UpstreamError::Rejected`] when the database itself refuses us, or refuses a table and cannot
    /// say which: [`Upstream::describe`] tells the one from the other.
    async fn write(&self, batch: &Batch) -> Result<WriteReport, UpstreamError>;

    /// Rows of one stream upstream within `range`; 0 if its table does not exist.
    ///
    /// # Errors
    /// As for [`Upstream::write`].
    async fn count(
        &self,
        stream: &Stream,
        schema: &Schema,
        range: TimeRange,
    ) -> Result<u64, UpstreamError>;

    /// Reaches it, proves what can be proven without changing anything, and tells what is there.
    ///
    /// # Errors
    /// As for [`Upstream::write`].
    async fn describe(&self) -> Result<Description, UpstreamError>;

    /// Ends it in order: what was written is left as others find it best. A later call opens it anew.
    ///
    /// # Errors
    /// As for [`Upstream::write`]; nothing that was written is lost.
    async fn close(&self) -> Result<(), UpstreamError> {
        Ok(())
    }

    /// How often since the start another database was found where rows had been written before, as far as this
    /// process can tell: it was removed, replaced or restored, and may lack them.
    fn times_replaced(&self) -> u64 {
        0
    }

    /// Where this is, without secrets, for people.
    fn location(&self) -> String;
}

/// How to reach an upstream.
#[derive(Clone)]
pub struct UpstreamOptions {
    /// `tdengine://user:password@host:6041/database`, `tdengines://...`, `postgres://...`, `sqlite:path`.
    pub url: String,
    /// Bound on every call.
    pub timeout: Duration,
    /// Database options for `TDengine`'s CREATE DATABASE (`KEEP`, `VGROUPS`, `BUFFER`, ...).
    pub database_options: BTreeMap<String, String>,
    /// Where the password of the URL came from, if from a file; read again for each connection.
    pub password_file: Option<PathBuf>,
    /// Private CA in PEM; the system's store otherwise.
    pub ca_file: Option<PathBuf>,
    /// Client certificate chain in PEM, with `key_file`.
    pub cert_file: Option<PathBuf>,
    /// Client private key in PEM, with `cert_file`.
    pub key_file: Option<PathBuf>,
}

/// `name` as an identifier in SQL; it must hold no NUL.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl UpstreamOptions {
    /// For `url`, each call bounded by `timeout`, with nothing else said.
    pub fn new(url: impl Into<String>, timeout: Duration) -> Self {
        Self {
            url: url.into(),
            timeout,
            database_options: BTreeMap::new(),
            password_file: None,
            ca_file: None,
            cert_file: None,
            key_file: None,
        }
    }
}

/// Builds the upstream that `options.url` names; connects lazily, at the first call.
///
/// # Errors
/// [`UpstreamError::Rejected`] if the URL or a TLS file is wrong.
pub fn connect(options: &UpstreamOptions) -> Result<Box<dyn Upstream>, UpstreamError> {
    let scheme = options.url.split(':').next().unwrap_or_default();
    match scheme {
        #[cfg(feature = "sqlite")]
        "sqlite" => Ok(Box::new(sqlite::Sqlite::new(options)?)),
        #[cfg(not(feature = "sqlite"))]
        "sqlite" => Err(UpstreamError::Rejected(
            "built without the feature `sqlite`; use tdengine:// or tdengines://".into(),
        )),
        #[cfg(feature = "postgres")]
        "postgres" | "postgresql" => Ok(Box::new(postgres::Postgres::new(options)?)),
        #[cfg(not(feature = "postgres"))]
        "postgres" | "postgresql" => Err(UpstreamError::Rejected(
            "built without the feature `postgres`; use tdengine:// or tdengines://".into(),
        )),
        "tdengine" | "tdengines" => Ok(Box::new(tdengine::TDengine::new(options)?)),
        other => Err(UpstreamError::Rejected(format!(
            "unknown upstream \"{other}:\"; use tdengine://, tdengines://, postgres:// or sqlite:"
        ))),
    }
}
