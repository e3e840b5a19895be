//! A data directory without an agent: opened by the command itself, no deeper than it needs.

use std::{path::Path, sync::Arc, thread::JoinHandle};

use dunlin_sync::{
    buffer::{Buffer, BufferOptions},
    cursor::Cursor,
    quarantine::Quarantine,
    uploader::Uploader,
};
use tokio::sync::watch;

#[cfg(feature = "learning")]
use super::operations::LearningParts;
use super::operations::{
    Listener, Operation, OperationError, OperationParts, WriterEnd, answer_of, handle,
};
use crate::{
    base::wall::wall_ns,
    config::settings::{Settings, WhenFull},
    ingest::{
        Acker,
        inbox::{self, Outlet},
    },
    mqtt::outgoing,
    record::writer,
    stack::Stack,
    store::{Store, StoreError, check_format, cursor_path, read_identity, usable},
};

impl From<StoreError> for OperationError {
    fn from(error: StoreError) -> Self {
        if error.needs_operator() {
            Self::Asked(error.to_string())
        } else {
            Self::failed(error)
        }
    }
}

/// An open data directory. [`Offline::close`] makes what was written durable.
pub struct Offline {
    parts: OperationParts,
    worker: Option<Worker>,
}

/// The writer, with what keeps its inbox open.
struct Worker {
    outlet: Outlet,
    /// Knows what has been uploaded; never run.
    _uploader: Uploader,
    give_up: watch::Sender<bool>,
    thread: JoinHandle<Result<(), String>>,
}

impl Offline {
    /// Opens `data_dir` for reading, and for taking items out of the quarantine.
    ///
    /// # Errors
    /// [`OperationError::Asked`] if there is no such directory; [`OperationError::Failed`] if it
    /// cannot be opened.
    pub fn open_directory(data_dir: &Path) -> Result<Self, OperationError> {
        usable(data_dir)?;
        if !data_dir.join("buffer").is_dir() {
            return Err(OperationError::Asked(format!(
                "{}: no agent has run here; name its configuration with -c, or its data directory \
                 with --data-dir",
                data_dir.display()
            )));
        }
        check_format(data_dir)?;
        let cursor = Cursor::read(&cursor_path(data_dir)).ok().flatten();
        let cursor = cursor.unwrap_or_default();
        // Nothing is committed, so its bounds do not matter.
        let mut options = BufferOptions::new(data_dir.join("buffer"), u64::MAX);
        options.seq_floor = cursor.done().end();
        let (buffer, recovery) = Buffer::open(options).map_err(StoreError::opening)?;
        for what in &recovery.set_aside {
            tracing::error!(what, "damaged, set aside; everything else carries on");
        }
        if recovery.newest_lost {
            // The agent will find the buffer whole, and must hear of this.
            writer::load_clock(&writer::clock_path(data_dir), true);
        }
        if let Some(identity) = read_identity(data_dir) {
            buffer.set_devices(identity.devices());
        }
        let quarantine = Quarantine::open(&data_dir.join("quarantine"), u64::MAX, wall_ns);
        Ok(Self {
            parts: OperationParts {
                buffer: Arc::new(buffer),
                quarantine: Arc::new(quarantine.map_err(OperationError::failed)?),
                cursor: Box::new(move || cursor.clone()),
                rules: Vec::new(),
                #[cfg(feature = "learning")]
                learning: LearningParts::of_directory(data_dir),
                upstream: None,
                writer: None,
            },
            worker: None,
        })
    }

    /// As [`Offline::open_directory`], with the upstream that `settings` name.
    ///
    /// # Errors
    /// As there, and if the upstream's settings cannot be used.
    pub fn open_with_upstream(settings: &Settings) -> Result<Self, OperationError> {
        let mut offline = Self::open_directory(&settings.data_dir)?;
        offline.parts.upstream =
            Some(crate::upstream::connect(settings).map_err(OperationError::failed)?);
        offline.parts.rules.clone_from(&settings.streams);
        #[cfg(feature = "learning")]
        offline
            .parts
            .learning
            .settings
            .replace(settings.learn.clone());
        Ok(offline)
    }

    /// Opens everything, made if need be, and starts a writer that takes no publishes. A full
    /// buffer refuses: an import never pushes out what is not uploaded.
    ///
    /// # Errors
    /// [`OperationError::Failed`] with what is in the way.
    pub fn open_with_writer(mut settings: Settings) -> Result<Self, OperationError> {
        settings.buffer.when_full = WhenFull::Block;
        let upstream = crate::upstream::connect(&settings).map_err(OperationError::failed)?;
        let store = Store::open(&settings)?;
        // No publish comes, so none is acknowledged.
        let ((outlet, inbox), (acker, _)) = (inbox::channel(1, 1), Acker::observed());
        let (publisher, _) = outgoing::channel();
        let stack = Stack::new(&settings, store, upstream, (inbox, acker, publisher));
        let uploads = stack.uploader.stats();
        let stats = stack.writer.stats();
        let (give_up, gave_up) = watch::channel(false);
        let thread = std::thread::Builder::new()
            .name("dunlin-writer".into())
            .spawn(move || stack.writer.run(&gave_up))
            .map_err(OperationError::failed)?;
        Ok(Self {
            parts: OperationParts {
                buffer: stack.buffer,
                quarantine: stack.quarantine,
                cursor: Box::new(move || uploads.cursor()),
                rules: settings.streams,
                #[cfg(feature = "learning")]
                learning: LearningParts::open(&stack.models, settings.learn),
                upstream: Some(stack.upstream),
                writer: Some(WriterEnd {
                    requests: stack.requests,
                    stats,
                    drains: false,
                }),
            },
            worker: Some(Worker {
                outlet,
                _uploader: stack.uploader,
                give_up,
                thread,
            }),
        })
    }

    /// Does `operation`, which needs no more than was opened. Blocks the thread, which must belong to a tokio
    /// runtime.
    ///
    /// # Errors
    /// [`OperationError`], also if `listener` refuses to listen any more.
    pub fn request<O: Operation>(
        &self,
        operation: O,
        listener: &mut dyn Listener,
    ) -> Result<O::Answer, OperationError> {
        // By way of JSON, so that an answer is the same to the last digit whether an agent runs or not.
        let json = handle(&self.parts, operation.into_request(), listener)?;
        answer_of::<O>(&json)
    }

    /// What is open.
    pub fn parts(&self) -> &OperationParts {
        &self.parts
    }

    /// Ends the writer, if there is one, and lets go of the directory. Dropping does the same, but
    /// tells nobody what went wrong.
    ///
    /// # Errors
    /// [`OperationError::Failed`] if the last records could not be committed.
    pub fn close(mut self) -> Result<(), OperationError> {
        self.worker.take().map_or(Ok(()), Worker::end)
    }
}

impl Drop for Offline {
    fn drop(&mut self) {
        // What was reported as durable is; the rest was reported as failed.
        let _ended = self.worker.take().map(Worker::end);
    }
}

impl Worker {
    fn end(self) -> Result<(), OperationError> {
        // Closes the inbox; a writer that waits for room gives up.
        drop(self.outlet);
        self.give_up.send_replace(true);
        let ended = self.thread.join();
        ended
            .unwrap_or_else(|_| Err("the writer panicked".into()))
            .map_err(OperationError::Failed)
    }
}
