//! A double of taosAdapter's WebSocket endpoint: enough of its protocol and of `TDengine`'s rules for
//! the upstream to be tested without a server, and everything that goes wrong with a server on demand.
//!
//! It speaks what the connector speaks to a 3.3 server: JSON for the greeting, binary frames for
//! queries (action 6), fetches (7) and raw blocks (5).

mod database;
mod parser;
mod session;
mod sql;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use dunlin_sync::lock::unpoisoned;
use futures_util::{SinkExt, StreamExt};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_tungstenite::tungstenite::Message;

pub use self::database::{Cell, Row};
use self::{
    database::{Refusal, Server, refuse},
    session::{Reply, Session},
};

/// Of the server that it plays.
const VERSION: &str = "3.3.6.0";

/// What a raw block counts as among the statements that fail.
const RAW_BLOCK: &str = "(raw block)";

/// When a connection is cut, seen from the write that suffers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The rows never arrive.
    BeforeApplying,
    /// The rows are stored, the answer is lost.
    AfterApplying,
}

#[derive(Debug, Default)]
struct FaultState {
    refuses: bool,
    is_half_open: bool,
    delay: Duration,
    cuts: Vec<(usize, Cut)>,
    /// What fails, how, and how often still.
    errors: Vec<(String, Refusal, usize)>,
    is_garbled: bool,
}

#[derive(Debug, Default)]
struct Shared {
    model: Mutex<Server>,
    faults: Mutex<FaultState>,
    connections: Mutex<usize>,
    password: Mutex<Option<String>>,
}

/// What goes wrong, from now on.
#[derive(Clone, Debug)]
pub struct Faults(Arc<Shared>);

impl Faults {
    fn state(&self) -> MutexGuard<'_, FaultState> {
        unpoisoned(self.0.faults.lock())
    }

    /// New connections are closed at once (or served again).
    pub fn refuse_connections(&self, refuse: bool) {
        self.state().refuses = refuse;
    }

    /// Connections, old and new, are kept open and never answered (or answered again).
    pub fn half_open(&self, half_open: bool) {
        self.state().is_half_open = half_open;
    }

    /// Every answer takes this long.
    pub fn slow(&self, delay: Duration) {
        self.state().delay = delay;
    }

    /// Cuts the connection at a write (an INSERT or a raw block): `skip` = 0 is the next one.
    pub fn cut_at_write(&self, skip: usize, cut: Cut) {
        self.state().cuts.push((skip, cut));
    }

    /// Every statement that starts with `prefix` fails with `code`.
    pub fn fail_sql(&self, prefix: &str, code: u32, message: &str) {
        self.fail_sql_times(usize::MAX, prefix, code, message);
    }

    /// The next `times` statements that start with `prefix` fail with `code`.
    pub fn fail_sql_times(&self, times: usize, prefix: &str, code: u32, message: &str) {
        let refusal = refuse(code, message.to_owned());
        self.state()
            .errors
            .push((prefix.to_owned(), refusal, times));
    }

    /// The next `times` raw blocks fail with `code`.
    pub fn fail_blocks_times(&self, times: usize, code: u32, message: &str) {
        self.fail_sql_times(times, RAW_BLOCK, code, message);
    }

    /// The next query is answered with what is no JSON.
    pub fn garble_next_answer(&self) {
        self.state().is_garbled = true;
    }

    /// Rows later than this are out of range.
    pub fn newest_ns(&self, newest_ns: i64) {
        unpoisoned(self.0.model.lock()).newest_ns = Some(newest_ns);
    }

    /// Rows with these timestamps are refused, for no reason a client could know.
    pub fn refuse_rows_at(&self, ts: impl IntoIterator<Item = i64>) {
        unpoisoned(self.0.model.lock()).poison = ts.into_iter().collect();
    }

    /// Only this password opens the door; any does otherwise.
    pub fn require_password(&self, password: &str) {
        *unpoisoned(self.0.password.lock()) = Some(password.to_owned());
    }

    /// No more faults.
    pub fn clear(&self) {
        *self.state() = FaultState::default();
        {
            let mut model = unpoisoned(self.0.model.lock());
            model.newest_ns = None;
            model.poison.clear();
        }
        *unpoisoned(self.0.password.lock()) = None;
    }
}

/// A running double; stops when dropped.
#[derive(Debug)]
pub struct TaosDouble {
    shared: Arc<Shared>,
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Drop for TaosDouble {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl TaosDouble {
    /// Listens on a free port of 127.0.0.1.
    ///
    /// # Panics
    /// If there is no free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a free port on 127.0.0.1");
        let address = listener.local_addr().expect("a bound listener");
        let shared = Arc::new(Shared::default());
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self {
            shared,
            address,
            accepting,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `tdengine://root:taosdata@127.0.0.1:port/database`
    pub fn url(&self, database: &str) -> String {
        format!("tdengine://root:taosdata@{}/{database}", self.address)
    }

    /// The switchboard.
    pub fn faults(&self) -> Faults {
        Faults(Arc::clone(&self.shared))
    }

    /// Runs a statement behind the network's back.
    ///
    /// # Errors
    /// The double's words.
    pub fn execute(&self, sql: &str) -> Result<(), String> {
        let mut model = unpoisoned(self.shared.model.lock());
        sql::run(&mut model, &mut None, sql)
            .map(|_| ())
            .map_err(|refusal| refusal.message)
    }

    /// Drops all tables, as an administrator might.
    pub fn forget_tables(&self) {
        for database in unpoisoned(self.shared.model.lock()).databases.values_mut() {
            database.supertables.clear();
            database.subtables.clear();
        }
    }

    /// Names of the columns of `stable`, then of its tags; none if it is not there.
    pub fn columns(&self, database: &str, stable: &str) -> Vec<String> {
        let mut model = unpoisoned(self.shared.model.lock());
        let table = model
            .database(database)
            .and_then(|found| found.supertable(stable));
        let columns = table.map(|table| table.columns.iter().chain(&table.tags));
        let columns = columns.into_iter().flatten();
        columns.map(|column| column.name.clone()).collect()
    }

    /// Rows of all subtables of `stable` with their tags, by time.
    pub fn rows(&self, database: &str, stable: &str) -> Vec<Row> {
        let mut rows: Vec<(i64, Row)> = Vec::new();
        if let Ok(found) = unpoisoned(self.shared.model.lock()).database(database) {
            for table in found.subtables.values().filter(|t| t.stable == stable) {
                let tags = table.tags.iter();
                let tags: Row = tags
                    .map(|(name, value)| (name.clone(), Cell::Text(value.clone())))
                    .collect();
                rows.extend(table.rows.iter().map(|(ts, row)| {
                    let mut row = row.clone();
                    row.extend(tags.clone());
                    (*ts, row)
                }));
            }
        }
        rows.sort_by_key(|(ts, _)| *ts);
        rows.into_iter().map(|(_, row)| row).collect()
    }

    /// Names of the subtables, each with its tag values by name and its number of rows.
    pub fn subtables(&self, database: &str) -> Vec<(String, Vec<String>, usize)> {
        let mut model = unpoisoned(self.shared.model.lock());
        let Ok(database) = model.database(database) else {
            return Vec::new();
        };
        let tables = database.subtables.iter();
        tables
            .map(|(name, t)| {
                (
                    name.clone(),
                    t.tags.values().cloned().collect(),
                    t.rows.len(),
                )
            })
            .collect()
    }

    /// Every statement received, in order.
    pub fn statements(&self) -> Vec<String> {
        unpoisoned(self.shared.model.lock()).statements.clone()
    }

    /// Raw blocks received.
    pub fn blocks(&self) -> usize {
        unpoisoned(self.shared.model.lock()).blocks
    }

    /// Connections accepted.
    pub fn connections(&self) -> usize {
        *unpoisoned(self.shared.connections.lock())
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        *unpoisoned(shared.connections.lock()) += 1;
        while connections.try_join_next().is_some() {}
        if unpoisoned(shared.faults.lock()).refuses {
            continue;
        }
        connections.spawn(serve(socket, Arc::clone(&shared)));
    }
}

async fn serve(socket: TcpStream, shared: Arc<Shared>) {
    wait_while_half_open(&shared).await;
    let Ok(mut socket) = tokio_tungstenite::accept_async(socket).await else {
        return;
    };
    let mut session = Session::new(Arc::clone(&shared));
    while let Some(Ok(message)) = socket.next().await {
        wait_while_half_open(&shared).await;
        let reply = match message {
            Message::Text(text) => session.greeting(&text),
            Message::Binary(bytes) => session.request(&bytes),
            Message::Close(_) => return,
            _ => Reply::None,
        };
        let delay = unpoisoned(shared.faults.lock()).delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        match reply {
            Reply::None => {}
            Reply::HangUp => return,
            Reply::Frame(frame) => {
                if socket.send(frame).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn wait_while_half_open(shared: &Shared) {
    while unpoisoned(shared.faults.lock()).is_half_open {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
