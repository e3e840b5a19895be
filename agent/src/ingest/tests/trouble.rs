//! A stalled consumer, and brokers that misbehave or turn us away.

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::config::settings::Secret;

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
        self.hear(connack).await.0
    }

    /// As [`Rogue::welcome`], with the CONNECT.
    async fn hear(&self, connack: &[u8]) -> (TcpStream, BytesMut) {
        let (mut stream, _) = self.listener.accept().await.unwrap();
        let mut hello = BytesMut::new();
        assert!(stream.read_buf(&mut hello).await.unwrap() > 0);
        stream.write_all(connack).await.unwrap();
        (stream, hello)
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
    running.wait_for(|stats| stats.connections.load(Relaxed) == 2);
    drop((first, second));
    running.stop();
}

/// The next packet of this kind that the client sends.
async fn next_of(stream: &mut TcpStream, kind: u8) -> Vec<u8> {
    let read = async {
        loop {
            let first = stream.read_u8().await.unwrap();
            let length = stream.read_u8().await.unwrap();
            assert!(length < 128, "a short packet");
            let mut body = vec![0; usize::from(length)];
            stream.read_exact(&mut body).await.unwrap();
            if first >> 4 == kind {
                return body;
            }
        }
    };
    tokio::time::timeout(PATIENCE, read).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_subscription_is_asked_for_again_until_it_is_granted() {
    for version in [MqttVersion::V5, MqttVersion::V311] {
        let (rogue, url) = Rogue::start().await;
        let running = Running::start(&settings(&url, version), "no/entry");
        let (connack, refusal, grant): (&[u8], &[u8], &[u8]) = match version {
            MqttVersion::V5 => (
                &[0x20, 3, 0, 0, 0],
                &[0x90, 4, 0, 1, 0, 0x87],
                &[0x90, 4, 0, 1, 0, 1],
            ),
            MqttVersion::V311 => (
                &[0x20, 2, 0, 0],
                &[0x90, 3, 0, 1, 0x80],
                &[0x90, 3, 0, 1, 1],
            ),
        };
        let mut stream = rogue.welcome(connack).await;
        next_of(&mut stream, 8).await;
        for _ in 0..3 {
            stream.write_all(refusal).await.unwrap();
            // It asks again only after it has taken the refusal.
            let again = next_of(&mut stream, 8).await;
            assert!(
                again.windows(8).any(|part| part == b"no/entry"),
                "{again:?}"
            );
            let troubles = running.stats.troubles();
            assert!(troubles[0].contains("no/entry"), "{troubles:?}");
        }
        stream.write_all(grant).await.unwrap();
        running.wait_for(|stats| stats.subscriptions.load(Relaxed) == 4);
        assert_eq!(running.stats.filters_refused.load(Relaxed), 0);
        assert!(running.stats.troubles().is_empty());
        assert_eq!(running.stats.connections.load(Relaxed), 1);
        drop(stream);
        running.stop();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_clients_with_one_id_are_told_how_to_part() {
    // With MQTT 5 the broker says why; with 3.1.1 it hangs up again and again.
    for version in [MqttVersion::V5, MqttVersion::V311] {
        let (rogue, url) = Rogue::start().await;
        let settings = settings(&url, version);
        let running = Running::start(&settings, "t");
        let times = if version == MqttVersion::V5 { 2 } else { 3 };
        for time in 0..times {
            assert!(running.stats.troubles().is_empty(), "after {time}");
            match version {
                MqttVersion::V5 => {
                    let mut stream = rogue.welcome(&[0x20, 3, 0, 0, 0]).await;
                    next_of(&mut stream, 8).await;
                    stream.write_all(&[0xe0, 2, 0x8e, 0]).await.unwrap();
                }
                MqttVersion::V311 => {
                    let mut stream = rogue.welcome(&[0x20, 2, 0, 0]).await;
                    next_of(&mut stream, 8).await;
                }
            }
        }
        running.wait_for(|stats| !stats.troubles().is_empty());
        let trouble = &running.stats.troubles()[0];
        assert!(
            trouble.contains(&settings.client_id) && trouble.contains("mqtt.client_id"),
            "{trouble}"
        );
        running.stop();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_is_changed_in_its_file_is_taken_by_the_next_connection() {
    let (rogue, url) = Rogue::start().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    std::fs::write(&file, "first\n").unwrap();
    let mut settings = settings(&url, MqttVersion::V5);
    settings.user = Some("ann".into());
    settings.password = Some(Secret::new("first".into()));
    settings.password_file = Some(file.clone());
    let running = Running::start(&settings, "t");
    for (written, sent) in [("second\n", "first"), ("", "second"), ("third", "second")] {
        let (stream, hello) = rogue.hear(&[0x20, 3, 0, 0, 0]).await;
        assert!(hello.ends_with(sent.as_bytes()), "{sent}: {hello:?}");
        std::fs::write(&file, written).unwrap();
        drop(stream);
    }
    let (_stream, hello) = rogue.hear(&[0x20, 3, 0, 0, 0]).await;
    assert!(hello.ends_with(b"third"), "{hello:?}");
    let said = running.stats.last_error().unwrap_or_default();
    assert!(!said.contains("second"), "{said}");
    running.stop();
}

/// What the durable part of an agent's session is when it starts anew.
struct Runs {
    rogue: Rogue,
    settings: MqttSettings,
    dir: tempfile::TempDir,
}

impl Runs {
    async fn new() -> Self {
        let (rogue, url) = Rogue::start().await;
        Self {
            rogue,
            settings: settings(&url, MqttVersion::V5),
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// One run: the broker says whether a session is present, sends `early` before it has answered
    /// the SUBSCRIBE. Returns how many sessions the agent takes for lost.
    async fn run(&self, is_present: bool, early: &[u8]) -> u64 {
        let filters = vec!["t".to_owned()];
        let (mut ingest, _inbox, acker, stopper) =
            Ingest::new(&self.settings, filters, "dev", 1).unwrap();
        ingest.remember_in(self.dir.path());
        let stats = ingest.stats();
        let thread = thread::spawn(|| ingest.run().unwrap());
        let mut stream = self
            .rogue
            .welcome(&[0x20, 3, u8::from(is_present), 0, 0])
            .await;
        next_of(&mut stream, 8).await;
        stream.write_all(early).await.unwrap();
        stream.write_all(&[0x90, 4, 0, 1, 0, 1]).await.unwrap();
        let deadline = Instant::now() + PATIENCE;
        while stats.subscriptions.load(Relaxed) == 0 {
            assert!(Instant::now() < deadline, "{stats:?}");
            tokio::task::yield_now().await;
        }
        stopper.stop(Duration::ZERO);
        drop((acker, stream));
        tokio::task::spawn_blocking(|| thread.join().unwrap())
            .await
            .unwrap();
        stats.sessions_lost.load(Relaxed)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_gone_is_a_loss_only_if_there_was_one_also_in_an_earlier_run() {
    let mut old = BytesMut::new();
    wire::publish(MqttVersion::V5, "t", b"waited", 7, false, &mut old);
    let runs = Runs::new().await;
    assert_eq!(runs.run(false, &[]).await, 0, "there was none");
    assert_eq!(runs.run(true, &[]).await, 0);
    assert_eq!(
        runs.run(false, &old).await,
        1,
        "it has said that there was one"
    );
    assert_eq!(runs.run(true, &[]).await, 0);
    assert_eq!(runs.run(false, &[]).await, 1, "each loss is one");

    // One that never says so, and delivers what waited.
    let runs = Runs::new().await;
    assert_eq!(runs.run(false, &[]).await, 0);
    assert_eq!(runs.run(false, &old).await, 0);
    assert_eq!(runs.run(false, &[]).await, 0, "known by now");

    // One that never says so and delivers nothing: told once.
    let runs = Runs::new().await;
    assert_eq!(runs.run(false, &[]).await, 0);
    assert_eq!(runs.run(false, &[]).await, 1);
    assert_eq!(runs.run(false, &[]).await, 0);
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
    next_of(&mut stream, 8).await;
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
