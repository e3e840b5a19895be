//! Views: tags and time beside the values, two columns of one field as one, and what others have built on them.

use std::sync::Arc;

use dunlin_sync::{
    rows::{Batch, Values},
    sample::{FieldType, Origin, Schema, Stage},
};
use dunlin_tests::batches::{column, now_ns, one, schema, stream, table, waves, write_all};

use crate::support::{Target, texts};

#[tokio::test]
async fn a_view_tells_time_to_the_microsecond_and_tags_as_they_are_now() {
    let Some(target) = Target::real().await else {
        return;
    };
    let upstream = target.upstream();
    let schema = schema("vibration", &[("x", FieldType::F64)]);
    let mut place = (*stream(&schema, "d1", "m")).clone();
    place.tags[1] = "m'1\0".into();
    let place = Arc::new(place);
    let ts = vec![1_700_000_000_123_456_789, 4_102_444_799_999_999_999];
    let rows = table(
        &place,
        &schema,
        ts,
        vec![column(Values::F64(vec![1.5, 2.5]))],
    );
    write_all(&*upstream, &one(rows.clone())).await;
    let sql =
        "SELECT time AT TIME ZONE 'UTC', device, machine, x FROM vibration_tagged ORDER BY ts";
    let read = target.read(sql).await;
    assert_eq!(read[0], ["2023-11-14 22:13:20.123456", "d1", "m'1_", "1.5"]);
    assert_eq!(read[1][0], "2099-12-31 23:59:59.999999");
    let mut moved = (*place).clone();
    moved.tags[1] = "m2".into();
    let mut tagged = (*schema).clone();
    tagged.tag_names.push("line".into());
    moved.tags.push("l7".into());
    let mut rows = rows;
    rows.stream = Arc::new(moved);
    rows.schema = Arc::new(tagged);
    write_all(&*upstream, &one(rows)).await;
    let sql = "SELECT DISTINCT machine, line FROM vibration_tagged";
    assert_eq!(target.read(sql).await, [["m2", "l7"]]);
    target.clean().await;
}

#[tokio::test]
async fn one_field_in_two_columns_is_one_in_the_view() {
    let Some(target) = Target::real().await else {
        return;
    };
    let upstream = target.upstream();
    let now = now_ns();
    let number = schema("state", &[("s", FieldType::F64)]);
    write_all(&*upstream, &one(waves(&number, "n", 2))).await;
    let whole = schema("state", &[("s", FieldType::I64)]);
    let rows = table(
        &stream(&whole, "d2", "i"),
        &whole,
        vec![now],
        vec![column(Values::I64(vec![7]))],
    );
    write_all(&*upstream, &one(rows)).await;
    let sql = "SELECT s, pg_typeof(s) FROM state_tagged WHERE s = 7";
    assert_eq!(target.read(sql).await, [["7", "double precision"]]);
    let text = schema("state", &[("s", FieldType::Text)]);
    write_all(&*upstream, &one(texts(&text, "t", now, &["off"]))).await;
    let sql = "SELECT s FROM state_tagged ORDER BY s";
    assert_eq!(target.read(sql).await, [["0"], ["0.125"], ["7"], ["off"]]);
    // Somebody declares it to be a field of its own.
    let mut own = Schema::clone(&schema("state", &[("s_text", FieldType::Text)]));
    own.origins = vec![Origin {
        stage: Stage::Begun,
        ..Origin::default()
    }];
    write_all(
        &*target.upstream(),
        &one(texts(&Arc::new(own), "t", now + 9, &["own"])),
    )
    .await;
    let sql = "SELECT s_text FROM state_tagged WHERE s_text IS NOT NULL ORDER BY 1";
    assert_eq!(target.read(sql).await, [["off"], ["own"]]);
    target.clean().await;
}

#[tokio::test]
async fn whoever_was_let_in_stays_in_and_what_was_built_on_a_view_stays() {
    let Some(target) = Target::real().await else {
        return;
    };
    let reader = format!("{}_reader", target.database);
    target.execute(&format!("CREATE ROLE {reader}")).await;
    let upstream = target.upstream();
    let of = |fields: &[(&str, FieldType)]| schema("shown", fields);
    write_all(
        &*upstream,
        &one(waves(&of(&[("x", FieldType::F64)]), "m", 2)),
    )
    .await;
    target
        .execute(&format!(
            "GRANT SELECT ON shown_tagged TO {reader}; CREATE VIEW theirs AS SELECT x FROM shown_tagged"
        ))
        .await;
    // A new column: the view grows in place.
    let more = of(&[("x", FieldType::F64), ("y", FieldType::F64)]);
    let mut rows = waves(&more, "m", 2);
    rows.rows.columns.push(column(Values::F64(vec![5.0, 6.0])));
    write_all(&*upstream, &one(rows)).await;
    assert_eq!(
        target.read_one("SELECT sum(y) FROM shown_tagged").await,
        "11"
    );
    // Another type of a column that others have built on: the view stays, the rows are written.
    let text = of(&[("x", FieldType::Text)]);
    write_all(&*upstream, &one(texts(&text, "t", now_ns(), &["a"]))).await;
    assert_eq!(target.read_one("SELECT count(*) FROM theirs").await, "5");
    assert_eq!(
        target.read_one("SELECT count(x_text) FROM shown").await,
        "1"
    );
    target.execute("DROP VIEW theirs").await;
    write_all(
        &*target.upstream(),
        &one(texts(&text, "t", now_ns(), &["b"])),
    )
    .await;
    let sql = "SELECT count(*) FROM shown_tagged WHERE x IN ('a', 'b')";
    assert_eq!(target.read_one(sql).await, "2");
    let sql = format!("SELECT has_table_privilege('{reader}', 'shown_tagged', 'SELECT')");
    assert_eq!(target.read_one(&sql).await, "t");
    target
        .execute(&format!("DROP OWNED BY {reader}; DROP ROLE {reader}"))
        .await;
    target.clean().await;
}

#[tokio::test]
async fn agents_of_different_fields_make_the_views_anew_no_more_once_all_is_there() {
    let Some(target) = Target::real().await else {
        return;
    };
    let one_field = schema("calm", &[("x", FieldType::F64)]);
    let other = schema("calm", &[("y", FieldType::F64)]);
    let write = async || {
        for schema in [&one_field, &other] {
            let batch = Batch {
                tables: vec![waves(schema, "m", 2)],
            };
            write_all(&*target.upstream(), &batch).await;
        }
    };
    write().await;
    let sql = "SELECT oid, xmin FROM pg_class WHERE relname IN ('calm', 'calm_tagged') ORDER BY 1";
    let before = target.read(sql).await;
    write().await;
    assert_eq!(target.read(sql).await, before);
    target.clean().await;
}
