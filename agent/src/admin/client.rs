//! The command's side of the socket.

use std::{io, path::Path};

use axum::body::Bytes;
use bytes::{Buf, BytesMut};
use dunlin_sync::files::frame;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{net::UnixStream, task::JoinSet, time::timeout};

use super::{
    operations::{Listener, Operation, OperationError, answer_of},
    protocol::{
        ANSWER_WAIT, ControlError, ShortPath, TARGET, directory_of,
        wire::{ANSWER, DATA, ERROR, PROGRESS, next_frame},
    },
};

/// Longest reason of a refusal, bytes.
const REASON_BYTES_MAX: usize = 64 * 1024;

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
    exchange(path, Method::GET, target, Bytes::new()).await
}

/// Sends `body` to `target` of the agent behind the socket at `path`.
///
/// # Errors
/// As for [`get`].
pub async fn post(path: &Path, target: &str, body: Vec<u8>) -> Result<Reply, ControlError> {
    exchange(path, Method::POST, target, body.into()).await
}

/// Has the agent behind the socket at `path` do `operation`, and follows that to its end.
///
/// # Errors
/// [`OperationError::Failed`] if the agent is not reached or falls silent, or if `listener` refuses;
/// otherwise the agent's own.
pub async fn request<O: Operation>(
    path: &Path,
    operation: O,
    listener: &mut dyn Listener,
) -> Result<O::Answer, OperationError> {
    let body = frame::to_bytes(&operation.into_request()).map_err(OperationError::failed)?;
    let reply = post(path, TARGET, body).await;
    let json = follow(reply.map_err(OperationError::failed)?, listener).await?;
    answer_of::<O>(&json)
}

/// The answer as JSON.
async fn follow(mut reply: Reply, listener: &mut dyn Listener) -> Result<Vec<u8>, OperationError> {
    let mut bytes = BytesMut::new();
    loop {
        while let Some((kind, body)) = next_frame(&mut bytes).map_err(cut)? {
            match kind {
                PROGRESS if body.len() == 16 => {
                    let (done, total) = ((&body[..8]).get_u64(), (&body[8..]).get_u64());
                    listener.progress(done, total)
                }
                DATA => listener.data(&body),
                ANSWER => return Ok(body.to_vec()),
                ERROR => {
                    let error = serde_json::from_slice(&body);
                    return Err(error.unwrap_or_else(OperationError::failed));
                }
                _ => Err(io::Error::other("the agent's answer is not understood")),
            }
            .map_err(OperationError::failed)?;
        }
        match reply.chunk().await.map_err(OperationError::failed)? {
            Some(chunk) => bytes.extend_from_slice(&chunk),
            None => return Err(cut("it ended without an answer")),
        }
    }
}

fn cut(what: impl std::fmt::Display) -> OperationError {
    OperationError::failed(broken(what))
}

async fn exchange(
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
