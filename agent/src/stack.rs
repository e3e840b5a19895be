//! Store, uploader and writer wired together, for the running agent and for a command that stores records
//! without one.

use std::sync::Arc;

use dunlin_sync::{buffer::Buffer, quarantine::Quarantine, uploader::Uploader, upstream::Upstream};
use tokio::sync::watch;

use crate::{
    base::wall::wall_ns,
    config::settings::Settings,
    ingest::{Acker, Inbox},
    mqtt::outgoing::Publisher,
    record::writer::{Requests, Writer, WriterParts},
    store::{Identity, Store},
    upstream::uploader_options,
};

/// Everything between the inbox and the upstream. Nothing happens before writer and uploader are run.
pub(crate) struct Stack {
    pub(crate) identity: Identity,
    pub(crate) buffer: Arc<Buffer>,
    pub(crate) quarantine: Arc<Quarantine>,
    #[cfg(feature = "learning")]
    pub(crate) models: Arc<dunlin_models::registry::Registry>,
    pub(crate) upstream: Arc<dyn Upstream>,
    pub(crate) uploader: Uploader,
    pub(crate) writer: Writer,
    /// The way to the writer from inside.
    pub(crate) requests: Requests,
}

impl Stack {
    /// Publishes come in by `inbox` and are acknowledged by `acker`; what is said to edge nodes goes out by
    /// `publisher`. Blocks on the disk for a moment.
    pub(crate) fn new(
        settings: &Settings,
        store: Store,
        upstream: Arc<dyn Upstream>,
        (inbox, acker, publisher): (Inbox, Acker, Publisher),
    ) -> Self {
        let (gate, gate_open) = watch::channel(!store.clock.uploads_held());
        let uploader = Uploader::open(
            uploader_options(settings),
            Arc::clone(&store.buffer) as _,
            Arc::clone(&upstream),
            Arc::clone(&store.quarantine) as _,
            gate_open,
        );
        let parts = WriterParts {
            inbox,
            acker,
            buffer: Arc::clone(&store.buffer),
            quarantine: Arc::clone(&store.quarantine),
            clock: store.clock,
            gate,
            uploads: uploader.stats(),
            publisher,
            wall_ns,
        };
        let (writer, requests) = Writer::new(parts, settings);
        Self {
            identity: store.identity,
            buffer: store.buffer,
            quarantine: store.quarantine,
            #[cfg(feature = "learning")]
            models: store.models,
            upstream,
            uploader,
            writer,
            requests,
        }
    }
}
