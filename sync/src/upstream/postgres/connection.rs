//! One connection: its own socket and TLS, errors by what to do.
//!
//! Statements go out with their parameters in one message (`execute`, `query`), so that those begun
//! together wait for the server together; only COPY waits for an answer before it sends its rows.

use std::{
    error::Error as _,
    fmt::Write as _,
    future::poll_fn,
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures_util::SinkExt;
use rustls::ClientConfig;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    task::JoinHandle,
};
use tokio_postgres::{
    AsyncMessage, Client, Config, Error, NoTls, Row, Statement,
    types::{ToSql, Type},
};

use super::{
    address::Address,
    codes::{self, Cause},
};
use crate::{
    lock::unpoisoned,
    upstream::{
        UpstreamError,
        relay::{Target, handshake},
    },
};

/// Asks a server whether it speaks TLS; its answer is `S` or `N`.
const TLS_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
/// Longest text of an error of the server's that is kept, bytes.
const WORDS_BYTES_MAX: usize = 1024;

/// Why a call failed.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// Nothing is known about what was done; the connection is of no more use.
    Broken(String),
    /// The server refused, with its code and words.
    Refused { code: String, words: String },
}

impl Failure {
    pub(crate) fn cause(&self) -> Cause {
        match self {
            Self::Broken(_) => Cause::Moment,
            Self::Refused { code, .. } => codes::cause(code),
        }
    }

    pub(crate) fn is(&self, expected: &str) -> bool {
        matches!(self, Self::Refused { code, .. } if code == expected)
    }

    pub(crate) fn words(self) -> String {
        match self {
            Self::Broken(words) => words,
            Self::Refused { code, words } => match codes::help(&code) {
                Some(help) => format!("{words}; {help}"),
                None => words,
            },
        }
    }
}

impl From<Failure> for UpstreamError {
    fn from(failure: Failure) -> Self {
        // Where it is not one table that is to be held.
        if failure.is(codes::LOCKED) {
            return Self::Unavailable(failure.words());
        }
        let cause = failure.cause();
        let words = failure.words();
        match cause {
            Cause::Moment => Self::Unavailable(words),
            Cause::Setup(advice) => Self::Rejected(format!("{words}; {advice}")),
            Cause::Row | Cause::Table => Self::Rejected(words),
        }
    }
}

/// A live connection; it ends when dropped.
pub(crate) struct Connection {
    client: Client,
    link: Link,
    /// Why the link has ended, where it knows.
    ended: Arc<Mutex<Option<Failure>>>,
    /// Counts what the server has notified us of, unasked.
    notified: Arc<watch::Sender<u64>>,
    address: Arc<Address>,
    timeout: Duration,
}

/// What moves the bytes; a socket that is dead would keep it for ever.
struct Link(JoinHandle<()>);

impl Drop for Link {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A parameter with its type.
pub(crate) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

impl Connection {
    /// Connects as the address says; the caller bounds how long. Later calls are bounded by `timeout` each.
    pub(crate) async fn open(
        address: &Arc<Address>,
        timeout: Duration,
    ) -> Result<Self, UpstreamError> {
        let target = &address.target;
        let away = |what: &str| {
            let authority = target.authority();
            let what = what.to_owned();
            move |e: std::io::Error| UpstreamError::Unavailable(format!("{what} {authority}: {e}"))
        };
        let server = TcpStream::connect((target.host.as_str(), target.port))
            .await
            .map_err(away("cannot connect to"))?;
        server.set_nodelay(true).map_err(away("cannot set up"))?;
        let (ended, notified) = (Arc::default(), Arc::default());
        let config = address.config();
        let begun = match &target.tls {
            Some(tls) => {
                let server = encrypted(server, target, tls.current()).await?;
                begin(server, &config, &ended, &notified).await
            }
            None => begin(server, &config, &ended, &notified).await,
        };
        let (client, link) = begun.map_err(|error| not_let_in(&error, address))?;
        Ok(Self {
            client,
            link: Link(link),
            ended,
            notified,
            address: Arc::clone(address),
            timeout,
        })
    }

    /// Says goodbye, so that the server does not note a client that vanished.
    pub(super) async fn close(self, bound: Duration) {
        let Self {
            client, mut link, ..
        } = self;
        drop(client);
        let _ended = tokio::time::timeout(bound, &mut link.0).await;
    }

    /// Counts what the server has notified us of, for what `LISTEN` was said; and the end of the connection.
    pub(crate) fn notified(&self) -> watch::Receiver<u64> {
        self.notified.subscribe()
    }

    /// Bound on each call.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Runs statements without parameters or results, one after the other.
    pub(crate) async fn batch(&self, sql: &str) -> Result<(), Failure> {
        self.bounded(self.client.batch_execute(sql)).await
    }

    /// Runs a statement; how many rows it changed.
    pub(crate) async fn execute(
        &self,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<u64, Failure> {
        self.bounded(self.client.execute_typed(sql, parameters))
            .await
    }

    /// Runs a query.
    pub(crate) async fn query(
        &self,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, Failure> {
        self.bounded(self.client.query_typed(sql, parameters)).await
    }

    pub(super) async fn prepare(&self, sql: &str) -> Result<Statement, Failure> {
        self.bounded(self.client.prepare(sql)).await
    }

    /// Copies rows in, in the server's binary format, piece by piece.
    pub(super) async fn copy(
        &self,
        statement: &Statement,
        pieces: impl Iterator<Item = Bytes>,
    ) -> Result<u64, Failure> {
        let copying = async {
            let mut sink = pin!(self.client.copy_in::<_, Bytes>(statement).await?);
            for piece in pieces {
                sink.send(piece).await?;
            }
            sink.finish().await
        };
        self.bounded(copying).await
    }

    async fn bounded<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Result<T, Failure> {
        match tokio::time::timeout(self.timeout, call).await {
            Ok(done) => done.map_err(|error| self.failure(&error)),
            Err(_) => Err(Failure::Broken(format!(
                "{} did not answer within {:?}",
                self.address.target.authority(),
                self.timeout
            ))),
        }
    }

    /// The value in `column` of `row`.
    pub(crate) fn get<'r, T: tokio_postgres::types::FromSql<'r>>(
        row: &'r Row,
        column: usize,
    ) -> Result<T, Failure> {
        row.try_get(column).map_err(|error| Failure::Refused {
            code: "42804".into(),
            words: format!("a table of ours is not as we made it: {}", words_of(&error)),
        })
    }

    fn failure(&self, error: &Error) -> Failure {
        let failure = failure_of(error);
        let failure = match (&failure, &*unpoisoned(self.ended.lock())) {
            (Failure::Broken(_), Some(cause)) => Failure::Broken(cause.clone().words()),
            _ => failure,
        };
        match failure {
            Failure::Broken(words) => Failure::Broken(self.told(&words)),
            Failure::Refused { code, words } => Failure::Refused {
                words: self.told(&words),
                code,
            },
        }
    }

    fn told(&self, words: &str) -> String {
        self.address.without_password(words)
    }
}

async fn begin<S>(
    server: S,
    config: &Config,
    ended: &Arc<Mutex<Option<Failure>>>,
    notified: &Arc<watch::Sender<u64>>,
) -> Result<(Client, JoinHandle<()>), Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (client, mut connection) = config.connect_raw(server, NoTls).await?;
    let (ended, notified) = (Arc::clone(ended), Arc::clone(notified));
    let link = tokio::spawn(async move {
        while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
            match message {
                Ok(AsyncMessage::Notification(_)) => notified.send_modify(|count| *count += 1),
                Ok(_) => {}
                Err(error) => {
                    *unpoisoned(ended.lock()) = Some(failure_of(&error));
                    break;
                }
            }
        }
        // Whoever waits to be notified must not wait for ever.
        notified.send_modify(|count| *count += 1);
    });
    Ok((client, link))
}

/// TLS before anything else is said; never without it.
async fn encrypted(
    mut server: TcpStream,
    target: &Target,
    config: Arc<ClientConfig>,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, UpstreamError> {
    let mut answer = [0];
    let asking = async {
        server.write_all(&TLS_REQUEST).await?;
        server.read_exact(&mut answer).await
    };
    let authority = target.authority();
    asking
        .await
        .map_err(|e| UpstreamError::Unavailable(format!("{authority}: {e}")))?;
    if answer != *b"S" {
        return Err(UpstreamError::Rejected(format!(
            "{authority} speaks no TLS; set ssl = on there, or say ?sslmode=disable at the end of the URL"
        )));
    }
    handshake(server, target, config)
        .await
        .map_err(UpstreamError::Unavailable)
}

/// Sorts what was said instead of letting us in.
fn not_let_in(error: &Error, address: &Address) -> UpstreamError {
    let authority = address.target.authority();
    let failure = match failure_of(error) {
        Failure::Refused { code, words } => {
            let words = address.without_password(&words);
            if code == codes::NO_SUCH_DATABASE {
                return UpstreamError::Rejected(format!(
                    "{authority}: {words}; create it: CREATE DATABASE {}",
                    address.database
                ));
            }
            Failure::Refused {
                code,
                words: format!("{authority}: {words}"),
            }
        }
        Failure::Broken(words) => {
            let words = format!("{authority}: {}", address.without_password(&words));
            // No answer of the server's that could be another one later: it asks for what we lack.
            let is_setup = !error.is_closed() && !is_io(error);
            if is_setup {
                return UpstreamError::Rejected(format!("{words}; check user and password"));
            }
            Failure::Broken(words)
        }
    };
    failure.into()
}

fn is_io(error: &Error) -> bool {
    error
        .source()
        .is_some_and(<dyn std::error::Error>::is::<std::io::Error>)
}

fn failure_of(error: &Error) -> Failure {
    let Some(said) = error.as_db_error() else {
        return Failure::Broken(words_of(error));
    };
    let code = said.code().code().to_owned();
    let mut words = format!("{} ({code})", said.message());
    words.truncate(words.floor_char_boundary(WORDS_BYTES_MAX));
    Failure::Refused { code, words }
}

/// All that an error says, the cause behind it included.
fn words_of(error: &Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let _infallible = write!(words, ": {cause}");
        source = cause.source();
    }
    words.truncate(words.floor_char_boundary(WORDS_BYTES_MAX));
    words
}
