//! How commands talk to a running agent: HTTP over a Unix domain socket in the data directory.
//!
//! Promises: only the agent's own user may connect (mode 0600 before anybody can); a stale socket
//! is replaced and a living agent's never; a long answer arrives in chunks, bounded in memory on
//! both sides, and one cut short is an error to whoever reads it, never a short answer.

use std::{
    fs::{self, File, Permissions},
    io::{self, Write},
    os::{
        fd::AsRawFd,
        unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
};
use futures_util::stream;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{UnixSocket, UnixStream},
    sync::mpsc,
    task::{JoinHandle, JoinSet},
    time::timeout,
};

use crate::http::{Limits, Server};

/// Name of the socket in the data directory.
pub const SOCKET_NAME: &str = "dunlin.sock";

const LOCAL: Limits = Limits {
    connections_max: 8,
    header_wait: Duration::from_secs(5),
    // An export may take hours.
    connection: None,
    grace: Duration::from_secs(1),
};

/// Wait for the connection, for the start of an answer, and for each of its chunks.
const ANSWER_WAIT: Duration = Duration::from_secs(30);
/// Longest reason of a refusal, bytes.
const REASON_BYTES_MAX: usize = 64 * 1024;
/// Bytes of one chunk of a streamed answer.
const CHUNK_BYTES: usize = 64 * 1024;
/// Chunks of a streamed answer that wait for a slow reader.
const CHUNKS_MAX: usize = 4;
/// Bytes of a socket's path, without its final NUL: 107 on Linux, 103 on macOS.
const SOCKET_PATH_BYTES_MAX: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// What went wrong between a command and the agent.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nobody listens.
    #[error("no agent is running on {}; start it with `dunlin run`, or name its data directory with --data-dir", .0.display())]
    NotRunning(PathBuf),
    /// Somebody listens already.
    #[error("an agent is running on {} already; stop it, or use another data_dir", .0.display())]
    InUse(PathBuf),
    /// The socket cannot be made or reached.
    #[error("the socket {}: {source}", path.display())]
    Socket {
        /// Where it is.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// No answer in time.
    #[error("the agent does not answer within {} s", ANSWER_WAIT.as_secs())]
    TimedOut,
    /// The agent said no.
    #[error("{reason}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// The agent's words.
        reason: String,
    },
    /// The answer ended before its end.
    #[error("the connection to the agent broke: {0}")]
    Broken(String),
}

/// The control socket of a data directory.
pub fn socket_path(data_dir: &Path) -> PathBuf {
    data_dir.join(SOCKET_NAME)
}

/// The agent's side.
#[derive(Debug)]
pub struct ControlServer {
    server: Server,
    path: PathBuf,
    /// Device and inode of our socket, to know it by.
    identity: (u64, u64),
}

impl ControlServer {
    /// Resolves when the server has died by itself, which it never should.
    pub async fn died(&mut self) {
        self.server.died().await;
    }

    /// Takes no new connection, gives open ones a moment, removes the socket.
    pub async fn stop(self) {
        self.server.stop().await;
        if identity(&self.path).is_ok_and(|now| now == self.identity) {
            // A socket that stays behind is replaced at the next start.
            let _left = fs::remove_file(&self.path);
        }
    }
}

/// Serves `router` on the socket at `path`, whose directory must exist.
///
/// # Errors
/// [`ControlError::InUse`] if an agent answers there; [`ControlError::Socket`] if the socket cannot
/// be made, or something else lies at `path`.
pub async fn serve(path: &Path, router: Router) -> Result<ControlServer, ControlError> {
    let failed = |source| ControlError::Socket {
        path: path.to_owned(),
        source,
    };
    let short = ShortPath::of(path).map_err(failed)?;
    remove_stale(path, &short).await?;
    let socket = UnixSocket::new_stream().map_err(failed)?;
    socket.bind(&short.path).map_err(failed)?;
    // Before it listens nobody can connect: no moment in which others could.
    fs::set_permissions(&short.path, Permissions::from_mode(0o600)).map_err(failed)?;
    let identity = identity(path).map_err(failed)?;
    let listener = socket.listen(16).map_err(failed)?;
    Ok(ControlServer {
        server: Server::start(listener, router, LOCAL),
        path: path.to_owned(),
        identity,
    })
}

async fn remove_stale(path: &Path, short: &ShortPath) -> Result<(), ControlError> {
    let failed = |source| ControlError::Socket {
        path: path.to_owned(),
        source,
    };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(failed(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "something that is no socket lies there; move it away",
            )));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(&short.path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed)
        }
        // An agent whose backlog is full is one too.
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(failed(error)),
        _ => Err(ControlError::InUse(directory_of(path).to_owned())),
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

fn directory_of(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

/// A socket's path that the system takes: a long one goes through an open directory.
struct ShortPath {
    path: PathBuf,
    /// Holds the directory open for as long as the path is used.
    _directory: Option<File>,
}

impl ShortPath {
    fn of(path: &Path) -> io::Result<Self> {
        if path.as_os_str().len() <= SOCKET_PATH_BYTES_MAX {
            return Ok(Self {
                path: path.to_owned(),
                _directory: None,
            });
        }
        let name = path.file_name().unwrap_or_default();
        if !cfg!(target_os = "linux") || name.len() > 64 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "its path is longer than {SOCKET_PATH_BYTES_MAX} bytes; use a shorter data_dir"
                ),
            ));
        }
        let directory = File::open(directory_of(path))?;
        let through = format!("/proc/self/fd/{}", directory.as_raw_fd());
        Ok(Self {
            path: Path::new(&through).join(name),
            _directory: Some(directory),
        })
    }
}

/// An answer from the agent, read as it comes.
#[derive(Debug)]
pub struct Reply {
    body: Incoming,
    /// Drives the connection; ends with the reply.
    _connection: JoinSet<()>,
}

impl Reply {
    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// [`ControlError::TimedOut`] or [`ControlError::Broken`]: what came before is not all.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ControlError> {
        loop {
            let frame = in_time(self.body.frame()).await?;
            match frame.transpose().map_err(broken)? {
                None => return Ok(None),
                // Trailers are not sent by our agent.
                Some(frame) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(Some(bytes));
                    }
                }
            }
        }
    }

    /// The whole answer, of at most `bytes_max` bytes.
    ///
    /// # Errors
    /// As for [`Reply::chunk`], and [`ControlError::Broken`] for a longer answer.
    pub async fn bytes(mut self, bytes_max: usize) -> Result<Vec<u8>, ControlError> {
        let mut all = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if all.len() + chunk.len() > bytes_max {
                let message = format!("the answer is longer than {bytes_max} bytes");
                return Err(ControlError::Broken(message));
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all)
    }
}

/// Asks the agent behind the socket at `path` for `target`, such as `/status?verify=true`.
///
/// # Errors
/// [`ControlError`]; [`ControlError::Refused`] for any status but success.
pub async fn get(path: &Path, target: &str) -> Result<Reply, ControlError> {
    request(path, Method::GET, target, Bytes::new()).await
}

/// Sends `body` to `target` of the agent behind the socket at `path`.
///
/// # Errors
/// As for [`get`].
pub async fn post(path: &Path, target: &str, body: Vec<u8>) -> Result<Reply, ControlError> {
    request(path, Method::POST, target, body.into()).await
}

async fn request(
    path: &Path,
    method: Method,
    target: &str,
    body: Bytes,
) -> Result<Reply, ControlError> {
    let stream = connect(path).await?;
    let handshake = http1::handshake(TokioIo::new(stream));
    let (mut sender, driver) = in_time(handshake).await?.map_err(broken)?;
    let mut connection = JoinSet::new();
    connection.spawn(async move {
        // Whatever ends it shows in the answer.
        let _outcome = driver.await;
    });
    let request = Request::builder()
        .method(method)
        .uri(target)
        .header("host", "dunlin")
        .body(Full::new(body))
        .map_err(broken)?;
    let response = in_time(sender.send_request(request))
        .await?
        .map_err(broken)?;
    let status = response.status();
    let reply = Reply {
        body: response.into_body(),
        _connection: connection,
    };
    if status.is_success() {
        return Ok(reply);
    }
    let reason = reply.bytes(REASON_BYTES_MAX).await?;
    let reason = String::from_utf8_lossy(&reason).trim().to_owned();
    Err(ControlError::Refused {
        status: status.as_u16(),
        reason: if reason.is_empty() {
            status.to_string()
        } else {
            reason
        },
    })
}

async fn connect(path: &Path) -> Result<UnixStream, ControlError> {
    let not_running = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            ControlError::NotRunning(directory_of(path).to_owned())
        }
        _ => ControlError::Socket {
            path: path.to_owned(),
            source: error,
        },
    };
    let short = ShortPath::of(path).map_err(not_running)?;
    in_time(UnixStream::connect(&short.path))
        .await?
        .map_err(not_running)
}

async fn in_time<T>(doing: impl Future<Output = T>) -> Result<T, ControlError> {
    let done = timeout(ANSWER_WAIT, doing).await;
    done.map_err(|_| ControlError::TimedOut)
}

fn broken(error: impl std::fmt::Display) -> ControlError {
    ControlError::Broken(error.to_string())
}

/// A body that `produce` writes on a thread of its own while it is sent.
///
/// A slow reader makes `produce` wait; a reader gone makes its writes fail. If `produce` fails or
/// panics, the answer breaks off and the reader knows.
pub fn stream(produce: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static) -> Body {
    let (chunks, received) = mpsc::channel(CHUNKS_MAX);
    let producer = tokio::task::spawn_blocking(move || {
        let mut writer = ChunkWriter {
            pending: Vec::new(),
            chunks,
        };
        produce(&mut writer)?;
        writer.flush()
    });
    Body::from_stream(stream::unfold(
        (received, Some(producer)),
        |(mut received, producer)| async move {
            if let Some(chunk) = received.recv().await {
                return Some((Ok(chunk), (received, producer)));
            }
            let error = ended(producer?).await.err()?;
            tracing::warn!(%error, "a streamed answer broke off");
            Some((Err(error), (received, None)))
        },
    ))
}

async fn ended(producer: JoinHandle<io::Result<()>>) -> io::Result<()> {
    producer
        .await
        .unwrap_or_else(|panic| Err(io::Error::other(panic)))
}

/// Gathers small writes into chunks.
struct ChunkWriter {
    pending: Vec<u8>,
    chunks: mpsc::Sender<Bytes>,
}

impl Write for ChunkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(CHUNK_BYTES - self.pending.len());
        self.pending.extend_from_slice(&bytes[..taken]);
        if self.pending.len() == CHUNK_BYTES {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::take(&mut self.pending).into();
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the reader is gone");
        self.chunks.blocking_send(chunk).map_err(gone)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::net::UnixListener;

    use axum::{
        http::StatusCode,
        routing::{get as route, post as route_post},
    };

    use super::*;

    const ANSWER_BYTES_MAX: usize = 1 << 20;
    /// More than both sides' buffers together.
    const LINES: usize = 200_000;

    fn router() -> Router {
        Router::new()
            .route("/status", route(async || "fine"))
            .route("/echo", route_post(async |body: String| body))
            .route("/no", route(async || (StatusCode::CONFLICT, "not now\n")))
            .route("/lines", route(async || stream(lines)))
            .route(
                "/fails",
                route(async || stream(|out| lines(out).and(Err(io::Error::other("disk"))))),
            )
            .route(
                "/panics",
                route(async || {
                    stream(|out| {
                        lines(out)?;
                        panic!("on purpose")
                    })
                }),
            )
            .route("/never", route(std::future::pending::<()>))
    }

    fn lines(out: &mut dyn Write) -> io::Result<()> {
        for line in 0..LINES {
            writeln!(out, "{line}")?;
        }
        Ok(())
    }

    async fn text(path: &Path, target: &str) -> Result<String, ControlError> {
        let bytes = get(path, target).await?.bytes(ANSWER_BYTES_MAX).await?;
        Ok(String::from_utf8(bytes).unwrap())
    }

    #[tokio::test]
    async fn asks_and_answers() {
        let dir = tempfile::tempdir().unwrap();
        let path = socket_path(dir.path());
        let server = serve(&path, router()).await.unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(text(&path, "/status").await.unwrap(), "fine");
        let echoed = post(&path, "/echo", b"body".to_vec()).await.unwrap();
        assert_eq!(echoed.bytes(10).await.unwrap(), b"body");
        let refused = text(&path, "/no").await.unwrap_err();
        assert!(
            matches!(&refused, ControlError::Refused { status: 409, reason } if reason == "not now"),
            "{refused:?}"
        );
        let unknown = text(&path, "/unknown").await.unwrap_err();
        assert!(matches!(unknown, ControlError::Refused { status: 404, .. }));
        assert!(text(&path, "no target\n").await.is_err());
        server.stop().await;
        assert!(!path.exists());
        let error = text(&path, "/status").await.unwrap_err();
        assert!(matches!(error, ControlError::NotRunning(_)));
        assert!(error.to_string().contains("dunlin run"), "{error}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_long_answer_is_streamed_and_a_broken_one_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = socket_path(dir.path());
        let server = serve(&path, router()).await.unwrap();
        let mut reply = get(&path, "/lines").await.unwrap();
        let (mut all, mut chunks) = (Vec::new(), 0);
        while let Some(chunk) = reply.chunk().await.unwrap() {
            all.extend_from_slice(&chunk);
            chunks += 1;
        }
        let mut expected = Vec::new();
        lines(&mut expected).unwrap();
        assert!(
            all == expected && chunks > 10,
            "{} bytes in {chunks}",
            all.len()
        );
        let too_long = text(&path, "/lines").await.unwrap_err();
        assert!(matches!(too_long, ControlError::Broken(_)));
        for target in ["/fails", "/panics"] {
            let mut reply = get(&path, target).await.unwrap();
            let mut received = 0;
            let error = loop {
                match reply.chunk().await {
                    Ok(Some(chunk)) => received += chunk.len(),
                    Ok(None) => panic!("{target} ended as if it were whole"),
                    Err(error) => break error,
                }
            };
            assert!(matches!(error, ControlError::Broken(_)), "{error:?}");
            assert!(received <= expected.len());
        }
        server.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_reader_that_leaves_stops_the_producer() {
        let (stopped, told) = tokio::sync::oneshot::channel();
        let told_once = std::sync::Mutex::new(Some(stopped));
        let endless = move |out: &mut dyn Write| loop {
            if let Err(error) = lines(out) {
                let stopped = told_once.lock().unwrap().take().unwrap();
                stopped.send(error.kind()).unwrap();
                return Err(error);
            }
        };
        let endless = std::sync::Arc::new(std::sync::Mutex::new(Some(endless)));
        let handler = async move || {
            let produce = endless.lock().unwrap().take().unwrap();
            stream(produce)
        };
        let dir = tempfile::tempdir().unwrap();
        let path = socket_path(dir.path());
        let router = Router::new().route("/", route(handler));
        let server = serve(&path, router).await.unwrap();
        let mut reply = get(&path, "/").await.unwrap();
        assert!(reply.chunk().await.unwrap().is_some());
        drop(reply);
        assert_eq!(told.await.unwrap(), io::ErrorKind::BrokenPipe);
        server.stop().await;
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_living_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = socket_path(dir.path());
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        assert!(matches!(
            get(&path, "/").await,
            Err(ControlError::NotRunning(_))
        ));
        let server = serve(&path, router()).await.unwrap();
        let error = serve(&path, router()).await.unwrap_err();
        assert!(matches!(error, ControlError::InUse(_)), "{error}");
        assert_eq!(text(&path, "/status").await.unwrap(), "fine");
        // What another agent has put there meanwhile is not ours to remove.
        fs::remove_file(&path).unwrap();
        let other = UnixListener::bind(&path).unwrap();
        server.stop().await;
        assert!(path.exists());
        drop(other);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        let error = serve(&path, router()).await.unwrap_err();
        assert!(error.to_string().contains("no socket"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        let missing = socket_path(&dir.path().join("missing"));
        assert!(matches!(
            serve(&missing, router()).await,
            Err(ControlError::Socket { .. })
        ));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_path_beyond_the_limit_works() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("d".repeat(200));
        fs::create_dir(&deep).unwrap();
        let path = socket_path(&deep);
        let server = serve(&path, router()).await.unwrap();
        assert_eq!(text(&path, "/status").await.unwrap(), "fine");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(matches!(
            serve(&path, router()).await,
            Err(ControlError::InUse(_))
        ));
        server.stop().await;
        assert!(!path.exists());
    }
}
