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
mod parts;
mod quarantine;
mod retry;
mod upload;
mod verify;

#[cfg(all(test, feature = "sqlite"))]
mod tests;

use std::io;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

#[cfg(feature = "learning")]
pub use self::learning::{
    CohortFound, CohortView, Evaluate, Evaluated, ExportModel, FOLDS, FoldRule, ImportModel,
    ImportedModel, LearningParts, LearningRequest, ListModels, ModelSummary, ModelsRequest,
    PromoteModel, RollBackModel, SHOWN_ROWS_MAX, ShowModel, ShownRow, ViewCohort, Which,
};
pub use self::{
    export::{ExportDone, ExportFormat, ExportRecords},
    import::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX, FileRows, ImportBatch, ImportTarget, Target},
    parts::{OperationParts, WriterEnd},
    quarantine::{CountItems, ListItems, PurgeItems, Quarantined, Selection, ShowItem, Summary},
    retry::{Retried, RetryItems},
    upload::{SentAgain, UploadAgain},
    verify::Verify,
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

impl From<String> for OperationError {
    fn from(text: String) -> Self {
        Self::Failed(text)
    }
}

impl OperationError {
    pub(crate) fn failed(error: impl std::fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Hears what an operation does. An error from either stops the operation.
pub trait Listener: Send {
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

/// What a command can have done. Its fields say what is wanted, [`Operation::Answer`] what comes of it.
pub trait Operation: Sized + Send + 'static {
    /// What it answers.
    type Answer: Serialize + DeserializeOwned + Send + 'static;
    /// What it takes to do this.
    const NEED: Need;

    /// The request that asks a running agent for it.
    fn into_request(self) -> Request;

    /// Does it. Blocks the thread, which must belong to a tokio runtime.
    ///
    /// # Errors
    /// [`OperationError`], also if `listener` refuses to listen any more.
    fn run(
        self,
        parts: &OperationParts,
        listener: &mut dyn Listener,
    ) -> Result<Self::Answer, OperationError>;
}

/// An operation on its way to the agent. Agents and commands of other versions know variants and fields by
/// their order alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// See [`Verify`].
    Verify(Verify),
    /// See [`ExportRecords`].
    Export(ExportRecords),
    /// See [`ImportTarget`].
    Target(ImportTarget),
    /// See [`ImportBatch`].
    Import(ImportBatch),
    /// See [`ListItems`].
    List(ListItems),
    /// See [`ShowItem`].
    Show(ShowItem),
    /// See [`CountItems`].
    Count(CountItems),
    /// See [`RetryItems`].
    Retry(RetryItems),
    /// See [`PurgeItems`].
    Purge(PurgeItems),
    /// See [`UploadAgain`].
    UploadAgain(UploadAgain),
    /// Something about what is learnt. Last, so that agents and commands without it understand the rest.
    #[cfg(feature = "learning")]
    Learning(LearningRequest),
}

/// Does what is asked; the answer as JSON, for [`answer_of`] the same operation. Blocks the thread, which
/// must belong to a tokio runtime.
///
/// # Errors
/// [`OperationError`], also if `listener` refuses to listen any more.
pub(super) fn handle(
    parts: &OperationParts,
    request: Request,
    listener: &mut dyn Listener,
) -> Result<Vec<u8>, OperationError> {
    match request {
        Request::Verify(verify) => json(verify, parts, listener),
        Request::Export(export) => json(export, parts, listener),
        Request::Target(target) => json(target, parts, listener),
        Request::Import(batch) => json(batch, parts, listener),
        Request::List(list) => json(list, parts, listener),
        Request::Show(show) => json(show, parts, listener),
        Request::Count(count) => json(count, parts, listener),
        Request::Retry(retry) => json(retry, parts, listener),
        Request::Purge(purge) => json(purge, parts, listener),
        Request::UploadAgain(again) => json(again, parts, listener),
        #[cfg(feature = "learning")]
        Request::Learning(request) => learning::handle(parts, request, listener),
    }
}

fn json<O: Operation>(
    operation: O,
    parts: &OperationParts,
    listener: &mut dyn Listener,
) -> Result<Vec<u8>, OperationError> {
    serde_json::to_vec(&operation.run(parts, listener)?).map_err(OperationError::failed)
}

/// The answer to an operation, of what [`handle`] has made of its request.
///
/// # Errors
/// [`OperationError::Failed`] if it is none, as that of another version may be.
pub(super) fn answer_of<O: Operation>(json: &[u8]) -> Result<O::Answer, OperationError> {
    serde_json::from_slice(json)
        .map_err(|error| OperationError::Failed(format!("the answer is not understood ({error})")))
}
