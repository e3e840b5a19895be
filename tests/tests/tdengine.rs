//! The `TDengine` upstream: every scenario against the double, those without faults once more against
//! a real server where `DUNLIN_TDENGINE_URL` names one (`tdengine://user:password@host:6041/any`).

#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use dunlin_sync::{
    rows::{Batch, Column, Rows, TableRows, Values},
    sample::{Field, FieldType, Schema, Stream, TimeRange, Timestamp},
    upstream::{Upstream, UpstreamError, UpstreamOptions, connect},
};
use dunlin_tests::taos_double::{Cut, TaosDouble};
use taos::{AsyncFetchable, AsyncQueryable, AsyncTBuilder, Taos, TaosBuilder};

/// A double, or a database of its own on a real server.
enum Target {
    Double(TaosDouble),
    Real {
        admin: Taos,
        url: String,
        database: String,
    },
}

impl Target {
    async fn double() -> Self {
        Self::Double(TaosDouble::start().await)
    }

    async fn real() -> Option<Self> {
        let Ok(url) = std::env::var("DUNLIN_TDENGINE_URL") else {
            println!("skipped: DUNLIN_TDENGINE_URL is not set");
            return None;
        };
        let base = url[..url.rfind('/').unwrap()].to_owned();
        let dsn = base.replacen("tdengine://", "ws://", 1);
        let admin = TaosBuilder::from_dsn(dsn).unwrap().build().await.unwrap();
        let database = format!("dunlin_t{:016x}", rand::random::<u64>());
        Some(Self::Real {
            admin,
            url: format!("{base}/{database}"),
            database,
        })
    }

    fn url(&self) -> String {
        match self {
            Self::Double(double) => double.url("plant"),
            Self::Real { url, .. } => url.clone(),
        }
    }

    fn database(&self) -> &str {
        match self {
            Self::Double(_) => "plant",
            Self::Real { database, .. } => database,
        }
    }

    fn upstream(&self) -> Box<dyn Upstream> {
        connect(&options(&self.url())).unwrap()
    }

    async fn execute(&self, sql: &str) {
        match self {
            Self::Double(double) => double.execute(sql).unwrap(),
            Self::Real { admin, .. } => {
                admin.exec(sql).await.unwrap();
            }
        }
    }

    async fn create_database(&self) {
        let sql = format!(
            "CREATE DATABASE IF NOT EXISTS `{}` PRECISION 'ns' VGROUPS 1",
            self.database()
        );
        self.execute(&sql).await;
    }

    /// Cells of all rows of `stable` as text, by time.
    async fn read(&self, stable: &str, columns: &[&str]) -> Vec<Vec<String>> {
        match self {
            Self::Double(double) => {
                let text = |row: &dunlin_tests::taos_double::Row, name: &str| {
                    row.get(name).map_or("NULL".into(), ToString::to_string)
                };
                let rows = double.rows("plant", stable);
                rows.iter()
                    .map(|row| columns.iter().map(|name| text(row, name)).collect())
                    .collect()
            }
            Self::Real {
                admin, database, ..
            } => {
                let sql = format!(
                    "SELECT `{}` FROM `{database}`.`{stable}` ORDER BY `ts`",
                    columns.join("`,`")
                );
                let records = admin.query(sql).await.unwrap().to_records().await.unwrap();
                let text = |value: taos::Value| match value {
                    taos::Value::VarChar(text) => text,
                    taos::Value::Null(_) => "NULL".into(),
                    taos::Value::Bool(x) => x.to_string(),
                    taos::Value::UTinyInt(x) => x.to_string(),
                    taos::Value::BigInt(x) => x.to_string(),
                    taos::Value::Double(x) => x.to_string(),
                    taos::Value::Float(x) => x.to_string(),
                    taos::Value::Timestamp(ts) => ts.as_raw_i64().to_string(),
                    other => format!("{other:?}"),
                };
                records
                    .into_iter()
                    .map(|record| record.into_iter().map(text).collect())
                    .collect()
            }
        }
    }

    async fn clean(self) {
        if let Self::Real {
            admin, database, ..
        } = self
        {
            let drop = format!("DROP DATABASE IF EXISTS `{database}`");
            admin.exec(drop).await.unwrap();
        }
    }
}

/// Runs a scenario on the double and, as a test of its own, on a real server.
macro_rules! on_both {
    ($($name:ident)*) => {
        mod double {
            $(#[tokio::test]
            async fn $name() {
                let target = super::Target::double().await;
                super::$name(&target).await;
                target.clean().await;
            })*
        }
        mod real {
            $(#[tokio::test]
            async fn $name() {
                if let Some(target) = super::Target::real().await {
                    super::$name(&target).await;
                    target.clean().await;
                }
            })*
        }
    };
}

on_both! {
    writes_every_type_and_reads_it_back
    hostile_names_and_texts_survive
    many_small_tables_go_in_few_statements
    adds_a_column_and_widens_a_text
    writing_twice_changes_nothing
    out_of_range_rows_are_found
    a_column_of_another_type_rejects_only_its_rows
    a_database_of_another_precision_is_refused
    devices_share_a_supertable
    concurrent_writes_on_a_new_database
    extreme_and_unspeakable_numbers
}

fn options(url: &str) -> UpstreamOptions {
    UpstreamOptions {
        url: url.into(),
        timeout: Duration::from_secs(10),
        database_options: BTreeMap::from([("VGROUPS".into(), "1".into())]),
        ca_file: None,
        cert_file: None,
        key_file: None,
    }
}

fn now_ns() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_nanos() as i64
}

fn schema(name: &str, fields: &[(&str, FieldType)]) -> Arc<Schema> {
    Arc::new(Schema {
        id: 0,
        name: name.into(),
        tag_names: vec!["device".into(), "machine".into()],
        fields: fields
            .iter()
            .map(|(name, kind)| Field {
                name: (*name).into(),
                kind: *kind,
            })
            .collect(),
    })
}

fn stream(schema: &Schema, device: &str, machine: &str) -> Arc<Stream> {
    Arc::new(Stream {
        id: 0,
        schema: schema.id,
        name: format!("{}/{machine}", schema.name),
        tags: vec![device.into(), machine.into()],
    })
}

fn column(values: Values) -> Column {
    Column {
        values,
        present: None,
    }
}

fn table(
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
            columns,
        },
    }
}

/// `rows` rows of one f64 field, one microsecond apart, ending now.
fn waves(schema: &Arc<Schema>, machine: &str, rows: usize) -> TableRows {
    let end = now_ns();
    let ts = (0..rows).map(|row| end - (rows - row) as i64 * 1_000);
    let x = (0..rows).map(|row| row as f64 / 8.0).collect();
    table(
        &stream(schema, "d1", machine),
        schema,
        ts.collect(),
        vec![column(Values::F64(x))],
    )
}

fn one(table: TableRows) -> Batch {
    Batch {
        tables: vec![table],
    }
}

async fn count(upstream: &dyn Upstream, table: &TableRows) -> u64 {
    upstream
        .count(&table.stream, &table.schema, TimeRange::ALL)
        .await
        .unwrap()
}

async fn write_all(upstream: &dyn Upstream, batch: &Batch) {
    let report = upstream.write(batch).await.unwrap();
    assert_eq!(report.rejected, []);
    assert_eq!(report.rows_written, batch.rows() as u64);
}

async fn writes_every_type_and_reads_it_back(target: &Target) {
    let schema = schema(
        "kinds",
        &[
            ("d", FieldType::F64),
            ("f", FieldType::F32),
            ("i", FieldType::I64),
            ("b", FieldType::Bool),
            ("t", FieldType::Text),
        ],
    );
    let upstream = target.upstream();
    // As text, then as raw blocks.
    for rows in [3_usize, 200] {
        let machine = format!("m{rows}");
        let start = now_ns() - 1_000_000_000;
        let ts: Vec<i64> = (0..rows as i64).map(|row| start + row).collect();
        let present = Some((0..rows).map(|row| row % 3 != 1).collect());
        let columns = vec![
            column(Values::F64((0..rows).map(|r| r as f64 + 0.25).collect())),
            column(Values::F32((0..rows).map(|r| r as f32 - 0.5).collect())),
            Column {
                values: Values::I64((0..rows).map(|r| r as i64 - 1).collect()),
                present,
            },
            column(Values::Bool((0..rows).map(|r| r % 2 == 0).collect())),
            column(Values::Text(
                (0..rows).map(|r| format!("é{r}").into()).collect(),
            )),
        ];
        let table = table(
            &stream(&schema, "d1", &machine),
            &schema,
            ts.clone(),
            columns,
        );
        write_all(&*upstream, &one(table.clone())).await;
        assert_eq!(count(&*upstream, &table).await, rows as u64);
        let range = TimeRange {
            from: Timestamp(ts[1]),
            to: Timestamp(ts[2]),
        };
        let counted = upstream.count(&table.stream, &schema, range).await;
        assert_eq!(counted.unwrap(), 2);

        let names = [
            "ts",
            "is_train",
            "fold",
            "source_ts",
            "d",
            "f",
            "i",
            "b",
            "t",
        ];
        let read = target.read("kinds", &names).await;
        let mine: Vec<_> = read
            .iter()
            .filter(|row| ts.contains(&row[0].parse().unwrap()))
            .collect();
        assert_eq!(mine.len(), rows);
        for (row, cells) in mine.iter().enumerate() {
            let source = table.rows.source_ts[row].map_or("NULL".into(), |ts| ts.to_string());
            let i = if row % 3 == 1 {
                "NULL".into()
            } else {
                (row as i64 - 1).to_string()
            };
            let expected = [
                ts[row].to_string(),
                (row % 5 != 0).to_string(),
                (row % 256).to_string(),
                source,
                (row as f64 + 0.25).to_string(),
                (row as f32 - 0.5).to_string(),
                i,
                (row % 2 == 0).to_string(),
                format!("é{row}"),
            ];
            assert_eq!(**cells, expected);
        }
    }
    let nobody = stream(&schema, "d1", "nobody");
    let none = upstream.count(&nobody, &schema, TimeRange::ALL).await;
    assert_eq!(none.unwrap(), 0);
}

async fn hostile_names_and_texts_survive(target: &Target) {
    let long = "x".repeat(300);
    let fields = [
        "ts",
        "is_train",
        "device",
        "split",
        "value",
        "state",
        "a`b",
        "a'b",
        "..",
        "Température",
        "A",
        "a",
        "1st",
        "; DROP DATABASE plant",
        &long,
        "select",
    ];
    let text = "it's \"q\" \\ \\n %_ \r\n\t` é 漢字 😀; --";
    let upstream = target.upstream();
    for name in ["select", "a`b'c/..", "123", "Läufer", long.as_str()] {
        let mut described: Vec<(&str, FieldType)> =
            fields.iter().map(|name| (*name, FieldType::I64)).collect();
        described.push(("note", FieldType::Text));
        let schema = schema(name, &described);
        for (rows, machine) in [(2, text), (70, long.as_str()), (1, "a"), (1, "A")] {
            let start = now_ns();
            let ts = (0..rows).map(|row| start + row).collect();
            let mut columns: Vec<Column> = (0..fields.len() as i64)
                .map(|field| column(Values::I64(vec![field; rows as usize])))
                .collect();
            columns.push(column(Values::Text(vec![text.into(); rows as usize])));
            let table = table(&stream(&schema, "it's", machine), &schema, ts, columns);
            write_all(&*upstream, &one(table.clone())).await;
            assert_eq!(count(&*upstream, &table).await, rows as u64, "{name}");
        }
    }
    let read = target.read("select", &["note", "split", "A", "a"]).await;
    assert_eq!(read.len(), 74);
    assert!(
        read.iter().all(|row| *row == [text, "3", "10", "11"]),
        "{:?}",
        read[0]
    );
}

async fn many_small_tables_go_in_few_statements(target: &Target) {
    let schema = schema("small", &[("x", FieldType::F64)]);
    let upstream = target.upstream();
    let mut batch = Batch::default();
    for machine in 0..1_000 {
        batch
            .tables
            .push(waves(&schema, &format!("m{machine}"), 10));
    }
    write_all(&*upstream, &batch).await;
    write_all(&*upstream, &batch).await;
    assert_eq!(target.read("small", &["ts"]).await.len(), 10_000);
    if let Target::Double(double) = target {
        let statements = double.statements();
        let inserts = statements.iter().filter(|sql| sql.starts_with("INSERT"));
        assert!(inserts.clone().count() < 20);
        assert!(inserts.clone().all(|sql| sql.len() < 1_000_000));
        assert_eq!(double.blocks(), 0);
    }
}

async fn adds_a_column_and_widens_a_text(target: &Target) {
    let upstream = target.upstream();
    let before = schema("grows", &[("x", FieldType::F64), ("t", FieldType::Text)]);
    let t = |text: &str| column(Values::Text(vec![text.into()]));
    let x = || column(Values::F64(vec![1.5]));
    let place = stream(&before, "d1", "m");
    let now = now_ns();
    write_all(
        &*upstream,
        &one(table(&place, &before, vec![now], vec![x(), t("short")])),
    )
    .await;

    let after = schema(
        "grows",
        &[
            ("x", FieldType::F64),
            ("t", FieldType::Text),
            ("y", FieldType::I64),
        ],
    );
    let long = "ü".repeat(5_000);
    let y = column(Values::I64(vec![-7]));
    write_all(
        &*upstream,
        &one(table(&place, &after, vec![now + 1], vec![x(), t(&long), y])),
    )
    .await;
    let read = target.read("grows", &["x", "t", "y"]).await;
    assert_eq!(read[0], ["1.5", "short", "NULL"]);
    assert_eq!(read[1], ["1.5", &long, "-7"]);

    // Too long, and with a NUL: these rows alone.
    let texts = ["a".repeat(17_000), "fine".into(), "a\0b".into()];
    let columns = vec![
        column(Values::F64(vec![2.0; 3])),
        column(Values::Text(
            texts.iter().map(|t| t.as_str().into()).collect(),
        )),
    ];
    let bad = table(&place, &after, vec![now + 2, now + 3, now + 4], columns);
    let report = upstream.write(&one(bad)).await.unwrap();
    assert_eq!(report.rows_written, 1);
    let rejected: Vec<usize> = report.rejected.iter().map(|r| r.row).collect();
    assert_eq!(rejected, [0, 2]);
    assert!(report.rejected[0].reason.contains("17000 bytes"));
}

async fn writing_twice_changes_nothing(target: &Target) {
    let schema = schema("twice", &[("x", FieldType::F64)]);
    let upstream = target.upstream();
    let batch = Batch {
        tables: vec![waves(&schema, "big", 500), waves(&schema, "small", 5)],
    };
    write_all(&*upstream, &batch).await;
    let first = target.read("twice", &["ts", "is_train", "x"]).await;
    write_all(&*upstream, &batch).await;
    // Another process, after a lost answer.
    write_all(&*target.upstream(), &batch).await;
    assert_eq!(target.read("twice", &["ts", "is_train", "x"]).await, first);
    assert_eq!(first.len(), 505);
}

async fn out_of_range_rows_are_found(target: &Target) {
    let schema = schema("range", &[("x", FieldType::F64)]);
    let upstream = target.upstream();
    let long_ago = 1_000_000_000_000_000_000; // 2001
    let mut big = waves(&schema, "big", 1_000);
    for row in 0..300 {
        big.rows.ts[row] = long_ago + row as i64;
    }
    let mut small = waves(&schema, "small", 8);
    small.rows.ts[0] = long_ago;
    // Out of order as well: rejections name rows by their place.
    small.rows.ts.swap(0, 5);
    let all_old = {
        let mut table = waves(&schema, "old", 2_000);
        for (row, ts) in table.rows.ts.iter_mut().enumerate() {
            *ts = long_ago + row as i64;
        }
        table
    };
    let good = waves(&schema, "good", 3);
    let batch = Batch {
        tables: vec![big, small, all_old, good],
    };
    let report = upstream.write(&batch).await.unwrap();
    assert_eq!(report.rows_written, 700 + 7 + 3);
    let mut expected: Vec<(usize, usize)> = (0..300).map(|row| (0, row)).collect();
    expected.push((1, 5));
    expected.extend((0..2_000).map(|row| (2, row)));
    let rejected: Vec<_> = report.rejected.iter().map(|r| (r.table, r.row)).collect();
    assert_eq!(rejected, expected);
    assert!(
        report.rejected[0].reason.contains("out of range"),
        "{}",
        report.rejected[0].reason
    );
    assert_eq!(target.read("range", &["ts"]).await.len(), 710);
    if let Target::Double(double) = target {
        assert!(double.blocks() < 60, "{} blocks", double.blocks());
    }
}

async fn a_column_of_another_type_rejects_only_its_rows(target: &Target) {
    target.create_database().await;
    let columns = "`ts` TIMESTAMP, `is_train` BOOL, `fold` TINYINT UNSIGNED, `source_ts` TIMESTAMP";
    target
        .execute(&format!(
            "CREATE STABLE IF NOT EXISTS `{}`.`typed` ({columns}, `x` VARCHAR(8)) TAGS (`device` \
             VARCHAR(256), `machine` VARCHAR(256))",
            target.database()
        ))
        .await;
    target
        .execute(&format!(
            "CREATE STABLE IF NOT EXISTS `{}`.`foreign` (`ts` TIMESTAMP, `is_train` INT) TAGS \
             (`device` VARCHAR(256), `machine` VARCHAR(256))",
            target.database()
        ))
        .await;
    let upstream = target.upstream();
    let schema_of = |name| schema(name, &[("x", FieldType::F64)]);
    let mut mixed = waves(&schema_of("typed"), "mixed", 10);
    mixed.rows.columns[0].present = Some((0..10).map(|row| row < 4).collect());
    let batch = Batch {
        tables: vec![
            mixed,
            waves(&schema_of("fine"), "m", 100),
            waves(&schema_of("foreign"), "m", 2),
        ],
    };
    let report = upstream.write(&batch).await.unwrap();
    assert_eq!(report.rows_written, 6 + 100);
    let rejected: Vec<_> = report.rejected.iter().map(|r| (r.table, r.row)).collect();
    assert_eq!(rejected, [(0, 0), (0, 1), (0, 2), (0, 3), (2, 0), (2, 1)]);
    let (typed, foreign) = (&report.rejected[0].reason, &report.rejected[4].reason);
    assert!(typed.contains("`x` is VARCHAR"), "{typed}");
    assert!(foreign.contains("`is_train` is INT"), "{foreign}");
}

async fn a_database_of_another_precision_is_refused(target: &Target) {
    let create = "CREATE DATABASE IF NOT EXISTS";
    let database = target.database();
    target
        .execute(&format!("{create} `{database}` PRECISION 'ms' VGROUPS 1"))
        .await;
    let upstream = target.upstream();
    let schema = schema("s", &[("x", FieldType::F64)]);
    let error = upstream
        .write(&one(waves(&schema, "m", 1)))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, UpstreamError::Rejected(words) if words.contains("ms")),
        "{error}"
    );
}

async fn devices_share_a_supertable(target: &Target) {
    let schema = schema("shared", &[("x", FieldType::F64)]);
    let now = now_ns();
    for device in ["d1", "d2"] {
        let upstream = target.upstream();
        let columns = vec![column(Values::F64(vec![1.0]))];
        let table = table(&stream(&schema, device, "m"), &schema, vec![now], columns);
        write_all(&*upstream, &one(table.clone())).await;
        assert_eq!(count(&*upstream, &table).await, 1);
    }
    assert_eq!(target.read("shared", &["x"]).await.len(), 2);
}

async fn concurrent_writes_on_a_new_database(target: &Target) {
    let upstream: Arc<dyn Upstream> = Arc::from(target.upstream());
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..16_usize {
        let upstream = Arc::clone(&upstream);
        writers.spawn(async move {
            // Each with a field of its own.
            let name = format!("x{writer}");
            let schema = schema("busy", &[(&name, FieldType::F64)]);
            let rows = if writer % 2 == 0 { 10 } else { 100 };
            let batch = one(waves(&schema, &format!("m{writer}"), rows));
            write_all(&*upstream, &batch).await;
            count(&*upstream, &batch.tables[0]).await
        });
    }
    let counts: u64 = writers.join_all().await.into_iter().sum();
    assert_eq!(counts, 8 * 10 + 8 * 100);
    assert_eq!(target.read("busy", &["x0", "x15"]).await.len(), 880);
}

async fn extreme_and_unspeakable_numbers(target: &Target) {
    let fields = [
        ("d", FieldType::F64),
        ("f", FieldType::F32),
        ("i", FieldType::I64),
    ];
    let schema = schema("extremes", &fields);
    let upstream = target.upstream();
    let speakable = [
        (f64::MAX, f32::MAX, i64::MAX),
        (f64::MIN, f32::MIN, i64::MIN + 1),
        (f64::MIN_POSITIVE, f32::MIN_POSITIVE, 0),
        (0.1, 0.1, -1),
    ];
    let unspeakable = [
        (f64::INFINITY, f32::NEG_INFINITY, 1),
        (5e-324, 1e-45, 2),
        (f64::NAN, f32::NAN, 3),
    ];
    let now = now_ns();
    let mut all = Vec::new();
    for (part, rows) in [&speakable[..], &unspeakable[..]].into_iter().enumerate() {
        let ts = (0..rows.len()).map(|row| now + (10 * part + row) as i64);
        let columns = vec![
            column(Values::F64(rows.iter().map(|row| row.0).collect())),
            column(Values::F32(rows.iter().map(|row| row.1).collect())),
            column(Values::I64(rows.iter().map(|row| row.2).collect())),
        ];
        let place = stream(&schema, "d1", &format!("m{part}"));
        write_all(
            &*upstream,
            &one(table(&place, &schema, ts.collect(), columns)),
        )
        .await;
        all.extend_from_slice(rows);
    }
    let read = target.read("extremes", &["d", "f", "i"]).await;
    let text = |(d, f, i): &(f64, f32, i64)| [d.to_string(), f.to_string(), i.to_string()];
    let expected: Vec<_> = all.iter().map(text).collect();
    assert_eq!(read, expected);
}

// ---- Faults: the double alone. ----

fn impatient(url: &str) -> Box<dyn Upstream> {
    let timeout = Duration::from_millis(300);
    connect(&UpstreamOptions {
        timeout,
        ..options(url)
    })
    .unwrap()
}

fn is_unavailable(error: &UpstreamError) -> bool {
    matches!(error, UpstreamError::Unavailable(_))
}

#[tokio::test]
async fn a_cut_before_or_after_applying_is_named_at_once_and_repaired() {
    let double = TaosDouble::start().await;
    let upstream = connect(&options(&double.url("plant"))).unwrap();
    let schema = schema("cut", &[("x", FieldType::F64)]);
    for rows in [5, 500] {
        for cut in [Cut::BeforeApplying, Cut::AfterApplying] {
            let batch = one(waves(&schema, &format!("{rows}{cut:?}"), rows));
            double.faults().cut_at_write(0, cut);
            let started = Instant::now();
            let error = upstream.write(&batch).await.unwrap_err();
            assert!(is_unavailable(&error), "{error}");
            assert!(
                error.to_string().contains("closed the connection"),
                "{error}"
            );
            assert!(started.elapsed() < Duration::from_secs(5));
            write_all(&*upstream, &batch).await;
            assert_eq!(count(&*upstream, &batch.tables[0]).await, rows as u64);
        }
    }
}

#[tokio::test]
async fn half_open_times_out_and_recovers() {
    let double = TaosDouble::start().await;
    let upstream = impatient(&double.url("plant"));
    let schema = schema("half", &[("x", FieldType::F64)]);
    let batch = one(waves(&schema, "m", 5));
    write_all(&*upstream, &batch).await;
    double.faults().half_open(true);
    // The live connection, then new ones.
    for _ in 0..2 {
        let error = upstream.write(&batch).await.unwrap_err();
        assert!(is_unavailable(&error), "{error}");
        assert!(
            error.to_string().contains("did not answer within"),
            "{error}"
        );
    }
    double.faults().clear();
    write_all(&*upstream, &batch).await;
}

#[tokio::test]
async fn refused_and_garbled_connections_are_unavailable_until_they_are_not() {
    let double = TaosDouble::start().await;
    let upstream = impatient(&double.url("plant"));
    let schema = schema("s", &[("x", FieldType::F64)]);
    let batch = one(waves(&schema, "m", 5));
    double.faults().refuse_connections(true);
    let error = upstream.write(&batch).await.unwrap_err();
    assert!(is_unavailable(&error), "{error}");
    double.faults().clear();
    double.faults().garble_next_answer();
    let error = upstream.write(&batch).await.unwrap_err();
    assert!(is_unavailable(&error), "{error}");
    write_all(&*upstream, &batch).await;

    double.faults().slow(Duration::from_secs(1));
    assert!(is_unavailable(&upstream.write(&batch).await.unwrap_err()));
    double.faults().clear();
    write_all(&*upstream, &batch).await;

    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = nobody.local_addr().unwrap().port();
    drop(nobody);
    let error = impatient(&format!("tdengine://127.0.0.1:{port}/d"));
    let error = error.write(&batch).await.unwrap_err();
    assert!(
        is_unavailable(&error) && error.to_string().contains("refused"),
        "{error}"
    );
}

#[tokio::test]
async fn wrong_password_and_rights_are_rejected_without_the_password() {
    let double = TaosDouble::start().await;
    let schema = schema("s", &[("x", FieldType::F64)]);
    let batch = one(waves(&schema, "m", 5));
    double.faults().require_password("p@ss/word");
    let wrong = format!("tdengine://root:hunter2@{}/plant", double.address());
    let upstream = connect(&options(&wrong)).unwrap();
    let error = upstream.write(&batch).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Rejected(_)), "{error}");
    assert!(
        error.to_string().contains("Authentication failure"),
        "{error}"
    );
    for text in [error.to_string(), upstream.location()] {
        assert!(!text.contains("hunter2"), "{text}");
    }
    let right = format!("tdengine://root:p%40ss%2Fword@{}/plant", double.address());
    let upstream = connect(&options(&right)).unwrap();
    write_all(&*upstream, &batch).await;

    double
        .faults()
        .fail_sql("INSERT", 0x2644, "Permission denied or p@ss/word");
    let error = upstream.write(&batch).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Rejected(_)), "{error}");
    assert!(!error.to_string().contains("p@ss"), "{error}");
    double.faults().clear();
    // The server's disk is full: later, not never.
    double
        .faults()
        .fail_sql("INSERT", 0x012E, "No enough disk space");
    assert!(is_unavailable(&upstream.write(&batch).await.unwrap_err()));
    double.faults().clear();
    write_all(&*upstream, &batch).await;
}

#[tokio::test]
async fn bad_database_options_are_rejected_and_a_lost_table_is_made_again() {
    let double = TaosDouble::start().await;
    let schema = schema("s", &[("x", FieldType::F64)]);
    let batch = one(waves(&schema, "m", 100));
    let mut wrong = options(&double.url("other"));
    wrong.database_options.insert("FOO".into(), "3".into());
    let error = connect(&wrong).unwrap().write(&batch).await.unwrap_err();
    assert!(
        matches!(&error, UpstreamError::Rejected(w) if w.contains("FOO")),
        "{error}"
    );

    let upstream = connect(&options(&double.url("plant"))).unwrap();
    write_all(&*upstream, &batch).await;
    double.forget_tables();
    assert!(is_unavailable(&upstream.write(&batch).await.unwrap_err()));
    write_all(&*upstream, &batch).await;
}

#[tokio::test]
async fn rows_too_far_in_the_future_are_found() {
    let double = TaosDouble::start().await;
    let upstream = connect(&options(&double.url("plant"))).unwrap();
    let schema = schema("s", &[("x", FieldType::F64)]);
    double.faults().newest_ns(now_ns() + 3_600_000_000_000);
    let mut table = waves(&schema, "m", 200);
    for row in 150..200 {
        table.rows.ts[row] += 7_200_000_000_000;
    }
    table.rows.ts[0] = 5;
    let report = upstream.write(&one(table)).await.unwrap();
    assert_eq!(report.rows_written, 149);
    let rejected: Vec<usize> = report.rejected.iter().map(|r| r.row).collect();
    assert_eq!(
        rejected,
        std::iter::once(0).chain(150..200).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_refused_column_costs_only_its_rows() {
    let double = TaosDouble::start().await;
    let upstream = connect(&options(&double.url("plant"))).unwrap();
    double
        .faults()
        .fail_sql("ALTER", 0x263E, "Row length exceeds max length: 65531");
    let before = schema("s", &[("x", FieldType::F64)]);
    write_all(&*upstream, &one(waves(&before, "m", 5))).await;
    let after = schema("s", &[("x", FieldType::F64), ("y", FieldType::F64)]);
    let mut table = waves(&after, "m", 5);
    table.rows.columns.push(Column {
        values: Values::F64(vec![1.0; 5]),
        present: Some(vec![false, true, false, false, true]),
    });
    let report = upstream.write(&one(table)).await.unwrap();
    let rejected: Vec<usize> = report.rejected.iter().map(|r| r.row).collect();
    assert_eq!(rejected, [1, 4]);
    assert!(report.rejected[0].reason.contains("Row length exceeds"));
}

// ---- TLS. ----

mod tls {
    use rcgen::{
        BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair,
    };
    use rustls::{
        RootCertStore, ServerConfig,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
        server::WebPkiClientVerifier,
    };
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    type Issuer = CertifiedIssuer<'static, KeyPair>;

    fn authority(name: &str) -> Issuer {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    fn issue(by: &Issuer, name: &str) -> (Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, by).unwrap(), key)
    }

    /// Terminates TLS in front of the double.
    async fn front(double: &TaosDouble, ca: &Issuer, name: &str, clients: Option<&Issuer>) -> u16 {
        let (certificate, key) = issue(ca, name);
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = if let Some(clients) = clients {
            let mut roots = RootCertStore::empty();
            roots.add(clients.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let config = builder
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, to) = (listener.local_addr().unwrap().port(), double.address());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    if let Ok(mut inner) = acceptor.accept(socket).await {
                        let mut double = TcpStream::connect(to).await.unwrap();
                        let _ended = tokio::io::copy_bidirectional(&mut inner, &mut double).await;
                    }
                });
            }
        });
        port
    }

    fn file(dir: &tempfile::TempDir, name: &str, pem: &str) -> Option<PathBuf> {
        let path = dir.path().join(name);
        std::fs::write(&path, pem).unwrap();
        Some(path)
    }

    fn options(port: u16, ca_file: Option<PathBuf>) -> UpstreamOptions {
        UpstreamOptions {
            ca_file,
            ..super::options(&format!("tdengines://127.0.0.1:{port}/plant"))
        }
    }

    fn batch() -> Batch {
        one(waves(&schema("s", &[("x", FieldType::F64)]), "m", 300))
    }

    #[tokio::test]
    async fn only_a_server_with_the_right_name_from_the_right_authority_hears_anything() {
        let dir = tempfile::tempdir().unwrap();
        let double = TaosDouble::start().await;
        let (ours, theirs) = (authority("ours"), authority("theirs"));
        let right = file(&dir, "ours.pem", &ours.pem());
        let port = front(&double, &ours, "127.0.0.1", None).await;

        let wrong = file(&dir, "theirs.pem", &theirs.pem());
        let error = connect(&options(port, wrong))
            .unwrap()
            .write(&batch())
            .await;
        let error = error.unwrap_err();
        assert!(is_unavailable(&error), "{error}");
        assert!(error.to_string().contains("UnknownIssuer"), "{error}");

        let misnamed = front(&double, &ours, "db.example", None).await;
        let error = connect(&options(misnamed, right.clone())).unwrap();
        let error = error.write(&batch()).await.unwrap_err();
        assert!(error.to_string().contains("not valid for name"), "{error}");

        // A plain server is no way round.
        let plain = connect(&options(double.address().port(), right.clone())).unwrap();
        let mut quick = options(double.address().port(), right.clone());
        quick.timeout = Duration::from_millis(300);
        drop(plain);
        let error = connect(&quick).unwrap().write(&batch()).await.unwrap_err();
        assert!(is_unavailable(&error), "{error}");
        assert!(double.statements().is_empty());

        let upstream = connect(&options(port, right)).unwrap();
        write_all(&*upstream, &batch()).await;
        assert!(upstream.location().starts_with("tdengines://127.0.0.1:"));
    }

    #[tokio::test]
    async fn a_client_certificate_opens_the_door() {
        let dir = tempfile::tempdir().unwrap();
        let double = TaosDouble::start().await;
        let (ours, clients) = (authority("ours"), authority("clients"));
        let port = front(&double, &ours, "127.0.0.1", Some(&clients)).await;
        let mut options = options(port, file(&dir, "ca.pem", &ours.pem()));

        let error = connect(&options)
            .unwrap()
            .write(&batch())
            .await
            .unwrap_err();
        assert!(is_unavailable(&error), "{error}");
        assert!(
            error.to_string().to_lowercase().contains("certificate"),
            "{error}"
        );
        assert_eq!(double.connections(), 0);

        let (certificate, key) = issue(&clients, "device-1");
        options.cert_file = file(&dir, "device.pem", &certificate.pem());
        options.key_file = file(&dir, "device.key", &key.serialize_pem());
        write_all(&*connect(&options).unwrap(), &batch()).await;
        assert_eq!(double.connections(), 1);
    }
}
