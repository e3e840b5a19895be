//! The agent's side of the socket.

mod routes;
mod stream;

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use axum::Router;
use tokio::net::{UnixSocket, UnixStream};

pub use self::routes::router;
use super::protocol::{ControlError, ShortPath, directory_of};
use crate::observe::http::{Limits, Server};

const LOCAL: Limits = Limits {
    connections_max: 8,
    header_wait: Duration::from_secs(5),
    // An export may take hours.
    connection: None,
    grace: Duration::from_secs(1),
};

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

#[cfg(test)]
mod tests;
