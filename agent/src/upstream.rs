//! The upstream and the uploader as the configuration describes them.

mod bounded;

use std::{sync::Arc, time::Duration};

use dunlin_sync::{
    uploader::UploaderOptions,
    upstream::{self, Upstream, UpstreamError, UpstreamOptions},
};

use self::bounded::Bounded;
use crate::{config::settings::Settings, store::cursor_path};

/// Smallest gap between uploads that do not fill a batch.
const UPLOAD_GAP: Duration = Duration::from_millis(250);
/// Smallest gap between saves of the cursor.
const SAVE_GAP: Duration = Duration::from_secs(1);

/// The upstream that `settings` name: one that comes with Dunlin, or the user's own.
///
/// # Errors
/// [`UpstreamError`] if its URL or TLS files cannot be used.
pub(crate) fn connect(settings: &Settings) -> Result<Arc<dyn Upstream>, UpstreamError> {
    let upstream = &settings.upstream;
    if let Some(own) = &upstream.own {
        return Ok(Arc::new(Bounded {
            upstream: Arc::clone(&own.upstream),
            timeout: upstream.timeout,
        }));
    }
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

pub(crate) fn uploader_options(settings: &Settings) -> UploaderOptions {
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
