//! A loopback relay between a connector that speaks plain WebSocket and a server far away.
//!
//! Why there is one: the connector's socket has Nagle on, so each small write waits 45 ms for an
//! acknowledgement that this end can send at once; its TLS is outdated, where this end's is not; and
//! it says "Broken pipe" where this end knows what happened.
//!
//! Promises:
//! - The way out is connected, and with TLS verified, before anything listens: without a server, or
//!   with one that cannot prove its name, not a byte of the connector's leaves the device.
//! - TLS is never replaced by plain.
//! - One connector per relay. It listens on 127.0.0.1 only, takes the first peer whose request path
//!   starts with a random key of 128 bits, and closes the listener. Other local users can knock, which
//!   gets them closed; they cannot pass for the connector, nor can they take its place.
//!   What remains: root on this device can read the loopback, as it can read our memory.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::{AbortHandle, JoinSet},
};

use crate::tls::FollowedTls;

/// Bytes moved at once in each direction.
const CHUNK_BYTES: usize = 64 * 1024;
/// Longest request head taken from a local peer.
const HEAD_BYTES_MAX: usize = 8 * 1024;
/// Local peers heard at the same time while waiting for the connector.
const PEERS_MAX: usize = 16;
/// How long the connector has to come.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(10);

/// A server to relay to.
#[derive(Clone)]
pub(crate) struct Target {
    /// Name or address, without brackets.
    pub(crate) host: String,
    /// TCP port.
    pub(crate) port: u16,
    /// `Some`: TLS, and nothing else.
    pub(crate) tls: Option<Arc<FollowedTls>>,
}

impl Target {
    /// Host and port as they stand in a URL.
    pub(crate) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// One tunnel from a connector on this device to a server; closes when dropped.
pub(crate) struct Relay {
    listening: SocketAddr,
    key: String,
    ended: watch::Receiver<Option<String>>,
    task: AbortHandle,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Relay {
    /// Connects to `target` (the caller bounds how long), then listens for one connector.
    ///
    /// # Errors
    /// What is wrong with the way to the server, in words for people.
    pub(crate) async fn open(target: &Target) -> Result<Self, String> {
        let server = TcpStream::connect((target.host.as_str(), target.port))
            .await
            .map_err(|e| format!("cannot connect to {}: {e}", target.authority()))?;
        server.set_nodelay(true).map_err(|e| e.to_string())?;

        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .map_err(|e| format!("cannot listen on 127.0.0.1: {e}"))?;
        let listening = listener.local_addr().map_err(|e| e.to_string())?;
        let key = format!("{:032x}", rand::random::<u128>());
        let (ended_tx, ended) = watch::channel(None);
        let door = Door {
            listener,
            key: key.clone(),
            host: target.authority(),
        };

        let task = if let Some(config) = &target.tls {
            let server = handshake(server, target, config.current()).await?;
            tokio::spawn(serve(door, server, ended_tx))
        } else {
            tokio::spawn(serve(door, server, ended_tx))
        };
        Ok(Self {
            listening,
            key,
            ended,
            task: task.abort_handle(),
        })
    }

    /// What the connector puts between `ws://` and `/ws`.
    pub(crate) fn address(&self) -> String {
        format!("{}/{}", self.listening, self.key)
    }

    /// Waits until the tunnel is gone and says why.
    pub(crate) async fn ended(&self) -> String {
        let mut ended = self.ended.clone();
        match ended.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => "the relay stopped".into(),
        }
    }

    /// Whether the tunnel has ended.
    pub(crate) fn is_gone(&self) -> bool {
        self.ended.borrow().is_some() || self.task.is_finished()
    }

    /// `text` without the key, which the connector's errors may repeat.
    pub(crate) fn without_key(&self, text: &str) -> String {
        text.replace(&format!("/{}", self.key), "")
    }
}

pub(super) async fn handshake(
    server: TcpStream,
    target: &Target,
    config: Arc<ClientConfig>,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, String> {
    let name = ServerName::try_from(target.host.clone())
        .map_err(|_| format!("\"{}\" cannot be a TLS server name", target.host))?;
    tokio_rustls::TlsConnector::from(config)
        .connect(name, server)
        .await
        .map_err(|e| format!("TLS with {} failed: {e}", target.authority()))
}

/// Where the connector comes in.
struct Door {
    listener: TcpListener,
    key: String,
    host: String,
}

/// The connector's socket and the request head to send on, already rewritten for the server.
struct Guest {
    socket: TcpStream,
    head: Vec<u8>,
}

impl Door {
    /// The first local peer that knows the key. The listener closes with `self`.
    async fn guest(self) -> io::Result<Guest> {
        let mut peers = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept(), if peers.len() < PEERS_MAX => {
                    let (socket, peer) = accepted?;
                    if peer.ip() == Ipv4Addr::LOCALHOST {
                        peers.spawn(greet(socket, self.key.clone(), self.host.clone()));
                    }
                }
                Some(greeted) = peers.join_next() => {
                    if let Ok(Some(guest)) = greeted {
                        return Ok(guest);
                    }
                }
            }
        }
    }
}

/// Reads a request head; `None` unless it carries the key in time.
async fn greet(mut socket: TcpStream, key: String, host: String) -> Option<Guest> {
    let mut head = Vec::with_capacity(1024);
    tokio::time::timeout(ACCEPT_TIMEOUT / 2, async {
        while !head.windows(4).any(|end| end == b"\r\n\r\n") {
            if head.len() > HEAD_BYTES_MAX || socket.read_buf(&mut head).await.ok()? == 0 {
                return None;
            }
        }
        Some(())
    })
    .await
    .ok()??;
    let head = rewritten(&head, &key, &host)?;
    Some(Guest { socket, head })
}

/// The head as the server must see it: without the key, with the server's name as host.
fn rewritten(head: &[u8], key: &str, host: &str) -> Option<Vec<u8>> {
    let end = head.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&head[..end]).ok()?;
    let path = text.strip_prefix("GET /")?.strip_prefix(key)?;
    let mut out = String::with_capacity(head.len() + host.len());
    for (number, line) in path.split_inclusive("\r\n").enumerate() {
        if number == 0 {
            out.push_str("GET ");
        }
        if number > 0 && line.to_ascii_lowercase().starts_with("host:") {
            out.push_str("Host: ");
            out.push_str(host);
            out.push_str("\r\n");
        } else {
            out.push_str(line);
        }
    }
    let mut out = out.into_bytes();
    out.extend_from_slice(&head[end..]);
    Some(out)
}

async fn serve<S>(door: Door, server: S, ended: watch::Sender<Option<String>>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let host = door.host.clone();
    let reason = match tokio::time::timeout(ACCEPT_TIMEOUT, door.guest()).await {
        Ok(Ok(guest)) => tunnel(guest, server, &host).await,
        Ok(Err(e)) => format!("cannot accept on 127.0.0.1: {e}"),
        Err(_) => "the connector did not come".into(),
    };
    let _nobody_asks = ended.send(Some(reason));
}

/// Moves bytes both ways until either side ends; says which did.
async fn tunnel<S: AsyncRead + AsyncWrite + Unpin>(guest: Guest, server: S, host: &str) -> String {
    let _slower_without = guest.socket.set_nodelay(true);
    let (from_guest, to_guest) = guest.socket.into_split();
    let (from_server, mut to_server) = tokio::io::split(server);
    let sent = async {
        to_server.write_all(&guest.head).await?;
        to_server.flush().await
    };
    if let Err(e) = sent.await {
        return format!("connection to {host} lost: {e}");
    }
    tokio::select! {
        reason = outward(from_guest, to_server, host) => reason,
        reason = inward(from_server, to_guest, host) => reason,
    }
}

async fn outward<W: AsyncWrite + Unpin>(
    mut guest: OwnedReadHalf,
    mut server: W,
    host: &str,
) -> String {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        acknowledge_at_once(&guest);
        match guest.read(&mut chunk).await {
            Ok(0) => return "the connector closed".into(),
            Err(e) => return format!("the connector's socket failed: {e}"),
            Ok(bytes) => {
                let sent = async {
                    server.write_all(&chunk[..bytes]).await?;
                    server.flush().await
                };
                if let Err(e) = sent.await {
                    return format!("connection to {host} lost: {e}");
                }
            }
        }
    }
}

async fn inward<R: AsyncRead + Unpin>(
    mut server: R,
    mut guest: OwnedWriteHalf,
    host: &str,
) -> String {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut upgraded = false;
    loop {
        match server.read(&mut chunk).await {
            Ok(0) => return format!("{host} closed the connection"),
            Err(e) => return format!("connection to {host} lost: {e}"),
            Ok(bytes) => {
                if !upgraded && let Some(status) = refusal(&chunk[..bytes]) {
                    return format!("{host} is no TDengine WebSocket: it answered \"{status}\"");
                }
                upgraded = true;
                if let Err(e) = guest.write_all(&chunk[..bytes]).await {
                    return format!("the connector's socket failed: {e}");
                }
            }
        }
    }
}

/// The status line of an answer that is no upgrade to WebSocket.
fn refusal(answer: &[u8]) -> Option<String> {
    let line = answer.split(|byte| *byte == b'\r').next().unwrap_or(answer);
    let line = String::from_utf8_lossy(&line[..line.len().min(100)]);
    let upgraded = line.split(' ').nth(1) == Some("101") || "HTTP/1.1 101".starts_with(&*line);
    (!upgraded).then(|| line.chars().filter(|c| !c.is_control()).collect())
}

/// The kernel forgets this with almost every segment, so it is said before every read.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn acknowledge_at_once(guest: &OwnedReadHalf) {
    let _slower_without = guest.as_ref().set_quickack(true);
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn acknowledge_at_once(_guest: &OwnedReadHalf) {}

#[cfg(test)]
mod tests;
