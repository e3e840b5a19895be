//! The real buffer, the real uploader, a real file.
#![allow(clippy::unwrap_used)]
use std::sync::{Mutex, atomic::Ordering::SeqCst};

use super::*;
use crate::{
    block::builder::BlockBuilder,
    buffer::{Buffer, BufferOptions},
    cursor::Cursor,
    sample::{Field, FieldType, Sample, Split, TimeRange, Timestamp, Value},
    upstream::{UpstreamOptions, connect},
    verify::verify,
};

/// Puts rows aside, and counts them.
#[derive(Default)]
struct Aside(Mutex<Vec<RejectedRow>>);

impl RejectedRows for Aside {
    fn reject(&self, rows: Vec<RejectedRow>) -> Result<(), RejectError> {
        self.0.lock().unwrap().extend(rows);
        Ok(())
    }
}

/// Commits `rows` rows a call, spread over `streams` streams; the last one lacks its field.
fn commit(buffer: &Buffer, streams: u32, rows: i64, ts: &mut i64) {
    let field = Field {
        name: "x".into(),
        kind: FieldType::F64,
    };
    let tags = ["device".to_owned(), "machine".to_owned()];
    let schema = buffer.declare_schema("s", &tags, &[field]).unwrap();
    let mut builder = BlockBuilder::new(crate::block::pack::Compression::Pco);
    for row in 0..rows {
        let machine = format!("m{}", row % i64::from(streams));
        let tags = ["gw1".to_owned(), machine.clone()];
        let stream = buffer.declare_stream(schema.id, &format!("s/{machine}"), &tags);
        *ts += 1_000;
        let sample = Sample {
            stream: stream.id,
            ts: Timestamp(*ts),
            split: Split {
                is_train: row % 5 != 0,
                fold: 0,
            },
            source_ts: None,
            values: vec![(row + 1 < rows).then_some(Value::F64(row as f64))].into(),
        };
        builder.push(&schema, sample).unwrap();
    }
    buffer.commit(&builder.finish(), &[]).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_the_buffer_into_sqlite_over_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("central.db");
    let upstream: Arc<dyn Upstream> = Arc::from(
        connect(&UpstreamOptions::new(
            format!("sqlite:{}", path.display()),
            Duration::from_secs(30),
        ))
        .unwrap(),
    );
    let aside = Arc::new(Aside::default());
    let mut ts = 1_700_000_000_000_000_000;
    let mut committed = 0;
    for round in 0..4 {
        let options = BufferOptions::new(dir.path().join("buffer"), 64 << 20);
        let buffer = Arc::new(Buffer::open(options).unwrap().0);
        let source = Arc::clone(&buffer) as Arc<dyn BlockSource>;
        let options = UploaderOptions {
            cursor_path: dir.path().join("state/cursor.uploader"),
            batch_rows_max: 2_000,
            in_flight_max: 3,
            order: if round % 2 == 0 {
                UploadOrder::OldestFirst
            } else {
                UploadOrder::LiveFirst
            },
            upload_gap_min: Duration::ZERO,
            save_gap_min: Duration::from_millis(50),
            backoff_min: Duration::from_millis(10),
            backoff_max: Duration::from_secs(1),
            seed: round,
        };
        let uploader = Uploader::open(
            options,
            Arc::clone(&source),
            Arc::clone(&upstream),
            Arc::clone(&aside) as Arc<dyn RejectedRows>,
            watch::Sender::new(true).subscribe(),
        );
        let stats = uploader.stats();
        let (stop, stopped) = watch::channel(None);
        let task = tokio::spawn(uploader.run(stopped));
        for rows in [1, 3_000, 40, 7_000] {
            commit(&buffer, 50, rows, &mut ts);
            committed += rows as u64;
        }
        if round == 1 {
            // Gone in the middle of it.
            task.abort();
            let _aborted = task.await;
            // A read that had begun still holds the buffer.
            while Arc::strong_count(&buffer) > 2 {
                tokio::task::yield_now().await;
            }
        } else {
            let deadline = Instant::now() + Duration::from_mins(1);
            stop.send(Some(deadline)).unwrap();
            assert_eq!(task.await.unwrap(), Left::default());
            assert_eq!(stats.retries.load(SeqCst), 0, "{:?}", stats.last_error());
            let report = verify(&source, &upstream, &stats.cursor(), &|_, _| 0).await;
            let report = report.unwrap();
            assert!(report.gaps.is_empty(), "{report:?}");
            assert_eq!(
                (report.rows_committed, report.rows_upstream),
                (committed, committed)
            );
        }
    }
    assert!(aside.0.lock().unwrap().is_empty());
    let connection = rusqlite::Connection::open(&path).unwrap();
    let count = |sql| {
        connection
            .query_row(sql, [], |row| row.get::<_, i64>(0))
            .unwrap()
    };
    assert_eq!(count("SELECT count(*) FROM s"), committed as i64);
    assert_eq!(
        count("SELECT count(*) FROM s_tagged WHERE x IS NULL"),
        4 * 4
    );
    assert_eq!(count("SELECT count(DISTINCT machine) FROM s_tagged"), 50);
    // A row lost upstream is found and named.
    connection
        .execute(
            "DELETE FROM s WHERE ts = (SELECT max(ts) - 5000 FROM s)",
            [],
        )
        .unwrap();
    let options = BufferOptions::new(dir.path().join("buffer"), 64 << 20);
    let source: Arc<dyn BlockSource> = Arc::new(Buffer::open(options).unwrap().0);
    let cursor = Cursor::read(&dir.path().join("state/cursor.uploader"))
        .unwrap()
        .unwrap();
    let report = verify(&source, &upstream, &cursor, &|_, _| 0)
        .await
        .unwrap();
    assert_eq!(report.gaps.len(), 1, "{report:?}");
    let gap = &report.gaps[0];
    assert_eq!(
        (gap.from, gap.to),
        (Timestamp(ts - 5_000), Timestamp(ts - 5_000))
    );
    assert_eq!((gap.committed, gap.upstream), (1, 0));
    let catalog = source.catalog();
    let (stream, schema) = (
        catalog.stream_named(&gap.stream).unwrap(),
        &catalog.schemas()[0],
    );
    assert!(
        upstream
            .count(stream, schema, TimeRange::ALL)
            .await
            .unwrap()
            > 0
    );
}
