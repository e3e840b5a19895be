//! A device between a broker and an upstream of its own, with a relay on the broker's side.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    ops::Range,
    path::Path,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use dunlin_agent::{
    mqtt::url::BrokerUrl, observe::status::Status, simulate::broker::EmbeddedBroker,
};
use dunlin_tests::{
    central::{Central, Rows},
    device::{Device, until},
    doubles::{
        mqtt::{Habit, MqttDouble},
        relay::Relay,
    },
    publisher::Publisher,
    records::{Numbered, Publish},
};
use tempfile::TempDir;

/// Longest wait for anything that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Any program of the crate that can be the agent.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_crash_loop");

enum Broker {
    Double(MqttDouble),
    /// Through a publisher of ours.
    Real {
        url: String,
        publisher: Option<Publisher>,
    },
}

pub(crate) struct World {
    // Dropped first: the agent before its directory.
    pub(crate) device: Device,
    pub(crate) relay: Relay,
    pub(crate) central: Central,
    pub(crate) numbered: Numbered,
    pub(crate) dir: TempDir,
    broker: Broker,
    published: u64,
}

/// The runtime of the doubles that need one.
pub(crate) fn runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| tokio::runtime::Runtime::new().unwrap())
}

pub(crate) fn unique(what: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let (process, count) = (std::process::id(), COUNT.fetch_add(1, Relaxed));
    format!("{what}-{process}-{count}")
}

fn embedded() -> &'static EmbeddedBroker {
    static BROKER: OnceLock<EmbeddedBroker> = OnceLock::new();
    BROKER.get_or_init(|| EmbeddedBroker::start(None).unwrap())
}

/// The broker named by `DUNLIN_MQTT_URL`.
fn real() -> Option<(SocketAddr, Broker)> {
    let url = std::env::var("DUNLIN_MQTT_URL").ok()?;
    let parsed = BrokerUrl::parse(&url).unwrap();
    let address = (parsed.host.as_str(), parsed.port).to_socket_addrs();
    let publisher = None;
    Some((
        address.unwrap().next().unwrap(),
        Broker::Real { url, publisher },
    ))
}

impl World {
    /// With the embedded broker, or the one named by `DUNLIN_MQTT_URL`.
    pub(crate) fn new() -> Self {
        Self::of_version("5")
    }

    /// As [`World::new`], with the version of MQTT that the agent speaks.
    pub(crate) fn of_version(version: &str) -> Self {
        let (address, broker) = real().unwrap_or_else(|| Self::embedded(version));
        Self::on(address, broker, version)
    }

    /// A broker that takes 3.1.1 alone. Always the embedded one: real ones mostly take both.
    pub(crate) fn without_mqtt_5() -> Self {
        let (address, broker) = Self::embedded("3.1.1");
        Self::on(address, broker, "auto")
    }

    fn embedded(version: &str) -> (SocketAddr, Broker) {
        let address = match version {
            "5" => embedded().v5,
            _ => embedded().v311,
        };
        let (url, publisher) = (embedded().url_311(), None);
        (address, Broker::Real { url, publisher })
    }

    /// With a broker that sends again as the standard says.
    pub(crate) fn with_sessions() -> Self {
        let (address, broker) = real().unwrap_or_else(|| {
            let double = MqttDouble::start().unwrap();
            (double.address(), Broker::Double(double))
        });
        Self::on(address, broker, "5")
    }

    /// As [`World::with_sessions`], and always the double: for what a real one would take too long for.
    pub(crate) fn with_double() -> Self {
        let double = MqttDouble::start().unwrap();
        Self::on(double.address(), Broker::Double(double), "5")
    }

    /// A broker that sends everything at once, whatever window it was told. Always the double: real ones do so
    /// in some versions, with some backlogs.
    pub(crate) fn without_window() -> Self {
        let double = MqttDouble::start().unwrap();
        double.ignore_window(true);
        Self::on(double.address(), Broker::Double(double), "5")
    }

    /// A broker that keeps no more than `window_max` under way, whatever it is allowed. Always the double.
    pub(crate) fn with_window(window_max: usize) -> Self {
        let double = MqttDouble::start().unwrap();
        double.keep_under_way(window_max);
        Self::on(double.address(), Broker::Double(double), "5")
    }

    /// A broker that sends again in its own way, and records that say when they were made. Always the double.
    pub(crate) fn with_habit(habit: Habit, version: &str) -> Self {
        let double = MqttDouble::start().unwrap();
        double.behave(habit);
        let mut world = Self::on(double.address(), Broker::Double(double), version);
        world.make_timed();
        world
    }

    /// With the broker at this URL, and records that say when they were made.
    pub(crate) fn with_broker(url: String, version: &str) -> Self {
        let parsed = BrokerUrl::parse(&url).unwrap();
        let mut addresses = (parsed.host.as_str(), parsed.port)
            .to_socket_addrs()
            .unwrap();
        let publisher = None;
        let broker = Broker::Real { url, publisher };
        let mut world = Self::on(addresses.next().unwrap(), broker, version);
        world.make_timed();
        world
    }

    /// The records to come say when they were made.
    pub(crate) fn make_timed(&mut self) {
        self.numbered.is_timed = true;
        let prefix = &self.numbered.prefix;
        let rule =
            format!("[[stream]]\nname = \"records\"\ntopic = \"{prefix}/+line\"\ntime = \"/t\"\n");
        let config = self.write("dunlin.toml", &rule);
        self.device.set("--config", config.display());
        self.device.unset("--topic");
    }

    fn on(broker_address: SocketAddr, broker: Broker, version: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let name = unique("scenario");
        let numbered = Numbered::new(&name);
        let relay = Relay::mqtt(broker_address).unwrap();
        let central = Central::new(dir.path());
        let log = dir.path().join("log");
        let device = Device::new(Path::new(PROGRAM), &dir.path().join("data"), &log)
            .with("--mqtt", relay.mqtt_url())
            .with("--mqtt-version", version)
            .with("--topic", numbered.rule())
            .with("--upstream", central.url())
            .with("--device", &name)
            .with("--clock-hold-s", 0)
            .with("--http-listen", "")
            .with("--mqtt-backoff-ms-min", 10)
            .with("--mqtt-backoff-ms-max", 200)
            .with("--upstream-backoff-ms-min", 10)
            .with("--upstream-backoff-ms-max", 200);
        Self {
            device,
            relay,
            central,
            numbered,
            dir,
            broker,
            published: 0,
        }
    }

    /// Somebody's trial beside the device, under the same name, in another directory and of other topics.
    pub(crate) fn trial(&self) -> Device {
        let (data, log) = (self.path("trial"), self.path("trial.log"));
        let mut trial = Device::new(Path::new(PROGRAM), &data, &log)
            .with("--mqtt", self.relay.mqtt_url())
            .with("--topic", format!("{}/elsewhere/#", self.numbered.prefix))
            .with(
                "--upstream",
                format!("sqlite:{}", self.path("trial.db").display()),
            )
            .with("--device", &self.numbered.prefix)
            .with("--http-listen", "");
        trial.end_session();
        trial
    }

    /// A path in the directory of this world.
    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file there.
    pub(crate) fn write(&self, name: &str, content: &str) -> std::path::PathBuf {
        std::fs::write(self.path(name), content).unwrap();
        self.path(name)
    }

    /// Starts the device and waits until it is subscribed.
    pub(crate) fn start(&mut self) {
        let before = self.relay.seen().subscribed;
        self.device.start().unwrap();
        self.device.wait_connected().unwrap();
        self.until_subscribed(before);
    }

    /// Waits until the device has subscribed more than `before` times: what is published earlier than
    /// that, no broker has to deliver.
    pub(crate) fn until_subscribed(&self, before: u64) {
        self.until("the subscription", |world| {
            (world.relay.seen().subscribed > before).then_some(())
        });
    }

    /// Publishes the next `count` numbered records; returns their numbers. They may still be on their
    /// way to the broker when this returns.
    pub(crate) fn publish(&mut self, count: u64) -> Range<u64> {
        self.publish_at(count, None)
    }

    /// As [`World::publish`], at most so many a second.
    pub(crate) fn publish_at(&mut self, count: u64, rate_per_s: Option<f64>) -> Range<u64> {
        let numbers = self.published..self.published + count;
        self.published = numbers.end;
        let numbered = self.numbered.clone();
        match &mut self.broker {
            Broker::Double(double) => double.feed(numbered, numbers.end, rate_per_s),
            Broker::Real { .. } => {
                let pace = rate_per_s.map(|rate| Duration::from_secs_f64(1.0 / rate));
                let publishes = numbers.clone().map(|n| {
                    if let Some(pace) = pace {
                        std::thread::sleep(pace);
                    }
                    numbered.publish(n)
                });
                let sent = self.broker.publisher().publish(publishes);
                assert_eq!(sent.unwrap(), count);
            }
        }
        numbers
    }

    /// Publishes something of one's own.
    pub(crate) fn publish_raw(&mut self, topic: &str, payload: &[u8]) {
        let publish = Publish {
            topic: topic.to_owned(),
            payload: payload.to_owned(),
        };
        if let Broker::Double(double) = &self.broker {
            return double.publish(publish);
        }
        self.broker.publisher().publish([publish]).unwrap();
    }

    /// Publishes many of one's own to one topic.
    pub(crate) fn publish_all(&mut self, topic: &str, payloads: impl Iterator<Item = String>) {
        let publishes = payloads.map(|payload| Publish {
            topic: topic.to_owned(),
            payload: payload.into_bytes(),
        });
        if let Broker::Double(double) = &self.broker {
            return publishes.for_each(|publish| double.publish(publish));
        }
        self.broker.publisher().publish(publishes).unwrap();
    }

    pub(crate) fn until<T>(&self, what: &str, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        until(PATIENCE, what, || look(self))
            .unwrap_or_else(|error| panic!("{error}; log:\n{}", self.device.log_tail()))
    }

    /// Waits until the status is as wanted.
    pub(crate) fn wait(&mut self, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
        self.device.wait_status(PATIENCE, what, wanted).unwrap()
    }

    /// Waits until every record published so far is acknowledged.
    pub(crate) fn all_acknowledged(&self) {
        let (expected, mut before) = (self.published as usize, 0);
        while before < expected {
            before = self.until(&format!("more of {expected} PUBACKs"), |world| {
                let now = world.relay.acknowledged();
                (now > before).then_some(now)
            });
        }
    }

    /// Waits until every good record published so far is upstream; each must be there once, in order.
    pub(crate) fn all_upstream(&self) {
        assert_eq!(self.all_upstream_once().disorder(), [""; 0]);
    }

    /// As [`World::all_upstream`], in any order.
    pub(crate) fn all_upstream_once(&self) -> Rows {
        let good = |n: &u64| !self.numbered.is_bad(*n);
        let expected: Vec<u64> = (0..self.published).filter(good).collect();
        let rows = self.until(&format!("{} rows upstream", expected.len()), |world| {
            let rows = world.central.rows().unwrap();
            (rows.by_number.len() >= expected.len()).then_some(rows)
        });
        assert!(rows.by_number.keys().eq(&expected), "wrong numbers");
        assert_eq!(rows.duplicates, [0; 0]);
        rows
    }

    /// The double that is the broker.
    pub(crate) fn double(&self) -> &MqttDouble {
        match &self.broker {
            Broker::Double(double) => double,
            Broker::Real { .. } => unreachable!("asked of a real broker"),
        }
    }

    /// The broker has been started again.
    pub(crate) fn broker_restarted(&mut self) {
        self.broker.forget_publisher();
    }

    /// SIGTERM; must end with exit code 0.
    pub(crate) fn stop(&mut self) {
        self.device.terminate();
        let end = self.device.wait_exit(PATIENCE).unwrap();
        assert!(end.success(), "{end}: {}", self.device.log_tail());
    }
}

impl Broker {
    /// A publisher whose connection has ended with the broker is of no more use.
    fn forget_publisher(&mut self) {
        if let Self::Real { publisher, .. } = self {
            *publisher = None;
        }
    }

    fn publisher(&mut self) -> &mut Publisher {
        let Self::Real { url, publisher } = self else {
            unreachable!("the double publishes by itself")
        };
        publisher.get_or_insert_with(|| Publisher::connect(url, &unique("publisher")).unwrap())
    }
}
