//! The way out: an upstream that refuses, hangs, forgets, or will never take a row.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dunlin_tests::doubles::{
    relay::Relay,
    taos::{Cut, TaosDouble},
};

use crate::world::{PATIENCE, World, runtime};

/// A world whose upstream is the double of `TDengine`, through a relay.
fn with_taos() -> (World, TaosDouble, Relay) {
    let double = runtime().block_on(TaosDouble::start());
    let relay = Relay::tcp(double.address()).unwrap();
    let mut world = World::new();
    let url = format!("tdengine://root:taosdata@{}/plant", relay.address());
    world.device.set("--upstream", url);
    world.device.set("--upstream-timeout-ms", 1_000);
    (world, double, relay)
}

/// Waits until the double has just the numbers `0..count`, each once and in order.
fn all_in(world: &World, double: &TaosDouble, count: u64) {
    let numbers = world.until("all rows", |_| {
        let numbers = numbers_in(double);
        (numbers.len() as u64 >= count).then_some(numbers)
    });
    assert!(numbers.iter().copied().eq(0..count), "a gap or a duplicate");
}

/// Record numbers of all rows, by time.
fn numbers_in(double: &TaosDouble) -> Vec<u64> {
    let rows = double.rows("plant", "records");
    let number = |row: &dunlin_tests::doubles::taos::Row| match row.get("n") {
        Some(dunlin_tests::doubles::taos::Cell::F64(n)) => *n as u64,
        other => panic!("n is {other:?}"),
    };
    rows.iter().map(number).collect()
}

#[test]
fn an_upstream_away_for_a_while_leaves_no_gap() {
    let (mut world, double, relay) = with_taos();
    world.start();
    world.publish(500);
    all_in(&world, &double, 500);
    relay.refuse(true);
    relay.cut();
    world.publish(2_000);
    world.all_acknowledged();
    let status = world.wait("the retries", |s| {
        s.upstream.retries > 0 && !s.upstream.connected && s.upstream.lag_rows >= 2_000
    });
    assert!(status.upstream.last_error.is_some(), "{status:?}");
    relay.refuse(false);
    all_in(&world, &double, 2_500);
}

#[test]
fn a_link_of_64_kbit_s_takes_everything() {
    let (mut world, double, relay) = with_taos();
    world.start();
    world.publish(1_000);
    all_in(&world, &double, 1_000);
    // Of what waits meanwhile, one batch takes several times as long as a write may.
    relay.slow(Some(64_000 / 8));
    relay.refuse(true);
    relay.cut();
    world.publish(500);
    world.all_acknowledged();
    relay.refuse(false);
    all_in(&world, &double, 1_500);
    // What was not answered in time was sent again in parts, and no row was blamed for it.
    let status = world.wait("the last answer", |s| s.upstream.lag_rows == 0);
    // How often depends on how fast the machine is; that it was at all does not.
    let last_error = status.upstream.last_error.as_deref().unwrap_or_default();
    assert!(last_error.contains("did not answer within"), "{status:?}");
    assert_eq!(status.upstream.rejected, 0, "{status:?}");
    // The link is good again.
    relay.slow(None);
    world.publish(5_000);
    all_in(&world, &double, 6_500);
}

#[test]
fn an_upstream_that_hangs_is_given_up_and_tried_again() {
    let (mut world, double, relay) = with_taos();
    world.start();
    world.publish(200);
    all_in(&world, &double, 200);
    relay.half_open();
    world.publish(500);
    all_in(&world, &double, 700);
    double.faults().slow(Duration::from_millis(50));
    world.publish(500);
    all_in(&world, &double, 1_200);
}

#[test]
fn a_lost_answer_changes_nothing() {
    let (mut world, double, _relay) = with_taos();
    world.start();
    double.faults().cut_at_write(0, Cut::AfterApplying);
    double.faults().cut_at_write(2, Cut::BeforeApplying);
    for round in 1..=5 {
        world.publish(300);
        all_in(&world, &double, round * 300);
    }
    world.wait("retries", |s| s.upstream.retries >= 1);
}

#[test]
fn rows_out_of_range_go_to_quarantine_and_the_rest_goes_through() {
    let (mut world, double, _relay) = with_taos();
    world.start();
    world.publish(200);
    all_in(&world, &double, 200);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    double.faults().newest_ns(now.as_nanos() as i64);
    world.publish(100);
    world.wait("the rejects", |s| s.upstream.rejected == 100);
    double.faults().clear();
    world.publish(200);
    let numbers = world.until("the rest", |_| {
        let numbers = numbers_in(&double);
        (numbers.len() >= 400).then_some(numbers)
    });
    assert!(numbers.into_iter().eq((0..200).chain(300..500)));
    // The lag is looked up once a second: it may be that of a moment before.
    let status = world.wait("the end", |s| {
        s.upstream.uploaded >= 400 && s.upstream.lag_rows == 0
    });
    assert_eq!(
        (status.upstream.uploaded, status.upstream.rejected),
        (400, 100)
    );
    assert!(status.buffer.quarantine_bytes > 0);
}

/// Two rules: `records`, and `other` for `<prefix>/other/a`, on which 50 records are published too.
fn with_two_rules(world: &mut World) {
    let prefix = world.numbered.prefix.clone();
    let config = format!(
        "[[stream]]\nname = \"other\"\ntopic = \"{prefix}/other/+line\"\n\
         [[stream]]\nname = \"records\"\ntopic = \"{prefix}/+line\"\n"
    );
    let config = world.write("dunlin.toml", &config);
    world.device.set("--config", config.display());
    world.device.unset("--topic");
    world.start();
    world.publish(50);
    for n in 0..50 {
        let payload = format!("{{\"n\":{n}}}");
        world.publish_raw(&format!("{prefix}/other/a"), payload.as_bytes());
    }
}

#[test]
fn a_column_of_another_type_upstream_costs_nothing() {
    let (mut world, double, _relay) = with_taos();
    for sql in [
        "CREATE DATABASE IF NOT EXISTS `plant` PRECISION 'ns'",
        "CREATE STABLE IF NOT EXISTS `plant`.`records` (`ts` TIMESTAMP, `is_train` BOOL, `fold` \
         TINYINT UNSIGNED, `source_ts` TIMESTAMP, `n` VARCHAR(8)) TAGS (`device` VARCHAR(256), \
         `line` VARCHAR(256))",
    ] {
        double.execute(sql).unwrap();
    }
    with_two_rules(&mut world);
    let status = world.wait("the end", |s| {
        s.upstream.rejected + s.upstream.uploaded >= 100
    });
    assert_eq!(
        (status.upstream.uploaded, status.upstream.rejected),
        (100, 0)
    );
    assert_eq!(double.rows("plant", "other").len(), 50);
    let rows = double.rows("plant", "records");
    let beside = |n: u64| dunlin_tests::doubles::taos::Cell::F64(n as f64);
    let values = rows.iter().map(|row| row.get("n_f64").cloned());
    assert!(values.eq((0..50).map(|n| Some(beside(n)))), "{rows:?}");
    assert_eq!(status.buffer.quarantine_bytes, 0);
}

#[test]
fn a_refused_table_holds_its_own_stream_until_it_is_mended() {
    let (mut world, double, _relay) = with_taos();
    let create = "CREATE STABLE IF NOT EXISTS `plant`.`records`";
    double
        .faults()
        .fail_sql(create, 0x2644, "Permission denied");
    with_two_rules(&mut world);
    world.until("the other stream", |_| {
        (double.rows("plant", "other").len() == 50).then_some(())
    });
    let status = world.wait("a held stream", |s| s.upstream.streams_held > 0);
    assert_eq!(status.upstream.rejected, 0, "{status:?}");
    double.faults().clear();
    all_in(&world, &double, 50);
}

#[test]
fn with_live_first_what_happens_now_goes_first() {
    let mut world = World::new();
    let double = runtime().block_on(TaosDouble::start());
    double.faults().refuse_connections(true);
    world.device.set("--upstream", double.url("plant"));
    world.device.set("--upstream-order", "live_first");
    world.device.set("--upstream-batch-rows-max", 200);
    world.device.set("--upstream-in-flight-max", 1);
    world.numbered.pad_bytes = 100;
    world.start();
    world.publish(5_000);
    world.all_acknowledged();
    // What is tried from the next attempt on was chosen with everything there.
    let before = world.wait("a status", |_| true).upstream.retries;
    world.wait("another attempt", |s| s.upstream.retries > before);
    double.faults().slow(Duration::from_millis(60));
    double.faults().refuse_connections(false);
    let first = world.until("the first rows", |_| {
        let numbers = numbers_in(&double);
        (!numbers.is_empty()).then_some(numbers)
    });
    assert!(first.len() < 5_000, "too fast to see an order");
    assert!(!first.contains(&0) && first.contains(&4_999), "{first:?}");
    double.faults().clear();
    all_in(&world, &double, 5_000);
}

#[test]
fn a_locked_sqlite_file_is_waited_for() {
    let mut world = World::new();
    world.device.set("--upstream-timeout-ms", 400);
    world.start();
    world.publish(100);
    world.all_upstream();
    let path = world.central.url();
    let lock = rusqlite::Connection::open(path.strip_prefix("sqlite:").unwrap()).unwrap();
    lock.busy_timeout(PATIENCE).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    world.publish(500);
    world.all_acknowledged();
    world.wait("a retry", |s| s.upstream.retries > 0);
    lock.execute_batch("COMMIT").unwrap();
    drop(lock);
    world.all_upstream();
}

#[test]
fn a_missing_directory_of_the_sqlite_file_loses_nothing() {
    let mut world = World::new();
    let later = world.path("later");
    world.central = dunlin_tests::central::Central::new(&later);
    world.device.set("--upstream", world.central.url());
    world.start();
    world.publish(300);
    world.all_acknowledged();
    let status = world.wait("words for it", |s| s.upstream.last_error.is_some());
    assert_eq!(status.upstream.rejected, 0);
    std::fs::create_dir(&later).unwrap();
    world.all_upstream();
}

#[test]
fn a_sqlite_file_moved_away_is_made_anew_and_both_stand_alone() {
    let mut world = World::new();
    world.start();
    world.publish(100);
    world.all_upstream();
    let url = world.central.url();
    let path = std::path::PathBuf::from(url.strip_prefix("sqlite:").unwrap());
    let away = world.path("away.db");
    std::fs::rename(&path, &away).unwrap();
    world.publish(50);
    world.until("the new file", |world| {
        let rows = world.central.rows().ok()?;
        rows.by_number.keys().copied().eq(100..150).then_some(())
    });
    assert!(world.device.log().contains("removed or replaced"));
    world.stop();
    for (file, rows) in [(&path, 50), (&away, 100)] {
        // A copy without what may lie beside it.
        let copy = world.path("copy.db");
        std::fs::copy(file, &copy).unwrap();
        let connection = rusqlite::Connection::open(&copy).unwrap();
        let count = connection.query_row("SELECT count(*) FROM records", [], |row| row.get(0));
        assert_eq!(count, Ok(rows), "{}", file.display());
        drop(connection);
        std::fs::remove_file(&copy).unwrap();
    }
    let mut journal = path.into_os_string();
    journal.push("-wal");
    assert!(!std::path::Path::new(&journal).exists());
}
