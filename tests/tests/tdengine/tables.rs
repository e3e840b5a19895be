//! Tables that are not as a batch needs them: of other types, too narrow, with other tags.

use std::sync::Arc;

use dunlin_sync::{
    rows::{Batch, Column, TableRows, Values},
    sample::{FieldType, Schema, Stream, Value},
};

use crate::support::{Target, column, count, now_ns, one, schema, stream, table, waves, write_all};

on_both! {
    a_conflict_of_one_column_costs_nothing
    devices_that_differ_find_each_others_columns
    a_foreign_table_holds_its_streams_until_it_is_mended
    a_column_made_anew_behind_our_back_is_seen_before_a_row_is_blamed
    many_fields_go_to_further_tables
    long_texts_go_to_further_tables
    tags_follow_the_device
}

const OURS: &str =
    "`ts` TIMESTAMP, `is_train` BOOL, `fold` TINYINT UNSIGNED, `source_ts` TIMESTAMP";

async fn create(target: &Target, name: &str, columns: &str) {
    target.create_database().await;
    let sql = format!(
        "CREATE STABLE IF NOT EXISTS `{}`.`{name}` ({columns}) TAGS (`device` VARCHAR(256), \
         `machine` VARCHAR(256))",
        target.database()
    );
    target.execute(&sql).await;
}

async fn a_conflict_of_one_column_costs_nothing(target: &Target) {
    create(target, "typed", &format!("{OURS}, `x` VARCHAR(8)")).await;
    let upstream = target.upstream();
    let schema_of = |name| schema(name, &[("x", FieldType::F64)]);
    let mut mixed = waves(&schema_of("typed"), "mixed", 10);
    mixed.rows.columns[0].present = Some((0..10).map(|row| row < 4).collect());
    let batch = Batch {
        tables: vec![
            mixed,
            waves(&schema_of("fine"), "m", 200),
            waves(&schema_of("typed"), "raw", 200),
        ],
    };
    for _ in 0..2 {
        write_all(&*upstream, &batch).await;
    }
    write_all(&*target.upstream(), &batch).await;
    let read = target.read("typed", &["x", "x_f64"]).await;
    assert_eq!(read.len(), 210);
    assert!(read.iter().all(|row| row[0] == "NULL"), "{read:?}");
    let values = read.iter().filter(|row| row[1] != "NULL");
    assert_eq!(values.count(), 204);
}

async fn devices_that_differ_find_each_others_columns(target: &Target) {
    let write = async |device: &str, fields: &[(&str, Value)], ts: i64| {
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
    };
    let number = Value::F64;
    let text = |x: &str| Value::Text(x.into());
    let now = now_ns();
    write("d1", &[("state", number(1.0))], now).await;
    write("d2", &[("state", text("ok"))], now + 1).await;
    // A field of that name, of the same type and of another.
    write(
        "d3",
        &[("state", number(2.0)), ("state_text", text("own"))],
        now + 2,
    )
    .await;
    write(
        "d4",
        &[("state", text("ko")), ("state_text", text("own"))],
        now + 3,
    )
    .await;
    write(
        "d5",
        &[("state", text("no")), ("state_text", number(5.0))],
        now + 4,
    )
    .await;
    write("d6", &[("state", Value::Bool(true))], now + 5).await;
    write("d7", &[("state", Value::I64(7))], now + 6).await;
    let names = [
        "state",
        "state_text",
        "state_text_text",
        "state_text_f64",
        "state_bool",
        "state_i64",
    ];
    let read = target.read("fleet", &names).await;
    let n = "NULL";
    assert_eq!(
        read,
        [
            ["1", n, n, n, n, n],
            [n, "ok", n, n, n, n],
            ["2", "own", n, n, n, n],
            [n, "own", "ko", n, n, n],
            [n, n, "no", "5", n, n],
            [n, n, n, n, "true", n],
            [n, n, n, n, n, "7"],
        ]
    );
}

async fn a_foreign_table_holds_its_streams_until_it_is_mended(target: &Target) {
    create(target, "foreign", "`ts` TIMESTAMP, `is_train` INT").await;
    let upstream = target.upstream();
    let schema_of = |name| schema(name, &[("x", FieldType::F64)]);
    let batch = Batch {
        tables: vec![
            waves(&schema_of("foreign"), "m", 2),
            waves(&schema_of("fine"), "m", 3),
            waves(&schema_of("foreign"), "n", 200),
        ],
    };
    for _ in 0..2 {
        let report = upstream.write(&batch).await.unwrap();
        assert_eq!((report.rows_written, report.rejected.len()), (3, 0));
        let refused: Vec<_> = report.refused.iter().map(|refused| refused.table).collect();
        assert_eq!(refused, [0, 2]);
        let reason = &report.refused[0].reason;
        assert!(reason.contains("`is_train` is INT"), "{reason}");
    }
    let drop = format!("DROP STABLE `{}`.`foreign`", target.database());
    target.execute(&drop).await;
    write_all(&*upstream, &batch).await;
    assert_eq!(target.read("foreign", &["x"]).await.len(), 202);
}

async fn a_column_made_anew_behind_our_back_is_seen_before_a_row_is_blamed(target: &Target) {
    let schema = schema("anew", &[("x", FieldType::F64), ("y", FieldType::F64)]);
    let upstream = target.upstream();
    let batch = |rows: usize| {
        let mut table = waves(&schema, "m", rows);
        table
            .rows
            .columns
            .push(column(Values::F64(vec![1.0; rows])));
        one(table)
    };
    let (first, second) = (batch(200), batch(300));
    write_all(&*upstream, &first).await;
    for change in ["DROP COLUMN `x`", "ADD COLUMN `x` VARCHAR(8)"] {
        let sql = format!("ALTER STABLE `{}`.`anew` {change}", target.database());
        target.execute(&sql).await;
    }
    write_all(&*upstream, &second).await;
    let read = target.read("anew", &["x_f64"]).await;
    let values = read.iter().filter(|row| row[0] != "NULL");
    assert_eq!((read.len(), values.count()), (500, 300));
}

/// Rows of `fields` f64 fields, the value of field `f` in row `r` being `f + r / 8`.
fn wide(machine: &str, fields: usize, rows: usize) -> TableRows {
    let names: Vec<String> = (0..fields).map(|field| format!("f{field}")).collect();
    let kinds: Vec<_> = names.iter().map(|name| (&**name, FieldType::F64)).collect();
    let schema = schema(&format!("wide{fields}"), &kinds);
    let mut table = waves(&schema, machine, rows);
    let values = |field| {
        (0..rows)
            .map(|row| field as f64 + row as f64 / 8.0)
            .collect()
    };
    table.rows.columns = (0..fields)
        .map(|field| column(Values::F64(values(field))))
        .collect();
    table
}

async fn many_fields_go_to_further_tables(target: &Target) {
    let upstream = target.upstream();
    for (fields, tables) in [(1_000, 1), (4_096, 2)] {
        let name = format!("wide{fields}");
        // As text, then as raw blocks; the first and the last field alone in some rows.
        for rows in [3, 140] {
            let mut batch = one(wide(&format!("m{rows}"), fields, rows));
            for hole in 1..fields - 1 {
                let present = (0..rows).map(|row| row != 1).collect();
                batch.tables[0].rows.columns[hole].present = Some(present);
            }
            for _ in 0..2 {
                write_all(&*upstream, &batch).await;
            }
            write_all(&*target.upstream(), &batch).await;
            assert_eq!(count(&*upstream, &batch.tables[0]).await, rows as u64);
        }
        let part = |table: usize| match table {
            0 => name.clone(),
            table => format!("{name}_{}", table + 1),
        };
        // Whichever table has it.
        let mut seen = 0;
        for table in 0..tables {
            let columns: Vec<String> = target.columns(&part(table)).await;
            let ours: Vec<&str> = columns
                .iter()
                .map(String::as_str)
                .filter(|c| c.starts_with('f') && *c != "fold")
                .collect();
            seen += ours.len();
            let read = target.read(&part(table), &ours).await;
            assert_eq!(read.len(), 143, "{} rows", part(table));
            for (number, field) in ours.iter().enumerate() {
                let field: usize = field[1..].parse().unwrap();
                let values = read.iter().filter(|row| row[number] != "NULL");
                let is_edge = field == 0 || field == fields - 1;
                assert_eq!(values.count(), if is_edge { 143 } else { 141 }, "f{field}");
                assert_eq!(read[0][number], field.to_string());
            }
        }
        assert_eq!(seen, fields);
    }
}

async fn long_texts_go_to_further_tables(target: &Target) {
    let schema = schema("notes", &[("a", FieldType::Text), ("b", FieldType::Text)]);
    let upstream = target.upstream();
    let now = now_ns();
    let mut written = Vec::new();
    for (number, (a, b)) in [(10, 60_000), (9_000, 10), (65_517, 65_517)]
        .into_iter()
        .enumerate()
    {
        let text = |bytes: usize| column(Values::Text(vec!["n".repeat(bytes).into()]));
        let place = stream(&schema, "d1", "m");
        let rows = table(
            &place,
            &schema,
            vec![now + number as i64],
            vec![text(a), text(b)],
        );
        for _ in 0..2 {
            write_all(&*upstream, &one(rows.clone())).await;
        }
        assert_eq!(count(&*upstream, &rows).await, number as u64 + 1);
        written.extend([a, b]);
    }
    let mut read = Vec::new();
    for part in ["notes", "notes_2", "notes_3"] {
        for name in ["a", "b"] {
            if target
                .columns(part)
                .await
                .iter()
                .any(|column| column == name)
            {
                let texts = target.read(part, &[name]).await;
                let texts = texts.into_iter().flatten().filter(|text| text != "NULL");
                read.extend(texts.map(|text| text.len()));
            }
        }
    }
    written.sort_unstable();
    read.sort_unstable();
    assert_eq!(read, written);
}

fn tagged(names: &[&str], values: &[&str]) -> (Arc<Schema>, Arc<Stream>) {
    let mut schema = Schema::clone(&schema("tagged", &[("x", FieldType::F64)]));
    schema.tag_names = names.iter().map(ToString::to_string).collect();
    let mut stream = Stream::clone(&stream(&schema, "d1", "m1"));
    stream.tags = values.iter().map(ToString::to_string).collect();
    let first = values[..2].iter().map(ToString::to_string).collect();
    stream.first_tags = (values.len() > 2).then_some(first);
    (Arc::new(schema), Arc::new(stream))
}

async fn tags_follow_the_device(target: &Target) {
    let now = now_ns();
    let upstream = target.upstream();
    let steps: [(&[&str], &[&str]); 4] = [
        (&["device", "machine"], &["d1", "m1"]),
        (&["device", "machine", "site"], &["d1", "m1", "it's"]),
        (&["device", "machine", "site"], &["d1", "m1", "north"]),
        (
            &["device", "machine", "site", "hall"],
            &["d1", "m1", "north", "2"],
        ),
    ];
    for (step, (names, values)) in steps.into_iter().enumerate() {
        let (schema, stream) = tagged(names, values);
        let columns = vec![column(Values::F64(vec![step as f64]))];
        let rows = table(&stream, &schema, vec![now + step as i64], columns);
        write_all(&*upstream, &one(rows.clone())).await;
        // As after a restart of the agent.
        write_all(&*target.upstream(), &one(rows.clone())).await;
        assert_eq!(count(&*upstream, &rows).await, step as u64 + 1, "one table");
        assert_eq!(target.tags("tagged", names).await, [values]);
    }
    // Another device with fewer tags, and one whose table has not the tag yet.
    let (schema, stream) = tagged(&["device", "machine"], &["d2", "m1"]);
    let columns = vec![column(Values::F64(vec![9.0]))];
    let rows = table(&stream, &schema, vec![now + 9], columns);
    write_all(&*upstream, &one(rows)).await;
    assert_eq!(
        target.tags("tagged", &["device", "site"]).await,
        [["d1", "north"], ["d2", "NULL"]]
    );
}
