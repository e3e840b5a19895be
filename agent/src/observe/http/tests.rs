#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::observe::metrics::Metric;

const ANY_PORT: &str = "127.0.0.1:0";

async fn started(well: Arc<AtomicBool>) -> (Server, SocketAddr) {
    let metrics: Metrics = Arc::new(|| vec![Metric::counter("sent_total", "Sent.", 3)]);
    let health: Health = Arc::new(move || {
        let is_well = well.load(Ordering::Relaxed);
        is_well
            .then_some(())
            .ok_or_else(|| "the writer died".into())
    });
    let hosts = Hosts::new("press-7", &["gateway.plant".into()]);
    let listen = ANY_PORT.parse().unwrap();
    let (server, endpoint) = serve(listen, hosts, metrics, health).await;
    (server, endpoint.address().unwrap())
}

/// The whole answer to `request`; what arrived before a reset counts.
async fn answer(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let _may_be_refused_early = stream.write_all(request).await;
    read_all(&mut stream).await
}

async fn read_all(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut chunk).await {
        bytes.extend_from_slice(&chunk[..read]);
    }
    String::from_utf8(bytes).unwrap()
}

fn request(line: &str) -> Vec<u8> {
    to_host(line, "127.0.0.1")
}

fn to_host(line: &str, host: &str) -> Vec<u8> {
    format!("{line} HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes()
}

#[tokio::test]
async fn metrics_and_health() {
    let well = Arc::new(AtomicBool::new(true));
    let (server, address) = started(Arc::clone(&well)).await;
    let text = answer(address, &request("GET /metrics")).await;
    assert!(
        text.starts_with("HTTP/1.1 200") && text.ends_with("sent_total 3\n"),
        "{text}"
    );
    assert!(text.contains("text/plain; version=0.0.4"), "{text}");
    let text = answer(address, &request("GET /healthz")).await;
    assert!(
        text.starts_with("HTTP/1.1 200") && text.ends_with("ok\n"),
        "{text}"
    );
    well.store(false, Ordering::Relaxed);
    let text = answer(address, &request("GET /healthz")).await;
    assert!(
        text.starts_with("HTTP/1.1 503") && text.ends_with("the writer died\n"),
        "{text}"
    );
    assert!(
        answer(address, &request("GET /"))
            .await
            .starts_with("HTTP/1.1 404")
    );
    assert!(
        answer(address, &request("POST /metrics"))
            .await
            .starts_with("HTTP/1.1 405")
    );
    server.stop().await;
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn hostile_requests_end_and_stop_nothing() {
    let (server, address) = started(Arc::new(AtomicBool::new(true))).await;
    let long = format!(
        "GET /metrics HTTP/1.1\r\nX: {}\r\n\r\n",
        "x".repeat(64 * 1024)
    );
    let text = answer(address, long.as_bytes()).await;
    assert!(!text.contains("200 OK"), "{text}");
    let many = format!(
        "GET /metrics HTTP/1.1\r\n{}\r\n",
        "X: x\r\n".repeat(HEADERS_MAX + 1)
    );
    assert!(
        answer(address, many.as_bytes())
            .await
            .starts_with("HTTP/1.1 431")
    );
    let text = answer(address, b"\x16\x03\x01 not http \x00\xff\r\n\r\n").await;
    assert!(!text.contains("200 OK"), "{text}");
    drop(TcpStream::connect(address).await.unwrap());
    assert!(
        answer(address, &request("GET /healthz"))
            .await
            .contains("200 OK")
    );
    server.stop().await;
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed_and_the_next_is_served() {
    let limits = Limits {
        connections_max: 1,
        header_wait: Duration::from_millis(50),
        connection: None,
        ..NETWORK
    };
    let listener = TcpListener::bind(ANY_PORT).await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/", get(async || "served"));
    let server = Server::start(listener, router, limits);
    let mut silent = TcpStream::connect(address).await.unwrap();
    // There is one slot: this is only served once the silent one has lost it.
    let request = request("GET /");
    let served = timeout(Duration::from_secs(10), answer(address, &request)).await;
    assert!(served.unwrap().ends_with("served"));
    assert!(!read_all(&mut silent).await.contains("200 OK"));
    server.stop().await;
}

#[tokio::test]
async fn an_answer_that_never_comes_is_cut_off() {
    let limits = Limits {
        connection: Some(Duration::from_millis(50)),
        ..NETWORK
    };
    let listener = TcpListener::bind(ANY_PORT).await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/", get(std::future::pending::<()>));
    let server = Server::start(listener, router, limits);
    assert_eq!(answer(address, &request("GET /")).await, "");
    server.stop().await;
}

#[tokio::test]
async fn nobody_keeps_it_from_stopping() {
    let limits = Limits {
        connection: None,
        grace: Duration::from_millis(50),
        ..NETWORK
    };
    let listener = TcpListener::bind(ANY_PORT).await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/", get(std::future::pending::<()>));
    let server = Server::start(listener, router, limits);
    let mut waiting = TcpStream::connect(address).await.unwrap();
    waiting.write_all(&request("GET /")).await.unwrap();
    timeout(Duration::from_secs(10), server.stop())
        .await
        .unwrap();
    assert_eq!(read_all(&mut waiting).await, "");
}

#[tokio::test]
async fn metrics_are_for_those_who_know_the_host() {
    let (server, address) = started(Arc::new(AtomicBool::new(true))).await;
    for (host, outcome) in [
        (address.to_string().as_str(), "200"),
        ("press-7:9464", "200"),
        ("gateway.plant", "200"),
        ("rebound.example:9464", "421"),
    ] {
        let text = answer(address, &to_host("GET /metrics", host)).await;
        assert!(
            text.starts_with(&format!("HTTP/1.1 {outcome}")),
            "{host}: {text}"
        );
        assert_eq!(
            text.contains("sent_total"),
            outcome == "200",
            "{host}: {text}"
        );
        assert_eq!(
            text.contains("http.hosts"),
            outcome == "421",
            "{host}: {text}"
        );
        // A supervisor may call by any name.
        let text = answer(address, &to_host("GET /healthz", host)).await;
        assert!(text.starts_with("HTTP/1.1 200"), "{host}: {text}");
    }
    server.stop().await;
}

#[tokio::test]
async fn an_address_that_is_taken_is_served_once_it_is_free() {
    let taken = TcpListener::bind(ANY_PORT).await.unwrap();
    let address = taken.local_addr().unwrap();
    let listener = Waiting::begin(address)
        .await
        .every(Duration::from_millis(5));
    let endpoint = listener.endpoint();
    let EndpointState::Waits(why) = endpoint.state() else {
        panic!("{:?}", endpoint.state())
    };
    assert!(
        why.contains(&address.to_string()) && why.contains("http.listen"),
        "{why}"
    );
    let router = Router::new().route("/", get(async || "served"));
    let server = Server::start(listener, router, NETWORK);
    drop(taken);
    let served = async {
        while endpoint.address().is_none() {
            tokio::task::yield_now().await;
        }
        answer(endpoint.address().unwrap(), &request("GET /")).await
    };
    let served = timeout(Duration::from_secs(10), served).await.unwrap();
    assert!(served.ends_with("served"), "{served}");
    // One that never gets its address stops all the same.
    let waiting = Waiting::begin(address).await;
    assert_eq!(waiting.endpoint().address(), None);
    Server::start(waiting, Router::new(), NETWORK).stop().await;
    server.stop().await;
}
