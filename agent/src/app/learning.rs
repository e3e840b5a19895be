//! The threads of learning: one looks for something to learn, one answers records.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};

use super::{AgentError, ended, spawn_worker};
use crate::{base::wall::wall_ns, learn, observe::status::View, record::writer::Requests};

const SCANNER: &str = "the scan for something to learn";
const ANSWERER: &str = "the inference";
/// How often is looked whether tasks have made way.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The two of them.
pub(super) struct Learning {
    /// What they and the tasks under way share, until the last of these has ended.
    shared: Weak<learn::Shared>,
    stop: Arc<AtomicBool>,
    scan: oneshot::Receiver<Result<(), String>>,
    answer: oneshot::Receiver<Result<(), String>>,
}

impl Learning {
    /// Starts them, if anything is to be learnt.
    pub(super) fn start(view: &Arc<View>, requests: &Requests) -> Result<Option<Self>, AgentError> {
        let settings = view.settings();
        if settings.learn.recipes.is_empty() {
            view.buffer.wanted_from(u64::MAX);
            return Ok(None);
        }
        let stop = Arc::new(AtomicBool::new(false));
        let shared = Arc::new(learn::Shared::new(learn::LearnParts {
            settings: settings.learn.clone(),
            state_dir: settings.data_dir.join("state"),
            buffer: Arc::clone(&view.buffer),
            models: Arc::clone(&view.models),
            released: Arc::clone(&view.released),
            requests: requests.clone(),
            publisher: view.publisher.clone(),
            stats: Arc::clone(&view.learn),
            stop: Arc::clone(&stop),
            wall_ns,
        }));
        let (answers, all) = (Arc::clone(&shared), Arc::downgrade(&shared));
        let answer = spawn_worker(view, ANSWERER, "dunlin-answer", move || {
            learn::infer(&answers)
        })?;
        let scan = spawn_worker(view, SCANNER, "dunlin-scan", move || {
            learn::scan(&shared);
            Ok(())
        })?;
        Ok(Some(Self {
            shared: all,
            stop,
            scan,
            answer,
        }))
    }

    pub(super) async fn failed(&mut self) -> AgentError {
        tokio::select! {
            end = &mut self.scan => ended(SCANNER, end),
            end = &mut self.answer => ended(ANSWERER, end),
        }
    }

    /// Ends as at the agent's end, tasks under way included, so that others may go on where they were.
    ///
    /// # Errors
    /// [`AgentError::Worker`] if that takes too long: two of a kind must not work on one state.
    pub(super) async fn give_way(self, most: Duration) -> Result<(), AgentError> {
        let shared = Weak::clone(&self.shared);
        self.stop(most).await;
        let all_ended = async {
            while shared.strong_count() > 0 {
                sleep(LOOK_EVERY).await;
            }
        };
        timeout(most, all_ended)
            .await
            .map_err(|_| AgentError::Worker {
                worker: SCANNER,
                why: "it did not make way for what is to be learnt now".to_owned(),
            })
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
