//! What the upstream and the centre share of a `SQLite` file: how it is named, who has it at the moment, what its
//! errors mean.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rusqlite::{ErrorCode, InterruptHandle};

use crate::{lock::unpoisoned, upstream::UpstreamError};

/// Longest wait for another program's lock on the file.
pub(crate) const BUSY_MAX: Duration = Duration::from_secs(5);

/// What went wrong with the file.
pub(crate) enum DbError {
    /// As `SQLite` says.
    Sqlite(rusqlite::Error),
    /// We will not touch it, for this reason.
    Refused(String),
    /// Another program is in the way, as this says.
    Busy(&'static str),
}

impl fmt::Display for DbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(error) => error.fmt(f),
            Self::Refused(reason) => f.write_str(reason),
            Self::Busy(reason) => f.write_str(reason),
        }
    }
}

impl From<rusqlite::Error> for DbError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// An open file, or none, that calls use in turns, on a blocking thread, under a time-out.
pub(crate) struct Turns<T> {
    path: PathBuf,
    timeout: Duration,
    /// `None`: not open, or closed after an error.
    slot: Arc<tokio::sync::Mutex<Option<T>>>,
    interrupt: Arc<Mutex<Option<InterruptHandle>>>,
}

/// Where a call leaves what stops its statement.
pub(crate) struct Interrupt(Arc<Mutex<Option<InterruptHandle>>>);

impl Interrupt {
    /// `handle` stops what runs from here on.
    pub(crate) fn is(&self, handle: InterruptHandle) {
        *unpoisoned(self.0.lock()) = Some(handle);
    }
}

impl<T: Send + 'static> Turns<T> {
    /// For the file at `path`; none is open.
    pub(crate) fn new(path: PathBuf, timeout: Duration) -> Self {
        Self {
            path,
            timeout,
            slot: Arc::default(),
            interrupt: Arc::default(),
        }
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Bound on every call.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// How long a call waits for another program's lock.
    pub(crate) fn busy_max(&self) -> Duration {
        BUSY_MAX.min(self.timeout / 2)
    }

    /// Runs `work` on a blocking thread, one at a time, under the time-out.
    pub(crate) async fn with_slot<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Option<T>, &Interrupt) -> Result<R, DbError> + Send + 'static,
    ) -> Result<R, UpstreamError> {
        let running = Arc::new(AtomicBool::new(false));
        let ours = Arc::clone(&running);
        let answer = async {
            let mut slot = Arc::clone(&self.slot).lock_owned().await;
            ours.store(true, Ordering::Release);
            let interrupt = Interrupt(Arc::clone(&self.interrupt));
            let call = tokio::task::spawn_blocking(move || work(&mut slot, &interrupt));
            call.await
        };
        match tokio::time::timeout(self.timeout, answer).await {
            Ok(Ok(result)) => result.map_err(|error| explained(&self.path, error)),
            Ok(Err(panic)) => Err(UpstreamError::Unavailable(format!("sqlite: {panic}"))),
            Err(_) => {
                if running.load(Ordering::Acquire)
                    && let Some(handle) = &*unpoisoned(self.interrupt.lock())
                {
                    handle.interrupt();
                }
                Err(self.silent())
            }
        }
    }

    /// What a call that took too long says.
    pub(crate) fn silent(&self) -> UpstreamError {
        UpstreamError::Unavailable(format!(
            "{}: no answer within {:?}",
            self.path.display(),
            self.timeout
        ))
    }
}

/// The file that `url` names: `sqlite:relative.db`, `sqlite:/absolute.db` or `sqlite:///absolute.db`.
///
/// # Errors
/// [`UpstreamError::Rejected`] if it names none.
pub(crate) fn path_in(url: &str) -> Result<PathBuf, UpstreamError> {
    let path = url.strip_prefix("sqlite:").unwrap_or(url);
    let path = path.strip_prefix("//").unwrap_or(path);
    let refused = |why: &str| {
        Err(UpstreamError::Rejected(format!(
            "{url:?} {why}; write sqlite:central.db or sqlite:///var/lib/central.db"
        )))
    };
    match path {
        "" => refused("names no file"),
        ":memory:" => refused("would forget everything at the next start"),
        _ if path.contains('\0') => refused("holds a NUL"),
        _ => Ok(PathBuf::from(path)),
    }
}

/// Sorts what `SQLite` says by what helps: waiting, or somebody changing something.
pub(crate) fn explained(path: &Path, error: DbError) -> UpstreamError {
    let path = path.display();
    let error = match error {
        DbError::Sqlite(error) => error,
        DbError::Refused(reason) => return UpstreamError::Rejected(format!("{path}: {reason}")),
        DbError::Busy(reason) => return UpstreamError::Unavailable(format!("{path}: {reason}")),
    };
    let (later, advice) = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => (true, "make room on its disk"),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            (true, "another program holds its lock")
        }
        Some(
            ErrorCode::SystemIoFailure
            | ErrorCode::OperationInterrupted
            | ErrorCode::OutOfMemory
            | ErrorCode::SchemaChanged
            | ErrorCode::FileLockingProtocolFailed,
        ) => (true, "trying again"),
        Some(ErrorCode::NotADatabase) => (false, "the file is something else; name another one"),
        Some(ErrorCode::DatabaseCorrupt) => (
            false,
            "the file is damaged; move it away and a new one is begun",
        ),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            (false, "make the file and its directory writable for us")
        }
        Some(ErrorCode::CannotOpen) => (
            false,
            "its directory must exist and be writable, and it must not be a directory itself",
        ),
        _ => (false, "its tables are not as we left them"),
    };
    let text = format!("{path}: {error}; {advice}");
    if later {
        UpstreamError::Unavailable(text)
    } else {
        UpstreamError::Rejected(text)
    }
}
