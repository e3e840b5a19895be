//! `PostgreSQL` 12 or later (`postgres://user:password@host:5432/database`).
//!
//! Laid out as the `SQLite` upstream does it, so that the same queries read both:
//! - one table a schema, named after it: `stream` (device and stream name, joined with `/`), `ts`
//!   (nanoseconds UTC), `is_train`, `fold`, `source_ts`, then the fields under their own names; key: stream
//!   and time;
//! - beside each a view `<table>_tagged` with `time` (timestamptz, to the microsecond) and the tags as columns;
//! - where a column holds another type, because another device was first, `<column>_<type>` beside it; the
//!   view shows both as one, as numbers if both are, else as text;
//! - what does not fit into a table in further ones, `<table>_2`, `_3`, joined in the view as far as it has
//!   room for them;
//! - `dunlin_streams`, `dunlin_schemas`, `dunlin_fields`, `dunlin_parts`, `dunlin_format`: which stream has
//!   which tags, and which tables and column a schema and a field became. All lie in the first schema of the
//!   server's `search_path` that is there.
//!
//! Promises: a batch is one transaction, on the server's disk before [`Upstream::write`] returns; the same row
//! twice changes nothing. NaN and the infinities are stored as they are; a text with a NUL, which the server
//! cannot store, is rejected. Devices that change tables at the same time take turns.
//!
//! Every call is bounded by `timeout`, on the server, too; a lock on a table is waited for a part of that, after
//! which the streams of this table are refused, and no others. Whatever breaks a connection ends it: the next call
//! builds a new one. The only folder that names `tokio_postgres`.

pub(crate) mod address;
mod array;
mod books;
mod choice;
mod codes;
pub(crate) mod connection;
mod locks;
pub(crate) mod names;
mod part_rows;
pub(crate) mod session;
mod state;
mod streams;
mod succession;
mod tables;
mod views;
mod write;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use tokio::sync::{Semaphore, SemaphorePermit};

use self::{address::Address, session::Session, succession::Succession};
use super::{
    DatabaseDescription, Description, Upstream, UpstreamError, UpstreamOptions, WriteReport,
    told::Told,
};
use crate::{
    lock::unpoisoned,
    rows::Batch,
    sample::{Schema, Stream, TimeRange},
};

/// Connections at the same time; who wants more waits. A server has some hundred for all devices together, and
/// while one of ours writes to its disk the other can send.
const CONNECTIONS_MAX: usize = 2;
/// How long a connection may take to say goodbye.
const GOODBYE_MAX: Duration = Duration::from_secs(1);

/// A `PostgreSQL` database as upstream.
pub struct Postgres {
    address: Arc<Address>,
    timeout: Duration,
    /// Those that nobody uses just now.
    idle: Mutex<Vec<Session>>,
    places: Semaphore,
    told: Told,
    succession: Succession,
}

impl Postgres {
    /// Checks URL, options and TLS files; connects at the first call.
    ///
    /// # Errors
    /// [`UpstreamError::Rejected`] naming what is wrong, without the password.
    pub fn new(options: &UpstreamOptions) -> Result<Self, UpstreamError> {
        let address = Arc::new(Address::new(options)?);
        let succession = Succession::new(address.database.clone());
        Ok(Self {
            address,
            timeout: options.timeout,
            idle: Mutex::default(),
            places: Semaphore::new(CONNECTIONS_MAX),
            told: Told::default(),
            succession,
        })
    }

    /// A live session, or a new one; within the time-out.
    async fn session(&self) -> Result<Session, UpstreamError> {
        while let Some(session) = self.idle() {
            if self.succession.is_outdated(session.books_oid) {
                session.connection.close(GOODBYE_MAX).await;
            } else if !session.connection.is_closed() {
                return Ok(session);
            }
        }
        let opening = Session::open(&self.address, self.timeout);
        tokio::time::timeout(self.timeout, opening)
            .await
            .unwrap_or_else(|_| Err(self.silent()))
    }

    fn idle(&self) -> Option<Session> {
        unpoisoned(self.idle.lock()).pop()
    }

    /// Waits for room for one more connection: as long as the time-outs of those who have them let it last.
    async fn place(&self) -> Result<SemaphorePermit<'_>, UpstreamError> {
        let place = self.places.acquire().await;
        place.map_err(|closed| UpstreamError::Unavailable(closed.to_string()))
    }

    /// Keeps a session for the next call. One that failed is dropped instead: a transaction may be open in it.
    fn give_back(&self, session: Session) {
        if !session.connection.is_closed() {
            unpoisoned(self.idle.lock()).push(session);
        }
    }

    fn silent(&self) -> UpstreamError {
        UpstreamError::Unavailable(format!(
            "{} did not answer within {:?}",
            self.address.target.authority(),
            self.timeout
        ))
    }
}

#[async_trait]
impl Upstream for Postgres {
    async fn write(&self, batch: &Batch) -> Result<WriteReport, UpstreamError> {
        if batch.rows() == 0 {
            return Ok(WriteReport::default());
        }
        let _place = self.place().await?;
        let mut session = self.session().await?;
        let report = write::write(&mut session, batch, &self.told, &self.succession).await?;
        self.give_back(session);
        Ok(report)
    }

    async fn count(
        &self,
        stream: &Stream,
        schema: &Schema,
        range: TimeRange,
    ) -> Result<u64, UpstreamError> {
        let key = streams::stream_key(stream);
        if key.contains('\0') || schema.name.contains('\0') {
            return Ok(0);
        }
        let _place = self.place().await?;
        let session = self.session().await?;
        let range = (range.from.0, range.to.0);
        let count = session.count(&schema.name, &key, range).await?;
        self.give_back(session);
        Ok(count)
    }

    async fn describe(&self) -> Result<Description, UpstreamError> {
        let describing = async {
            let (connection, namespace) = session::reach(&self.address, self.timeout).await?;
            let version = session::prove_writable(&connection, &namespace).await?;
            connection.close(GOODBYE_MAX).await;
            Ok(Description {
                product: format!("PostgreSQL {version}"),
                database: Some(DatabaseDescription::default()),
            })
        };
        tokio::time::timeout(self.timeout, describing)
            .await
            .unwrap_or_else(|_| Err(self.silent()))
    }

    async fn close(&self) -> Result<(), UpstreamError> {
        let sessions = std::mem::take(&mut *unpoisoned(self.idle.lock()));
        let goodbyes = sessions
            .into_iter()
            .map(|session| session.connection.close(GOODBYE_MAX));
        futures_util::future::join_all(goodbyes).await;
        Ok(())
    }

    fn times_replaced(&self) -> u64 {
        self.succession.times_replaced()
    }

    fn location(&self) -> String {
        self.address.location()
    }
}
