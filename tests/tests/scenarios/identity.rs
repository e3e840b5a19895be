//! What a device is called, and what it was called before; starts before there is anything to stamp.

use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::Connection;

use crate::world::World;

fn wall_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_nanos()).unwrap()
}

/// Devices and their records upstream.
fn upstream(world: &World) -> Vec<(String, i64)> {
    let central = Connection::open(world.path("central.db")).unwrap();
    let mut query = central
        .prepare(
            "SELECT s.device, count(*) FROM dunlin_streams s
             JOIN records r ON r.stream = s.stream GROUP BY s.device ORDER BY s.device",
        )
        .unwrap();
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
    rows.unwrap().map(Result::unwrap).collect()
}

#[test]
fn a_new_agent_started_often_before_its_first_record_stamps_the_wall_clock() {
    let mut world = World::with_sessions();
    for _ in 0..3 {
        world.start();
        world.stop();
        world.start();
        world.device.kill();
    }
    world.start();
    world.publish(10);
    world.all_upstream();
    let central = Connection::open(world.path("central.db")).unwrap();
    let newest: i64 = central
        .query_row("SELECT max(ts) FROM records", [], |row| row.get(0))
        .unwrap();
    let ahead_s = (newest - wall_ns()) / 1_000_000_000;
    assert!(ahead_s <= 1, "{ahead_s} s ahead of the wall clock");
}

#[test]
fn a_renamed_device_begins_streams_of_its_own_and_keeps_its_session() {
    let mut world = World::with_sessions();
    world.device.set("--device", "press-7");
    world.start();
    world.publish(100);
    world.all_upstream();
    world.stop();
    // While it is away, the broker holds what arrives for its session.
    world.publish(100);
    world.device.set("--device", "press-8");
    world.start();
    world.publish(100);
    world.all_upstream();
    let device = |name: &str, rows| (name.to_owned(), rows);
    assert_eq!(
        upstream(&world),
        [device("press-7", 100), device("press-8", 200)]
    );
    let status = world.wait("an answer", |_| true);
    assert_eq!(status.device_before.as_deref(), Some("press-7"));
    assert_eq!(status.mqtt.client_id, "dunlin-press-7");
    assert!(status.buffer.streams_elsewhere > 0);
    assert!(
        world.device.log().contains("another name"),
        "{}",
        world.device.log()
    );
}
