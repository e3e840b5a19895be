//! The threads of learning: one looks for something to learn, one answers records.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{sync::oneshot, time::timeout};

use super::{AgentError, ended, spawn_worker};
use crate::{learn, status::View, store::wall_ns, writer::Requests};

const SCANNER: &str = "the scan for something to learn";
const ANSWERER: &str = "the inference";

/// The two of them.
pub(super) struct Learning {
    stop: Arc<AtomicBool>,
    scan: oneshot::Receiver<Result<(), String>>,
    answer: oneshot::Receiver<Result<(), String>>,
}

impl Learning {
    /// Starts them, if anything is to be learnt.
    pub(super) fn start(view: &Arc<View>, requests: &Requests) -> Result<Option<Self>, AgentError> {
        if view.settings.learn.recipes.is_empty() {
            return Ok(None);
        }
        let stop = Arc::new(AtomicBool::new(false));
        let shared = Arc::new(learn::Shared::new(learn::Parts {
            settings: view.settings.learn.clone(),
            state_dir: view.settings.data_dir.join("state"),
            buffer: Arc::clone(&view.buffer),
            models: Arc::clone(&view.models),
            requests: requests.clone(),
            publisher: view.publisher.clone(),
            stats: Arc::clone(&view.learn),
            stop: Arc::clone(&stop),
            wall_ns,
        }));
        let answers = Arc::clone(&shared);
        let answer = spawn_worker(view, ANSWERER, "dunlin-answer", move || {
            learn::answer(&answers)
        })?;
        let scan = spawn_worker(view, SCANNER, "dunlin-scan", move || {
            learn::scan(&shared);
            Ok(())
        })?;
        Ok(Some(Self { stop, scan, answer }))
    }

    pub(super) async fn failed(&mut self) -> AgentError {
        tokio::select! {
            end = &mut self.scan => ended(SCANNER, end),
            end = &mut self.answer => ended(ANSWERER, end),
        }
    }

    /// Answers what is committed and ends; a task under way goes on at the next start.
    pub(super) async fn stop(self, most: Duration) {
        self.stop.store(true, Ordering::Relaxed);
        let both = async { (self.scan.await, self.answer.await) };
        if timeout(most, both).await.is_err() {
            tracing::warn!("learning does not come to an end; what it was at is done again");
        }
    }
}
