//! What the command line has done to a data directory: one implementation of each operation, used
//! by the running agent (asked over its control socket) and by commands that open the directory
//! themselves.
//!
//! Promises: a request is bounded in bytes and checked before anything is done; memory stays bounded
//! however much an operation reads; whoever listens hears of progress, and one who has left stops
//! the operation.

pub mod export;
mod import;
#[cfg(feature = "learning")]
mod learning;
mod quarantine;
mod upload;
mod verify;

#[cfg(all(test, feature = "sqlite"))]
mod tests;

use std::{io, sync::Arc};

use dunlin_sync::{buffer::Buffer, cursor::Cursor, quarantine::Quarantine, upstream::Upstream};
use serde::{Deserialize, Serialize};

#[cfg(feature = "learning")]
pub use self::learning::{
    CohortAsk, CohortFound, CohortView, EvaluateAsk, Evaluated, FOLDS, FoldRule, LearningAsk,
    LearningParts, ModelSummary, ModelsAsk, SHOWN_ROWS_MAX, ShownRow, Which,
};
pub(crate) use self::quarantine::count;
pub use self::{
    export::{ExportAsk, ExportDone, ExportFormat},
    import::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX, ImportBatch, Target},
    quarantine::{Held, Retried, Selection, Summary},
    upload::{AgainAsk, SentAgain},
};
use crate::{
    config::settings::StreamRule,
    observe::status::View,
    record::writer::{Requests, WriterStats},
};

/// Why an operation did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum OperationError {
    /// It cannot be done as asked; asking again will not help.
    #[error("{0}")]
    Asked(String),
    /// It was tried and failed.
    #[error("{0}")]
    Failed(String),
}

impl OperationError {
    pub(crate) fn failed(error: impl std::fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Hears what an operation does. An error from either stops the operation.
pub trait Listener {
    /// How far it is: `done` of `total`, in whatever it counts; `total` 0 if nobody knows. Also a
    /// sign of life.
    ///
    /// # Errors
    /// Nobody listens any more.
    fn progress(&mut self, done: u64, total: u64) -> io::Result<()>;

    /// More of what it produces.
    ///
    /// # Errors
    /// The data cannot be taken.
    fn data(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Ask {
    /// Compare with the upstream: [`dunlin_sync::verify::VerifyReport`].
    Verify,
    /// Write out records as data: [`ExportDone`].
    Export(ExportAsk),
    /// What an import into this stream has to fit: [`Target`].
    Target(String),
    /// Take in records, answered once they are durable: the number stored.
    Import(ImportBatch),
    /// Items in quarantine, oldest first: a list of [`Summary`].
    List {
        /// Which.
        selection: Selection,
        /// At most this many.
        items_max: u64,
    },
    /// One item in quarantine: an optional [`dunlin_sync::quarantine::Item`].
    Show(u64),
    /// What is in quarantine: [`Held`] by reason.
    Count(Selection),
    /// Send again: [`Retried`].
    Retry(Selection),
    /// Delete from quarantine: the number of items deleted.
    Purge(Selection),
    /// Send rows again that were upstream once: [`SentAgain`].
    UploadAgain(AgainAsk),
    /// Something about what is learnt: as [`LearningAsk`] says. Last, so that agents and commands
    /// without it understand the rest.
    #[cfg(feature = "learning")]
    Learning(LearningAsk),
}

/// How much of an agent an operation needs when none is running.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// The data directory.
    Directory,
    /// The configuration too, for the upstream and the stream rules.
    Upstream,
    /// A writer.
    Writer,
}

impl Ask {
    /// What it takes to do this.
    pub const fn need(&self) -> Need {
        match self {
            Self::Export(_) | Self::List { .. } | Self::Show(_) => Need::Directory,
            Self::Count(_) | Self::Purge(_) => Need::Directory,
            Self::Verify | Self::UploadAgain(_) => Need::Upstream,
            Self::Target(_) | Self::Import(_) | Self::Retry(_) => Need::Writer,
            #[cfg(feature = "learning")]
            Self::Learning(ask) => ask.need(),
        }
    }
}

/// What the operations work on.
pub struct Parts {
    /// Committed records.
    pub buffer: Arc<Buffer>,
    /// What could not be decoded or delivered.
    pub quarantine: Arc<Quarantine>,
    /// The upload cursor as it is now.
    pub cursor: Box<dyn Fn() -> Cursor + Send + Sync>,
    /// The stream rules; empty without [`Need::Upstream`].
    pub rules: Vec<StreamRule>,
    /// What is learnt.
    #[cfg(feature = "learning")]
    pub learning: LearningParts,
    /// The way out, from [`Need::Upstream`] on.
    pub upstream: Option<Arc<dyn Upstream>>,
    /// The way in, from [`Need::Writer`] on.
    pub writer: Option<WriterEnd>,
}

/// How to reach a writer.
#[derive(Clone)]
pub struct WriterEnd {
    /// Its queue.
    pub requests: Requests,
    /// Its counters.
    pub stats: Arc<WriterStats>,
    /// Uploads go on, so that a full buffer gets room again.
    pub drains: bool,
}

impl Parts {
    /// Those of a running agent.
    pub fn of_agent(view: &Arc<View>, requests: Requests) -> Self {
        let uploads = Arc::clone(&view.uploads);
        Self {
            buffer: Arc::clone(&view.buffer),
            quarantine: Arc::clone(&view.quarantine),
            cursor: Box::new(move || uploads.cursor()),
            rules: view.settings().streams.clone(),
            #[cfg(feature = "learning")]
            learning: LearningParts::of_agent(view),
            upstream: Some(Arc::clone(&view.upstream)),
            writer: Some(WriterEnd {
                requests,
                stats: Arc::clone(&view.writer),
                drains: true,
            }),
        }
    }

    fn upstream(&self) -> Result<&Arc<dyn Upstream>, OperationError> {
        self.upstream
            .as_ref()
            .ok_or_else(|| OperationError::Failed("no upstream is open".into()))
    }

    fn writer(&self) -> Result<&WriterEnd, OperationError> {
        self.writer
            .as_ref()
            .ok_or_else(|| OperationError::Failed("no writer is running".into()))
    }
}

/// Does what is asked; the answer is JSON of the type that [`Ask`] names. Blocks the thread, which
/// must belong to a tokio runtime.
///
/// # Errors
/// [`OperationError`], also if `listener` refuses to listen any more.
pub fn perform(
    parts: &Parts,
    ask: Ask,
    listener: &mut (dyn Listener + Send),
) -> Result<Vec<u8>, OperationError> {
    match ask {
        Ask::Verify => json(&verify::verify(parts, listener)?),
        Ask::Export(ask) => json(&export::export(&parts.buffer, &ask, listener)?),
        Ask::Target(stream) => json(&import::target(&parts.buffer, &parts.rules, &stream)?),
        Ask::Import(batch) => json(&import::import(parts, batch, listener)?),
        Ask::List {
            selection,
            items_max,
        } => json(&quarantine::list(&parts.quarantine, &selection, items_max)?),
        Ask::Show(id) => json(&parts.quarantine.get(id).map_err(OperationError::failed)?),
        Ask::Count(selection) => json(&quarantine::count(&parts.quarantine, &selection)?),
        Ask::Retry(selection) => json(&quarantine::retry(parts, &selection, listener)?),
        Ask::Purge(selection) => json(&quarantine::purge(&parts.quarantine, &selection)?),
        Ask::UploadAgain(ask) => json(&upload::again(parts, &ask, listener)?),
        #[cfg(feature = "learning")]
        Ask::Learning(ask) => learning::perform(parts, ask, listener),
    }
}

fn json<T: Serialize>(answer: &T) -> Result<Vec<u8>, OperationError> {
    serde_json::to_vec(answer).map_err(OperationError::failed)
}
