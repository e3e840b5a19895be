//! Where a scenario runs.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    sync::Arc,
    time::Duration,
};

use dunlin_sync::{
    rows::{TableRows, Values},
    sample::Schema,
    upstream::{Upstream, UpstreamError, UpstreamOptions, connect},
};
use dunlin_tests::batches::{column, stream, table};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// A database of its own on a real server.
pub(crate) struct Target {
    base: String,
    pub(crate) database: String,
}

impl Target {
    pub(crate) async fn real() -> Option<Self> {
        let Ok(url) = std::env::var("DUNLIN_POSTGRES_URL") else {
            println!("skipped: DUNLIN_POSTGRES_URL is not set");
            return None;
        };
        let target = Self {
            base: url[..url.rfind('/').unwrap()].to_owned(),
            database: format!("dunlin_t{:016x}", rand::random::<u64>()),
        };
        let sql = format!("CREATE DATABASE {}", target.database);
        target
            .admin("postgres")
            .await
            .batch_execute(&sql)
            .await
            .unwrap();
        Some(target)
    }

    /// A connection of an administrator's.
    pub(crate) async fn admin(&self, database: &str) -> Client {
        let url = format!("{}/{database}", self.base);
        let config: tokio_postgres::Config = url.parse().unwrap();
        let host = match &config.get_hosts()[0] {
            tokio_postgres::config::Host::Tcp(host) => host.clone(),
            other @ tokio_postgres::config::Host::Unix(_) => panic!("{other:?}"),
        };
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let socket = tokio::net::TcpStream::connect((host, port)).await.unwrap();
        let (client, connection) = config.connect_raw(socket, NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    pub(crate) fn url(&self) -> String {
        format!("{}/{}", self.base, self.database)
    }

    /// Where the server listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.authority().to_socket_addrs().unwrap().next().unwrap()
    }

    /// Host and port of the server.
    pub(crate) fn authority(&self) -> String {
        let at = self.base.rfind('@').unwrap();
        self.base[at + 1..].to_owned()
    }

    /// The URL with another server in front, and what follows the database.
    pub(crate) fn url_through(&self, authority: &str, end: &str) -> String {
        let at = self.base.rfind('@').unwrap();
        format!("{}@{authority}/{}{end}", &self.base[..at], self.database)
    }

    pub(crate) fn upstream(&self) -> Box<dyn Upstream> {
        connect(&options(&self.url())).unwrap()
    }

    pub(crate) async fn execute(&self, sql: &str) {
        let admin = self.admin(&self.database).await;
        admin.batch_execute(sql).await.unwrap();
    }

    /// Cells of all rows as text.
    pub(crate) async fn read(&self, sql: &str) -> Vec<Vec<String>> {
        let admin = self.admin(&self.database).await;
        let answer = admin.simple_query(sql).await.unwrap();
        let rows = answer.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let cell = |text: Option<&str>| text.unwrap_or("NULL").to_owned();
        rows.map(|row| (0..row.len()).map(|at| cell(row.get(at))).collect())
            .collect()
    }

    /// The only cell of the answer.
    pub(crate) async fn read_one(&self, sql: &str) -> String {
        let rows = self.read(sql).await;
        assert_eq!((rows.len(), rows[0].len()), (1, 1), "{rows:?}");
        rows[0][0].clone()
    }

    pub(crate) async fn clean(self) {
        let sql = format!("DROP DATABASE {} WITH (FORCE)", self.database);
        self.admin("postgres")
            .await
            .batch_execute(&sql)
            .await
            .unwrap();
    }
}

pub(crate) fn options(url: &str) -> UpstreamOptions {
    UpstreamOptions::new(url, Duration::from_secs(10))
}

pub(crate) fn is_unavailable(error: &UpstreamError) -> bool {
    matches!(error, UpstreamError::Unavailable(_))
}

/// Texts of one field, `start` and the nanoseconds behind it.
pub(crate) fn texts(schema: &Arc<Schema>, machine: &str, start: i64, texts: &[&str]) -> TableRows {
    let ts = (0..texts.len()).map(|row| start + row as i64);
    let values = texts.iter().map(|text| (*text).into()).collect();
    let columns = vec![column(Values::Text(values))];
    table(
        &stream(schema, "d1", machine),
        schema,
        ts.collect(),
        columns,
    )
}
