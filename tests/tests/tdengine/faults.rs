//! What goes wrong with servers: on the double alone.

use std::time::{Duration, Instant};

use dunlin_sync::{
    rows::{Batch, Column, Values},
    sample::FieldType,
    upstream::{Upstream, UpstreamError, UpstreamOptions, connect},
};
use dunlin_tests::batches::{count, now_ns, one, schema, waves, write_all};
use dunlin_tests::doubles::taos::{Cut, TaosDouble};

use crate::support::options;

fn impatient(url: &str) -> Box<dyn Upstream> {
    let timeout = Duration::from_secs(1);
    connect(&UpstreamOptions {
        timeout,
        ..options(url)
    })
    .unwrap()
}

pub(crate) fn is_unavailable(error: &UpstreamError) -> bool {
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
    // Each failure threw its connection away, though these ones came back to life.
    assert_eq!(double.connections(), 3);
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

    double.faults().slow(Duration::from_secs(3));
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
    let report = upstream.write(&batch).await.unwrap();
    assert_eq!((report.rows_written, report.rejected.len()), (0, 0));
    let reason = &report.refused[0].reason;
    assert!(reason.contains("Permission denied"), "{reason}");
    assert!(!reason.contains("p@ss"), "{reason}");
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
async fn a_connection_that_the_server_has_ended_is_replaced() {
    let double = TaosDouble::start().await;
    let upstream = connect(&options(&double.url("plant"))).unwrap();
    let schema = schema("s", &[("x", FieldType::F64)]);
    let batch = one(waves(&schema, "m", 5));
    write_all(&*upstream, &batch).await;
    // KILL CONNECTION: the socket stays open, and every statement over it is answered like this.
    double
        .faults()
        .fail_sql("INSERT", 0x0213, "Disconnected from server");
    assert!(is_unavailable(&upstream.write(&batch).await.unwrap_err()));
    double.faults().clear();
    write_all(&*upstream, &batch).await;
    assert_eq!(double.connections(), 2);
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
async fn a_column_that_cannot_be_had_holds_its_streams_and_no_others() {
    let double = TaosDouble::start().await;
    let upstream = connect(&options(&double.url("plant"))).unwrap();
    let (before, other) = (
        schema("s", &[("x", FieldType::F64)]),
        schema("t", &[("x", FieldType::F64)]),
    );
    write_all(&*upstream, &one(waves(&before, "m", 5))).await;
    double
        .faults()
        .fail_sql("ALTER", 0x2644, "Permission denied");
    let after = schema("s", &[("x", FieldType::F64), ("y", FieldType::F64)]);
    let mut table = waves(&after, "m", 5);
    table.rows.columns.push(Column {
        values: Values::F64(vec![1.0; 5]),
        present: Some(vec![false, true, false, false, true]),
    });
    // Without the right to.
    let report = upstream.write(&one(table.clone())).await.unwrap();
    assert_eq!((report.rows_written, report.refused.len()), (0, 1));
    double.faults().clear();
    double
        .faults()
        .fail_sql("ALTER", 0x0377, "Conflicts with a topic");
    let batch = Batch {
        tables: vec![table, waves(&before, "n", 3), waves(&other, "m", 4)],
    };
    let report = upstream.write(&batch).await.unwrap();
    assert_eq!((report.rows_written, &*report.rejected), (7, &[][..]));
    assert_eq!(report.refused.len(), 1);
    assert_eq!(report.refused[0].table, 0);
    let reason = &report.refused[0].reason;
    assert!(reason.contains("Conflicts with a topic"), "{reason}");
    // Mended there, it goes through at the next attempt.
    double.faults().clear();
    write_all(&*upstream, &batch).await;
    assert_eq!(double.rows("plant", "s").len(), 13);
}

#[tokio::test]
async fn a_full_table_goes_on_in_a_further_one() {
    let double = TaosDouble::start().await;
    let upstream = connect(&options(&double.url("plant"))).unwrap();
    let before = schema("s", &[("x", FieldType::F64)]);
    write_all(&*upstream, &one(waves(&before, "m", 5))).await;
    double
        .faults()
        .fail_sql("ALTER", 0x263E, "Row length exceeds max length: 65531");
    let after = schema("s", &[("x", FieldType::F64), ("y", FieldType::F64)]);
    let mut table = waves(&after, "m", 5);
    table.rows.columns.push(Column {
        values: Values::F64(vec![1.0; 5]),
        present: Some(vec![false, true, false, false, true]),
    });
    for _ in 0..2 {
        write_all(&*upstream, &one(table.clone())).await;
    }
    assert_eq!(double.rows("plant", "s").len(), 10);
    assert_eq!(double.rows("plant", "s_2").len(), 2);
    assert_eq!(count(&*upstream, &table).await, 10);
}

#[tokio::test]
async fn a_table_that_changes_under_a_write_is_tried_again_at_once() {
    let double = TaosDouble::start().await;
    let upstream = connect(&options(&double.url("plant"))).unwrap();
    let schema = schema("s", &[("x", FieldType::F64)]);
    for rows in [5, 200] {
        let batch = one(waves(&schema, &format!("m{rows}"), rows));
        let faults = double.faults();
        faults.fail_sql_times(3, "INSERT", 0x061B, "Table schema is old");
        faults.fail_blocks_times(3, 0x061B, "Table schema is old");
        write_all(&*upstream, &batch).await;
    }
    // Not for ever.
    double
        .faults()
        .fail_sql("INSERT", 0x061B, "Table schema is old");
    let batch = one(waves(&schema, "m", 5));
    assert!(is_unavailable(&upstream.write(&batch).await.unwrap_err()));
    double.faults().clear();
    write_all(&*upstream, &batch).await;
}

#[tokio::test]
async fn rows_refused_for_unknown_reasons_are_bisected_within_bounds() {
    let double = TaosDouble::start().await;
    let upstream = connect(&options(&double.url("plant"))).unwrap();
    let schema = schema("s", &[("x", FieldType::F64)]);
    let mut batch = one(waves(&schema, "big", 1_000));
    for machine in 0..50 {
        batch
            .tables
            .push(waves(&schema, &format!("m{machine}"), 10));
    }
    let places = [(0, 0), (0, 517), (0, 999), (1, 3), (50, 9)];
    let ts = places.map(|(table, row)| batch.tables[table].rows.ts[row]);
    let unique: std::collections::HashSet<i64> = ts.into_iter().collect();
    assert_eq!(unique.len(), 5);
    double.faults().refuse_rows_at(ts);
    let report = upstream.write(&batch).await.unwrap();
    let rejected: Vec<_> = report.rejected.iter().map(|r| (r.table, r.row)).collect();
    assert_eq!(rejected, places);
    assert_eq!(report.rows_written, 1_495);
    assert_eq!(double.rows("plant", "s").len(), 1_495);
    assert!(report.rejected[0].reason.contains("Invalid operation"));

    // All of them: the search gives up early, and they stay where they are.
    let hopeless = one(waves(&schema, "hopeless", 2_000));
    double
        .faults()
        .refuse_rows_at(hopeless.tables[0].rows.ts.iter().copied());
    let before = double.blocks();
    let report = upstream.write(&hopeless).await.unwrap();
    assert_eq!((report.rows_written, report.rejected.len()), (0, 0));
    assert_eq!((report.refused.len(), report.refused[0].table), (1, 0));
    assert!(double.blocks() - before < 300);
    // So do few of which each is refused; with others that are taken, they are to blame.
    let few = waves(&schema, "few", 3);
    double.faults().refuse_rows_at(few.rows.ts.iter().copied());
    let report = upstream.write(&one(few.clone())).await.unwrap();
    assert_eq!((report.rejected.len(), report.refused.len()), (0, 1));
    let mut more = few.clone();
    let later = few.rows.ts[2] + 1;
    more.rows.extend_from(&few.rows, 2..3);
    more.rows.ts[3] = later;
    let report = upstream.write(&one(more)).await.unwrap();
    assert_eq!(
        (
            report.rows_written,
            report.rejected.len(),
            report.refused.len()
        ),
        (1, 3, 0)
    );
}

#[tokio::test]
async fn a_server_slower_than_the_connectors_patience_is_unavailable() {
    let double = TaosDouble::start().await;
    let upstream = connect(&options(&double.url("plant"))).unwrap();
    let schema = schema("s", &[("x", FieldType::F64)]);
    let batch = one(waves(&schema, "m", 5));
    // After two seconds the connector takes the server for version 2, and then panics.
    double.faults().slow(Duration::from_millis(2_300));
    let error = upstream.write(&batch).await.unwrap_err();
    assert!(is_unavailable(&error), "{error}");
    double.faults().clear();
    write_all(&*upstream, &batch).await;
}
