//! Against a real broker: the embedded one, or the one named by `DUNLIN_MQTT_URL`.
#![allow(clippy::unwrap_used)]

mod trouble;

use std::{
    net::SocketAddr,
    process,
    sync::atomic::AtomicU64,
    thread::{self, JoinHandle},
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    sync::broadcast,
};

use super::*;
use crate::{
    config::settings::MqttVersion,
    mqtt::{outgoing::Outgoing, url::BrokerUrl, wire},
    simulate::broker::EmbeddedBroker,
};

const PATIENCE: Duration = Duration::from_secs(20);

fn unique(what: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("{what}-{}-{}", process::id(), COUNT.fetch_add(1, Relaxed))
}

/// One broker for all tests of the process (the embedded one cannot be shut down).
fn broker(version: MqttVersion) -> BrokerUrl {
    static EMBEDDED: std::sync::OnceLock<EmbeddedBroker> = std::sync::OnceLock::new();
    let url = std::env::var("DUNLIN_MQTT_URL").unwrap_or_else(|_| {
        let embedded = EMBEDDED.get_or_init(|| EmbeddedBroker::start(None).unwrap());
        match version {
            MqttVersion::V5 => embedded.url(),
            MqttVersion::V311 => embedded.url_311(),
        }
    });
    BrokerUrl::parse(&url).unwrap()
}

fn settings(url: &BrokerUrl, version: MqttVersion) -> MqttSettings {
    MqttSettings {
        host: url.host.clone(),
        port: url.port,
        tls: None,
        version: Some(version),
        client_id: unique("ingest"),
        client_id_is_default: false,
        user: url.user.clone(),
        password: url.password.clone(),
        password_file: None,
        session_expiry_s: 300,
        keeps_session: true,
        keep_alive_s: 2,
        receive_maximum: 100,
        payload_bytes_max: 1024,
        status_topic: None,
        backoff_ms_min: 5,
        backoff_ms_max: 40,
    }
}

/// How a client with this id reaches this broker.
pub(crate) fn link_to(host: &str, client_id: &str) -> LinkOptions {
    let url = BrokerUrl::parse(&format!("mqtt://{host}")).unwrap();
    let mut settings = settings(&url, MqttVersion::V5);
    (settings.version, settings.client_id) = (None, client_id.into());
    LinkOptions::new(&settings).unwrap()
}

/// An ingest running on a runtime of its own, seen from the consumer's thread.
struct Running {
    inbox: Inbox,
    acker: Acker,
    stopper: Stopper,
    stats: Arc<IngestStats>,
    publisher: Publisher,
    thread: JoinHandle<()>,
    queue: Vec<Incoming>,
}

impl Running {
    fn start(settings: &MqttSettings, filter: &str) -> Self {
        let filters = vec![filter.to_owned()];
        let (ingest, inbox, acker, stopper) = Ingest::new(settings, filters, "dev", 1).unwrap();
        let (stats, publisher) = (ingest.stats(), ingest.publisher());
        let thread = thread::spawn(|| ingest.run().unwrap());
        Self {
            inbox,
            acker,
            stopper,
            stats,
            publisher,
            thread,
            queue: Vec::new(),
        }
    }

    fn subscribed(self) -> Self {
        self.wait_for(|stats| stats.subscriptions.load(Relaxed) > 0);
        self
    }

    fn wait_for(&self, done: impl Fn(&IngestStats) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(&self.stats) {
            assert!(Instant::now() < deadline, "{:?}", self.stats);
            thread::yield_now();
        }
    }

    /// The next `count` publishes.
    fn take(&mut self, count: usize) -> Vec<Incoming> {
        let deadline = Some(Instant::now() + PATIENCE);
        while self.queue.len() < count {
            let received = self.inbox.recv(&mut self.queue, deadline);
            assert_eq!(received, Received::Some, "{} of {count}", self.queue.len());
        }
        self.queue.drain(..count).collect()
    }

    fn ack(&self, publishes: &[Incoming]) {
        self.acker.ack(
            &publishes
                .iter()
                .filter_map(Incoming::ack)
                .collect::<Vec<_>>(),
        );
    }

    /// Stops and leaves; what is unacknowledged stays so.
    fn stop(self) {
        self.stopper.stop(Duration::from_secs(5));
        drop(self.acker);
        self.thread.join().unwrap();
    }
}

/// Publishes `payloads` at `QoS` 1 and waits for every PUBACK.
fn publish(url: &BrokerUrl, version: MqttVersion, topic: &str, payloads: &[Vec<u8>]) {
    Runtime::new().unwrap().block_on(async {
        let mut options = Ingest::new(&settings(url, version), vec![], "p", 1)
            .unwrap()
            .0
            .link;
        options.clean_start = true;
        options.client_id = unique("publisher");
        let mut link = options.connect().await.unwrap();
        for (at, payload) in payloads.iter().enumerate() {
            wire::publish(
                version,
                topic,
                payload,
                at as u16 + 1,
                false,
                &mut link.writer.out,
            );
        }
        let mut acked = 0;
        while acked < payloads.len() {
            tokio::select! {
                written = link.writer.drain(), if link.writer.pending() => written.unwrap(),
                read = link.reader.fill() => {
                    read.unwrap();
                    while let Some(packet) = link.reader.decoder.next().unwrap() {
                        acked += usize::from(matches!(packet, wire::Packet::PubAck { .. }));
                    }
                }
            }
        }
        link.part().await.unwrap();
    });
}

fn numbered(range: std::ops::Range<u32>) -> Vec<Vec<u8>> {
    range.map(|n| n.to_string().into_bytes()).collect()
}

fn payloads(publishes: &[Incoming]) -> Vec<Vec<u8>> {
    publishes.iter().map(|p| p.payload.to_vec()).collect()
}

/// A relay in front of the broker that cuts all its connections on demand.
struct Relay {
    address: SocketAddr,
    cut: broadcast::Sender<()>,
    _runtime: Runtime,
}

impl Relay {
    fn start(url: &BrokerUrl) -> Self {
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (cut, _) = broadcast::channel(1);
        let (cutter, target) = (cut.clone(), (url.host.clone(), url.port));
        runtime.spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (mut cut, target) = (cutter.subscribe(), target.clone());
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(target).await.unwrap();
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = cut.recv() => {}
                    }
                });
            }
        });
        Self {
            address,
            cut,
            _runtime: runtime,
        }
    }

    fn url(&self) -> BrokerUrl {
        BrokerUrl::parse(&format!("mqtt://{}", self.address)).unwrap()
    }
}

fn receives_and_acknowledges(version: MqttVersion) {
    let (url, topic) = (broker(version), unique("t/receive"));
    let settings = settings(&url, version);
    let mut running = Running::start(&settings, &topic).subscribed();
    let sent = numbered(0..500);
    publish(&url, version, &topic, &sent);
    let mut got = Vec::new();
    // More than the window of 100: goes on only if the PUBACKs arrive.
    while got.len() < 500 {
        let some = running.take(1);
        running.ack(&some);
        got.extend(some);
    }
    assert_eq!(payloads(&got), sent);
    assert!(
        got.iter()
            .all(|p| p.topic == topic && !p.dup && !p.qos0 && !p.too_large())
    );
    let stats = running.stats.clone();
    running.stop();
    assert_eq!(stats.acks.load(Relaxed), 500);
    // Nothing is left for the next connection.
    publish(&url, version, &topic, &numbered(500..501));
    let mut again = Running::start(&settings, &topic);
    assert_eq!(payloads(&again.take(1)), numbered(500..501));
    again.stop();
}

#[test]
fn receives_and_acknowledges_v5() {
    receives_and_acknowledges(MqttVersion::V5);
}

#[test]
fn receives_and_acknowledges_v311() {
    receives_and_acknowledges(MqttVersion::V311);
}

fn our_own_publishes_arrive_while_connected(version: MqttVersion) {
    let (url, topic) = (broker(version), unique("t/own"));
    let mut running = Running::start(&settings(&url, version), &topic).subscribed();
    let sent = numbered(0..50);
    for payload in &sent {
        running.publisher.publish(Outgoing {
            topic: topic.clone(),
            payload: payload.clone(),
        });
    }
    let got = running.take(50);
    assert_eq!(payloads(&got), sent);
    let publisher = running.publisher.clone();
    running.stop();
    publisher.publish(Outgoing {
        topic,
        payload: Vec::new(),
    });
    let stats = publisher.stats();
    let counted = (stats.written.load(Relaxed), stats.dropped.load(Relaxed));
    assert_eq!(counted, (50, 1), "nobody is connected any more");
}

#[test]
fn our_own_publishes_arrive_while_connected_v5() {
    our_own_publishes_arrive_while_connected(MqttVersion::V5);
}

#[test]
fn our_own_publishes_arrive_while_connected_v311() {
    our_own_publishes_arrive_while_connected(MqttVersion::V311);
}

fn unacknowledged_comes_again(version: MqttVersion) {
    let (url, topic) = (broker(version), unique("t/again"));
    let settings = settings(&url, version);
    let mut running = Running::start(&settings, &topic).subscribed();
    publish(&url, version, &topic, &numbered(0..10));
    let first = running.take(10);
    running.ack(&first[..4]);
    running.stop();
    let mut running = Running::start(&settings, &topic);
    let second = running.take(6);
    assert_eq!(payloads(&second), numbered(4..10));
    running.ack(&second);
    running.stop();
}

#[test]
fn unacknowledged_comes_again_v5() {
    unacknowledged_comes_again(MqttVersion::V5);
}

#[test]
fn unacknowledged_comes_again_v311() {
    unacknowledged_comes_again(MqttVersion::V311);
}

#[test]
fn subscribes_again_and_forgets_old_acks_after_a_cut() {
    let version = MqttVersion::V5;
    let (url, topic) = (broker(version), unique("t/cut"));
    let relay = Relay::start(&url);
    let mut running = Running::start(&settings(&relay.url(), version), &topic).subscribed();
    publish(&url, version, &topic, &numbered(0..10));
    let before = running.take(10);
    relay.cut.send(()).unwrap();
    running.wait_for(|stats| stats.subscriptions.load(Relaxed) > 1);
    // Acknowledged too late: their connection is gone.
    running.ack(&before);
    running.wait_for(|stats| stats.stale_acks.load(Relaxed) == 10);
    assert_eq!(running.stats.acks.load(Relaxed), 0);
    let again = running.take(10);
    assert_eq!(payloads(&again), numbered(0..10));
    assert!(
        again
            .iter()
            .all(|p| p.connection == before[0].connection + 1)
    );
    running.ack(&again);
    publish(&url, version, &topic, &numbered(10..20));
    let fresh = running.take(10);
    assert_eq!(payloads(&fresh), numbered(10..20));
    let error = running.stats.last_error().unwrap();
    assert!(
        error.contains("closed") || error.contains("reset"),
        "{error}"
    );
    running.ack(&fresh);
    running.stop();
}

#[test]
fn a_payload_too_large_arrives_cut_and_stops_nothing() {
    for version in [MqttVersion::V5, MqttVersion::V311] {
        let (url, topic) = (broker(version), unique("t/large"));
        let mut running = Running::start(&settings(&url, version), &topic).subscribed();
        let sent = [
            vec![b'a'; 1024],
            vec![b'b'; 1025],
            vec![b'c'; 300_000],
            vec![b'd'; 3],
        ];
        publish(&url, version, &topic, &sent);
        let got = running.take(4);
        let sizes: Vec<_> = got
            .iter()
            .map(|p| (p.payload_bytes, p.payload.len()))
            .collect();
        assert_eq!(sizes, [(1024, 1024), (1025, 1024), (300_000, 1024), (3, 3)]);
        assert_eq!(
            got.iter().map(Incoming::too_large).collect::<Vec<_>>(),
            [false, true, true, false]
        );
        running.ack(&got);
        running.stop();
    }
}

#[test]
fn announces_itself_and_its_end() {
    let version = MqttVersion::V5;
    let (url, topic) = (broker(version), unique("status"));
    let mut watcher = Running::start(&settings(&url, version), &topic).subscribed();
    let mut settings = settings(&url, version);
    settings.status_topic = Some(topic);
    let status = |watcher: &mut Running| {
        let publish = watcher.take(1);
        watcher.ack(&publish);
        let json: serde_json::Value = serde_json::from_slice(&publish[0].payload).unwrap();
        assert_eq!(json["device"], "dev");
        json["status"].as_str().unwrap().to_owned()
    };
    let relay = Relay::start(&url);
    (settings.host, settings.port) = (relay.url().host, relay.url().port);
    let running = Running::start(&settings, &unique("else")).subscribed();
    assert_eq!(status(&mut watcher), "online");
    relay.cut.send(()).unwrap();
    // The last will, then the reconnect: rumqttd may drop the will of a client that is back at once.
    let next = status(&mut watcher);
    if next == "offline" {
        assert_eq!(status(&mut watcher), "online");
    }
    running.stop();
    assert_eq!(status(&mut watcher), "offline");
    watcher.stop();
}

#[test]
fn stop_lets_the_last_acks_out() {
    let version = MqttVersion::V5;
    let (url, topic) = (broker(version), unique("t/stop"));
    let settings = settings(&url, version);
    let mut running = Running::start(&settings, &topic).subscribed();
    publish(&url, version, &topic, &numbered(0..50));
    let got = running.take(50);
    running.stopper.stop(PATIENCE);
    let mut rest = Vec::new();
    assert_eq!(running.inbox.recv(&mut rest, None), Received::Closed);
    // The consumer commits and acknowledges after the stop.
    running.ack(&got);
    let stats = running.stats.clone();
    running.stop();
    assert_eq!(stats.acks.load(Relaxed), 50);
    publish(&url, version, &topic, &numbered(50..51));
    let mut again = Running::start(&settings, &topic);
    assert_eq!(payloads(&again.take(1)), numbered(50..51));
    again.stop();
}

#[test]
fn stops_while_it_cannot_connect() {
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let url = BrokerUrl::parse(&format!("mqtt://{free}")).unwrap();
    let mut settings = settings(&url, MqttVersion::V5);
    (settings.backoff_ms_min, settings.backoff_ms_max) = (60_000, 60_000);
    let mut running = Running::start(&settings, "t");
    running.wait_for(|stats| stats.last_error().is_some());
    running.stopper.stop(PATIENCE);
    assert_eq!(running.inbox.recv(&mut Vec::new(), None), Received::Closed);
    running.stop();
}

#[allow(dead_code)]
fn all_parts_go_to_any_thread(acker: Acker, stopper: Stopper, inbox: Inbox, ingest: Ingest) {
    fn anywhere<T: Send + 'static>(_: T) {}
    anywhere((acker, stopper, inbox, ingest));
}
