//! Whether the suite sees what is wrong: a `SQLite` file behind a fault, and the scenario that must find it.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use dunlin_sync::{
    conformance::{self, Cells, Target},
    rows::{Batch, TableRows, Values},
    sample::{Schema, Stream, TimeRange, Timestamp},
    upstream::{Description, Upstream, UpstreamError, WriteReport},
};

use crate::sqlite::Files;

/// Changes a table on its way.
type Spoil = fn(&mut TableRows);

/// What is wrong, and where it must be seen.
const ON_THE_WAY: [(Spoil, &str); 13] = [
    (
        |table| table.rows.source_ts.fill(None),
        "split_and_source_time_are_kept",
    ),
    (
        |table| table.rows.is_train.fill(true),
        "split_and_source_time_are_kept",
    ),
    (
        |table| table.rows.fold.iter_mut().for_each(|fold| *fold %= 128),
        "split_and_source_time_are_kept",
    ),
    (
        |table| each(table, |present, _| *present = None),
        "sparse_rows_keep_what_is_missing",
    ),
    (
        |table| each_text(table, |text| text.trim().into()),
        "texts_come_back",
    ),
    (
        |table| each_text(table, |text| text.replace("\r\n", "\n").into()),
        "texts_come_back",
    ),
    (
        |table| {
            each_text(table, |text| {
                text.chars().take(256).collect::<String>().into()
            });
        },
        "a_longer_text_finds_room",
    ),
    (
        |table| {
            each(table, |_, values| {
                if let Values::I64(numbers) = values {
                    for i in numbers {
                        *i = *i as f64 as i64;
                    }
                }
            });
        },
        "numbers_at_the_ends_come_back",
    ),
    (
        |table| {
            each(table, |_, values| {
                if let Values::F64(numbers) = values {
                    for x in numbers {
                        *x = f64::from(*x as f32);
                    }
                }
            });
        },
        "numbers_at_the_ends_come_back",
    ),
    (
        // Microseconds.
        |table| {
            table
                .rows
                .ts
                .iter_mut()
                .for_each(|ts| *ts = *ts / 1_000 * 1_000);
        },
        "every_type_comes_back",
    ),
    (
        |table| rename(table, str::to_lowercase),
        "hostile_names_survive",
    ),
    (
        // One device's rows take the place of the other's.
        |table| {
            let mut stream = Stream::clone(&table.stream);
            stream.tags[0] = "device".into();
            table.stream = Arc::new(stream);
        },
        "devices_share_a_schema",
    ),
    (
        |table| {
            let schema = Arc::make_mut(&mut table.schema);
            schema.fields.truncate(1_600);
        },
        "a_wide_record_is_whole_and_counted_once",
    ),
];

fn each(table: &mut TableRows, change: impl Fn(&mut Option<Vec<bool>>, &mut Values)) {
    for field in 0..table.schema.fields.len() {
        if table.rows.columns.get(field).is_some() {
            let column = &mut table.rows.columns[field];
            change(&mut column.present, &mut column.values);
        }
    }
}

fn each_text(table: &mut TableRows, change: impl Fn(&str) -> Box<str>) {
    each(table, |_, values| {
        if let Values::Text(texts) = values {
            for text in texts {
                *text = change(text);
            }
        }
    });
}

fn rename(table: &mut TableRows, change: impl Fn(&str) -> String) {
    let schema = Arc::make_mut(&mut table.schema);
    schema.name = change(&schema.name);
    let mut stream = Stream::clone(&table.stream);
    stream.name = change(&stream.name);
    for tag in &mut stream.tags {
        *tag = change(tag);
    }
    table.stream = Arc::new(stream);
}

/// What is wrong with answers.
#[derive(Clone, Copy, Debug)]
enum Lie {
    /// The last timestamp of a range is left out.
    HalfOpen,
    /// A stream that is not known is another one.
    AnyStream,
    /// One row more is written than was given.
    TooMany,
    /// A row is rejected, and all are said to be written.
    Both,
    /// What was seen before is not written again, whatever became of it.
    Remembers,
    /// There is no database, whatever was written.
    NoDatabase,
    /// Once closed it stays so.
    ForEver,
}

const LIES: [(Lie, &str); 7] = [
    (Lie::HalfOpen, "count_takes_both_bounds"),
    (Lie::AnyStream, "count_takes_both_bounds"),
    (Lie::TooMany, "every_type_comes_back"),
    (Lie::Both, "every_type_comes_back"),
    (
        Lie::Remembers,
        "tables_dropped_behind_our_back_are_made_again",
    ),
    (Lie::NoDatabase, "describe_makes_nothing"),
    (Lie::ForEver, "close_and_go_on"),
];

#[derive(Clone, Copy)]
enum Fault {
    None,
    OnTheWay(Spoil),
    Lie(Lie),
}

struct Spoilt {
    upstream: Arc<dyn Upstream>,
    fault: Fault,
    seen: Mutex<HashSet<Vec<i64>>>,
    is_closed: Mutex<bool>,
}

impl Spoilt {
    fn lies(&self) -> Option<Lie> {
        match self.fault {
            Fault::Lie(lie) => Some(lie),
            _ => None,
        }
    }
}

#[async_trait]
impl Upstream for Spoilt {
    async fn write(&self, batch: &Batch) -> Result<WriteReport, UpstreamError> {
        if *self.is_closed.lock().unwrap() {
            return Err(UpstreamError::Rejected("closed".into()));
        }
        let mut batch = batch.clone();
        if let Fault::OnTheWay(spoil) = self.fault {
            batch.tables.iter_mut().for_each(spoil);
        }
        if matches!(self.lies(), Some(Lie::Remembers)) {
            let mut seen = self.seen.lock().unwrap();
            let ts = batch.tables.iter().flat_map(|table| table.rows.ts.clone());
            if !seen.insert(ts.collect()) {
                return Ok(WriteReport {
                    rows_written: batch.rows() as u64,
                    ..WriteReport::default()
                });
            }
        }
        let mut report = self.upstream.write(&batch).await?;
        match self.lies() {
            Some(Lie::TooMany) => report.rows_written += 1,
            Some(Lie::Both) => report.rejected.push(dunlin_sync::upstream::Rejection {
                table: 0,
                row: 0,
                reason: "not this one".into(),
                is_out_of_time: false,
            }),
            _ => {}
        }
        Ok(report)
    }

    async fn count(
        &self,
        stream: &Stream,
        schema: &Schema,
        mut range: TimeRange,
    ) -> Result<u64, UpstreamError> {
        let mut stream = stream.clone();
        match self.lies() {
            Some(Lie::HalfOpen) => range.to = Timestamp(range.to.0.saturating_sub(1)),
            Some(Lie::AnyStream) => stream.name = stream.name.replace("nobody", "m"),
            _ => {}
        }
        let mut table = TableRows {
            stream: Arc::new(stream),
            schema: Arc::new(schema.clone()),
            rows: dunlin_sync::rows::Rows::default(),
        };
        if let Fault::OnTheWay(spoil) = self.fault {
            spoil(&mut table);
        }
        self.upstream
            .count(&table.stream, &table.schema, range)
            .await
    }

    async fn describe(&self) -> Result<Description, UpstreamError> {
        let mut description = self.upstream.describe().await?;
        if matches!(self.lies(), Some(Lie::NoDatabase)) {
            description.database = None;
        }
        Ok(description)
    }

    async fn close(&self) -> Result<(), UpstreamError> {
        *self.is_closed.lock().unwrap() = matches!(self.lies(), Some(Lie::ForEver));
        self.upstream.close().await
    }

    fn location(&self) -> String {
        self.upstream.location()
    }
}

/// Files behind a fault.
struct SpoiltFiles {
    files: Files,
    fault: Fault,
}

#[async_trait]
impl Target for SpoiltFiles {
    async fn begin(&mut self) -> Result<(), String> {
        self.files.begin().await
    }

    fn connect(&self) -> Result<Arc<dyn Upstream>, String> {
        Ok(Arc::new(Spoilt {
            upstream: self.files.connect()?,
            fault: self.fault,
            seen: Mutex::default(),
            is_closed: Mutex::default(),
        }))
    }

    fn keeps(&self, number: f64) -> bool {
        self.files.keeps(number)
    }

    async fn read(&self, schema: &str, columns: &[&str]) -> Result<Option<Cells>, String> {
        self.files.read(schema, columns).await
    }

    async fn drop_tables(&self, schema: &str) -> Result<bool, String> {
        self.files.drop_tables(schema).await
    }
}

async fn is_passed(scenario: &str, fault: Fault) -> bool {
    let files = Files::default();
    let mut spoilt = SpoiltFiles { files, fault };
    let report = conformance::some(&mut spoilt, |name| name == scenario).await;
    assert_eq!(report.passed.len() + report.failures.len(), 1, "{scenario}");
    report.is_passed()
}

#[tokio::test]
async fn the_suite_finds_what_is_changed_on_the_way() {
    for (number, (spoil, scenario)) in ON_THE_WAY.into_iter().enumerate() {
        assert!(is_passed(scenario, Fault::None).await, "{scenario}");
        let is_passed = is_passed(scenario, Fault::OnTheWay(spoil)).await;
        assert!(!is_passed, "fault {number} is not seen by {scenario}");
    }
}

#[tokio::test]
async fn the_suite_finds_answers_that_are_wrong() {
    for (lie, scenario) in LIES {
        assert!(is_passed(scenario, Fault::None).await, "{scenario}");
        let is_passed = is_passed(scenario, Fault::Lie(lie)).await;
        assert!(!is_passed, "{lie:?} is not seen by {scenario}");
    }
}
