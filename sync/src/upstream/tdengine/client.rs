//! One connection: the connector behind its relay, a time-out on every call, errors by what to do.
//!
//! The connector hangs or panics where it should report, so each call runs on its own worker and
//! races the end of the relay and the clock. After [`Failure::Broken`] a client is thrown away.
//! (A server that takes more than two seconds to greet is among those: the connector takes it for
//! version 2 and panics on its worker.)

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use taos::{
    Address as Endpoint, AsyncFetchable, AsyncQueryable, AsyncTBuilder, Dsn, RawBlock, RawError,
    RawResult, Taos, TaosBuilder,
};

use super::{address::Address, codes, known::Known};
use crate::upstream::{DatabaseDescription, Description, UpstreamError, relay::Relay};

/// How long the relay has to name the cause after the connector has failed.
const CAUSE_WAIT: Duration = Duration::from_millis(200);
/// How often a statement is sent again at once because a table has just changed, and the first pause
/// between two tries, which doubles.
const TRIES_MAX: u32 = 8;
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(2);
/// From here on the numbers are the connector's own, up to 0xFFFF for what it cannot name.
const CONNECTOR_CODES_FROM: i32 = 0xE000;

/// Why a call failed.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// Nothing is known about what was done; the connection is of no more use.
    Broken(String),
    /// The server refused; the connection is fine, unless the number says otherwise.
    Refused(Refusal),
}

/// The server's own words.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    /// `TDengine`'s error number, 16 bits.
    pub(super) code: i32,
    /// With the number in front.
    pub(super) text: String,
}

impl From<Failure> for UpstreamError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(refusal) if codes::needs_somebody(refusal.code) => {
                Self::Rejected(refusal.text)
            }
            Failure::Refused(Refusal { text, .. }) | Failure::Broken(text) => {
                Self::Unavailable(text)
            }
        }
    }
}

/// A live connection with the database in use.
pub(super) struct Client {
    taos: Arc<Taos>,
    relay: Relay,
    address: Arc<Address>,
    timeout: Duration,
    broken: AtomicBool,
    /// What this connection has learnt about tables; forgotten with it.
    pub(super) known: Known,
}

impl Client {
    /// Connects, creates the database where missing (and says so in `was_missing`, whatever comes after), checks
    /// its precision and uses it.
    pub(super) async fn connect(
        address: &Arc<Address>,
        timeout: Duration,
        was_missing: &AtomicBool,
    ) -> Result<Self, UpstreamError> {
        let client = Self::reach(address, timeout).await?;
        client.open_database(was_missing).await?;
        Ok(client)
    }

    /// Connects, no more.
    pub(super) async fn reach(
        address: &Arc<Address>,
        timeout: Duration,
    ) -> Result<Self, UpstreamError> {
        let relay = tokio::time::timeout(timeout, Relay::open(&address.target))
            .await
            .map_err(|_| {
                let server = address.target.authority();
                UpstreamError::Unavailable(format!("{server} did not accept within {timeout:?}"))
            })?
            .map_err(UpstreamError::Unavailable)?;
        let dsn = Dsn {
            driver: "ws".into(),
            username: Some(address.user.clone()),
            password: Some(address.password()),
            addresses: vec![Endpoint {
                host: Some(relay.address()),
                ..Endpoint::default()
            }],
            ..Dsn::default()
        };
        let taos = async { TaosBuilder::from_dsn(dsn)?.build().await };
        let taos = taos
            .await
            .map_err(|e| UpstreamError::Unavailable(address.without_password(&e.to_string())))?;
        Ok(Self {
            taos: Arc::new(taos),
            relay,
            address: Arc::clone(address),
            timeout,
            broken: AtomicBool::new(false),
            known: Known::default(),
        })
    }

    /// What there is, changing nothing.
    pub(super) async fn describe(&self) -> Result<Description, UpstreamError> {
        let version = self.query("SELECT SERVER_VERSION()".into()).await?;
        let version = version.into_iter().flatten().next().unwrap_or_default();
        let name = &self.address.database;
        let databases = self
            .query(format!(
                "SELECT `precision`, `keep` FROM information_schema.ins_databases WHERE name = \
                 '{name}'"
            ))
            .await?;
        let mut cells = databases.into_iter().flatten();
        let database = cells.next().map(|precision| DatabaseDescription {
            coarse_precision: Some(precision).filter(|precision| precision != "ns"),
            keep: cells.next().filter(|keep| !keep.is_empty()),
        });
        Ok(Description {
            product: format!("TDengine {version}"),
            database,
        })
    }

    async fn open_database(&self, was_missing: &AtomicBool) -> Result<(), UpstreamError> {
        let database = self.address.database.clone();
        let mut precision = self.precision().await?;
        if precision.is_none() {
            was_missing.store(true, Relaxed);
            let sql = format!(
                "CREATE DATABASE IF NOT EXISTS `{database}` PRECISION 'ns'{}",
                self.address.create_options
            );
            if let Err(failure) = self.execute(sql).await {
                return Err(match failure {
                    Failure::Refused(refusal) if codes::is_about_the_statement(refusal.code) => {
                        UpstreamError::Rejected(format!(
                            "cannot create database {database} with options{}: {}",
                            self.address.create_options, refusal.text
                        ))
                    }
                    other => other.into(),
                });
            }
            precision = self.precision().await?;
        }
        match precision.as_deref() {
            Some("ns") => {}
            Some(other) => {
                return Err(UpstreamError::Rejected(format!(
                    "database {database} keeps time in {other}, which cannot hold nanosecond \
                     timestamps; name another database, or create it with PRECISION 'ns'"
                )));
            }
            None => {
                return Err(UpstreamError::Unavailable(format!(
                    "database {database} is not there yet"
                )));
            }
        }
        self.execute(format!("USE `{database}`")).await?;
        Ok(())
    }

    async fn precision(&self) -> Result<Option<String>, Failure> {
        let database = &self.address.database;
        let records = self
            .query(format!(
                "SELECT `precision` FROM information_schema.ins_databases WHERE name = '{database}'"
            ))
            .await?;
        Ok(records.into_iter().flatten().next())
    }

    /// The database in back-ticks.
    pub(super) fn database(&self) -> String {
        format!("`{}`", self.address.database)
    }

    /// Whether a call has failed in a way that leaves the connection useless, or it has ended.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Relaxed) || self.relay.is_gone()
    }

    /// Runs a statement without a result.
    pub(super) async fn execute(&self, sql: String) -> Result<(), Failure> {
        let sql: Arc<str> = sql.into();
        self.call_again(|| {
            let (taos, sql) = (Arc::clone(&self.taos), Arc::clone(&sql));
            async move { taos.exec(&*sql).await.map(|_rows| ()) }
        })
        .await
    }

    /// Runs a query and returns its cells as text, missing ones empty.
    pub(super) async fn query(&self, sql: String) -> Result<Vec<Vec<String>>, Failure> {
        let taos = Arc::clone(&self.taos);
        self.call(async move {
            let records = taos.query(sql).await?.to_records().await?;
            let text = |value: taos::Value| value.to_string().unwrap_or_default();
            Ok(records
                .into_iter()
                .map(|record| record.into_iter().map(text).collect())
                .collect())
        })
        .await
    }

    /// Writes rows of one existing subtable.
    pub(super) async fn write_block(&self, block: RawBlock) -> Result<(), Failure> {
        let block = Arc::new(block);
        self.call_again(|| {
            let (taos, block) = (Arc::clone(&self.taos), Arc::clone(&block));
            async move { taos.write_raw_block(&block).await }
        })
        .await
    }

    /// Calls again at once, a bounded number of times, while a table is changing under the call.
    async fn call_again<T: Send + 'static, F>(&self, work: impl Fn() -> F) -> Result<T, Failure>
    where
        F: Future<Output = RawResult<T>> + Send + 'static,
    {
        let mut pause = TRY_AGAIN_AFTER;
        for _ in 1..TRIES_MAX {
            match self.call(work()).await {
                Err(Failure::Refused(refusal)) if refusal.code == codes::SCHEMA_IS_OLD => {}
                done => return done,
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        self.call(work()).await
    }

    async fn call<T: Send + 'static>(
        &self,
        work: impl Future<Output = RawResult<T>> + Send + 'static,
    ) -> Result<T, Failure> {
        let done = self.race(work).await;
        let is_over = match &done {
            Err(Failure::Broken(_)) => true,
            Err(Failure::Refused(refusal)) => codes::ends_the_connection(refusal.code),
            Ok(_) => false,
        };
        if is_over {
            self.broken.store(true, Relaxed);
        }
        done
    }

    async fn race<T: Send + 'static>(
        &self,
        work: impl Future<Output = RawResult<T>> + Send + 'static,
    ) -> Result<T, Failure> {
        let mut worker = AbortOnDrop(tokio::spawn(work));
        tokio::select! {
            biased;
            done = &mut worker.0 => match done {
                Ok(Ok(value)) => Ok(value),
                Ok(Err(error)) => Err(self.failure(&error).await),
                Err(_panicked) => Err(Failure::Broken(self.cause("the connector failed").await)),
            },
            reason = self.relay.ended() => Err(Failure::Broken(reason)),
            () = tokio::time::sleep(self.timeout) => Err(Failure::Broken(format!(
                "{} did not answer within {:?}",
                self.address.target.authority(),
                self.timeout
            ))),
        }
    }

    async fn failure(&self, error: &RawError) -> Failure {
        let code = i32::from(error.code()) & 0xFFFF;
        let text = self.relay.without_key(&error.to_string());
        let text = self.address.without_password(&text);
        if code >= CONNECTOR_CODES_FROM {
            return Failure::Broken(self.cause(&text).await);
        }
        Failure::Refused(Refusal { code, text })
    }

    /// What the relay knows, which is the cause; otherwise what the connector says.
    async fn cause(&self, otherwise: &str) -> String {
        tokio::time::timeout(CAUSE_WAIT, self.relay.ended())
            .await
            .unwrap_or_else(|_| otherwise.to_owned())
    }
}

struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
