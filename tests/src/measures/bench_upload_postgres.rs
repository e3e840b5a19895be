//! `bench_upload` against `PostgreSQL`.

use std::{error::Error, fmt::Write as _, pin::pin, sync::Arc, time::Instant};

use dunlin_sync::{
    rows::{Batch, Column},
    upstream::{Upstream, connect},
};
use serde_json::json;
use tokio_postgres::{
    Client, Config, NoTls,
    binary_copy::BinaryCopyInWriter,
    config::Host,
    types::{ToSql, Type},
};

use super::{
    BATCH_ROWS, COLUMNS, FIELDS, IN_FLIGHT, ROUNDS, ROWS, batches, floats, median, options,
    rows_per_s, small_write_ms, upload,
};

type Done<T> = Result<T, Box<dyn Error>>;

/// What a stream is called in the tables that are compared with.
const STREAM: &str = "device/bench/one";

async fn client(url: &str) -> Done<Client> {
    let config: Config = url.parse()?;
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let Some(Host::Tcp(host)) = config.get_hosts().first() else {
        return Err("the URL names no host".into());
    };
    let socket = tokio::net::TcpStream::connect((host.as_str(), port)).await?;
    socket.set_nodelay(true)?;
    let (client, connection) = config.connect_raw(socket, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// A table as the upstream makes it.
async fn make(client: &Client, table: &str) -> Done<()> {
    let fields = COLUMNS[4..]
        .iter()
        .map(|name| format!(", {name} double precision"));
    let sql = format!(
        "DROP TABLE IF EXISTS {table}; CREATE TABLE {table} (stream text COLLATE \"C\" NOT NULL, ts bigint \
         NOT NULL, is_train boolean, fold smallint, source_ts bigint{}, PRIMARY KEY (stream, ts))",
        fields.collect::<String>()
    );
    Ok(client.batch_execute(&sql).await?)
}

async fn bare_copy(client: &Client, batches: &[Arc<Batch>]) -> Done<f64> {
    make(client, "bare_copy").await?;
    let sql = format!(
        "COPY bare_copy (stream, {}) FROM STDIN (FORMAT binary)",
        COLUMNS.join(", ")
    );
    let statement = client.prepare(&sql).await?;
    let mut types = vec![Type::TEXT, Type::INT8, Type::BOOL, Type::INT2, Type::INT8];
    types.extend((0..FIELDS).map(|_| Type::FLOAT8));
    let started = Instant::now();
    for batch in batches {
        let rows = &batch.tables[0].rows;
        let columns: Vec<Vec<f64>> = rows
            .columns
            .iter()
            .map(|(_, column)| floats(column))
            .collect();
        let sink = client.copy_in(&statement).await?;
        let mut writer = pin!(BinaryCopyInWriter::new(sink, &types));
        for row in 0..rows.len() {
            let fold = i16::from(rows.fold[row]);
            let (ts, is_train, source_ts) =
                (&rows.ts[row], &rows.is_train[row], &rows.source_ts[row]);
            let mut values: Vec<&(dyn ToSql + Sync)> =
                vec![&STREAM, ts, is_train, &fold, source_ts];
            values.extend(
                columns
                    .iter()
                    .map(|column| &column[row] as &(dyn ToSql + Sync)),
            );
            writer.as_mut().write(&values).await?;
        }
        writer.finish().await?;
    }
    Ok(rows_per_s(started))
}

async fn bare_insert(client: &Client, batches: &[Arc<Batch>]) -> Done<f64> {
    make(client, "bare_insert").await?;
    let started = Instant::now();
    for batch in batches {
        let rows = &batch.tables[0].rows;
        let of = |(_, column): (usize, &Column)| floats(column);
        let columns: Vec<Vec<f64>> = rows.columns.iter().map(of).collect();
        let mut sql = String::from("INSERT INTO bare_insert VALUES");
        for row in 0..rows.len() {
            let separator = if row == 0 { ' ' } else { ',' };
            let (ts, is_train) = (rows.ts[row], rows.is_train[row]);
            write!(sql, "{separator}('{STREAM}',{ts},{is_train},0,NULL")?;
            for column in &columns {
                write!(sql, ",{}", column[row])?;
            }
            sql.push(')');
        }
        client.batch_execute(&sql).await?;
    }
    Ok(rows_per_s(started))
}

pub(super) async fn postgres(url: &str) -> Done<serde_json::Value> {
    let url = url.trim_end_matches("?sslmode=disable");
    let base = url.rsplit_once('/').map_or(url, |(base, _)| base);
    let database = format!("dunlin_bench{:08x}", rand::random::<u32>());
    let admin = client(url).await?;
    admin
        .batch_execute(&format!("CREATE DATABASE {database}"))
        .await?;
    let ours = format!("{base}/{database}");
    let bare = client(&ours).await?;
    let connected = || connect(&options(format!("{ours}?sslmode=disable"))).map(Arc::from);
    let upstream: Arc<dyn Upstream> = connected()?;
    let (one, several) = (batches("one"), batches("several"));
    // The tables are made before anything is timed.
    upstream.write(&one[0]).await?;
    let mut rates = [const { Vec::new() }; 5];
    for _ in 0..ROUNDS {
        bare.batch_execute("TRUNCATE bench").await?;
        rates[0].push(upload(&upstream, &one, 1).await?);
        rates[1].push(bare_copy(&bare, &one).await?);
        bare.batch_execute("TRUNCATE bench").await?;
        rates[2].push(upload(&upstream, &several, IN_FLIGHT).await?);
        rates[3].push(bare_insert(&bare, &one).await?);
        // All of it once more: every row is there already. Whoever has met such rows looks out for more.
        rates[4].push(upload(&connected()?, &several, 1).await?);
    }
    let small = small_write_ms(&connected()?).await?;
    drop((bare, upstream));
    admin
        .batch_execute(&format!("DROP DATABASE {database} WITH (FORCE)"))
        .await?;
    let [one, copy, several, insert, again] = rates.each_mut().map(|rates| median(rates));
    Ok(json!({
        "upstream": "postgres", "rows": ROWS, "batch_rows": BATCH_ROWS, "fields": FIELDS,
        "rounds": ROUNDS,
        "rows_per_s": {
            "upload": one, "upload_in_flight_4": several, "upload_again": again, "bare_copy": copy,
            "bare_insert": insert,
        },
        "upload_to_bare_copy": one / copy,
        "upload_in_flight_4_to_bare_copy": several / copy,
        "upload_to_bare_insert": one / insert,
        "small_write_ms": small,
    }))
}
