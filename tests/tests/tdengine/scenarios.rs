//! What must hold on the double and on a real server alike.

use std::sync::Arc;

use dunlin_sync::{
    rows::{Batch, Column, Values},
    sample::{FieldType, TimeRange, Timestamp},
    upstream::{Upstream, UpstreamError, connect},
};

use crate::support::{
    Target, column, count, now_ns, one, options, schema, stream, table, waves, write_all,
};

on_both! {
    writes_every_type_and_reads_it_back
    hostile_names_and_texts_survive
    many_small_tables_go_in_few_statements
    adds_a_column_and_widens_a_text
    writing_twice_changes_nothing
    out_of_range_rows_are_found
    a_database_of_another_precision_is_refused
    what_it_is_is_told_and_nothing_made
    devices_share_a_supertable
    concurrent_writes_on_a_new_database
    extreme_and_unspeakable_numbers
    a_wrong_password_is_rejected
    a_bad_database_option_is_rejected
    tables_dropped_behind_our_back_are_made_again
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
    let text = |row: usize| {
        if row == 2 {
            String::new()
        } else {
            format!("é{row}")
        }
    };
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
            column(Values::Text((0..rows).map(|r| text(r).into()).collect())),
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
                text(row),
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
        for (rows, machine) in [(2, text), (150, long.as_str()), (1, "a"), (1, "A")] {
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
    assert_eq!(read.len(), 154);
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
    let texts = ["a".repeat(66_000), "fine".into(), "a\0b".into()];
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
    assert!(report.rejected[0].reason.contains("66000 bytes"));
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
            let rows = if writer % 2 == 0 { 10 } else { 200 };
            let batch = one(waves(&schema, &format!("m{writer}"), rows));
            write_all(&*upstream, &batch).await;
            count(&*upstream, &batch.tables[0]).await
        });
    }
    let counts: u64 = writers.join_all().await.into_iter().sum();
    assert_eq!(counts, 8 * 10 + 8 * 200);
    assert_eq!(target.read("busy", &["x0", "x15"]).await.len(), 1_680);
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
        (f64::MIN, f32::MIN, i64::MIN),
        (f64::MIN_POSITIVE, f32::MIN_POSITIVE, 0),
        (0.1, 0.1, -1),
    ];
    let unspeakable = [
        (f64::INFINITY, f32::NEG_INFINITY, 1),
        (5e-324, 1e-45, 2),
        (f64::NAN, f32::NAN, i64::MIN),
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

async fn tables_dropped_behind_our_back_are_made_again(target: &Target) {
    let schema = schema("lost", &[("x", FieldType::F64)]);
    let upstream = target.upstream();
    for rows in [5, 200] {
        let batch = one(waves(&schema, "m", rows));
        write_all(&*upstream, &batch).await;
        target.drop_tables("lost").await;
        write_all(&*upstream, &batch).await;
        assert_eq!(count(&*upstream, &batch.tables[0]).await, rows as u64);
    }
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
