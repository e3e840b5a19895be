//! Store, uploader and writer wired together, for the running agent and for a command that stores records
//! without one.

use std::{sync::Arc, time::Duration};

use dunlin_sync::{
    buffer::Buffer,
    quarantine::Quarantine,
    uploader::{Uploader, UploaderOptions},
    upstream::{self, Upstream, UpstreamError, UpstreamOptions},
};
use tokio::sync::watch;

use crate::{
    base::wall::wall_ns,
    config::settings::Settings,
    ingest::{Acker, Inbox},
    record::writer::{Parts, Requests, Writer},
    store::{Identity, Store, cursor_path},
};

/// Smallest gap between uploads that do not fill a batch.
const UPLOAD_GAP: Duration = Duration::from_millis(250);
/// Smallest gap between saves of the cursor.
const SAVE_GAP: Duration = Duration::from_secs(1);

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
    /// Publishes come in by `inbox` and are acknowledged by `acker`. Blocks on the disk for a moment.
    pub(crate) fn new(
        settings: &Settings,
        store: Store,
        upstream: Arc<dyn Upstream>,
        inbox: Inbox,
        acker: Acker,
    ) -> Self {
        let (gate, gate_open) = watch::channel(!store.clock.uploads_held());
        let uploader = Uploader::open(
            uploader_options(settings),
            Arc::clone(&store.buffer) as _,
            Arc::clone(&upstream),
            Arc::clone(&store.quarantine) as _,
            gate_open,
        );
        let parts = Parts {
            inbox,
            acker,
            buffer: Arc::clone(&store.buffer),
            quarantine: Arc::clone(&store.quarantine),
            clock: store.clock,
            gate,
            uploads: uploader.stats(),
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

/// How to reach the upstream that `settings` name.
///
/// # Errors
/// [`UpstreamError`] if its URL or TLS files cannot be used.
pub(crate) fn connect_upstream(settings: &Settings) -> Result<Arc<dyn Upstream>, UpstreamError> {
    let upstream = &settings.upstream;
    let options = UpstreamOptions {
        url: upstream.url.reveal().to_owned(),
        timeout: upstream.timeout,
        database_options: upstream.database_options.clone(),
        password_file: upstream.password_file.clone(),
        ca_file: upstream.tls.ca_file.clone(),
        cert_file: upstream.tls.cert_file.clone(),
        key_file: upstream.tls.key_file.clone(),
    };
    upstream::connect(&options).map(Arc::from)
}

fn uploader_options(settings: &Settings) -> UploaderOptions {
    let upstream = &settings.upstream;
    UploaderOptions {
        cursor_path: cursor_path(&settings.data_dir),
        batch_rows_max: upstream.batch_rows_max,
        in_flight_max: upstream.in_flight_max,
        order: upstream.order,
        upload_gap_min: UPLOAD_GAP,
        save_gap_min: SAVE_GAP,
        backoff_min: Duration::from_millis(upstream.backoff_ms_min),
        backoff_max: Duration::from_millis(upstream.backoff_ms_max),
        seed: rand::random(),
    }
}
