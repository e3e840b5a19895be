//! Rows: the same ones again, those the server refuses, and what it cannot hold.

use std::sync::Arc;

use dunlin_sync::{
    rows::{Batch, Column, Values},
    sample::{FieldType, Value},
};
use dunlin_tests::batches::{column, count, now_ns, one, schema, stream, table, waves, write_all};

use crate::support::{Target, texts};

#[tokio::test]
async fn the_same_rows_again_change_nothing_and_new_ones_among_them_are_written() {
    let Some(target) = Target::real().await else {
        return;
    };
    let upstream = target.upstream();
    let schema = schema("twice", &[("x", FieldType::F64)]);
    let many = waves(&schema, "many", 3_000);
    let few = waves(&schema, "few", 3);
    let batch = Batch {
        tables: vec![many.clone(), few.clone()],
    };
    // Where each row lies and who wrote it.
    let sql =
        "SELECT md5(string_agg(ctid || ' ' || xmin || ' ' || ts, ',' ORDER BY ctid)) FROM twice";
    let mut written = None;
    for _ in 0..3 {
        write_all(&*upstream, &batch).await;
        let before = written.replace(target.read_one(sql).await);
        assert!(before.is_none() || before == written);
    }
    let counts = (
        count(&*upstream, &many).await,
        count(&*upstream, &few).await,
    );
    assert_eq!(counts, (3_000, 3));
    let mut longer = many.clone();
    longer
        .rows
        .ts
        .iter_mut()
        .take(1_000)
        .for_each(|ts| *ts -= 3_600_000_000_000);
    write_all(&*upstream, &one(longer.clone())).await;
    assert_eq!(count(&*upstream, &many).await, 4_000);
    let sum = "SELECT sum(x) FROM twice WHERE stream LIKE '%/many'";
    let eighths: i32 = (0..3_000).sum::<i32>() + (0..1_000).sum::<i32>();
    let expected = (f64::from(eighths) / 8.0).to_string();
    assert_eq!(target.read_one(sum).await, expected);
    target.clean().await;
}

#[tokio::test]
async fn rows_with_one_time_in_one_batch_are_one_row_and_the_last_counts() {
    let Some(target) = Target::real().await else {
        return;
    };
    let schema = schema("doubled", &[("x", FieldType::F64)]);
    let mut rows = waves(&schema, "m", 600);
    let last = *rows.rows.ts.last().unwrap();
    rows.rows.ts[0] = last;
    write_all(&*target.upstream(), &one(rows.clone())).await;
    assert_eq!(count(&*target.upstream(), &rows).await, 599);
    let value = format!("SELECT x FROM doubled WHERE ts = {last}");
    assert_eq!(target.read_one(&value).await, "74.875");
    target.clean().await;
}

#[tokio::test]
async fn rows_with_one_time_are_rejected_with_the_one_that_counts() {
    let Some(target) = Target::real().await else {
        return;
    };
    let upstream = target.upstream();
    let schema = schema("doubled", &[("x", FieldType::F64)]);
    write_all(&*upstream, &one(waves(&schema, "first", 1))).await;
    target
        .execute("ALTER TABLE doubled ADD CHECK (x <> 2)")
        .await;
    let mut rows = waves(&schema, "m", 20);
    rows.rows.ts[3] = rows.rows.ts[16];
    let report = upstream.write(&one(rows.clone())).await.unwrap();
    let rejected = report.rejected.iter().map(|rejection| rejection.row);
    assert_eq!(rejected.collect::<Vec<_>>(), [3, 16], "{report:?}");
    assert_eq!((report.rows_written, report.refused.len()), (18, 0));
    assert_eq!(count(&*upstream, &rows).await, 18);
    target.clean().await;
}

#[tokio::test]
async fn every_value_comes_back_and_what_is_no_number_too() {
    let Some(target) = Target::real().await else {
        return;
    };
    let fields = [
        ("f", FieldType::F64),
        ("g", FieldType::F32),
        ("i", FieldType::I64),
        ("b", FieldType::Bool),
        ("t", FieldType::Text),
    ];
    let schema = schema("values", &fields);
    let start = 1_700_000_000_123_456_789;
    for rows in [3_usize, 300] {
        let pick = |row: usize| row % 3;
        let double = [f64::NAN, f64::NEG_INFINITY, 0.1];
        let single = [f32::INFINITY, 0.1, f32::MIN_POSITIVE];
        let whole = [i64::MIN, i64::MAX, -1];
        let text = ["", "näm'\\\n\t", "\u{1F600}"];
        let mut columns = vec![
            column(Values::F64(
                (0..rows).map(|row| double[pick(row)]).collect(),
            )),
            column(Values::F32(
                (0..rows).map(|row| single[pick(row)]).collect(),
            )),
            column(Values::I64((0..rows).map(|row| whole[pick(row)]).collect())),
            column(Values::Bool((0..rows).map(|row| pick(row) == 0).collect())),
            column(Values::Text(
                (0..rows).map(|row| text[pick(row)].into()).collect(),
            )),
        ];
        columns[2].present = Some((0..rows).map(|row| pick(row) != 2).collect());
        let place = stream(&schema, "d1", &format!("m{rows}"));
        let ts = (0..rows).map(|row| start + row as i64).collect();
        write_all(
            &*target.upstream(),
            &one(table(&place, &schema, ts, columns)),
        )
        .await;
        let sql = format!(
            "SELECT f, g, i, b, t, is_train, fold, source_ts FROM \"values\" WHERE stream LIKE '%m{rows}'
             ORDER BY ts LIMIT 3"
        );
        let null = "NULL";
        assert_eq!(
            target.read(&sql).await,
            [
                [
                    "NaN",
                    "Infinity",
                    "-9223372036854775808",
                    "t",
                    "",
                    "f",
                    "0",
                    null
                ],
                [
                    "-Infinity",
                    "0.1",
                    "9223372036854775807",
                    "f",
                    "näm'\\\n\t",
                    "t",
                    "1",
                    "1700000000123456783"
                ],
                [
                    "0.1",
                    "1.1754944e-38",
                    null,
                    "f",
                    "\u{1F600}",
                    "t",
                    "2",
                    null
                ],
            ]
        );
    }
    target.clean().await;
}

#[tokio::test]
async fn a_text_with_a_nul_is_rejected_alone() {
    let Some(target) = Target::real().await else {
        return;
    };
    let schema = schema("nul", &[("t", FieldType::Text)]);
    let rows = texts(&schema, "m", now_ns(), &["a", "b\0c", "d"]);
    let report = target.upstream().write(&one(rows.clone())).await.unwrap();
    assert_eq!((report.rows_written, report.refused.len()), (2, 0));
    assert_eq!((report.rejected.len(), report.rejected[0].row), (1, 1));
    assert!(report.rejected[0].reason.contains("NUL"), "{report:?}");
    assert_eq!(count(&*target.upstream(), &rows).await, 2);
    target.clean().await;
}

#[tokio::test]
async fn rows_that_a_constraint_refuses_are_found_and_the_rest_is_written() {
    let Some(target) = Target::real().await else {
        return;
    };
    let upstream = target.upstream();
    let schema = schema("bounded", &[("x", FieldType::F64)]);
    write_all(&*upstream, &one(waves(&schema, "first", 1))).await;
    target
        .execute("ALTER TABLE bounded ADD CHECK (x <> 77 AND x <> 300 AND x <> 301)")
        .await;
    let rows = waves(&schema, "m", 4_000);
    let other = waves(
        &dunlin_tests::batches::schema("fine", &[("x", FieldType::F64)]),
        "m",
        500,
    );
    let batch = Batch {
        tables: vec![rows.clone(), other.clone()],
    };
    for _ in 0..2 {
        let report = upstream.write(&batch).await.unwrap();
        assert_eq!((report.rows_written, report.refused.len()), (4_497, 0));
        let rejected: Vec<_> = report
            .rejected
            .iter()
            .map(|rejection| rejection.row)
            .collect();
        assert_eq!(rejected, [616, 2_400, 2_408]);
        assert!(
            report.rejected[0].reason.contains("check constraint"),
            "{report:?}"
        );
    }
    assert_eq!(count(&*upstream, &rows).await, 3_997);
    assert_eq!(count(&*upstream, &other).await, 500);
    target.clean().await;
}

#[tokio::test]
async fn a_table_of_which_no_row_is_taken_is_held_and_the_search_for_rows_is_bounded() {
    let Some(target) = Target::real().await else {
        return;
    };
    let upstream = target.upstream();
    let of = |name: &str| schema(name, &[("x", FieldType::F64)]);
    for name in ["none", "half"] {
        write_all(&*upstream, &one(waves(&of(name), "m", 1))).await;
    }
    target
        .execute("ALTER TABLE none ADD CHECK (x < 0) NOT VALID")
        .await;
    target
        .execute("ALTER TABLE half ADD CHECK ((8 * x)::bigint % 2 = 0) NOT VALID")
        .await;
    let batch = Batch {
        tables: vec![
            waves(&of("none"), "n", 20),
            waves(&of("half"), "n", 2_000),
            waves(&of("fine"), "n", 20),
        ],
    };
    let report = upstream.write(&batch).await.unwrap();
    let refused: Vec<_> = report.refused.iter().map(|refusal| refusal.table).collect();
    assert_eq!(refused, [0, 1], "{report:?}");
    assert_eq!((report.rows_written, report.rejected.len()), (20, 0));
    target
        .execute("ALTER TABLE none DROP CONSTRAINT none_x_check")
        .await;
    target
        .execute("ALTER TABLE half DROP CONSTRAINT half_x_check")
        .await;
    write_all(&*upstream, &batch).await;
    target.clean().await;
}

#[tokio::test]
async fn many_small_streams_and_schemas_go_in_one_batch() {
    let Some(target) = Target::real().await else {
        return;
    };
    let upstream = target.upstream();
    let schemas: Vec<_> = (0..20)
        .map(|number| schema(&format!("s{number}"), &[("x", FieldType::F64)]))
        .collect();
    let streams =
        (0..1_000).map(|machine| waves(&schemas[machine % 20], &format!("m{machine}"), 5));
    let batch = Batch {
        tables: streams.collect(),
    };
    for _ in 0..2 {
        write_all(&*upstream, &batch).await;
    }
    assert_eq!(
        target.read_one("SELECT count(*) FROM dunlin_streams").await,
        "1000"
    );
    assert_eq!(target.read_one("SELECT count(*) FROM s7").await, "250");
    target.clean().await;
}

#[tokio::test]
async fn a_stream_of_another_age_of_its_schema_goes_with_the_others() {
    let Some(target) = Target::real().await else {
        return;
    };
    let upstream = target.upstream();
    let young = schema("grows", &[("x", FieldType::F64)]);
    write_all(&*upstream, &one(waves(&young, "a", 300))).await;
    let old = schema("grows", &[("x", FieldType::F64), ("y", FieldType::Text)]);
    let mut with_y = waves(&old, "b", 300);
    let mut y = Column::empty(FieldType::Text);
    for row in 0..300 {
        y.push((row % 2 == 0).then(|| Value::Text("y".into())))
            .unwrap();
    }
    with_y.rows.columns.push(y);
    let batch = Batch {
        tables: vec![waves(&young, "a2", 300), with_y, waves(&young, "a3", 3)],
    };
    write_all(&*upstream, &batch).await;
    write_all(&*upstream, &one(waves(&Arc::clone(&young), "a4", 300))).await;
    assert_eq!(target.read_one("SELECT count(*) FROM grows").await, "1203");
    assert_eq!(target.read_one("SELECT count(y) FROM grows").await, "150");
    target.clean().await;
}
