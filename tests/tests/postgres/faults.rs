//! A server that goes away, refuses us, or does not answer in time.

use std::time::{Duration, Instant};

use dunlin_sync::{
    rows::Batch,
    sample::FieldType,
    upstream::{Upstream, UpstreamError, UpstreamOptions, connect},
};
use dunlin_tests::batches::{count, one, schema, waves, write_all};
use dunlin_tests::doubles::relay::Relay;

use crate::support::{Target, is_unavailable, options};

fn batch(name: &str, rows: usize) -> Batch {
    one(waves(&schema(name, &[("x", FieldType::F64)]), "m", rows))
}

fn impatient(url: &str, timeout: Duration) -> Box<dyn Upstream> {
    connect(&UpstreamOptions {
        timeout,
        ..options(url)
    })
    .unwrap()
}

fn rejected(error: UpstreamError) -> String {
    match error {
        UpstreamError::Rejected(reason) => reason,
        UpstreamError::Unavailable(reason) => panic!("unavailable: {reason}"),
    }
}

async fn refused_with(upstream: &dyn Upstream, words: &[&str]) {
    let written = upstream.write(&batch("s", 3)).await.unwrap_err();
    let described = upstream.describe().await.unwrap_err();
    for reason in [rejected(written), rejected(described)] {
        for words in words {
            assert!(reason.contains(words), "{reason}");
        }
        assert!(!reason.contains("hunter2"), "{reason}");
    }
}

#[tokio::test]
async fn it_says_what_it_is_and_makes_nothing_by_being_asked() {
    let Some(target) = Target::real().await else {
        return;
    };
    let upstream = target.upstream();
    let description = upstream.describe().await.unwrap();
    assert!(
        description.product.starts_with("PostgreSQL 1"),
        "{description:?}"
    );
    assert!(description.database.is_some());
    let rows = batch("s", 2);
    assert_eq!(count(&*upstream, &rows.tables[0]).await, 0);
    let made = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace";
    assert_eq!(target.read_one(made).await, "0");
    write_all(&*upstream, &rows).await;
    upstream.close().await.unwrap();
    let ours = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'dunlin' AND datname = '{}'",
        target.database
    );
    assert_eq!(target.read_one(&ours).await, "0");
    write_all(&*upstream, &rows).await;
    assert!(
        !upstream.location().contains("dunlin:"),
        "{}",
        upstream.location()
    );
    target.clean().await;
}

#[tokio::test]
async fn a_cut_connection_or_a_killed_session_costs_one_answer_and_no_row() {
    let Some(target) = Target::real().await else {
        return;
    };
    let relay = Relay::tcp(target.address()).unwrap();
    let url = target.url_through(&relay.address().to_string(), "");
    let upstream = connect(&options(&url)).unwrap();
    let rows = batch("cut", 2_000);
    write_all(&*upstream, &rows).await;
    relay.cut();
    // It may be noticed before the next write or by it.
    if let Err(error) = upstream.write(&rows).await {
        assert!(is_unavailable(&error), "{error}");
    }
    write_all(&*upstream, &rows).await;
    let kill = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE application_name = 'dunlin' AND datname = '{}'",
        target.database
    );
    target.execute(&kill).await;
    if let Err(error) = upstream.write(&rows).await {
        assert!(is_unavailable(&error), "{error}");
    }
    write_all(&*upstream, &rows).await;
    assert_eq!(count(&*upstream, &rows.tables[0]).await, 2_000);
    assert_eq!(upstream.times_replaced(), 0);
    target.clean().await;
}

#[tokio::test]
async fn a_server_that_says_nothing_is_not_waited_for_longer_than_agreed() {
    let Some(target) = Target::real().await else {
        return;
    };
    let relay = Relay::tcp(target.address()).unwrap();
    let url = target.url_through(&relay.address().to_string(), "");
    let upstream = impatient(&url, Duration::from_secs(1));
    let rows = batch("silent", 300);
    write_all(&*upstream, &rows).await;
    relay.stall(true);
    for _ in 0..2 {
        let started = Instant::now();
        let error = upstream.write(&rows).await.unwrap_err();
        assert!(is_unavailable(&error), "{error}");
        assert!(
            error.to_string().contains("did not answer within"),
            "{error}"
        );
        assert!(started.elapsed() < Duration::from_secs(4));
    }
    relay.stall(false);
    write_all(&*upstream, &rows).await;
    target.clean().await;
}

#[tokio::test]
async fn a_statement_that_takes_too_long_ends_on_the_server_too_and_is_tried_again() {
    let Some(target) = Target::real().await else {
        return;
    };
    let upstream = impatient(&target.url(), Duration::from_secs(1));
    let rows = batch("slow", 300);
    write_all(&*upstream, &rows).await;
    target
        .execute(
            "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql
             AS 'BEGIN PERFORM pg_sleep(60); RETURN NEW; END';
             CREATE TRIGGER wait BEFORE INSERT ON slow FOR EACH ROW EXECUTE FUNCTION wait()",
        )
        .await;
    let error = upstream.write(&rows).await.unwrap_err();
    assert!(is_unavailable(&error), "{error}");
    assert!(error.to_string().contains("statement timeout"), "{error}");
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'dunlin' AND state = 'active'";
    let mut left = target.read_one(waiting).await;
    for _ in 0..100 {
        if left == "0" {
            break;
        }
        tokio::task::yield_now().await;
        left = target.read_one(waiting).await;
    }
    assert_eq!(left, "0", "nothing goes on there that nobody waits for");
    target.execute("DROP TRIGGER wait ON slow").await;
    write_all(&*upstream, &rows).await;
    target.clean().await;
}

/// Writes both tables of `both` while `lock` is held: only the first is refused.
async fn the_first_is_held(target: &Target, upstream: &dyn Upstream, lock: &str, both: &Batch) {
    let admin = target.admin(&target.database).await;
    let begin = format!("BEGIN; {lock}");
    admin.batch_execute(&begin).await.unwrap();
    for _ in 0..2 {
        let report = upstream.write(both).await.unwrap();
        assert_eq!(report.rejected, [], "{lock}");
        assert_eq!(report.rows_written, both.tables[1].rows.len() as u64);
        let refused: Vec<usize> = report.refused.iter().map(|refusal| refusal.table).collect();
        assert_eq!(refused, [0], "{lock}");
        let reason = &report.refused[0].reason;
        assert!(reason.contains("holds a lock"), "{reason}");
    }
    admin.batch_execute("COMMIT").await.unwrap();
    write_all(upstream, both).await;
}

#[tokio::test]
async fn a_locked_table_holds_its_streams_alone_and_goes_on_once_it_is_free() {
    let Some(target) = Target::real().await else {
        return;
    };
    let upstream = impatient(&target.url(), Duration::from_secs(2));
    for rows in [300, 3] {
        let of = |name: &str| batch(name, rows).tables.remove(0);
        let both = Batch {
            tables: vec![of("locked"), of("free")],
        };
        write_all(&*upstream, &both).await;
        the_first_is_held(&target, &*upstream, "LOCK TABLE locked", &both).await;
    }
    target.clean().await;
}

#[tokio::test]
async fn a_table_that_is_read_for_long_holds_those_alone_that_need_a_new_column() {
    let Some(target) = Target::real().await else {
        return;
    };
    let upstream = impatient(&target.url(), Duration::from_secs(2));
    write_all(&*upstream, &batch("read", 3)).await;
    let grown = schema("read", &[("y", FieldType::F64)]);
    let both = Batch {
        tables: vec![waves(&grown, "m", 3), batch("new", 3).tables.remove(0)],
    };
    // As a dump does, for as long as it takes.
    the_first_is_held(&target, &*upstream, "SELECT FROM read", &both).await;
    assert_eq!(target.read_one("SELECT count(y) FROM read").await, "3");
    target.clean().await;
}

#[tokio::test]
async fn streams_that_cannot_be_written_down_are_held_and_those_that_are_go_on() {
    let Some(target) = Target::real().await else {
        return;
    };
    let upstream = impatient(&target.url(), Duration::from_secs(2));
    let of = |machine: &str| waves(&schema("s", &[("x", FieldType::F64)]), machine, 3);
    let known = one(of("known"));
    write_all(&*upstream, &known).await;
    let both = Batch {
        tables: vec![of("new"), known.tables[0].clone()],
    };
    the_first_is_held(&target, &*upstream, "LOCK TABLE dunlin_streams", &both).await;
    target.clean().await;
}

#[tokio::test]
async fn what_somebody_must_change_is_said_with_what_helps() {
    let Some(target) = Target::real().await else {
        return;
    };
    let missing = target.url().replace(&target.database, "dunlin_missing");
    let advice = ["does not exist", "CREATE DATABASE dunlin_missing"];
    refused_with(&*connect(&options(&missing)).unwrap(), &advice).await;

    let role = format!("{}_role", target.database);
    target
        .execute(&format!("CREATE ROLE {role} LOGIN PASSWORD 'hunter1'"))
        .await;
    // Where it asks for passwords.
    let url = |password: &str| {
        let (authority, database) = (target.authority(), &target.database);
        format!("postgres://{role}{password}@{authority}/{database}")
    };
    let asks = connect(&options(&url(""))).unwrap().describe().await;
    if asks.is_err_and(|error| error.to_string().contains("password")) {
        for password in ["", ":hunter2"] {
            let upstream = connect(&options(&url(password))).unwrap();
            refused_with(&*upstream, &["check user and password"]).await;
        }
    }
    target
        .execute(&format!("ALTER ROLE {role} PASSWORD 'hunter2'"))
        .await;
    let url = url(":hunter2");
    refused_with(
        &*connect(&options(&url)).unwrap(),
        &["GRANT USAGE, CREATE ON SCHEMA"],
    )
    .await;

    let alter = format!("ALTER ROLE {role} SET search_path = nowhere");
    target.execute(&alter).await;
    refused_with(&*connect(&options(&url)).unwrap(), &["search_path"]).await;

    let grant =
        format!("ALTER ROLE {role} RESET search_path; GRANT CREATE ON SCHEMA public TO {role}");
    target.execute(&grant).await;
    let upstream = connect(&options(&url)).unwrap();
    write_all(&*upstream, &batch("s", 3)).await;
    upstream.close().await.unwrap();
    target
        .execute(&format!(
            "ALTER ROLE {role} SET default_transaction_read_only = on"
        ))
        .await;
    refused_with(&*upstream, &["read-only", "name the primary"]).await;

    target
        .execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"))
        .await;
    target.clean().await;
}

#[tokio::test]
async fn a_table_that_another_owns_is_refused_alone() {
    let Some(target) = Target::real().await else {
        return;
    };
    let role = format!("{}_guest", target.database);
    write_all(&*target.upstream(), &batch("theirs", 3)).await;
    target
        .execute(&format!(
            "CREATE ROLE {role} LOGIN PASSWORD 'hunter2'; GRANT CREATE, USAGE ON SCHEMA public TO {role};
             GRANT SELECT, INSERT, UPDATE ON dunlin_format, dunlin_schemas, dunlin_parts, dunlin_fields,
             dunlin_streams TO {role}"
        ))
        .await;
    let url = format!(
        "postgres://{role}:hunter2@{}/{}",
        target.authority(),
        target.database
    );
    let upstream = connect(&options(&url)).unwrap();
    let both = Batch {
        tables: vec![
            batch("theirs", 3).tables.remove(0),
            batch("ours", 3).tables.remove(0),
        ],
    };
    let report = upstream.write(&both).await.unwrap();
    assert_eq!(
        (report.rows_written, report.refused.len()),
        (3, 1),
        "{report:?}"
    );
    let reason = &report.refused[0].reason;
    assert!(
        reason.contains("permission denied for table theirs"),
        "{reason}"
    );
    target
        .execute(&format!("GRANT SELECT, INSERT, UPDATE ON theirs TO {role}"))
        .await;
    write_all(&*upstream, &both).await;
    upstream.close().await.unwrap();
    target
        .execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"))
        .await;
    target.clean().await;
}

#[tokio::test]
async fn tables_of_a_newer_version_are_left_alone() {
    let Some(target) = Target::real().await else {
        return;
    };
    write_all(&*target.upstream(), &batch("s", 3)).await;
    target
        .execute("INSERT INTO dunlin_format VALUES (99)")
        .await;
    refused_with(&*target.upstream(), &["format 99"]).await;
    target.clean().await;
}
