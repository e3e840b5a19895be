//! Against a real broker: the embedded one, or the one named by `DUNLIN_MQTT_URL`.
#![allow(clippy::unwrap_used)]

use std::{collections::HashMap, sync::atomic::Ordering::Relaxed};

use bytes::BytesMut;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, split},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::{
    mqtt::wire::{Decoder, Packet, puback},
    simulate::broker::EmbeddedBroker,
};

fn options(url: &str) -> SimulateOptions {
    let mut options = SimulateOptions::new(BrokerUrl::parse(url).unwrap());
    (options.rate, options.count, options.streams) = (0.0, 500, 7);
    options.version = MqttVersion::V5;
    options
}

/// On a thread of its own: a run blocks.
async fn run_through(options: SimulateOptions) -> Result<Report, SimulateError> {
    tokio::task::spawn_blocking(move || run(&options, unstoppable()))
        .await
        .unwrap()
}

fn unstoppable() -> watch::Receiver<bool> {
    watch::channel(false).1
}

#[tokio::test(flavor = "multi_thread")]
async fn publishes_the_count_and_knows_it() {
    let urls: Vec<(String, MqttVersion)> = if let Ok(url) = std::env::var("DUNLIN_MQTT_URL") {
        vec![(url.clone(), MqttVersion::V5), (url, MqttVersion::V311)]
    } else {
        let broker = EmbeddedBroker::start(None).unwrap();
        vec![
            (broker.url(), MqttVersion::V5),
            (broker.url_311(), MqttVersion::V311),
        ]
    };
    for (url, version) in urls {
        let options = SimulateOptions {
            version,
            bad_every: 10,
            ..options(&url)
        };
        let report = run_through(options.clone()).await.unwrap();
        assert_eq!((report.published, report.acked, report.bad), (500, 500, 50));
        assert_eq!((report.refused, report.resent), (0, 0));
        assert_eq!(report.streams.values().sum::<u64>(), 450);
        assert_eq!(report.streams.len(), 7);
        assert_eq!(options.progress.acked.load(Relaxed), 500);
        assert!(
            serde_json::to_string(&report)
                .unwrap()
                .contains("\"published\":500")
        );
    }
}

/// Reads publishes from a publisher that has just connected, over one connection.
struct Peer {
    stream: TcpStream,
    decoder: Decoder,
}

impl Peer {
    async fn welcome(listener: &TcpListener, session_present: u8, window: u16) -> Self {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert!(stream.read_buf(&mut BytesMut::new()).await.unwrap() > 0);
        let [high, low] = window.to_be_bytes();
        stream
            .write_all(&[0x20, 6, session_present, 0, 3, 33, high, low])
            .await
            .unwrap();
        Self {
            stream,
            decoder: Decoder::new(MqttVersion::V5, 1024),
        }
    }

    /// The next publish: its packet id, DUP, topic and `n`; `None` at the end of the connection.
    async fn publish(&mut self) -> Option<(u16, bool, String, u64)> {
        loop {
            match self.decoder.next().unwrap() {
                Some(Packet::Publish(publish)) => {
                    let json: Value = serde_json::from_slice(&publish.payload).unwrap();
                    let topic = String::from_utf8(publish.topic.to_vec()).unwrap();
                    return Some((publish.packet_id, publish.dup, topic, json["n"].as_u64()?));
                }
                Some(_) => {}
                None if self
                    .stream
                    .read_buf(self.decoder.read_buffer())
                    .await
                    .ok()?
                    == 0 =>
                {
                    return None;
                }
                None => {}
            }
        }
    }

    async fn ack(&mut self, id: u16) {
        let mut out = BytesMut::new();
        puback(id, &mut out);
        self.stream.write_all(&out).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn survives_cuts_without_losing_or_doubling() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("mqtt://{}", listener.local_addr().unwrap());
    let options = SimulateOptions {
        count: 300,
        fault_gap_s: 0.0,
        ..options(&url)
    };
    let running = tokio::spawn(async move { run_through(options).await.unwrap() });
    let (mut seen, mut acked) = (HashMap::new(), 0);
    // Every connection takes 20 publishes, acknowledges every other one of the first 10, and dies;
    // until one is patient.
    let mut connection = 0;
    while acked < 300 {
        let mut peer = Peer::welcome(&listener, u8::from(connection > 0), 15).await;
        let mut taken = 0;
        while let Some((id, dup, topic, n)) = peer.publish().await {
            let again = seen.insert((topic, n), id);
            assert_eq!(
                again.is_some(),
                dup,
                "DUP marks what was sent before, and only that"
            );
            taken += 1;
            if connection < 5 {
                if taken <= 10 && taken % 2 == 0 {
                    peer.ack(id).await;
                    acked += 1;
                }
                // 15 under way at most: 5 acknowledged of 20.
                if taken == 20 {
                    break;
                }
            } else {
                peer.ack(id).await;
                acked += 1;
            }
        }
        connection += 1;
        // Let the PUBACKs out before the end of the connection.
        let (_, mut writer) = split(peer.stream);
        let _broken = writer.shutdown().await;
    }
    let report = running.await.unwrap();
    assert_eq!(
        (report.published, report.acked, report.refused),
        (300, 300, 0)
    );
    assert!(report.resent >= 5, "{report:?}");
    assert_eq!(seen.len(), 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_what_the_broker_refuses() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("mqtt://{}", listener.local_addr().unwrap());
    let options = SimulateOptions {
        count: 4,
        fault_gap_s: 0.0,
        ..options(&url)
    };
    let running = tokio::spawn(async move { run_through(options).await.unwrap() });
    let mut peer = Peer::welcome(&listener, 0, 1).await;
    for at in 0..4 {
        let (id, ..) = peer.publish().await.unwrap();
        let [high, low] = id.to_be_bytes();
        let reason = if at == 0 { 0x87 } else { 0x10 };
        peer.stream
            .write_all(&[0x40, 3, high, low, reason])
            .await
            .unwrap();
    }
    drop(peer);
    let report = running.await.unwrap();
    assert_eq!((report.published, report.acked, report.refused), (4, 3, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_its_rate_and_stops_when_asked() {
    let broker = EmbeddedBroker::start(None).unwrap();
    let options = SimulateOptions {
        rate: 200.0,
        count: 60,
        ..options(&broker.url())
    };
    let report = run_through(options.clone()).await.unwrap();
    // 60 at 200 a second are due after 0.3 s and cannot be out earlier.
    assert!((0.29..5.0).contains(&report.seconds), "{report:?}");

    let options = SimulateOptions {
        rate: 1000.0,
        count: 0,
        ..options
    };
    let (stop, stopped) = watch::channel(false);
    let progress = options.progress.clone();
    let running = tokio::task::spawn_blocking(move || run(&options, stopped).unwrap());
    while progress.acked.load(Relaxed) < 100 {
        tokio::task::yield_now().await;
    }
    stop.send_replace(true);
    let report = running.await.unwrap();
    assert!(report.published >= 40);
    assert_eq!(report.published, report.acked);
}

#[tokio::test(flavor = "multi_thread")]
async fn leaves_nobody_behind() {
    let broker = EmbeddedBroker::start(None).unwrap();
    let consumer = Arc::new(IngestStats::default());
    let lead = Lead {
        consumer: Arc::clone(&consumer),
        publishes_max: 50,
    };
    let options = SimulateOptions {
        count: 0,
        lead: Some(lead),
        ..options(&broker.url())
    };
    let (stop, stopped) = watch::channel(false);
    let progress = options.progress.clone();
    let running = tokio::task::spawn_blocking(move || run(&options, stopped).unwrap());
    for received in [0, 30, 1_000] {
        consumer.publishes.store(received, Relaxed);
        while progress.acked.load(Relaxed) < received + 50 {
            tokio::task::yield_now().await;
        }
    }
    stop.send_replace(true);
    assert_eq!(running.await.unwrap().published, 1_050);
}

#[test]
fn says_at_once_that_nobody_is_there() {
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let error = run(&options(&format!("mqtt://{free}")), unstoppable()).unwrap_err();
    assert!(error.to_string().contains("connection refused"), "{error}");
}
