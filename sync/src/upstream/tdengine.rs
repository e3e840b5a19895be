//! `TDengine` 3.3 over WebSocket (taosAdapter, port 6041).
//!
//! A supertable per schema (columns `ts`, `is_train`, `fold`, `source_ts`, then the fields; the tags
//! of the schema), a subtable per stream; names as `names` makes them. What does not fit, or has a
//! column of another type already, goes where `plan` says. Texts are VARCHAR in UTF-8, at most
//! `supertable::TEXT_BYTES_MAX` bytes, the column widened as longer ones come; tag values at most
//! `names::TAG_BYTES_MAX` bytes, kept as they are on the device. NaN and the infinities are stored
//! as they are.
//!
//! Every call is bounded by `timeout`. Whatever breaks a connection ends it: the next call builds a
//! new one. The only folder that names `taos`; how the bytes travel is in the relay.

mod address;
mod block;
mod client;
mod codes;
mod known;
mod names;
mod plan;
mod rows;
mod schema;
mod streams;
mod supertable;
mod write;

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use tokio::sync::Mutex;

use self::{
    address::Address,
    client::{Client, Failure},
};
use super::{Description, Upstream, UpstreamError, UpstreamOptions, WriteReport, told::Told};
use crate::{
    rows::Batch,
    sample::{Schema, Stream, TimeRange, Timestamp},
};

/// A `TDengine` database as upstream.
pub struct TDengine {
    address: Arc<Address>,
    timeout: Duration,
    client: Mutex<Option<Arc<Client>>>,
    told: Told,
    /// There was a connection, so the database was there.
    was_there: AtomicBool,
    /// Since then, or at first, it was not, and was to be made.
    was_missing: AtomicBool,
    replaced: AtomicU64,
}

impl TDengine {
    /// Checks URL, database options and TLS files; connects at the first call.
    ///
    /// # Errors
    /// [`UpstreamError::Rejected`] naming what is wrong, without the password.
    pub fn new(options: &UpstreamOptions) -> Result<Self, UpstreamError> {
        Ok(Self {
            address: Arc::new(Address::new(options)?),
            timeout: options.timeout,
            client: Mutex::new(None),
            told: Told::default(),
            was_there: AtomicBool::new(false),
            was_missing: AtomicBool::new(false),
            replaced: AtomicU64::new(0),
        })
    }

    /// The live client, or a new one; callers wait for each other, in all no longer than the time-out.
    async fn client(&self) -> Result<Arc<Client>, UpstreamError> {
        let connecting = async {
            let mut slot = self.client.lock().await;
            if let Some(client) = slot.as_ref().filter(|client| !client.is_broken()) {
                return Ok(Arc::clone(client));
            }
            *slot = None;
            let client = Client::connect(&self.address, self.timeout, &self.was_missing).await?;
            let client = Arc::new(client);
            self.note_database();
            *slot = Some(Arc::clone(&client));
            Ok(client)
        };
        tokio::time::timeout(self.timeout, connecting)
            .await
            .unwrap_or_else(|_| Err(self.silent()))
    }

    /// Tells of a database that was dropped since the last connection.
    fn note_database(&self) {
        let was_missing = self.was_missing.swap(false, Relaxed);
        if self.was_there.swap(true, Relaxed) && was_missing {
            self.replaced.fetch_add(1, Relaxed);
            tracing::warn!(
                database = %self.address.database,
                "this database was dropped while it was in use, and is made anew. Rows that were in \
                 it are not upstream: `dunlin status --verify` names them, `dunlin upload --again` \
                 sends them"
            );
        }
    }

    fn silent(&self) -> UpstreamError {
        UpstreamError::Unavailable(format!(
            "{} did not answer within {:?}",
            self.address.target.authority(),
            self.timeout
        ))
    }

    /// Throws `client` away unless somebody already has.
    async fn discard(&self, client: &Arc<Client>) {
        let mut slot = self.client.lock().await;
        if slot.as_ref().is_some_and(|live| Arc::ptr_eq(live, client)) {
            *slot = None;
        }
    }
}

#[async_trait]
impl Upstream for TDengine {
    async fn write(&self, batch: &Batch) -> Result<WriteReport, UpstreamError> {
        if batch.rows() == 0 {
            return Ok(WriteReport::default());
        }
        let client = self.client().await?;
        let written = write::write(&client, batch, &self.told).await;
        if client.is_broken() {
            self.discard(&client).await;
        }
        written
    }

    async fn count(
        &self,
        stream: &Stream,
        schema: &Schema,
        range: TimeRange,
    ) -> Result<u64, UpstreamError> {
        let client = self.client().await?;
        // The first part has every row.
        let mut sql = format!(
            "SELECT COUNT(*) FROM {}.`{}` WHERE `ts` IS NOT NULL",
            client.database(),
            names::subtable(stream, schema)
        );
        if range.from > Timestamp::MIN {
            let _infallible = write!(sql, " AND `ts` >= {}", range.from);
        }
        if range.to < Timestamp::MAX {
            let _infallible = write!(sql, " AND `ts` <= {}", range.to);
        }
        let counted = client.query(sql).await;
        if client.is_broken() {
            self.discard(&client).await;
        }
        match counted {
            Ok(records) => {
                let count = records.into_iter().flatten().next();
                Ok(count.and_then(|text| text.parse().ok()).unwrap_or(0))
            }
            Err(Failure::Refused(refusal)) if codes::is_no_such_table(refusal.code) => Ok(0),
            Err(failure) => Err(failure.into()),
        }
    }

    async fn describe(&self) -> Result<Description, UpstreamError> {
        let describing = async {
            // A connection of its own: the one for rows creates the database.
            let client = Client::reach(&self.address, self.timeout).await?;
            client.describe().await
        };
        tokio::time::timeout(self.timeout, describing)
            .await
            .unwrap_or_else(|_| Err(self.silent()))
    }

    async fn close(&self) -> Result<(), UpstreamError> {
        *self.client.lock().await = None;
        Ok(())
    }

    fn times_replaced(&self) -> u64 {
        self.replaced.load(Relaxed)
    }

    fn location(&self) -> String {
        self.address.location()
    }
}
