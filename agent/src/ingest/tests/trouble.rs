//! A stalled consumer, and brokers that misbehave or turn us away.

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::settings::Secret;

/// A broker of a few lines that ignores every limit.
struct Rogue {
    listener: TcpListener,
}

impl Rogue {
    async fn start() -> (Self, BrokerUrl) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("mqtt://{}", listener.local_addr().unwrap());
        (Self { listener }, BrokerUrl::parse(&url).unwrap())
    }

    /// Accepts one connection and answers its CONNECT with `connack`.
    async fn welcome(&self, connack: &[u8]) -> TcpStream {
        let (mut stream, _) = self.listener.accept().await.unwrap();
        let mut hello = BytesMut::new();
        assert!(stream.read_buf(&mut hello).await.unwrap() > 0);
        stream.write_all(connack).await.unwrap();
        stream
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_consumer_bounds_memory_and_keeps_the_connection() {
    let (rogue, url) = Rogue::start().await;
    let mut settings = settings(&url, MqttVersion::V311);
    settings.keep_alive_s = 1;
    let mut running = Running::start(&settings, "t");
    let (mut reader, mut writer) = rogue.welcome(&[0x20, 2, 0, 0]).await.into_split();
    let mut flood = BytesMut::new();
    for id in 1..=1000 {
        wire::publish(MqttVersion::V311, "t", &[0; 1000], id, false, &mut flood);
    }
    // 1,000 publishes at a time, unasked, for as long as the socket takes them; nobody consumes.
    let flooding = tokio::spawn(async move { while writer.write_all(&flood).await.is_ok() {} });
    // Three pings prove that the connection outlives its keep-alive meanwhile.
    let (mut seen, mut bytes) = (0, BytesMut::new());
    while seen < 3 {
        bytes.clear();
        assert!(reader.read_buf(&mut bytes).await.unwrap() > 0, "hung up");
        seen += bytes.windows(2).filter(|pair| pair == &[0xc0, 0]).count();
    }
    let (publishes, bytes) = running.inbox.backlog();
    assert!(
        (INBOX_PUBLISHES_MIN..INBOX_PUBLISHES_MIN + 100).contains(&publishes),
        "{publishes}"
    );
    assert!(bytes <= 1001 * publishes, "{bytes}");
    assert!(running.stats.connected.load(Relaxed));
    // And the consumer finds everything once it wakes up.
    let (running, got) = tokio::task::spawn_blocking(move || {
        let got = running.take(10_000);
        (running, got)
    })
    .await
    .unwrap();
    assert!(
        got.iter()
            .enumerate()
            .all(|(at, p)| usize::from(p.packet_id) == at % 1000 + 1)
    );
    flooding.abort();
    drop(reader);
    running.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_broker_is_given_up() {
    let (rogue, url) = Rogue::start().await;
    let mut settings = settings(&url, MqttVersion::V5);
    settings.keep_alive_s = 1;
    let running = Running::start(&settings, "t");
    let first = rogue.welcome(&[0x20, 3, 0, 0, 0]).await;
    // Never answers a ping: the client comes back by itself.
    let second = rogue.welcome(&[0x20, 3, 0, 0, 0]).await;
    running.wait_for(|stats| stats.sessions_lost.load(Relaxed) == 1);
    drop((first, second));
    running.stop();
}

#[test]
fn says_what_is_wrong() {
    let cause = |settings: &MqttSettings| {
        let running = Running::start(settings, "t");
        running.wait_for(|stats| stats.last_error().is_some());
        let cause = running.stats.last_error().unwrap();
        running.stop();
        cause
    };
    let login = EmbeddedBroker::start(Some(("ann", "right"))).unwrap();
    for (url, version) in [
        (login.url(), MqttVersion::V5),
        (login.url_311(), MqttVersion::V311),
    ] {
        let mut settings = settings(&BrokerUrl::parse(&url).unwrap(), version);
        settings.user = Some("ann".into());
        settings.password = Some(Secret::new("wrong-hush".into()));
        let text = cause(&settings);
        assert!(!text.contains("hush"), "{text}");
        assert!(text.contains("broker"), "{text}");
        settings.password = Some(Secret::new("right".into()));
        Running::start(&settings, "t").subscribed().stop();
    }
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let url = BrokerUrl::parse(&format!("mqtt://{free}")).unwrap();
    assert!(cause(&settings(&url, MqttVersion::V5)).contains("connection refused"));
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_each_refusal_and_each_cause_once() {
    let (rogue, url) = Rogue::start().await;
    let settings = settings(&url, MqttVersion::V5);
    let (mut ingest, ..) = Ingest::new(&settings, vec!["a".into(), "b".into()], "d", 1).unwrap();
    assert!(ingest.first_time("x") && !ingest.first_time("x"));
    let running = Running::start(&settings, "no/entry");
    // Not authorized (0x87), then bad login (0x86), then in, but the filter refused (0x87).
    rogue.welcome(&[0x20, 3, 0, 0x87, 0]).await;
    rogue.welcome(&[0x20, 3, 0, 0x86, 0]).await;
    let mut stream = rogue.welcome(&[0x20, 3, 0, 0, 0]).await;
    assert!(
        running
            .stats
            .last_error()
            .unwrap()
            .contains("wrong user name or password")
    );
    stream.write_all(&[0x90, 4, 0, 1, 0, 0x87]).await.unwrap();
    running.wait_for(|stats| stats.filters_refused.load(Relaxed) == 1);
    let text = running.stats.last_error().unwrap();
    assert!(
        text.contains("no/entry") && text.contains("NotAuthorized"),
        "{text}"
    );
    drop(stream);
    running.stop();
}
