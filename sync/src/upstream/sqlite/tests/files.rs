//! A file that is removed, replaced or closed.

use std::{sync::Barrier, thread};

use super::*;

struct Rows {
    schema: Arc<Schema>,
    stream: Arc<Stream>,
}

impl Rows {
    fn new() -> Self {
        Self {
            schema: schema("s", &[("a", FieldType::F64)]),
            stream: stream(1, "s/1"),
        }
    }

    async fn write(&self, upstream: &dyn Upstream, ts: i64) {
        let batch = Batch {
            tables: vec![table(&self.schema, &self.stream, &[(ts, f64_of(1.0))])],
        };
        assert_eq!(upstream.write(&batch).await.unwrap().rows_written, 1);
    }

    async fn count(&self, upstream: &dyn Upstream) -> u64 {
        let all = TimeRange::ALL;
        upstream
            .count(&self.stream, &self.schema, all)
            .await
            .unwrap()
    }
}

fn rows_in(path: &Path) -> i64 {
    let connection = Connection::open(path).unwrap();
    let integrity: String = connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(integrity, "ok");
    connection
        .query_row("SELECT count(*) FROM s", [], |row| row.get(0))
        .unwrap()
}

#[tokio::test]
async fn a_removed_file_is_made_anew_and_its_rows_are_missed() {
    let (fixture, rows) = (Fixture::new(), Rows::new());
    let upstream = fixture.upstream();
    rows.write(&*upstream, 1).await;
    std::fs::remove_file(fixture.path()).unwrap();
    assert_eq!(
        rows.count(&*upstream).await,
        0,
        "what is gone is not counted"
    );
    assert!(!fixture.path().exists(), "counting makes no file");
    rows.write(&*upstream, 2).await;
    assert_eq!(rows.count(&*upstream).await, 1);
    // With all that lies beside it.
    for suffix in ["", "-wal", "-shm"] {
        let _may_not_be_there = std::fs::remove_file(file::beside(&fixture.path(), suffix));
    }
    rows.write(&*upstream, 3).await;
    assert_eq!(upstream.times_replaced(), 2);
    upstream.close().await.unwrap();
    assert_eq!(upstream.times_replaced(), 2);
    assert_eq!(rows_in(&fixture.path()), 1);
}

#[tokio::test]
async fn a_file_removed_before_the_last_close_is_told_once() {
    let (fixture, rows) = (Fixture::new(), Rows::new());
    let upstream = fixture.upstream();
    rows.write(&*upstream, 1).await;
    std::fs::remove_file(fixture.path()).unwrap();
    upstream.close().await.unwrap();
    assert_eq!(upstream.times_replaced(), 1);
    rows.write(&*upstream, 2).await;
    assert_eq!(upstream.times_replaced(), 1);
}

#[tokio::test]
async fn a_file_replaced_while_it_was_closed_is_told_too() {
    let (fixture, rows) = (Fixture::new(), Rows::new());
    let upstream = fixture.upstream();
    rows.write(&*upstream, 1).await;
    upstream.close().await.unwrap();
    rows.write(&*upstream, 2).await;
    assert_eq!(upstream.times_replaced(), 0, "the same file, opened again");
    upstream.close().await.unwrap();
    std::fs::rename(fixture.path(), fixture.dir.path().join("away.db")).unwrap();
    rows.write(&*upstream, 3).await;
    assert_eq!(upstream.times_replaced(), 1);
}

#[tokio::test]
async fn a_file_moved_away_is_whole_and_one_put_in_its_place_is_used() {
    let (fixture, rows) = (Fixture::new(), Rows::new());
    let upstream = fixture.upstream();
    rows.write(&*upstream, 1).await;
    let backup = fixture.dir.path().join("backup.db");
    let connection = Connection::open(fixture.path()).unwrap();
    connection
        .execute("VACUUM INTO ?1", [backup.to_str().unwrap()])
        .unwrap();
    drop(connection);
    for ts in 2..10 {
        rows.write(&*upstream, ts).await;
    }
    // The journal stays behind, as it does when somebody moves what he thinks is the database.
    let away = fixture.dir.path().join("away.db");
    std::fs::rename(fixture.path(), &away).unwrap();
    std::fs::rename(&backup, fixture.path()).unwrap();
    assert_eq!(rows.count(&*upstream).await, 1);
    rows.write(&*upstream, 10).await;
    assert_eq!(rows.count(&*upstream).await, 2);
    upstream.close().await.unwrap();
    assert_eq!(rows_in(&fixture.path()), 2);
    assert_eq!(rows_in(&away), 9);
}

#[tokio::test]
async fn a_file_emptied_in_place_is_filled_anew() {
    let (fixture, rows) = (Fixture::new(), Rows::new());
    let upstream = fixture.upstream();
    rows.write(&*upstream, 1).await;
    let connection = Connection::open(fixture.path()).unwrap();
    connection
        .execute_batch(
            "DROP VIEW s_tagged; DROP TABLE s; DROP TABLE dunlin_schemas; DROP TABLE dunlin_fields;
             DROP TABLE dunlin_streams; PRAGMA user_version = 0",
        )
        .unwrap();
    rows.write(&*upstream, 2).await;
    assert_eq!(rows.count(&*upstream).await, 1);
}

#[tokio::test]
async fn after_an_orderly_close_the_file_stands_alone() {
    let (fixture, rows) = (Fixture::new(), Rows::new());
    let upstream = fixture.upstream();
    upstream.close().await.unwrap();
    rows.write(&*upstream, 1).await;
    let wal = file::beside(&fixture.path(), "-wal");
    assert!(wal.exists());
    upstream.close().await.unwrap();
    assert!(!wal.exists());
    let copy = fixture.dir.path().join("copy.db");
    std::fs::copy(fixture.path(), &copy).unwrap();
    assert_eq!(rows_in(&copy), 1);
    // It goes on if it must, and says so if another program keeps rows in the journal.
    rows.write(&*upstream, 2).await;
    let reader = Connection::open(fixture.path()).unwrap();
    reader
        .execute_batch("BEGIN; SELECT count(*) FROM s")
        .unwrap();
    rows.write(&*upstream, 3).await;
    let quick = Sqlite::new(&UpstreamOptions {
        timeout: Duration::from_secs(2),
        ..options(&format!("sqlite:{}", fixture.path().display()))
    });
    let quick = quick.unwrap();
    rows.write(&quick, 4).await;
    let error = quick.close().await.unwrap_err();
    assert!(error.to_string().contains("-wal"), "{error}");
    drop(reader);
    upstream.close().await.unwrap();
    assert_eq!(rows_in(&fixture.path()), 4);
}

#[test]
fn everybody_who_opens_a_new_file_at_once_gets_it() {
    for _ in 0..20 {
        let fixture = Fixture::new();
        let (path, together) = (fixture.path(), Barrier::new(8));
        let open = || {
            together.wait();
            let connection = file::open(&path, Duration::from_secs(10))?;
            connection.execute_batch("CREATE TABLE IF NOT EXISTS t (a)")
        };
        thread::scope(|scope| {
            let opening: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
            for opened in opening {
                assert_eq!(opened.join().unwrap(), Ok(()));
            }
        });
    }
}
