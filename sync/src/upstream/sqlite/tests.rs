#![allow(clippy::unwrap_used)]

mod changes;
mod files;

use std::{path::PathBuf, time::Duration};

use proptest::prelude::*;
use rusqlite::Connection;

use super::*;
use crate::{
    rows::{Column, Rows, TableRows},
    sample::{Field, FieldType, Value},
    upstream::connect,
};

struct Fixture {
    dir: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("central.db")
    }

    fn upstream(&self) -> Box<dyn Upstream> {
        connect(&options(&format!("sqlite:{}", self.path().display()))).unwrap()
    }

    /// What a person with the shell would see.
    fn shell(&self, sql: &str) -> Vec<Vec<rusqlite::types::Value>> {
        let connection = Connection::open(self.path()).unwrap();
        let mut statement = connection.prepare(sql).unwrap();
        let columns = statement.column_count();
        let rows = statement
            .query_map([], |row| (0..columns).map(|i| row.get(i)).collect())
            .unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    }

    fn number(&self, sql: &str) -> i64 {
        match &self.shell(sql)[0][0] {
            rusqlite::types::Value::Integer(number) => *number,
            other => panic!("{other:?}"),
        }
    }
}

fn options(url: &str) -> UpstreamOptions {
    UpstreamOptions::new(url, Duration::from_secs(20))
}

fn schema(name: &str, fields: &[(&str, FieldType)]) -> Arc<Schema> {
    let fields = fields.iter().map(|(name, kind)| Field {
        name: (*name).into(),
        kind: *kind,
    });
    Arc::new(Schema {
        id: 0,
        name: name.into(),
        tag_names: vec!["device".into(), "machine".into()],
        fields: fields.collect(),
        origins: Vec::new(),
    })
}

fn stream(id: u32, name: &str) -> Arc<Stream> {
    Arc::new(Stream {
        id,
        schema: 0,
        name: name.into(),
        tags: vec!["gw1".into(), format!("m{id}")],
        first_tags: None,
    })
}

fn table(
    schema: &Arc<Schema>,
    stream: &Arc<Stream>,
    rows: &[(i64, Vec<Option<Value>>)],
) -> TableRows {
    let mut columns = Rows::default();
    for (ts, values) in rows {
        columns.ts.push(*ts);
        columns.is_train.push(ts % 5 != 0);
        columns.fold.push((ts % 3) as u8);
        columns.source_ts.push((ts % 2 == 0).then_some(ts - 7));
        for (index, field) in schema.fields.iter().enumerate() {
            if index == columns.columns.len() {
                columns.columns.push(Column::empty(field.kind));
            }
            let value = values.get(index).cloned().flatten();
            columns.columns[index].push(value).unwrap();
        }
    }
    TableRows {
        stream: Arc::clone(stream),
        schema: Arc::clone(schema),
        rows: columns,
    }
}

fn f64_of(value: f64) -> Vec<Option<Value>> {
    vec![Some(Value::F64(value))]
}

#[tokio::test]
async fn a_person_can_read_it() {
    let fixture = Fixture::new();
    let schema = schema(
        "vibration",
        &[("x", FieldType::F64), ("label", FieldType::Text)],
    );
    let (one, two) = (stream(1, "vibration/m1"), stream(2, "vibration/m2"));
    let text = |text: &str| Some(Value::Text(text.into()));
    let ts = 1_700_000_000_123_456_789;
    let batch = Batch {
        tables: vec![
            table(
                &schema,
                &one,
                &[
                    (ts, vec![Some(Value::F64(1.5)), text("ok")]),
                    (ts + 1, vec![None, text("it's \"bad\"")]),
                ],
            ),
            table(&schema, &two, &[(ts, f64_of(f64::NAN))]),
        ],
    };
    let upstream = fixture.upstream();
    let report = upstream.write(&batch).await.unwrap();
    assert_eq!((report.rows_written, report.rejected.len()), (3, 0));
    assert_eq!(fixture.number("SELECT count(*) FROM vibration"), 3);
    assert_eq!(
        fixture.number("SELECT count(*) FROM vibration WHERE x IS NULL"),
        2,
        "NaN and a missing value are NULL"
    );
    let seen = fixture.shell(
        "SELECT time, machine, device, stream, label, is_train, source_ts
         FROM vibration_tagged WHERE machine = 'm1' ORDER BY ts LIMIT 1",
    );
    let seen = format!("{seen:?}");
    for expected in [
        "2023-11-14T22:13:20.123Z",
        "\"m1\"",
        "\"gw1\"",
        "gw1/vibration/m1",
        "\"ok\"",
    ] {
        assert!(seen.contains(expected), "{expected} in {seen}");
    }
    // A later value overwrites: the clock's correction or a repaired decoder sent it again.
    let again = Batch {
        tables: vec![table(&schema, &one, &[(ts, f64_of(9.0))])],
    };
    upstream.write(&again).await.unwrap();
    assert_eq!(
        fixture.number("SELECT count(*) FROM vibration WHERE x = 9.0 AND label IS NULL"),
        1
    );
}

#[tokio::test]
async fn names_that_clash_or_attack_get_columns_of_their_own() {
    let fixture = Fixture::new();
    let names = [
        "A",
        "a",
        "ts",
        "STREAM",
        "a_2",
        "x\"); DROP TABLE s; --",
        "select",
        "",
        "é",
        "`'",
    ];
    let fields: Vec<_> = names.iter().map(|name| (*name, FieldType::I64)).collect();
    let values = || {
        (0..names.len() as i64)
            .map(|n| Some(Value::I64(n)))
            .collect()
    };
    let upstream = fixture.upstream();
    for (id, name) in [
        "S",
        "s",
        "sqlite_x",
        "dunlin_streams",
        "s_tagged",
        "",
        "a\"b",
    ]
    .into_iter()
    .enumerate()
    {
        let mut schema = Schema::clone(&schema(name, &fields));
        schema.id = id as u32;
        schema.tag_names = vec!["device".into(), "it's \"x\"".into()];
        let schema = Arc::new(schema);
        let stream = stream(id as u32, &format!("{name}/'; --"));
        let batch = Batch {
            tables: vec![table(&schema, &stream, &[(1, values()), (2, values())])],
        };
        let report = upstream.write(&batch).await.unwrap();
        assert_eq!(report.rows_written, 2, "{name:?}: {report:?}");
        assert_eq!(
            upstream
                .count(&stream, &schema, TimeRange::ALL)
                .await
                .unwrap(),
            2
        );
    }
    assert_eq!(
        fixture.number("SELECT count(DISTINCT lower(table_name)) FROM dunlin_schemas"),
        7
    );
    let clashes = "SELECT count(*) FROM (SELECT 1 FROM dunlin_fields
                   GROUP BY schema, lower(column_name) HAVING count(*) > 1)";
    assert_eq!(fixture.number(clashes), 0);
    let sql = "SELECT count(*) FROM S WHERE \"A\" = 0 AND a_2 = 1 AND ts_2 = 2 AND ts = 1";
    assert_eq!(fixture.number(sql), 1);
    for row in fixture.shell("SELECT view_name FROM dunlin_schemas") {
        let rusqlite::types::Value::Text(view) = &row[0] else {
            panic!("{row:?}")
        };
        let sql = format!(
            "SELECT count(*), max(\"it's \"\"x\"\"\") FROM {}",
            names::quoted(view)
        );
        assert!(
            format!("{:?}", fixture.shell(&sql)).contains("Integer(2), Text(\"m"),
            "{view}"
        );
    }
}

#[tokio::test]
async fn what_can_never_be_stored_is_rejected_alone() {
    let fixture = Fixture::new();
    let upstream = fixture.upstream();
    let stream = stream(1, "s/1");
    let old = schema("s", &[("a", FieldType::F64)]);
    let first = Batch {
        tables: vec![table(&old, &stream, &[(1, f64_of(1.0))])],
    };
    upstream.write(&first).await.unwrap();
    // One has a NUL in its name.
    let changed = schema("s", &[("a", FieldType::F64), ("b\0", FieldType::I64)]);
    let rows = [
        (2, f64_of(2.0)),
        (3, vec![None, None]),
        (4, vec![None, Some(Value::I64(1))]),
    ];
    let nul = schema("n\0", &[]);
    let batch = Batch {
        tables: vec![
            table(&nul, &stream, &[(5, vec![])]),
            table(&changed, &stream, &rows),
        ],
    };
    let report = upstream.write(&batch).await.unwrap();
    assert_eq!((report.rows_written, report.refused.len()), (2, 0));
    let rejected: Vec<_> = report.rejected.iter().map(|r| (r.table, r.row)).collect();
    assert_eq!(rejected, [(0, 0), (1, 2)]);
    assert!(report.rejected[1].reason.contains("NUL"), "{report:?}");
    assert_eq!(fixture.number("SELECT count(*) FROM s"), 3);
}

#[tokio::test]
async fn somebody_elses_constraint_rejects_the_row_and_keeps_the_rest() {
    let fixture = Fixture::new();
    let upstream = fixture.upstream();
    let (schema, stream) = (schema("s", &[("a", FieldType::F64)]), stream(1, "s/1"));
    let batch = |rows: &[_]| Batch {
        tables: vec![table(&schema, &stream, rows)],
    };
    upstream.write(&batch(&[(1, f64_of(1.0))])).await.unwrap();
    let connection = Connection::open(fixture.path()).unwrap();
    let trigger = "CREATE TRIGGER hot BEFORE INSERT ON s WHEN new.a > 100
                   BEGIN SELECT RAISE(ABORT, 'too hot'); END";
    connection.execute_batch(trigger).unwrap();
    let rows = [(2, f64_of(2.0)), (3, f64_of(300.0)), (4, f64_of(4.0))];
    let report = upstream.write(&batch(&rows)).await.unwrap();
    assert_eq!(report.rows_written, 2);
    assert_eq!((report.rejected.len(), report.rejected[0].row), (1, 1));
    assert!(report.rejected[0].reason.contains("too hot"));
    // Where no row is taken, none is to blame: they wait until it is mended.
    let hot = batch(&[(5, f64_of(500.0)), (6, f64_of(600.0))]);
    let report = upstream.write(&hot).await.unwrap();
    assert_eq!((report.rows_written, report.rejected.len()), (0, 0));
    assert!(report.refused[0].reason.contains("too hot"));
    connection.execute_batch("DROP TRIGGER hot").unwrap();
    assert_eq!(upstream.write(&hot).await.unwrap().rows_written, 2);
}

/// On 32-bit ARM only where the C of `SQLite` has 64-bit times: see `.cargo/config.toml`.
#[tokio::test]
async fn a_file_written_after_2038_is_used() {
    let fixture = Fixture::new();
    let (schema, stream) = (schema("s", &[("a", FieldType::F64)]), stream(1, "s/1"));
    let batch = Batch {
        tables: vec![table(&schema, &stream, &[(1, f64_of(1.0))])],
    };
    drop(Connection::open(fixture.path()).unwrap());
    let file = std::fs::File::options().append(true).open(fixture.path());
    let in_2039 = std::time::UNIX_EPOCH + Duration::from_hours(605_000);
    file.unwrap().set_modified(in_2039).unwrap();
    let upstream = connect(&options(&format!("sqlite:{}", fixture.path().display()))).unwrap();
    assert_eq!(upstream.write(&batch).await.unwrap().rows_written, 1);
}

#[tokio::test]
async fn a_lock_is_waited_for_and_a_wrong_file_is_refused() {
    let fixture = Fixture::new();
    let (schema, stream) = (schema("s", &[("a", FieldType::F64)]), stream(1, "s/1"));
    let batch = Batch {
        tables: vec![table(&schema, &stream, &[(1, f64_of(1.0))])],
    };
    let mut quick = options(&format!("sqlite://{}", fixture.path().display()));
    quick.timeout = Duration::from_secs(4);
    let upstream = Sqlite::new(&quick).unwrap();
    upstream.write(&batch).await.unwrap();
    let other = Connection::open(fixture.path()).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let error = upstream.write(&batch).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Unavailable(_)), "{error}");
    other.execute_batch("COMMIT").unwrap();
    upstream.write(&batch).await.unwrap();

    let text = fixture.dir.path().join("notes.txt");
    std::fs::write(
        &text,
        "no database at all, but long enough to be looked at".repeat(99),
    )
    .unwrap();
    let newer = fixture.dir.path().join("newer.db");
    let connection = Connection::open(&newer).unwrap();
    connection.execute_batch("PRAGMA user_version = 7").unwrap();
    let missing = fixture.dir.path().join("missing/central.db");
    for path in [fixture.dir.path(), &text, &newer, &missing] {
        let upstream = connect(&options(&format!("sqlite:{}", path.display()))).unwrap();
        let error = upstream.write(&batch).await.unwrap_err();
        assert!(matches!(error, UpstreamError::Rejected(_)), "{error}");
        assert!(
            error.to_string().contains(path.to_str().unwrap()),
            "{error}"
        );
    }
}

#[test]
fn urls() {
    let path = |url: &str| path_in(url).unwrap();
    assert_eq!(path("sqlite:central.db"), Path::new("central.db"));
    assert_eq!(path("sqlite:dir/central.db"), Path::new("dir/central.db"));
    assert_eq!(path("sqlite:///var/lib/c.db"), Path::new("/var/lib/c.db"));
    assert_eq!(path("sqlite:/var/lib/c.db"), Path::new("/var/lib/c.db"));
    for url in ["sqlite:", "sqlite://", "sqlite::memory:", "sqlite:a\0b"] {
        assert!(
            matches!(path_in(url), Err(UpstreamError::Rejected(_))),
            "{url}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_names_take_any_rows(
        name: String,
        fields in prop::collection::vec((".{0,6}|[aA_2]{1,3}|ts", 0..5u8), 0..6),
        stream_name: String,
    ) {
        let kinds = [FieldType::F64, FieldType::F32, FieldType::I64, FieldType::Bool, FieldType::Text];
        let mut fields: Vec<_> = fields.iter().map(|(n, k)| (n.as_str(), kinds[*k as usize])).collect();
        let mut seen = std::collections::HashSet::new();
        fields.retain(|(name, _)| seen.insert(*name));
        let (schema, stream) = (schema(&name, &fields), stream(0, &stream_name));
        let table = table(&schema, &stream, &[(1, vec![]), (2, vec![])]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let fixture = Fixture::new();
        let upstream = fixture.upstream();
        let report = runtime.block_on(upstream.write(&Batch { tables: vec![table] })).unwrap();
        prop_assert_eq!(report.rows_written + report.rejected.len() as u64, 2);
        if !name.contains('\0') && !stream_name.contains('\0') {
            let count = upstream.count(&stream, &schema, TimeRange::ALL);
            prop_assert_eq!(runtime.block_on(count).unwrap(), 2);
        }
    }
}
