//! Upload through the upstream against the barest loop that writes the same rows, as ratios.
//!
//! With `DUNLIN_TDENGINE_URL` (`tdengine://user:password@host:6041/any`): against `write_raw_block`
//! alone and against SQL text. With `DUNLIN_POSTGRES_URL` (`postgres://user:password@host:5432/database`, with
//! the right to make a schema): against a binary COPY alone and against INSERT of many rows. With neither: the
//! `SQLite` upstream against bare `rusqlite`.
//! 200,000 rows of the four fixed columns and six floats, in batches of 5,000; rounds are interleaved
//! and medians compared. Prints one line of JSON.

mod bench_upload_postgres;

use std::{
    collections::BTreeMap,
    error::Error,
    fmt::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use dunlin_sync::{
    rows::{Batch, Column, Rows, TableRows, Values},
    sample::{Field, FieldType, Schema, Stream},
    upstream::{Upstream, UpstreamOptions, connect},
};
use serde_json::json;
use taos::{AsyncQueryable, AsyncTBuilder, ColumnView, Precision, RawBlock, Taos, TaosBuilder};

const ROWS: usize = 200_000;
const BATCH_ROWS: usize = 5_000;
const FIELDS: usize = 6;
const ROUNDS: usize = 7;
/// Batches in flight, where several are.
const IN_FLIGHT: usize = 4;
const COLUMNS: [&str; 10] = [
    "ts",
    "is_train",
    "fold",
    "source_ts",
    "x0",
    "x1",
    "x2",
    "x3",
    "x4",
    "x5",
];

type Done<T> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Done<()> {
    let url_of = |name: &str| std::env::var(name).ok();
    let line = match (url_of("DUNLIN_TDENGINE_URL"), url_of("DUNLIN_POSTGRES_URL")) {
        (Some(url), _) => tdengine(&url).await?,
        (None, Some(url)) => bench_upload_postgres::postgres(&url).await?,
        (None, None) => sqlite().await?,
    };
    println!("{line}");
    Ok(())
}

fn batches(machine: &str) -> Vec<Arc<Batch>> {
    let schema = Arc::new(Schema {
        id: 0,
        name: "bench".into(),
        tag_names: vec!["device".into(), "machine".into()],
        fields: (0..FIELDS)
            .map(|field| Field {
                name: format!("x{field}"),
                kind: FieldType::F64,
            })
            .collect(),
        origins: Vec::new(),
    });
    let stream = Arc::new(Stream {
        id: 0,
        schema: 0,
        name: format!("bench/{machine}"),
        tags: vec!["device".into(), machine.into()],
        first_tags: None,
    });
    let start = 1_760_000_000_000_000_000_i64;
    (0..ROWS)
        .step_by(BATCH_ROWS)
        .map(|first| {
            let rows = first..first + BATCH_ROWS;
            let wave = |field: usize| {
                let value = |row: usize| ((row + field) as f64 / 100.0).sin();
                Values::F64(rows.clone().map(value).collect())
            };
            let rows = Rows {
                ts: rows
                    .clone()
                    .map(|row| start + row as i64 * 1_000_000)
                    .collect(),
                is_train: rows.clone().map(|row| row % 5 != 0).collect(),
                fold: vec![0; BATCH_ROWS],
                source_ts: vec![None; BATCH_ROWS],
                columns: (0..FIELDS)
                    .map(|field| Column {
                        values: wave(field),
                        present: None,
                    })
                    .collect(),
            };
            Arc::new(Batch {
                tables: vec![TableRows {
                    stream: Arc::clone(&stream),
                    schema: Arc::clone(&schema),
                    rows,
                }],
            })
        })
        .collect()
}

fn floats(column: &Column) -> Vec<f64> {
    match &column.values {
        Values::F64(values) => values.clone(),
        _ => Vec::new(),
    }
}

fn options(url: String) -> UpstreamOptions {
    UpstreamOptions {
        database_options: BTreeMap::from([("VGROUPS".into(), "2".into())]),
        ..UpstreamOptions::new(url, Duration::from_secs(30))
    }
}

fn rows_per_s(since: Instant) -> f64 {
    ROWS as f64 / since.elapsed().as_secs_f64()
}

fn median(rates: &mut [f64]) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

async fn upload(
    upstream: &Arc<dyn Upstream>,
    batches: &[Arc<Batch>],
    in_flight: usize,
) -> Done<f64> {
    let started = Instant::now();
    let mut flying = tokio::task::JoinSet::new();
    let mut written = 0;
    for batch in batches {
        if flying.len() == in_flight
            && let Some(report) = flying.join_next().await
        {
            written += report??;
        }
        let (upstream, batch) = (Arc::clone(upstream), Arc::clone(batch));
        flying.spawn(async move { upstream.write(&batch).await.map(|done| done.rows_written) });
    }
    while let Some(report) = flying.join_next().await {
        written += report??;
    }
    let rate = rows_per_s(started);
    if written == ROWS as u64 {
        Ok(rate)
    } else {
        Err(format!("{written} of {ROWS} rows written").into())
    }
}

async fn bare_blocks(taos: &Taos, batches: &[Arc<Batch>]) -> Done<f64> {
    let started = Instant::now();
    for batch in batches {
        let rows = &batch.tables[0].rows;
        let mut views = vec![
            ColumnView::from_nanos_timestamp(rows.ts.clone()),
            ColumnView::from_bools(rows.is_train.clone()),
            ColumnView::from_unsigned_tiny_ints(rows.fold.clone()),
            ColumnView::from_nanos_timestamp(rows.source_ts.clone()),
        ];
        views.extend(
            rows.columns
                .iter()
                .map(|(_, column)| ColumnView::from_doubles(floats(column))),
        );
        let mut block = RawBlock::from_views(&views, Precision::Nanosecond);
        block
            .with_table_name("bare_blocks")
            .with_field_names(COLUMNS);
        taos.write_raw_block(&block).await?;
    }
    Ok(rows_per_s(started))
}

async fn bare_text(taos: &Taos, batches: &[Arc<Batch>]) -> Done<f64> {
    let started = Instant::now();
    for batch in batches {
        let rows = &batch.tables[0].rows;
        let columns: Vec<Vec<f64>> = rows
            .columns
            .iter()
            .map(|(_, column)| floats(column))
            .collect();
        let mut sql = String::from("INSERT INTO bare_text VALUES");
        for row in 0..rows.len() {
            write!(sql, "({},{},0,NULL", rows.ts[row], rows.is_train[row])?;
            for column in &columns {
                write!(sql, ",{}", column[row])?;
            }
            sql.push(')');
        }
        taos.exec(sql).await?;
    }
    Ok(rows_per_s(started))
}

async fn tdengine(url: &str) -> Done<serde_json::Value> {
    let base = url.rsplit_once('/').map_or(url, |(base, _)| base);
    let database = format!("dunlin_bench{:08x}", rand::random::<u32>());
    let taos = TaosBuilder::from_dsn(base.replacen("tdengine://", "ws://", 1))?
        .build()
        .await?;
    taos.exec(format!(
        "CREATE DATABASE {database} PRECISION 'ns' VGROUPS 2"
    ))
    .await?;
    taos.exec(format!("USE {database}")).await?;
    for name in ["bare_blocks", "bare_text"] {
        taos.exec(format!(
            "CREATE TABLE {name} (ts TIMESTAMP, is_train BOOL, fold TINYINT UNSIGNED, source_ts \
             TIMESTAMP, x0 DOUBLE, x1 DOUBLE, x2 DOUBLE, x3 DOUBLE, x4 DOUBLE, x5 DOUBLE)"
        ))
        .await?;
    }
    let upstream: Arc<dyn Upstream> = Arc::from(connect(&options(format!("{base}/{database}")))?);
    let (one, several) = (batches("one"), batches("several"));
    let mut rates = [const { Vec::new() }; 4];
    for _ in 0..ROUNDS {
        rates[0].push(upload(&upstream, &one, 1).await?);
        rates[1].push(bare_blocks(&taos, &one).await?);
        rates[2].push(upload(&upstream, &several, IN_FLIGHT).await?);
        rates[3].push(bare_text(&taos, &one).await?);
    }
    let small = small_write_ms(&upstream).await?;
    taos.exec(format!("DROP DATABASE {database}")).await?;
    let [one, blocks, several, text] = rates.each_mut().map(|rates| median(rates));
    Ok(json!({
        "upstream": "tdengine", "rows": ROWS, "batch_rows": BATCH_ROWS, "fields": FIELDS,
        "rounds": ROUNDS,
        "rows_per_s": {
            "upload": one, "upload_in_flight_4": several, "bare_raw_block": blocks, "bare_text": text,
        },
        "upload_to_bare_raw_block": one / blocks,
        "upload_in_flight_4_to_bare_raw_block": several / blocks,
        "upload_to_bare_text": one / text,
        "small_write_ms": small,
    }))
}

/// Median of writing one row of one stream.
async fn small_write_ms(upstream: &Arc<dyn Upstream>) -> Done<f64> {
    let mut batch = Batch::clone(&batches("one")[0]);
    let rows = batch.tables[0].rows.clone();
    batch.tables[0].rows = Rows::default();
    batch.tables[0].rows.extend_from(&rows, 0..1);
    let mut times = Vec::new();
    for _ in 0..51 {
        let started = Instant::now();
        upstream.write(&batch).await?;
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    Ok(median(&mut times))
}

async fn sqlite() -> Done<serde_json::Value> {
    let dir = tempfile::tempdir()?;
    let path = |name: &str| dir.path().join(name);
    let mut rates = [const { Vec::new() }; 2];
    let data = batches("one");
    for round in 0..ROUNDS {
        let file = path(&format!("upstream{round}.db"));
        let url = format!("sqlite:{}", file.display());
        let upstream: Arc<dyn Upstream> = Arc::from(connect(&options(url))?);
        rates[0].push(upload(&upstream, &data, 1).await?);
        rates[1].push(bare_sqlite(&path(&format!("bare{round}.db")), &data)?);
    }
    let [upload, bare] = rates.each_mut().map(|rates| median(rates));
    Ok(json!({
        "upstream": "sqlite", "rows": ROWS, "batch_rows": BATCH_ROWS, "fields": FIELDS,
        "rounds": ROUNDS,
        "rows_per_s": { "upload": upload, "bare_rusqlite": bare },
        "upload_to_bare_rusqlite": upload / bare,
    }))
}

fn bare_sqlite(path: &std::path::Path, batches: &[Arc<Batch>]) -> Done<f64> {
    let mut file = rusqlite::Connection::open(path)?;
    file.pragma_update(None, "journal_mode", "wal")?;
    file.execute_batch(
        "CREATE TABLE bench (stream INTEGER, ts INTEGER, is_train INTEGER, fold INTEGER, source_ts \
         INTEGER, x0 REAL, x1 REAL, x2 REAL, x3 REAL, x4 REAL, x5 REAL, PRIMARY KEY (stream, ts)) \
         WITHOUT ROWID",
    )?;
    let started = Instant::now();
    for batch in batches {
        let rows = &batch.tables[0].rows;
        let columns: Vec<Vec<f64>> = rows
            .columns
            .iter()
            .map(|(_, column)| floats(column))
            .collect();
        let transaction = file.transaction()?;
        {
            let mut insert = transaction
                .prepare_cached("INSERT OR REPLACE INTO bench VALUES (0,?,?,0,NULL,?,?,?,?,?,?)")?;
            for (row, ts) in rows.ts.iter().enumerate() {
                insert.execute((
                    ts,
                    rows.is_train[row],
                    columns[0][row],
                    columns[1][row],
                    columns[2][row],
                    columns[3][row],
                    columns[4][row],
                    columns[5][row],
                ))?;
            }
        }
        transaction.commit()?;
    }
    Ok(rows_per_s(started))
}
