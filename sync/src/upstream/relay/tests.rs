#![allow(clippy::unwrap_used)]

use super::*;

async fn server() -> (TcpListener, Target) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let target = Target {
        host: "127.0.0.1".into(),
        port: listener.local_addr().unwrap().port(),
        tls: None,
    };
    (listener, target)
}

fn request(relay: &Relay, key: &str) -> String {
    format!(
        "GET /{key}/ws HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\n\r\nrest",
        relay.listening
    )
}

#[tokio::test]
async fn carries_one_guest_with_the_key_and_shows_the_server_its_own_name() {
    let (listener, target) = server().await;
    let relay = Relay::open(&target).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();

    let mut stranger = TcpStream::connect(relay.listening).await.unwrap();
    let wrong = request(&relay, &"0".repeat(32));
    stranger.write_all(wrong.as_bytes()).await.unwrap();
    let mut closed = Vec::new();
    let _reset_or_end = stranger.read_to_end(&mut closed).await;
    assert!(closed.is_empty());

    let mut guest = TcpStream::connect(relay.listening).await.unwrap();
    let head = request(&relay, &relay.key);
    guest.write_all(head.as_bytes()).await.unwrap();
    let expected = format!(
        "GET /ws HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\n\r\nrest",
        target.authority()
    );
    let mut seen = vec![0; expected.len()];
    server.read_exact(&mut seen).await.unwrap();
    assert_eq!(String::from_utf8(seen).unwrap(), expected);

    let answer = b"HTTP/1.1 101 Switching Protocols\r\n\r\nhello";
    server.write_all(answer).await.unwrap();
    let mut seen = vec![0; answer.len()];
    guest.read_exact(&mut seen).await.unwrap();
    assert_eq!(seen, answer);
    // The door is shut behind the guest.
    assert!(TcpStream::connect(relay.listening).await.is_err());

    drop(server);
    assert!(relay.ended().await.contains("closed the connection"));
}

#[tokio::test]
async fn names_the_answer_of_a_server_that_is_something_else() {
    let (listener, target) = server().await;
    let relay = Relay::open(&target).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    let mut guest = TcpStream::connect(relay.listening).await.unwrap();
    guest
        .write_all(request(&relay, &relay.key).as_bytes())
        .await
        .unwrap();
    server
        .write_all(b"HTTP/1.1 404 Not Found\r\n\r\n")
        .await
        .unwrap();
    assert!(relay.ended().await.contains("404 Not Found"));
}

#[tokio::test]
async fn refused_connection_is_named() {
    let (listener, target) = server().await;
    drop(listener);
    let error = Relay::open(&target).await.err().unwrap();
    assert!(error.contains(&target.authority()), "{error}");
}

#[test]
fn strange_heads_are_refused() {
    for head in [
        "POST /k/ws HTTP/1.1\r\n\r\n",
        "GET /x/ws HTTP/1.1\r\n\r\n",
        "GET /k/ws",
    ] {
        assert_eq!(rewritten(head.as_bytes(), "k", "h"), None, "{head}");
    }
    assert_eq!(refusal(b"HTTP/1.1 101 Switching Protocols\r\n"), None);
    assert_eq!(refusal(b"HTT"), None);
    assert!(refusal(b"SSH-2.0-OpenSSH\r\n").is_some());
}
