//! Tables that are not as a batch needs them: of other types, too narrow, with other tags.

use super::*;
use crate::sample::{Origin, Stage};

/// Names and values.
type Tags<'a> = &'a [(&'a str, &'a str)];

fn one(schema: &Arc<Schema>, stream: &Arc<Stream>, ts: i64, values: Vec<Option<Value>>) -> Batch {
    Batch {
        tables: vec![table(schema, stream, &[(ts, values)])],
    }
}

async fn write(upstream: &dyn Upstream, batch: &Batch) {
    let report = upstream.write(batch).await.unwrap();
    assert_eq!((&*report.rejected, &*report.refused), (&[][..], &[][..]));
    assert_eq!(report.rows_written, batch.rows() as u64);
}

fn cells(fixture: &Fixture, sql: &str) -> Vec<Vec<String>> {
    use rusqlite::types::Value as Cell;
    let text = |cell| match cell {
        Cell::Null => "-".into(),
        Cell::Integer(number) => number.to_string(),
        Cell::Real(number) => number.to_string(),
        Cell::Text(text) => text,
        Cell::Blob(_) => "blob".into(),
    };
    let rows = fixture.shell(sql).into_iter();
    rows.map(|row| row.into_iter().map(text).collect())
        .collect()
}

#[tokio::test]
async fn a_conflict_of_one_column_costs_nothing() {
    let fixture = Fixture::new();
    let upstream = fixture.upstream();
    let text = |text: &str| Value::Text(text.into());
    // Each from a device of its own, as a fleet sends them.
    let rows: [&[(&str, Value)]; 8] = [
        &[("state", Value::F64(1.0))],
        &[("state", text("ok"))],
        &[("state", Value::F64(2.0)), ("state_text", text("own"))],
        &[("state", text("ko")), ("state_text", text("own"))],
        &[("state", text("no")), ("state_text", Value::F64(5.0))],
        &[("state", Value::Bool(true))],
        &[("state", Value::I64(i64::MAX))],
        &[("state", Value::F32(0.5))],
    ];
    for _ in 0..2 {
        for (index, fields) in rows.iter().enumerate() {
            let kinds: Vec<_> = fields
                .iter()
                .map(|(name, value)| (*name, value.kind()))
                .collect();
            let mut schema = Schema::clone(&schema("s", &kinds));
            schema.id = index as u32;
            schema.origins = vec![known(None); kinds.len()];
            let values = fields
                .iter()
                .map(|(_, value)| Some(value.clone()))
                .collect();
            let stream = stream(index as u32, &format!("s/{index}"));
            write(
                &*upstream,
                &one(&Arc::new(schema), &stream, index as i64, values),
            )
            .await;
        }
    }
    let names = "state, state_text, state_text_text, state_text_f64, state_bool, state_i64";
    let max = i64::MAX.to_string();
    let expected = [
        ["1", "-", "-", "-", "-", "-"],
        ["-", "ok", "-", "-", "-", "-"],
        ["2", "own", "-", "-", "-", "-"],
        ["-", "own", "ko", "-", "-", "-"],
        ["-", "-", "no", "5", "-", "-"],
        ["-", "-", "-", "-", "1", "-"],
        ["-", "-", "-", "-", "-", &max],
        ["0.5", "-", "-", "-", "-", "-"],
    ];
    let sql = format!("SELECT {names} FROM s ORDER BY ts");
    assert_eq!(cells(&fixture, &sql), expected);
    // What some device has as a field of its own is one; the rest is one field.
    let expected = [
        ["1", "-"],
        ["-", "ok"],
        ["2", "own"],
        ["ko", "own"],
        ["no", "5"],
        ["1", "-"],
        [&max, "-"],
        ["0.5", "-"],
    ];
    let sql = "SELECT state, state_text FROM s_tagged ORDER BY ts";
    assert_eq!(cells(&fixture, sql), expected);
    let columns = "SELECT count(*) FROM pragma_table_info('s_tagged') WHERE name LIKE 'state%'";
    assert_eq!(fixture.number(columns), 2);
}

/// Of a column of which this version knows what it is.
fn known(second_of: Option<u32>) -> Origin {
    Origin {
        second_of,
        since_ns: Some(5),
        stage: Stage::Begun,
        ..Origin::default()
    }
}

#[tokio::test]
async fn columns_that_are_one_field_are_one_in_the_view_whichever_table_they_are_in() {
    let fixture = Fixture::new();
    let upstream = fixture.upstream();
    let names: Vec<String> = (0..1_900).map(|field| format!("f{field}")).collect();
    let mut fields: Vec<_> = names
        .iter()
        .map(|name| (&**name, FieldType::Bool))
        .collect();
    fields[0].1 = FieldType::I64;
    fields.extend([
        ("f0_f64", FieldType::F64),
        ("f1899_text", FieldType::Text),
        ("f1_text", FieldType::Text),
    ]);
    let mut wide = Schema::clone(&schema("s", &fields));
    wide.origins = vec![known(None); fields.len()];
    wide.origins[1_900].second_of = Some(0);
    wide.origins[1_901].second_of = Some(1_899);
    wide.origins[0].unit = Some("°C".into());
    wide.origins[1].long_name = Some("a very long name".into());
    let wide = Arc::new(wide);
    let stream = stream(1, "s/1");
    let row = |values: &[(usize, Value)]| {
        let mut row = vec![None; fields.len()];
        for (place, value) in values {
            row[*place] = Some(value.clone());
        }
        row
    };
    let text = |text: &str| Value::Text(text.into());
    let rows = [
        (
            1,
            row(&[
                (0, Value::I64(21)),
                (1, Value::Bool(true)),
                (1_902, text("own")),
            ]),
        ),
        (2, row(&[(1_900, Value::F64(21.5)), (1_901, text("worn"))])),
        (3, row(&[(1_899, Value::Bool(true))])),
    ];
    let batch = Batch {
        tables: vec![table(&wide, &stream, &rows)],
    };
    write(&*upstream, &batch).await;
    let sql = "SELECT f0, f1, f1_text, f1899, typeof(f0) FROM s_tagged ORDER BY ts";
    assert_eq!(
        cells(&fixture, sql),
        [
            ["21", "1", "own", "-", "integer"],
            ["21.5", "-", "-", "worn", "real"],
            ["-", "-", "-", "1", "null"],
        ]
    );
    // The parts are where they are.
    let second = "SELECT count(f0_f64) + count(f1899_text) FROM s_2";
    assert_eq!(fixture.number(second), 2);
    let gone = "SELECT count(*) FROM pragma_table_info('s_tagged') WHERE name = 'f0_f64'";
    assert_eq!(fixture.number(gone), 0);
    let sql = "SELECT field, type, second_of, unit, name, since FROM dunlin_fields
               WHERE field IN ('f0', 'f1', 'f0_f64') ORDER BY field";
    assert_eq!(
        cells(&fixture, sql),
        [
            ["f0", "i64", "", "°C", "-", "5"],
            ["f0_f64", "f64", "f0", "-", "-", "5"],
            ["f1", "bool", "", "-", "a very long name", "5"],
        ]
    );
}

#[tokio::test]
async fn a_file_of_an_earlier_version_gets_what_it_lacks_and_joins_what_is_known() {
    let fixture = Fixture::new();
    let connection = Connection::open(fixture.path()).unwrap();
    connection
        .execute_batch(
            "CREATE TABLE dunlin_schemas (schema TEXT NOT NULL PRIMARY KEY, table_name TEXT NOT NULL,
                 view_name TEXT NOT NULL) WITHOUT ROWID;
             CREATE TABLE dunlin_fields (schema TEXT NOT NULL, field TEXT NOT NULL,
                 column_name TEXT NOT NULL, type TEXT NOT NULL, PRIMARY KEY (schema, field)) WITHOUT ROWID;
             INSERT INTO dunlin_schemas VALUES ('s', 's', 's_tagged');
             INSERT INTO dunlin_fields VALUES ('s', 't', 't', 'i64'), ('s', 't_f64', 't_f64', 'f64');
             CREATE TABLE s (stream TEXT NOT NULL, ts INTEGER NOT NULL, is_train BOOLEAN, fold INTEGER,
                 source_ts INTEGER, t INTEGER, t_f64 REAL, PRIMARY KEY (stream, ts)) WITHOUT ROWID;
             INSERT INTO s (stream, ts, t) VALUES ('gw1/s/1', 1, 20);
             PRAGMA user_version = 1;",
        )
        .unwrap();
    let upstream = fixture.upstream();
    let stream = stream(1, "s/1");
    let fields = [("t", FieldType::I64), ("t_f64", FieldType::F64)];
    let unknown = schema("s", &fields);
    let value = |value| vec![None, Some(Value::F64(value))];
    write(&*upstream, &one(&unknown, &stream, 2, value(20.5))).await;
    let sql = "SELECT t, t_f64 FROM s_tagged ORDER BY ts";
    assert_eq!(cells(&fixture, sql), [["20", "-"], ["-", "20.5"]]);
    let mut joined = Schema::clone(&unknown);
    joined.origins = vec![Origin::default(), known(Some(0))];
    write(&*upstream, &one(&Arc::new(joined), &stream, 3, value(21.5))).await;
    let sql = "SELECT t FROM s_tagged ORDER BY ts";
    assert_eq!(cells(&fixture, sql), [["20"], ["20.5"], ["21.5"]]);
}

#[tokio::test]
async fn where_no_column_can_be_had_the_stream_is_refused_until_it_is_mended() {
    let fixture = Fixture::new();
    let upstream = fixture.upstream();
    let (ours, other) = (
        schema("s", &[("a", FieldType::Text)]),
        schema("t", &[("a", FieldType::Text)]),
    );
    let stream = stream(1, "s/1");
    let names = [
        "a",
        "a_text",
        "a_text_text",
        "a_text_text_text",
        "a_text_text_text_text",
    ];
    let wrong: Vec<_> = names.iter().map(|name| (*name, FieldType::Bool)).collect();
    write(
        &*upstream,
        &one(&schema("s", &wrong), &stream, 1, vec![None; 5]),
    )
    .await;
    let text = |ts| (ts, vec![Some(Value::Text("x".into()))]);
    let other = Schema {
        id: 1,
        ..Schema::clone(&other)
    };
    let batch = Batch {
        tables: vec![
            table(&ours, &stream, &[text(2), (3, vec![None])]),
            table(&Arc::new(other), &stream, &[text(4)]),
        ],
    };
    for _ in 0..2 {
        let report = upstream.write(&batch).await.unwrap();
        assert_eq!((report.rows_written, report.rejected.len()), (1, 0));
        assert_eq!((report.refused.len(), report.refused[0].table), (1, 0));
        assert!(
            report.refused[0].reason.contains("other types"),
            "{report:?}"
        );
    }
    let connection = Connection::open(fixture.path()).unwrap();
    connection
        .execute_batch(
            "ALTER TABLE s DROP COLUMN a_text; DELETE FROM dunlin_fields WHERE field = 'a_text'",
        )
        .unwrap();
    write(&*upstream, &batch).await;
    assert_eq!(fixture.number("SELECT count(a_text) FROM s"), 1);
}

#[tokio::test]
async fn many_fields_go_to_further_tables() {
    let fixture = Fixture::new();
    let names: Vec<String> = (0..4_096).map(|n| format!("f{n}")).collect();
    let kinds: Vec<_> = names.iter().map(|name| (&**name, FieldType::F64)).collect();
    let (schema, stream) = (schema("w4096", &kinds), stream(1, "w/1"));
    let value = |field: usize| Some(Value::F64(field as f64));
    // One row has all, one but its first field, one but its last.
    let mut rows: Vec<(i64, Vec<_>)> = (0..3)
        .map(|row| (row, (0..4_096).map(value).collect()))
        .collect();
    for field in 0..4_096 {
        rows[1].1[field].take_if(|_| field > 0);
        rows[2].1[field].take_if(|_| field < 4_095);
    }
    let batch = Batch {
        tables: vec![table(&schema, &stream, &rows)],
    };
    write(&*fixture.upstream(), &batch).await;
    // The view of the first table shows of the second what it has room for.
    let joined = "SELECT f0, f1900 FROM w4096_tagged ORDER BY ts";
    let expected = [["0", "1900"], ["0", "-"], ["-", "-"]];
    assert_eq!(cells(&fixture, joined), expected);
    let last = "SELECT ts, f4095 FROM w4096_3_tagged ORDER BY ts";
    assert_eq!(cells(&fixture, last), [["0", "4095"], ["2", "4095"]]);
    assert_eq!(fixture.number("SELECT count(*) FROM w4096_2"), 1);
}

#[tokio::test]
async fn columns_once_added_stay_whatever_becomes_of_the_rows() {
    let fixture = Fixture::new();
    let upstream = fixture.upstream();
    let stream = stream(1, "s/1");
    let narrow = schema("s", &[("c0", FieldType::F64)]);
    write(&*upstream, &one(&narrow, &stream, 1, f64_of(0.0))).await;
    fixture.shell(
        "CREATE TRIGGER refuse BEFORE INSERT ON s BEGIN SELECT RAISE(ABORT, 'no more'); END",
    );
    let names: Vec<String> = (0..450).map(|field| format!("c{field}")).collect();
    let fields: Vec<_> = names.iter().map(|name| (&**name, FieldType::F64)).collect();
    let wide = one(&schema("s", &fields), &stream, 2, f64_of(1.0));
    let report = upstream.write(&wide).await.unwrap();
    assert_eq!((report.rows_written, report.refused.len()), (0, 1));
    let columns = "SELECT count(*) FROM pragma_table_info('s')";
    assert_eq!(fixture.number(columns), 5 + 450);
    fixture.shell("DROP TRIGGER refuse");
    write(&*upstream, &wide).await;
    assert_eq!(fixture.number("SELECT count(*) FROM s"), 2);
}

#[tokio::test]
async fn tags_follow_the_device_whatever_others_have() {
    let fixture = Fixture::new();
    let upstream = fixture.upstream();
    let tagged = |id: u32, device: &str, more: &[(&str, &str)]| {
        let mut schema = Schema::clone(&schema("s", &[("a", FieldType::F64)]));
        schema.id = id;
        schema.tag_names = vec!["device".into()];
        schema
            .tag_names
            .extend(more.iter().map(|(name, _)| (*name).to_owned()));
        let mut tags = vec![device.to_owned()];
        tags.extend(more.iter().map(|(_, value)| (*value).to_owned()));
        let name = "s".to_owned();
        let stream = Stream {
            id,
            schema: id,
            name,
            tags,
            first_tags: None,
        };
        (Arc::new(schema), Arc::new(stream))
    };
    let steps: [(u32, &str, Tags<'_>); 5] = [
        (0, "d1", &[]),
        (0, "d1", &[("site", "it's")]),
        (0, "d1", &[("site", "north")]),
        (0, "d1", &[("site", "north"), ("hall", "2")]),
        (1, "d2", &[]),
    ];
    for (step, (id, device, more)) in steps.into_iter().enumerate() {
        let (schema, stream) = tagged(id, device, more);
        write(&*upstream, &one(&schema, &stream, step as i64, f64_of(1.0))).await;
    }
    let seen = cells(
        &fixture,
        "SELECT DISTINCT stream, site, hall FROM s_tagged ORDER BY stream",
    );
    assert_eq!(seen, [["d1/s", "north", "2"], ["d2/s", "-", "-"]]);
    assert_eq!(fixture.number("SELECT count(*) FROM s_tagged"), 5);
    // Two agents that know different tags do not make the view anew in turns.
    let version = || fixture.number("SELECT schema_version FROM pragma_schema_version");
    let before = version();
    for upstream in [fixture.upstream(), fixture.upstream()] {
        for (step, (id, device, more)) in steps.into_iter().enumerate().skip(3) {
            let (schema, stream) = tagged(id, device, more);
            write(&*upstream, &one(&schema, &stream, step as i64, f64_of(1.0))).await;
        }
    }
    assert_eq!(version(), before);
}
