//! What must hold for every upstream and every centre, on the real ones: a `SQLite` file always, `PostgreSQL` where
//! `DUNLIN_POSTGRES_URL` names a server (`postgres://user:password@host:5432/any`). `TDengine` is in `tdengine`.

#![allow(clippy::unwrap_used)]

mod postgres;
mod spoilt;
mod sqlite;

use std::{sync::Arc, time::Duration};

use dunlin_sync::{
    centre::{self, Centre},
    upstream::{self, Upstream, UpstreamOptions},
};

/// A connection of its own to what `url` names.
fn connect(url: &str) -> Result<Arc<dyn Upstream>, String> {
    let upstream = upstream::connect(&options(url)).map_err(|error| error.to_string())?;
    Ok(Arc::from(upstream))
}

/// The same, to a centre.
fn connect_centre(url: &str) -> Result<Arc<dyn Centre>, String> {
    let centre = centre::connect(&options(url)).map_err(|error| error.to_string())?;
    Ok(Arc::from(centre))
}

fn options(url: &str) -> UpstreamOptions {
    UpstreamOptions::new(url, Duration::from_mins(1))
}

/// Makes all that a centre has noted of attempts `ms` older.
fn pass(ms: i64) -> String {
    format!(
        "UPDATE dunlin_attempts
         SET begun_ms = begun_ms - {ms}, progress_ms = progress_ms - {ms}, expires_ms = expires_ms - {ms}"
    )
}
