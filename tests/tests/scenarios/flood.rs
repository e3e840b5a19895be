//! Topics that a stranger makes up: whoever was there before goes on, and there is room again in the end.

use std::{fs, ops::Range, time::Duration};

use dunlin_agent::observe::status::Status;
use dunlin_tests::{doubles::mqtt::MqttDouble, records::Publish};

use crate::{life::get, world::World};

/// A training has the lowest priority, and thousands of publishes take a while on a busy machine.
const PATIENCE: Duration = Duration::from_mins(4);
/// Topics made up.
const TOPICS: u64 = 20_000;

/// A plant whose machines `line<n>` are learnt from, in a world where anybody may publish below `any/`.
struct Plant {
    world: World,
    /// Number of the next record of a machine.
    next: u64,
}

impl Plant {
    fn new(settings: &str) -> Self {
        let mut world = World::with_double();
        let prefix = world.numbered.prefix.clone();
        let text = format!(
            "{settings}\n[learn]\nscan_ms = 100\ncpu_percent_max = 100\ntemperature_c_max = 150\n\
             [[stream]]\nname = \"records\"\ntopic = \"{prefix}/+line\"\n\
             [[stream]]\nname = \"any\"\ntopic = \"{prefix}/any/+a/+b\"\n\
             [[recipe]]\nname = \"health\"\nstreams = \"records/*\"\nalgorithm = \"pca\"\n\
             features = [\"a\", \"b\"]\nlookback = 4\nmin_start_count = 600\nwindows_min = 20\n\
             min_update_count = 1000000\n"
        );
        let config = world.write("dunlin.toml", &text);
        world.device.set("--config", config.display());
        world.device.unset("--topic");
        world.device.set("--http-listen", "127.0.0.1:0");
        world.device.set("--buffer-commit-gap-ms-min", 10);
        Self { world, next: 0 }
    }

    fn double(&self) -> &MqttDouble {
        self.world.double()
    }

    /// Publishes the next `count` records of a machine that turns.
    fn turn(&mut self, line: &str, count: u64) {
        let numbers = self.next..self.next + count;
        self.next = numbers.end;
        for n in numbers {
            let scatter = |salt: u64| {
                let mixed = (n ^ salt << 32).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
                mixed as f64 / f64::from(1 << 24) / 5.0
            };
            let angle = n as f64 * std::f64::consts::TAU / 20.0;
            let (a, b) = (angle.sin() + scatter(1), angle.cos() + scatter(2));
            self.double().publish(Publish {
                topic: format!("{}/{line}", self.world.numbered.prefix),
                payload: format!("{{\"n\":{n},\"a\":{a},\"b\":{b}}}").into_bytes(),
            });
        }
    }

    /// A publish on each of these made-up topics, whose levels are long.
    fn make_up(&self, topics: Range<u64>) {
        let level = "x".repeat(120);
        for n in topics {
            self.double().publish(Publish {
                topic: format!(
                    "{}/any/{n:05}{level}/{level}{n}",
                    self.world.numbered.prefix
                ),
                payload: b"{\"x\":1}".to_vec(),
            });
        }
    }

    fn wait(&mut self, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
        let waited = self.world.device.wait_status(PATIENCE, what, wanted);
        waited.unwrap()
    }

    /// Resident memory of the agent, bytes.
    fn memory_bytes(&self) -> u64 {
        let pid = self.world.device.pid().unwrap();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
        let kib = line.and_then(|l| l.trim().strip_suffix(" kB")).unwrap();
        kib.trim().parse::<u64>().unwrap() << 10
    }

    fn is_healthy(&self) -> bool {
        let log = self.world.device.log();
        let start = log.find("metrics on http://").unwrap() + "metrics on http://".len();
        let address = log[start..].split('/').next().unwrap();
        get(address, "/healthz").starts_with("HTTP/1.1 200")
    }
}

#[test]
fn made_up_topics_leave_machines_answers_and_memory_alone() {
    let mut plant = Plant::new("");
    plant.world.start();
    plant.turn("line0", 700);
    plant.wait("a model", |s| s.learn.models_promoted == 1);
    plant.turn("line0", 100);
    plant.wait("answers", |s| s.learn.predictions >= 50);
    let memory_bytes = plant.memory_bytes();

    plant.make_up(0..TOPICS);
    let status = plant.wait("the flood", |s| s.mqtt.acknowledged == 800 + TOPICS);
    let refused = status.records.quarantined;
    assert_eq!(
        status.records.quarantined_by_reason.get("too_many_streams"),
        Some(&refused)
    );
    let taken = TOPICS - refused;
    assert!((5_000..15_000).contains(&taken), "{taken} of 6 MiB");
    assert!(status.buffer.streams_percent >= 99, "{:?}", status.buffer);
    let more_bytes = plant.memory_bytes().saturating_sub(memory_bytes);
    assert!(more_bytes < 60_000_000, "{more_bytes} bytes more");

    // The machine goes on, and so do its answers.
    plant.turn("line0", 200);
    let committed = status.records.committed;
    let answered = status.learn.predictions;
    let status = plant.wait("the machine", |s| {
        s.learn.predictions >= answered + 200 && s.upstream.lag_rows == 0
    });
    assert!(status.records.committed >= committed + 200);
    assert_eq!(status.learn.refused, 0);
    assert!(plant.is_healthy());
    let log = plant.world.device.log();
    assert_eq!(log.matches("more than 80 %").count(), 1, "{log}");
    plant.world.stop();
}

#[test]
fn when_the_idle_ones_are_forgotten_the_next_machine_is_taken() {
    let mut plant = Plant::new(
        "[buffer]\nbytes_max = \"8 MiB\"\nreplay_bytes_max = 0\nstreams_idle_s_max = 3600\n",
    );
    plant.world.start();
    plant.turn("line0", 100);
    plant.make_up(0..2_000);
    let status = plant.wait("the flood", |s| s.mqtt.acknowledged == 2_100);
    let refused = status.records.quarantined;
    assert!(refused > 1_000, "{refused}");
    plant.turn("new", 1);
    plant.wait("no room for a new one", |s| {
        s.records.quarantined == refused + 1
    });

    let config = plant.world.path("dunlin.toml");
    let text = fs::read_to_string(&config).unwrap();
    let text = text.replace("streams_idle_s_max = 3600", "streams_idle_s_max = 2");
    fs::write(&config, text).unwrap();
    plant.world.device.hang_up();

    // One machine goes on, until nothing of the others is left in the buffer.
    let few = status.buffer.streams / 2;
    while plant
        .world
        .device
        .status()
        .is_none_or(|s| s.buffer.streams > few)
    {
        let received = plant
            .world
            .device
            .status()
            .map_or(0, |s| s.records.received);
        plant.turn("line0", 5_000);
        plant.wait("the machine", |s| {
            s.records.received >= received + 5_000 && s.upstream.lag_rows == 0
        });
    }
    plant.turn("new", 10);
    plant.turn("line0", 10);
    let numbers = plant.next - 1;
    plant.world.until("the new machine's records", |world| {
        let rows = world.central.rows().ok()?.by_number;
        (rows.len() as u64 == numbers).then_some(())
    });
    let status = plant.world.wait("an answer", |_| true);
    assert_eq!(status.records.quarantined, refused + 1);
    assert!(plant.is_healthy());
    plant.world.stop();
}
