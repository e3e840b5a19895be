//! SIGHUP: another configuration, the same session and the same buffer.

use std::fmt::Write as _;

use crate::world::World;

struct Plant {
    world: World,
    prefix: String,
}

impl Plant {
    fn new() -> Self {
        let mut world = World::new();
        let prefix = world.numbered.prefix.clone();
        world.device.unset("--topic");
        let config = world.path("dunlin.toml");
        world.device.set("--config", config.display());
        Self { world, prefix }
    }

    /// A configuration with these streams, and `more` in front of them.
    fn write(&self, streams: &[&str], more: &str) {
        let mut text = more.to_owned();
        for name in streams {
            let topic = format!("{}/{name}/+line", self.prefix);
            let _ok = write!(
                text,
                "\n[[stream]]\nname = \"{name}\"\ntopic = \"{topic}\"\n"
            );
        }
        self.world.write("dunlin.toml", &text);
    }

    /// Reads it again; waits until it runs.
    fn reload(&mut self) {
        let before = self.world.wait("an answer", |_| true).configuration.reloads;
        self.world.device.hang_up();
        self.world.wait("the configuration", |status| {
            status.configuration.reloads > before
        });
    }

    fn publish(&mut self, stream: &str) {
        let topic = format!("{}/{stream}/l1", self.prefix);
        self.world.publish_raw(&topic, b"{\"a\":1}");
    }

    fn committed(&mut self, records: u64) {
        self.world.wait(&format!("{records} records"), |status| {
            status.records.committed >= records
        });
    }
}

#[test]
fn another_configuration_runs_without_a_new_session() {
    let mut plant = Plant::new();
    plant.write(&["one", "two"], "");
    plant.world.start();
    plant.publish("one");
    plant.committed(1);
    let first = plant.world.wait("an answer", |_| true).configuration;
    assert!(first.sha256.is_some());

    plant.write(
        &["one", "three"],
        "[log]\nlevel = \"warn\"\n\n[buffer]\nbytes_max = \"100 MiB\"\n",
    );
    plant.reload();
    let status = plant.world.wait("an answer", |_| true);
    assert_ne!(status.configuration.sha256, first.sha256);
    assert_eq!(status.buffer.bytes_max, 100 << 20);
    assert_eq!(status.rules_silent, ["three"]);
    // SUBSCRIBE and UNSUBSCRIBE are on their way.
    plant.world.until("the subscription", |world| {
        (world.relay.seen().subscribed >= 2).then_some(())
    });
    plant.publish("two");
    plant.publish("three");
    plant.publish("one");
    plant.committed(3);
    let status = plant.world.wait("an answer", |_| true);
    assert_eq!(
        status.records.received, 3,
        "nothing of what was unsubscribed"
    );
    assert_eq!(status.records.quarantined, 0);
    assert_eq!(status.mqtt.connections, 1, "the session went on");
    let log = plant.world.device.log();
    assert!(log.contains("reading the configuration again"));
    assert!(!log.contains("and runs"), "not at this level: {log}");
    plant.world.stop();

    // The next connection asks for the same.
    plant.world.start();
    plant.publish("three");
    plant.committed(1);
    plant.world.stop();
}

#[test]
fn a_configuration_with_mistakes_is_refused_and_the_running_one_stays() {
    let mut plant = Plant::new();
    plant.write(&["one"], "");
    plant.world.start();
    let first = plant.world.wait("an answer", |_| true).configuration;
    plant.write(&["one", "one"], "wrong = 1\n");
    plant.world.device.hang_up();
    let status = plant.world.wait("the refusal", |status| {
        status.configuration.refused.is_some()
    });
    assert_eq!(status.configuration.sha256, first.sha256);
    assert_eq!(status.configuration.reloads, 0);
    let log = plant.world.device.log();
    assert!(
        log.contains("dunlin.toml:1:") && log.contains("two streams are called"),
        "{log}"
    );
    plant.publish("one");
    plant.committed(1);
    // Mended, it runs.
    plant.write(&["one", "two"], "");
    plant.reload();
    let status = plant.world.wait("an answer", |_| true);
    assert_eq!(status.configuration.refused, None);
    plant.world.stop();
}

#[test]
fn what_takes_a_restart_is_named_and_kept() {
    let mut plant = Plant::new();
    plant.world.device.unset("--device");
    plant.world.device.unset("--http-listen");
    let before = "device = \"before\"\n[http]\nlisten = \"\"\n";
    plant.write(&["one"], before);
    plant.world.start();
    plant.write(&["one", "two"], &before.replace("before", "after"));
    plant.reload();
    let status = plant.world.wait("an answer", |_| true);
    assert_eq!(status.device, "before");
    let waits = status.configuration.waits_for_restart;
    assert!(waits.contains(&"device".to_owned()), "{waits:?}");
    assert!(
        plant
            .world
            .device
            .log()
            .contains("device is kept as it was")
    );
    plant.publish("two");
    plant.committed(1);
    plant.world.stop();
}

#[test]
fn recipes_come_and_go_while_records_arrive() {
    let mut plant = Plant::new();
    let recipe = |count: u64| {
        format!(
            "[learn]\nscan_ms = 100\n[[recipe]]\nname = \"health\"\nstreams = \"one/*\"\n\
             algorithm = \"pca\"\nlookback = 4\nmin_start_count = {count}\nmin_update_count = 100000\n"
        )
    };
    plant.write(&["one"], "");
    plant.world.start();
    let topic = format!("{}/one/l1", plant.prefix);
    let record = |n: u64| format!("{{\"a\":{},\"b\":{}}}", n % 7, (n * n) % 11);
    plant.world.publish_all(&topic, (0..400).map(record));
    plant.committed(400);
    plant.write(&["one"], &recipe(100_000));
    plant.reload();
    plant.world.wait("the way to the first model", |status| {
        let progress = &status.learn.progress;
        progress
            .iter()
            .any(|recipe| recipe.rows == 400 && recipe.rows_needed == 100_000)
    });
    plant.write(&["one"], &recipe(400));
    plant.reload();
    plant.world.wait("a model", |status| {
        status.learn.models_promoted + status.learn.models_rejected >= 1
    });
    plant.write(&["one"], "");
    plant.reload();
    let status = plant.world.wait("an answer", |_| true);
    assert_eq!(status.learn.recipes, 0);
    plant.publish("one");
    plant.committed(401);
    plant.world.stop();
}
