//! What must hold for every upstream, on the real ones: a `SQLite` file always, `PostgreSQL` where
//! `DUNLIN_POSTGRES_URL` names a server (`postgres://user:password@host:5432/any`). `TDengine` is in `tdengine`.

#![allow(clippy::unwrap_used)]

mod postgres;
mod spoilt;
mod sqlite;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use dunlin_sync::upstream::{self, Upstream, UpstreamOptions};

/// A connection of its own to what `url` names.
fn connect(url: &str) -> Result<Arc<dyn Upstream>, String> {
    let options = UpstreamOptions {
        url: url.into(),
        timeout: Duration::from_mins(1),
        database_options: BTreeMap::default(),
        password_file: None,
        ca_file: None,
        cert_file: None,
        key_file: None,
    };
    let upstream = upstream::connect(&options).map_err(|error| error.to_string())?;
    Ok(Arc::from(upstream))
}
