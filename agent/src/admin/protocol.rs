//! How commands talk to a running agent: HTTP over a Unix domain socket in the data directory. The body of a
//! request is a [`Request`](super::operations::Request) as checked bytes, that of an answer is frames
//! (`wire`).
//!
//! Promises: only the agent's own user may connect (mode 0600 before anybody can); a stale socket
//! is replaced and a living agent's never; a long answer arrives in chunks, bounded in memory on
//! both sides, and one cut short is an error to whoever reads it, never a short answer.

pub(super) mod wire;

use std::{
    fs::File,
    io,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    time::Duration,
};

#[cfg(feature = "learning")]
use dunlin_models::registry::ARTIFACT_BYTES_MAX;

/// Name of the socket in the data directory.
pub const SOCKET_NAME: &str = "dunlin.sock";

/// Where operations are asked for.
pub const TARGET: &str = "/operations";
/// Most bytes of one request: the largest model with its overhead; a full import batch is less.
pub(super) const REQUEST_BYTES_MAX: usize = 33 << 20;
#[cfg(feature = "learning")]
const _: () = assert!(REQUEST_BYTES_MAX as u64 > ARTIFACT_BYTES_MAX + (1 << 19));
/// Wait for the connection, for the start of an answer, and for each of its chunks.
pub(super) const ANSWER_WAIT: Duration = Duration::from_secs(30);
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

pub(super) fn directory_of(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

/// A socket's path that the system takes: a long one goes through an open directory.
pub(super) struct ShortPath {
    pub(super) path: PathBuf,
    /// Holds the directory open for as long as the path is used.
    _directory: Option<File>,
}

impl ShortPath {
    pub(super) fn of(path: &Path) -> io::Result<Self> {
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

#[cfg(test)]
mod tests;
