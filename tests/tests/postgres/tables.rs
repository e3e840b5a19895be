//! Tables that are not as a batch needs them: of other types, gone, too narrow, somebody else's.

use std::sync::Arc;

use dunlin_sync::{
    rows::{Batch, Column, TableRows, Values},
    sample::{FieldType, Value},
};
use dunlin_tests::batches::{column, count, now_ns, one, schema, stream, table, waves, write_all};

use crate::support::{Target, texts};

async fn write(target: &Target, device: &str, fields: &[(&str, Value)], ts: i64) {
    let kinds: Vec<_> = fields
        .iter()
        .map(|(name, value)| (*name, value.kind()))
        .collect();
    let schema = schema("fleet", &kinds);
    let columns = fields.iter().map(|(_, value)| {
        let mut column = Column::empty(value.kind());
        column.push(Some(value.clone())).unwrap();
        column
    });
    let place = stream(&schema, device, "m");
    let table = table(&place, &schema, vec![ts], columns.collect());
    write_all(&*target.upstream(), &one(table)).await;
}

#[tokio::test]
async fn devices_that_differ_find_each_others_columns() {
    let Some(target) = Target::real().await else {
        return;
    };
    let text = |x: &str| Value::Text(x.into());
    let now = now_ns();
    write(&target, "d1", &[("state", Value::F64(1.0))], now).await;
    write(&target, "d2", &[("state", text("ok"))], now + 1).await;
    // A field of that name, of the same type and of another.
    let both = [("state", Value::F64(2.0)), ("state_text", text("own"))];
    write(&target, "d3", &both, now + 2).await;
    let both = [("state", text("ko")), ("state_text", text("own"))];
    write(&target, "d4", &both, now + 3).await;
    write(&target, "d6", &[("state", Value::Bool(true))], now + 5).await;
    write(&target, "d7", &[("state", Value::I64(7))], now + 6).await;
    write(&target, "d8", &[("state", Value::F32(0.5))], now + 7).await;
    let sql =
        "SELECT state, state_text, state_text_text, state_bool, state_i64 FROM fleet ORDER BY ts";
    let n = "NULL";
    assert_eq!(
        target.read(sql).await,
        [
            ["1", n, n, n, n],
            [n, "ok", n, n, n],
            ["2", "own", n, n, n],
            [n, "own", "ko", n, n],
            [n, n, n, "t", n],
            [n, n, n, n, "7"],
            ["0.5", n, n, n, n],
        ]
    );
    target.clean().await;
}

#[tokio::test]
async fn a_column_made_anew_behind_our_back_is_seen_before_anything_is_written_into_it() {
    let Some(target) = Target::real().await else {
        return;
    };
    let upstream = target.upstream();
    // Of the same length: a COPY would take the bytes of the one for the other. An INSERT would round.
    for (name, rows, largest) in [("many", 500, "62.375"), ("few", 100, "12.375")] {
        let schema = schema(name, &[("x", FieldType::F64)]);
        write_all(&*upstream, &one(waves(&schema, "m", rows))).await;
        let sql = format!(
            "ALTER TABLE {name} DROP COLUMN x CASCADE; ALTER TABLE {name} ADD COLUMN x bigint"
        );
        target.execute(&sql).await;
        write_all(&*upstream, &one(waves(&schema, "n", rows))).await;
        let sql = format!("SELECT count(x), count(x_f64), max(x_f64) FROM {name}");
        let expected = ["0", &*rows.to_string(), largest];
        assert_eq!(target.read(&sql).await, [expected], "{name}");
    }
    target.clean().await;
}

#[tokio::test]
async fn tables_dropped_behind_our_back_are_made_again_and_that_is_told() {
    let Some(target) = Target::real().await else {
        return;
    };
    let upstream = target.upstream();
    let of = |name: &str| schema(name, &[("x", FieldType::F64)]);
    let batch = Batch {
        tables: vec![waves(&of("a"), "m", 300), waves(&of("b"), "m", 3)],
    };
    write_all(&*upstream, &batch).await;
    assert_eq!(upstream.times_replaced(), 0);
    target.execute("DROP TABLE a CASCADE").await;
    assert_eq!(count(&*upstream, &batch.tables[0]).await, 0);
    write_all(&*upstream, &batch).await;
    assert_eq!(upstream.times_replaced(), 1);
    assert_eq!(count(&*upstream, &batch.tables[0]).await, 300);
    assert_eq!(
        target.read_one("SELECT count(*) FROM a_tagged").await,
        "300"
    );
    target.execute("DROP TABLE b, dunlin_streams CASCADE").await;
    write_all(&*upstream, &batch).await;
    assert_eq!(target.read_one("SELECT count(*) FROM b_tagged").await, "3");
    assert_eq!(
        target.read_one("SELECT count(*) FROM dunlin_streams").await,
        "2"
    );
    assert!(upstream.times_replaced() > 1);
    // All of it at once is one event.
    let another = target.upstream();
    write_all(&*another, &batch).await;
    target
        .execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        .await;
    for _ in 0..2 {
        write_all(&*another, &batch).await;
        assert_eq!(another.times_replaced(), 1);
    }
    target.clean().await;
}

#[tokio::test]
async fn a_foreign_table_keeps_its_name_and_one_in_place_of_ours_holds_its_streams() {
    let Some(target) = Target::real().await else {
        return;
    };
    let upstream = target.upstream();
    let of = |name: &str| schema(name, &[("x", FieldType::F64)]);
    target.execute("CREATE TABLE theirs (a int)").await;
    write_all(&*upstream, &one(waves(&of("theirs"), "m", 2))).await;
    assert_eq!(
        target
            .read_one("SELECT count(*) FROM theirs_2_tagged")
            .await,
        "2"
    );
    target
        .execute("DROP TABLE theirs_2 CASCADE; CREATE TABLE theirs_2 (stream text, ts int)")
        .await;
    let batch = Batch {
        tables: vec![waves(&of("theirs"), "m", 2), waves(&of("fine"), "m", 3)],
    };
    for upstream in [&upstream, &target.upstream()] {
        let report = upstream.write(&batch).await.unwrap();
        assert_eq!((report.rows_written, report.rejected.len()), (3, 0));
        assert_eq!((report.refused.len(), report.refused[0].table), (1, 0));
        let reason = &report.refused[0].reason;
        assert!(reason.contains("\"ts\" is int4"), "{reason}");
    }
    target.execute("DROP TABLE theirs_2").await;
    write_all(&*upstream, &batch).await;
    target.clean().await;
}

#[tokio::test]
async fn many_fields_go_to_further_tables_and_names_of_any_kind_stay_apart() {
    let Some(target) = Target::real().await else {
        return;
    };
    let long = "n".repeat(62);
    let mut names: Vec<String> = (0..2_500).map(|number| format!("field {number}")).collect();
    names.extend([
        format!("{long}a1"),
        format!("{long}a2"),
        "ctid".into(),
        "ts".into(),
    ]);
    names.extend([
        "\"; DROP TABLE wide".into(),
        "time".into(),
        "machine".into(),
    ]);
    let fields: Vec<_> = names.iter().map(|name| (&**name, FieldType::F64)).collect();
    let wide = schema("wide", &fields);
    let rows = 3;
    let values = |field: usize| (0..rows).map(|row| (field * 10 + row) as f64).collect();
    let columns = (0..fields.len()).map(|field| column(Values::F64(values(field))));
    let place = stream(&wide, "d1", "m");
    let ts = (0..rows as i64).map(|row| now_ns() + row).collect();
    let batch = one(table(&place, &wide, ts, columns.collect()));
    let upstream = target.upstream();
    for _ in 0..2 {
        write_all(&*upstream, &batch).await;
    }
    assert_eq!(count(&*upstream, &batch.tables[0]).await, 3);
    for name in ["wide", "wide_2", "wide_3"] {
        let counted = format!("SELECT count(*) FROM {name}_tagged");
        assert_eq!(target.read_one(&counted).await, "3", "{name}");
    }
    let stored =
        "SELECT count(*), count(DISTINCT column_name), max(length(column_name)) FROM dunlin_fields";
    assert_eq!(target.read(stored).await, [["2507", "2507", "63"]]);
    let sql = "SELECT \"field 1\", \"field 1500\" FROM wide_tagged ORDER BY ts";
    let read = target.read(sql).await;
    assert_eq!(read, [["10", "15000"], ["11", "15001"], ["12", "15002"]]);
    // A record with few of the fields costs no row in the further tables.
    let mut narrow = waves(&wide, "narrow", 2);
    narrow.rows.columns = vec![column(Values::F64(vec![1.0, 2.0]))].into();
    write_all(&*upstream, &one(narrow)).await;
    assert_eq!(target.read_one("SELECT count(*) FROM wide").await, "5");
    assert_eq!(target.read_one("SELECT count(*) FROM wide_3").await, "3");
    target.clean().await;
}

#[tokio::test]
async fn wide_rows_of_long_texts_fit() {
    let Some(target) = Target::real().await else {
        return;
    };
    let names: Vec<String> = (0..300).map(|number| format!("t{number}")).collect();
    let fields: Vec<_> = names
        .iter()
        .map(|name| (&**name, FieldType::Text))
        .collect();
    let schema = schema("prose", &fields);
    // Of a kind that does not shrink.
    let text = |field: usize| -> Box<str> {
        let mut seed = field as u64 + 1;
        let letters = (0..1_000).map(|_| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            char::from(b'!' + (seed >> 33) as u8 % 90)
        });
        letters.collect::<String>().into()
    };
    let columns = (0..300).map(|field| column(Values::Text(vec![text(field)])));
    let place = stream(&schema, "d1", "m");
    let batch = one(table(&place, &schema, vec![now_ns()], columns.collect()));
    write_all(&*target.upstream(), &batch).await;
    let read = target.read_one("SELECT t299 FROM prose_tagged").await;
    assert_eq!(*read, *text(299));
    target.clean().await;
}

#[tokio::test]
async fn many_devices_that_begin_at_once_make_each_table_and_column_once() {
    let Some(target) = Target::real().await else {
        return;
    };
    let target = Arc::new(target);
    let start = now_ns();
    let mut devices = tokio::task::JoinSet::new();
    for device in 0..12_usize {
        let target = Arc::clone(&target);
        devices.spawn(async move {
            let upstream = target.upstream();
            // Each begins with fields of its own, some of them of its own type.
            for round in 0..4_usize {
                let tables = (0..3).map(|number| {
                    let own = format!("y{}", (device + round) % 4);
                    let kind = [FieldType::F64, FieldType::Text][device % 2];
                    let name = format!("shared{number}");
                    let fields = [("x", FieldType::F64), (&*own, kind)];
                    let schema = schema(&name, &fields[..=round % 2]);
                    let place = stream(&schema, &format!("d{device}"), "m");
                    let mut columns = vec![column(Values::F64(vec![1.0; 300]))];
                    if round % 2 == 1 {
                        columns.push(match kind {
                            FieldType::F64 => column(Values::F64(vec![2.0; 300])),
                            _ => column(Values::Text(vec!["t".into(); 300])),
                        });
                    }
                    let ts = (0..300).map(|row| start + (round * 300 + row) as i64);
                    table(&place, &schema, ts.collect(), columns)
                });
                let tables: Vec<TableRows> = tables.collect();
                write_all(&*upstream, &Batch { tables }).await;
            }
        });
    }
    while let Some(done) = devices.join_next().await {
        done.unwrap();
    }
    for number in 0..3 {
        let counted = format!("SELECT count(*) FROM shared{number}_tagged");
        assert_eq!(target.read_one(&counted).await, (12 * 4 * 300).to_string());
    }
    assert_eq!(
        target.read_one("SELECT count(*) FROM dunlin_schemas").await,
        "3"
    );
    Arc::into_inner(target).unwrap().clean().await;
}

#[tokio::test]
async fn a_second_type_is_found_whichever_came_first_also_after_a_restart() {
    let Some(target) = Target::real().await else {
        return;
    };
    let now = now_ns();
    let number = schema("mixed", &[("s", FieldType::F64)]);
    let text = schema("mixed", &[("s", FieldType::Text)]);
    for round in 0..2 {
        write_all(&*target.upstream(), &one(waves(&number, "n", 300))).await;
        let words = texts(&text, "t", now + round * 10, &["a", "b"]);
        write_all(&*target.upstream(), &one(words)).await;
    }
    let sql = "SELECT count(s), count(s_text) FROM mixed";
    assert_eq!(target.read(sql).await, [["600", "4"]]);
    target.clean().await;
}

#[tokio::test]
async fn where_no_column_can_be_had_the_stream_is_refused_until_it_is_mended() {
    let Some(target) = Target::real().await else {
        return;
    };
    let upstream = target.upstream();
    let names = [
        "a",
        "a_text",
        "a_text_text",
        "a_text_text_text",
        "a_text_text_text_text",
    ];
    let wrong = schema("s", &names.map(|name| (name, FieldType::Bool)));
    let columns = names.map(|_| column(Values::Bool(vec![true])));
    let place = stream(&wrong, "d1", "m");
    let first = table(&place, &wrong, vec![now_ns()], columns.into());
    write_all(&*upstream, &one(first)).await;
    let of = |name: &str| {
        let schema = schema(name, &[("a", FieldType::Text)]);
        texts(&schema, "m", now_ns(), &["x", "y"])
    };
    let batch = Batch {
        tables: vec![of("s"), of("t")],
    };
    for _ in 0..2 {
        let report = upstream.write(&batch).await.unwrap();
        assert_eq!((report.rows_written, report.rejected.len()), (2, 0));
        assert_eq!((report.refused.len(), report.refused[0].table), (1, 0));
        let reason = &report.refused[0].reason;
        assert!(reason.contains("other types"), "{reason}");
    }
    target
        .execute(
            "ALTER TABLE s DROP COLUMN a_text CASCADE; DELETE FROM dunlin_fields WHERE field = 'a_text'",
        )
        .await;
    write_all(&*upstream, &batch).await;
    assert_eq!(target.read_one("SELECT count(a_text) FROM s").await, "2");
    target.clean().await;
}

#[tokio::test]
async fn streams_whose_list_was_dropped_are_written_down_again_by_every_connection() {
    let Some(target) = Target::real().await else {
        return;
    };
    let upstream = target.upstream();
    let schema = schema("s", &[("x", FieldType::F64)]);
    let of = |machine: &str| one(waves(&schema, machine, 3));
    let (a, b) = (of("a"), of("b"));
    // Two at once: each has a connection of its own.
    let both = async || tokio::join!(write_all(&*upstream, &a), write_all(&*upstream, &b));
    both().await;
    target.execute("DROP TABLE dunlin_streams CASCADE").await;
    // Only one of the connections has to see it.
    write_all(&*upstream, &of("c")).await;
    assert_eq!(upstream.times_replaced(), 1);
    for _ in 0..3 {
        both().await;
    }
    assert_eq!(upstream.times_replaced(), 1);
    let listed = target.read_one("SELECT count(*) FROM dunlin_streams").await;
    assert_eq!(listed, "3");
    target.clean().await;
}
