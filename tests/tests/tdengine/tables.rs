//! Tables that are not as a batch needs them: foreign, changed, too narrow.

use dunlin_sync::{
    rows::{Batch, Values},
    sample::FieldType,
};
use dunlin_tests::batches::{column, count, now_ns, one, schema, stream, table, waves, write_all};

use crate::support::Target;

on_both! {
    a_foreign_table_holds_its_streams_until_it_is_mended
    a_column_made_anew_behind_our_back_is_seen_before_a_row_is_blamed
    long_texts_go_to_further_tables
}

async fn create(target: &Target, name: &str, columns: &str) {
    target.create_database().await;
    let sql = format!(
        "CREATE STABLE IF NOT EXISTS `{}`.`{name}` ({columns}) TAGS (`device` VARCHAR(256), \
         `machine` VARCHAR(256))",
        target.database()
    );
    target.execute(&sql).await;
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
