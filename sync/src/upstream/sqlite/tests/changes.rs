//! Tables that are not as a batch needs them: of other types, too narrow, with other tags.

use super::*;

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
    for table in ["s", "s_tagged"] {
        let sql = format!("SELECT {names} FROM {table} ORDER BY ts");
        assert_eq!(cells(&fixture, &sql), expected, "{table}");
    }
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
    for (id, fields) in [1_000, 4_096].into_iter().enumerate() {
        let names: Vec<String> = (0..fields).map(|n| format!("f{n}")).collect();
        let kinds: Vec<_> = names.iter().map(|name| (&**name, FieldType::F64)).collect();
        let mut schema = Schema::clone(&schema(&format!("w{fields}"), &kinds));
        schema.id = id as u32;
        let (schema, stream) = (Arc::new(schema), stream(id as u32, "w/1"));
        let value = |row: usize, field: usize| Some(Value::F64((row * fields + field) as f64));
        let rows: Vec<(i64, Vec<_>)> = (0..30)
            .map(|row| {
                (
                    row as i64,
                    (0..fields).map(|field| value(row, field)).collect(),
                )
            })
            .collect();
        let mut sparse = rows.clone();
        // One row has but its first field, one but its last.
        for field in 0..fields {
            sparse[1].1[field].take_if(|_| field > 0);
            sparse[2].1[field].take_if(|_| field + 1 < fields);
        }
        let batch = Batch {
            tables: vec![table(&schema, &stream, &sparse)],
        };
        for upstream in [fixture.upstream(), fixture.upstream()] {
            for _ in 0..2 {
                write(&*upstream, &batch).await;
            }
            let count = upstream
                .count(&stream, &schema, TimeRange::ALL)
                .await
                .unwrap();
            assert_eq!(count, 30, "a record once");
        }
        // Every value, in whichever table it is.
        let mut seen = 0;
        for part in ["", "_2", "_3"] {
            let name = format!("w{fields}{part}");
            let columns = cells(
                &fixture,
                &format!("SELECT name FROM pragma_table_info('{name}')"),
            );
            let is_field = |c: &&String| c.starts_with('f') && *c != "fold";
            let ours: Vec<&String> = columns.iter().flatten().filter(is_field).collect();
            if ours.is_empty() {
                continue;
            }
            seen += ours.len();
            let quoted: Vec<&str> = ours.iter().map(|name| name.as_str()).collect();
            let sql = format!(
                "SELECT ts, {} FROM {name}_tagged ORDER BY ts",
                quoted.join(", ")
            );
            for line in cells(&fixture, &sql) {
                let row: usize = line[0].parse().unwrap();
                for (name, cell) in ours.iter().zip(&line[1..]) {
                    let field: usize = name[1..].parse().unwrap();
                    let expected = match &sparse[row].1[field] {
                        Some(Value::F64(value)) => value.to_string(),
                        _ => "-".into(),
                    };
                    assert_eq!(*cell, expected, "{name} of row {row}");
                }
            }
        }
        assert_eq!(seen, fields);
    }
    // The view of the first table shows of the second what it has room for.
    let joined = "SELECT f0, f1900 FROM w4096_tagged WHERE ts IN (0, 1, 2) ORDER BY ts";
    assert_eq!(
        cells(&fixture, joined),
        [["0", "1900"], ["4096", "-"], ["-", "-"]]
    );
    assert_eq!(fixture.number("SELECT count(*) FROM w4096_2"), 28);
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
