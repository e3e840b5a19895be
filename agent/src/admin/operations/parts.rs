//! What the operations work on, of a running agent or of an open directory.

use std::sync::Arc;

use dunlin_sync::{buffer::Buffer, cursor::Cursor, quarantine::Quarantine, upstream::Upstream};

#[cfg(feature = "learning")]
use super::LearningParts;
use super::OperationError;
use crate::{
    config::settings::StreamRule,
    observe::status::View,
    record::writer::{Requests, WriterStats},
};

/// What the operations work on.
pub struct OperationParts {
    /// Committed records.
    pub buffer: Arc<Buffer>,
    /// What could not be decoded or delivered.
    pub quarantine: Arc<Quarantine>,
    /// The upload cursor as it is now.
    pub cursor: Box<dyn Fn() -> Cursor + Send + Sync>,
    /// The stream rules; empty without `Need::Upstream`.
    pub rules: Vec<StreamRule>,
    /// What is learnt.
    #[cfg(feature = "learning")]
    pub learning: LearningParts,
    /// The way out, from `Need::Upstream` on.
    pub upstream: Option<Arc<dyn Upstream>>,
    /// The way in, from `Need::Writer` on.
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

impl OperationParts {
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

    pub(super) fn upstream(&self) -> Result<&Arc<dyn Upstream>, OperationError> {
        self.upstream
            .as_ref()
            .ok_or_else(|| OperationError::Failed("no upstream is open".into()))
    }

    pub(super) fn writer(&self) -> Result<&WriterEnd, OperationError> {
        self.writer
            .as_ref()
            .ok_or_else(|| OperationError::Failed("no writer is running".into()))
    }
}
