//! What must hold on the double and on a real server alike.

use dunlin_sync::{
    rows::{Batch, Values},
    sample::FieldType,
    upstream::{Upstream, UpstreamError, connect},
};
use dunlin_tests::batches::{column, count, one, schema, waves, write_all};

use crate::support::{Target, options};

on_both! {
    many_small_tables_go_in_few_statements
    a_text_that_no_column_takes_is_rejected_in_words
    out_of_range_rows_are_found
    a_database_of_another_precision_is_refused
    what_it_is_is_told_and_nothing_made
    a_wrong_password_is_rejected
    a_bad_database_option_is_rejected
    a_database_dropped_behind_our_back_is_made_again
}

async fn what_it_is_is_told_and_nothing_made(target: &Target) {
    let upstream = target.upstream();
    for _ in 0..2 {
        let told = upstream.describe().await.unwrap();
        assert!(told.product.starts_with("TDengine 3."), "{told:?}");
        assert_eq!(told.database, None);
    }
    target.create_database().await;
    let database = upstream.describe().await.unwrap().database.unwrap();
    assert_eq!(database.coarse_precision, None);
    assert!(database.keep.unwrap().contains('d'));
}

async fn many_small_tables_go_in_few_statements(target: &Target) {
    let schema = schema("small", &[("x", FieldType::F64)]);
    let machines = 0..1_000;
    let tables = machines.map(|machine| waves(&schema, &format!("m{machine}"), 10));
    let batch = Batch {
        tables: tables.collect(),
    };
    write_all(&*target.upstream(), &batch).await;
    if let Target::Double(double) = target {
        let statements = double.statements();
        let inserts = statements.iter().filter(|sql| sql.starts_with("INSERT"));
        assert!(inserts.clone().count() < 10);
        assert!(inserts.clone().all(|sql| sql.len() < 1_000_000));
        assert_eq!(double.blocks(), 0);
    }
}

async fn a_text_that_no_column_takes_is_rejected_in_words(target: &Target) {
    let schema = schema("long", &[("t", FieldType::Text)]);
    let mut table = waves(&schema, "m", 3);
    let texts = ["a".repeat(66_000), "fine".into(), "a\0b".into()];
    let texts = texts.map(String::into_boxed_str).to_vec();
    table.rows.columns = vec![column(Values::Text(texts))].into();
    let report = target.upstream().write(&one(table)).await.unwrap();
    assert_eq!(report.rows_written, 1);
    let rejected: Vec<usize> = report.rejected.iter().map(|r| r.row).collect();
    assert_eq!(rejected, [0, 2]);
    assert!(report.rejected[0].reason.contains("66000 bytes"));
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

async fn a_wrong_password_is_rejected(target: &Target) {
    let url = target.url();
    let (_, place) = url.rsplit_once('@').unwrap();
    if let Target::Double(double) = target {
        double.faults().require_password("taosdata");
    }
    let upstream = connect(&options(&format!("tdengine://root:hunter2@{place}"))).unwrap();
    let schema = schema("s", &[("x", FieldType::F64)]);
    let error = upstream.write(&one(waves(&schema, "m", 1))).await;
    let error = error.unwrap_err();
    assert!(matches!(error, UpstreamError::Rejected(_)), "{error}");
    let words = error.to_string();
    assert!(words.contains("Authentication failure"), "{words}");
    assert!(!words.contains("hunter2"), "{words}");
}

async fn a_bad_database_option_is_rejected(target: &Target) {
    let mut options = options(&target.url());
    options.database_options.insert("FOO".into(), "3".into());
    let upstream = connect(&options).unwrap();
    let schema = schema("s", &[("x", FieldType::F64)]);
    let error = upstream.write(&one(waves(&schema, "m", 1))).await;
    let error = error.unwrap_err();
    assert!(
        matches!(&error, UpstreamError::Rejected(w) if w.contains("FOO")),
        "{error}"
    );
}

async fn a_database_dropped_behind_our_back_is_made_again(target: &Target) {
    let schema = schema("lost", &[("x", FieldType::F64)]);
    let upstream = target.upstream();
    for (times, rows) in [5, 200].into_iter().enumerate() {
        let batch = one(waves(&schema, "m", rows));
        write_all(&*upstream, &batch).await;
        assert_eq!(upstream.times_replaced(), times as u64);
        let drop = format!("DROP DATABASE IF EXISTS `{}`", target.database());
        target.execute(&drop).await;
        write_in_a_few_tries(&*upstream, &batch).await;
        assert_eq!(count(&*upstream, &batch.tables[0]).await, rows as u64);
        assert_eq!(upstream.times_replaced(), times as u64 + 1);
    }
}

/// Once or twice: the server's own caches are a moment behind.
async fn write_in_a_few_tries(upstream: &dyn Upstream, batch: &Batch) {
    let mut tries = 0;
    while let Err(error) = upstream.write(batch).await {
        assert!(matches!(error, UpstreamError::Unavailable(_)), "{error}");
        tries += 1;
        assert!(tries < 5, "{error}");
    }
}
