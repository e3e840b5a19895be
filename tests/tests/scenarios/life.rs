//! Start, stop, exit codes, health.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use dunlin_sync::{
    block::{builder::BlockBuilder, pack::Compression},
    buffer::{Buffer, BufferOptions},
    sample::{Field, FieldType, Sample, Split, Timestamp, Value},
};

use crate::world::{PATIENCE, World};

#[test]
fn a_graceful_stop_loses_nothing() {
    let mut world = World::with_sessions();
    world.start();
    for _ in 0..3 {
        world.publish(3_000);
        world.until("some PUBACKs", |world| {
            (world.relay.acknowledged() >= 500).then_some(())
        });
        world.stop();
        assert!(!world.device.data_dir().join("dunlin.sock").exists());
        world.start();
    }
    world.all_acknowledged();
    world.all_upstream();
    world.stop();
}

/// With a database that somebody else holds, it drains until its deadline.
fn draining() -> (World, impl Sized) {
    let mut world = World::with_sessions();
    world.device.set("--shutdown-ms-max", 4_000);
    world.start();
    world.publish(10);
    world.all_upstream();
    let held = world.central.lock().unwrap().unwrap();
    world.publish(10);
    world.all_acknowledged();
    world.device.terminate();
    world.until("the drain", |world| {
        world.device.log().contains("stopping:").then_some(())
    });
    (world, held)
}

#[test]
fn a_second_sigterm_does_not_end_the_drain() {
    let (mut world, held) = draining();
    world.device.terminate();
    world.device.interrupt();
    // It is still there when the database is free again, and uploads the rest.
    std::thread::sleep(Duration::from_millis(500));
    assert!(!world.device.has_ended(), "{}", world.device.log_tail());
    drop(held);
    let end = world.device.wait_exit(PATIENCE).unwrap();
    assert!(end.success(), "{end}: {}", world.device.log_tail());
    world.all_upstream();
}

#[test]
fn ctrl_c_pressed_twice_ends_the_drain() {
    let (mut world, _held) = draining();
    // Two of them: signals that are not taken yet are one.
    world.until("its end", |world| {
        world.device.interrupt();
        (world.device.log().contains("stopped at once")).then_some(())
    });
    assert_eq!(world.device.wait_exit(PATIENCE).unwrap().code(), Some(1));
}

#[test]
fn a_wrong_configuration_ends_with_2_and_names_every_mistake() {
    let mut world = World::new();
    world.device.set("--mqtt-keep-alive-s", 1);
    world.device.set("--buffer-when-full", "panic");
    world.device.start().unwrap();
    let end = world.device.wait_exit(PATIENCE).unwrap();
    assert_eq!(end.code(), Some(2));
    let log = world.device.log();
    assert!(
        log.contains("keep-alive") && log.contains("when-full"),
        "{log}"
    );
}

#[test]
fn two_agents_on_one_directory_are_refused() {
    let mut world = World::new();
    world.start();
    let mut second = world.device.command().unwrap().spawn().unwrap();
    let end = second.wait().unwrap();
    assert_eq!(end.code(), Some(1));
    let log = world.device.log();
    assert!(
        log.contains("another process") && log.contains("stop it"),
        "{log}"
    );
    world.publish(10);
    world.all_upstream();
}

#[test]
fn a_dead_worker_ends_the_agent() {
    let mut world = World::new();
    exhaust_timestamps(&world.device.data_dir().join("buffer"));
    world.device.set(
        "--upstream",
        format!("sqlite:{}", world.path("elsewhere.db").display()),
    );
    world.start();
    world.publish(1);
    let end = world.device.wait_exit(PATIENCE);
    let log = world.device.log();
    assert_eq!(end.expect(&log).code(), Some(1));
    assert!(log.contains("the writer stopped"), "{log}");
}

#[test]
fn a_burst_cut_off_by_a_kill_is_stored_whole_or_not_at_all_and_whole_once_it_comes_again() {
    const SAMPLES: u64 = 65_536;
    const BURSTS: u64 = 7;
    let mut world = World::with_sessions();
    let prefix = world.numbered.prefix.clone();
    let rule = format!(
        "[[stream]]\nname = \"burst\"\ntopic = \"{prefix}/burst\"\nformat = \"raw\"\nrate_hz = 25600\n"
    );
    let config = world.write("dunlin.toml", &rule);
    world.device.set("--config", config.display());
    world.device.unset("--topic");
    world.start();
    let dir = world.device.data_dir().join("buffer");
    let publish = |world: &mut World, burst: u64| {
        // Each value once, in an order that does not compress.
        let mixed = |n: u64| n * 2_654_435_761 % (1 << 24);
        let samples = (burst * SAMPLES..(burst + 1) * SAMPLES).map(mixed);
        let payload: Vec<u8> = samples.flat_map(|n| (n as f32).to_le_bytes()).collect();
        world.publish_raw(&format!("{prefix}/burst"), &payload);
    };
    // How long one takes that nothing cuts off.
    let begin = Instant::now();
    publish(&mut world, 0);
    let acknowledged = |world: &World, bursts: u64| {
        world.until("its PUBACK", |world| {
            (world.relay.seen().acks >= bursts).then_some(())
        });
    };
    acknowledged(&world, 1);
    let took = begin.elapsed();
    for burst in 1..BURSTS {
        publish(&mut world, burst);
        // Somewhere between its arrival and its PUBACK.
        std::thread::sleep(took.mul_f64(burst as f64 / 5.0));
        world.device.kill();
        let (buffer, _) = Buffer::open(BufferOptions::new(&dir, 256 << 20)).unwrap();
        let rows = buffer.shape().rows_total;
        drop(buffer);
        assert!(rows.is_multiple_of(SAMPLES), "{rows}");
        world.start();
        acknowledged(&world, burst + 1);
    }
    let rows = |world: &World| {
        let database = rusqlite::Connection::open(world.path("central.db")).ok()?;
        let sql = "SELECT count(*), count(DISTINCT sample) FROM burst";
        let counts = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
        database.query_row(sql, [], counts).ok()
    };
    let whole = (BURSTS * SAMPLES) as i64;
    world.until("all samples", |world| {
        rows(world).filter(|(rows, _)| *rows >= whole)
    });
    world.stop();
    assert_eq!(rows(&world), Some((whole, whole)));
}

/// Leaves a buffer after whose last record there are no timestamps.
fn exhaust_timestamps(dir: &std::path::Path) {
    std::fs::create_dir_all(dir).unwrap();
    let (buffer, _) = Buffer::open(BufferOptions::new(dir, 64 << 20)).unwrap();
    let field = Field {
        name: "x".into(),
        kind: FieldType::F64,
    };
    let tags = ["device".to_owned()];
    let schema = buffer.declare_schema("old", &tags, &[field]).unwrap();
    let stream = buffer.declare_stream(schema.id, "old", &tags);
    let mut builder = BlockBuilder::new(Compression::default());
    let split = Split {
        is_train: true,
        fold: 0,
    };
    let sample = Sample {
        stream: stream.id,
        ts: Timestamp(i64::MAX),
        split,
        source_ts: None,
        values: vec![Some(Value::F64(1.0))].into(),
    };
    builder.push(&schema, sample).unwrap();
    buffer.commit(&builder.finish(), &[]).unwrap();
}

#[test]
fn health_and_metrics_tell_the_truth() {
    let mut world = World::with_sessions();
    world.device.set("--http-listen", "127.0.0.1:0");
    world.start();
    let address = world.until("the address in the log", |world| {
        let log = world.device.log();
        let start = log.find("metrics on http://")? + "metrics on http://".len();
        log[start..].split('/').next().map(ToOwned::to_owned)
    });
    world.publish(100);
    world.all_upstream();
    assert!(get(&address, "/healthz").starts_with("HTTP/1.1 200"));
    let metrics = get(&address, "/metrics");
    let line = "dunlin_records_committed_total 100";
    assert!(metrics.lines().any(|l| l.starts_with(line)), "{metrics}");
    world.relay.refuse(true);
    world.relay.cut();
    world.wait("the loss", |s| !s.mqtt.connected);
    let answer = get(&address, "/healthz");
    assert!(
        answer.starts_with("HTTP/1.1 503") && answer.contains("broker"),
        "{answer}"
    );
    world.relay.refuse(false);
    world.until("health", |_| {
        get(&address, "/healthz")
            .starts_with("HTTP/1.1 200")
            .then_some(())
    });
}

/// The answer to a request for `target`.
pub(crate) fn get(address: &str, target: &str) -> String {
    let mut socket = TcpStream::connect(address).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}
