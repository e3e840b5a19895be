//! Where a scenario runs, and batches to write.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use dunlin_sync::{
    rows::{Batch, Column, Rows, TableRows, Values},
    sample::{Field, FieldType, Schema, Stream, TimeRange},
    upstream::{Upstream, UpstreamError, UpstreamOptions, connect},
};
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
    UpstreamOptions {
        url: url.into(),
        timeout: Duration::from_secs(10),
        database_options: BTreeMap::new(),
        password_file: None,
        ca_file: None,
        cert_file: None,
        key_file: None,
    }
}

pub(crate) fn is_unavailable(error: &UpstreamError) -> bool {
    matches!(error, UpstreamError::Unavailable(_))
}

pub(crate) fn now_ns() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_nanos() as i64
}

pub(crate) fn schema(name: &str, fields: &[(&str, FieldType)]) -> Arc<Schema> {
    Arc::new(Schema {
        id: crc(name),
        name: name.into(),
        tag_names: vec!["device".into(), "machine".into()],
        fields: fields
            .iter()
            .map(|(name, kind)| Field {
                name: (*name).into(),
                kind: *kind,
            })
            .collect(),
        origins: Vec::new(),
    })
}

/// A number of its own for each name, as a catalog gives them.
fn crc(name: &str) -> u32 {
    name.bytes().fold(7, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(byte.into())
    })
}

pub(crate) fn stream(schema: &Schema, device: &str, machine: &str) -> Arc<Stream> {
    let name = format!("{}/{machine}", schema.name);
    Arc::new(Stream {
        id: crc(&format!("{device} {name}")),
        schema: schema.id,
        name,
        tags: vec![device.into(), machine.into()],
        first_tags: None,
    })
}

pub(crate) fn column(values: Values) -> Column {
    Column {
        values,
        present: None,
    }
}

pub(crate) fn table(
    stream: &Arc<Stream>,
    schema: &Arc<Schema>,
    ts: Vec<i64>,
    columns: Vec<Column>,
) -> TableRows {
    let rows = ts.len();
    TableRows {
        stream: Arc::clone(stream),
        schema: Arc::clone(schema),
        rows: Rows {
            is_train: (0..rows).map(|row| row % 5 != 0).collect(),
            fold: (0..rows).map(|row| (row % 256) as u8).collect(),
            source_ts: ts
                .iter()
                .map(|ts| (ts % 2 == 0).then_some(ts - 7))
                .collect(),
            ts,
            columns: columns.into(),
        },
    }
}

/// `rows` rows of one f64 field, one microsecond apart, ending now.
pub(crate) fn waves(schema: &Arc<Schema>, machine: &str, rows: usize) -> TableRows {
    let end = now_ns();
    let ts = (0..rows).map(|row| end - (rows - row) as i64 * 1_000);
    let x = (0..rows).map(|row| row as f64 / 8.0).collect();
    let columns = vec![column(Values::F64(x))];
    table(
        &stream(schema, "d1", machine),
        schema,
        ts.collect(),
        columns,
    )
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

pub(crate) fn one(table: TableRows) -> Batch {
    Batch {
        tables: vec![table],
    }
}

pub(crate) async fn count(upstream: &dyn Upstream, table: &TableRows) -> u64 {
    upstream
        .count(&table.stream, &table.schema, TimeRange::ALL)
        .await
        .unwrap()
}

pub(crate) async fn write_all(upstream: &dyn Upstream, batch: &Batch) {
    let report = upstream.write(batch).await.unwrap();
    assert_eq!((report.rejected, report.refused), (vec![], vec![]));
    assert_eq!(report.rows_written, batch.rows() as u64);
}
