//! What reaches the writer from inside the agent.

use std::sync::mpsc;

use dunlin_sync::{
    quarantine::Missing,
    sample::{Field, Split},
};

use super::imports::{Imported, ImportedRows};
use crate::{config::settings::Settings, ingest::Waker, record::decode::Record};

/// Tables of the agent itself begin like this; no stream rule may.
pub const OWN_TABLE_PREFIX: &str = "dunlin_";

/// Records or a publish from inside the agent: an import, a retry.
pub struct Request {
    /// What to take in.
    pub content: RequestContent,
    /// Told once it is durable: records committed, or why not.
    pub reply: mpsc::Sender<Answer>,
}

/// Records stored, or why there are none.
pub type Answer = Result<u64, Refused>;

/// Why nothing of a request was stored, in words for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nothing can be stored at present: the same may be asked again.
    #[error("{0}")]
    Transient(String),
    /// Asked again, it would be refused again.
    #[error("{0}")]
    Permanent(String),
}

/// What a [`Request`] holds.
pub enum RequestContent {
    /// Go on by these settings; answered at once, with 0.
    Settings(Box<Settings>),
    /// Decode this as if it had arrived now.
    Publish {
        /// Topic.
        topic: Vec<u8>,
        /// Payload.
        payload: Vec<u8>,
        /// Only these values of it, the others being stored. `None`: all.
        wanted: Option<Missing>,
        /// When it first arrived, nanoseconds UTC: the source time of records that name none. `None`: now.
        at_ns: Option<i64>,
    },
    /// Records of one stream; their fields follow `fields`.
    Records {
        /// Name of the schema.
        schema: String,
        /// Name of the stream.
        stream: String,
        /// Tags after `device` if the schema is no stream rule's; names and values.
        tags: Vec<(String, String)>,
        /// Fields in the order of each record's values.
        fields: Vec<Field>,
        /// The records.
        records: Vec<Record>,
        /// What is known of them from a file.
        file: FromFile,
    },
    /// How far a file is imported, answered with the rows once they are durable.
    Imported {
        /// The file and the stream.
        key: u128,
        /// Where all of it goes, before the answer.
        imported: mpsc::Sender<Imported>,
    },
}

/// What is known of imported records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FromFile {
    /// The split of each, drawn when it was first stored; empty: they are drawn now.
    pub splits: Vec<Split>,
    /// Which rows of which file they are, so that none is stored twice.
    pub rows: Option<ImportedRows>,
}

/// Nobody takes requests any more: the agent ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the writer has ended")]
pub struct WriterEnded;

/// Hands [`Request`]s to the writer; bounded.
#[derive(Clone, Debug)]
pub struct Requests {
    pub(super) queue: mpsc::SyncSender<Vec<Request>>,
    pub(super) waker: Waker,
}

impl Requests {
    /// Queues a request; blocks the thread while the queue is full.
    ///
    /// # Errors
    /// [`WriterEnded`]
    pub fn send(&self, request: Request) -> Result<(), WriterEnded> {
        self.send_together(vec![request])
    }

    /// Queues requests that one commit makes durable, unless one of them cannot be taken; blocks the
    /// thread while the queue is full.
    ///
    /// # Errors
    /// [`WriterEnded`]
    pub fn send_together(&self, requests: Vec<Request>) -> Result<(), WriterEnded> {
        self.queue.send(requests).map_err(|_| WriterEnded)?;
        self.waker.wake();
        Ok(())
    }
}

#[cfg(all(test, feature = "learning"))]
impl Requests {
    /// Requests that go to the receiver, of which there may be `count` at a time.
    pub(crate) fn to_nobody(count: usize) -> (Self, mpsc::Receiver<Vec<Request>>) {
        let (queue, requests) = mpsc::sync_channel(count);
        let (_outlet, inbox) = crate::ingest::inbox::channel(1, 1);
        let waker = inbox.waker();
        (Self { queue, waker }, requests)
    }
}
