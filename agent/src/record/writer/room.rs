//! Room for new streams: bounds memory and disk against topics that a stranger makes up.
//!
//! Promises: a stream that is known is never refused; the agent's own streams have room of their own, so
//! that no flood of topics can keep answers from being stored; who comes near a bound is told before it is
//! reached, once.

use std::collections::HashSet;

use dunlin_sync::sample::{Catalog, Schema, Share};

use super::OWN_TABLE_PREFIX;
use crate::config::settings::{DEVICE_STREAMS_MAX, Settings};

/// Most streams of the agent's own tables: six for every stream that learns.
const OWN_STREAMS_MAX: usize = 2 * DEVICE_STREAMS_MAX;
/// Memory that names and tags of streams may take, bytes; less if the buffer is small.
const STREAM_BYTES_MAX: usize = 6 << 20;
/// Fewer would be no use on any device, bytes.
const STREAM_BYTES_MIN: usize = 256 << 10;
/// The same for the agent's own tables, for each byte of the others.
const OWN_BYTES_FACTOR: usize = 2;
/// Names listed in one generation may take this share of it.
const BUFFER_SHARE: u64 = 64;
/// Told about from here on, percent of a bound.
const WARN_PERCENT: usize = 80;

/// Bytes that names and tags may take beside a buffer of so many.
fn bytes_max(buffer_bytes_max: u64) -> usize {
    let share = usize::try_from(buffer_bytes_max / BUFFER_SHARE);
    share
        .unwrap_or(usize::MAX)
        .clamp(STREAM_BYTES_MIN, STREAM_BYTES_MAX)
}

/// How much of the room for streams is used, the agent's own tables apart, percent.
pub(crate) fn percent_used(catalog: &Catalog, buffer_bytes_max: u64) -> u64 {
    let used = shares(catalog, false);
    let streams = used.streams * 100 / DEVICE_STREAMS_MAX;
    streams.max(used.bytes * 100 / bytes_max(buffer_bytes_max)) as u64
}

/// What may be taken, and what has been said of it.
pub(super) struct Room {
    bytes_max: usize,
    /// Bounds that people have been told are near.
    told: HashSet<String>,
}

impl Room {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            bytes_max: bytes_max(settings.buffer.bytes_max),
            told: HashSet::new(),
        }
    }

    /// Whether `name` may become a stream of `schema`, if it is not one already.
    ///
    /// # Errors
    /// Why not, and what to do, in words.
    pub(super) fn check(
        &mut self,
        catalog: &Catalog,
        schema: &Schema,
        name: &str,
        instances_max: Option<usize>,
    ) -> Result<(), String> {
        if catalog.stream_named(name).is_some() {
            return Ok(());
        }
        if let Some(max) = instances_max {
            let used = catalog.share(schema.id).streams;
            let rule = &schema.name;
            let what = format!("instances_max of [[stream]] \"{rule}\"");
            self.within(&what, used, max).map_err(|why| {
                format!("\"{name}\" would be one stream too many: {why}; raise it if it is meant")
            })?;
        }
        let is_own = schema.name.starts_with(OWN_TABLE_PREFIX);
        let of = shares(catalog, is_own);
        let (streams_max, bytes_max) = if is_own {
            (OWN_STREAMS_MAX, self.bytes_max * OWN_BYTES_FACTOR)
        } else {
            (DEVICE_STREAMS_MAX, self.bytes_max)
        };
        let own = if is_own { "the agent's own " } else { "" };
        self.within(
            &format!("{own}streams of this device"),
            of.streams,
            streams_max,
        )
        .and_then(|()| {
            self.within(
                &format!("bytes for names and tags of {own}streams"),
                of.bytes,
                bytes_max,
            )
        })
        .map_err(|why| {
            format!(
                "\"{name}\" would be one stream too many: {why}; bound it by instances_max of its \
                     [[stream]], or wait until idle ones are forgotten (buffer.streams_idle_s_max)"
            )
        })
    }

    /// Whether one more fits; warns once when a bound comes near.
    fn within(&mut self, what: &str, used: usize, max: usize) -> Result<(), String> {
        if used >= max {
            return Err(format!("{used} of {max} {what} are used"));
        }
        if used * 100 < max * WARN_PERCENT {
            // Far enough away to be worth telling again.
            if used * 100 < max * (WARN_PERCENT - 10) {
                self.told.remove(what);
            }
        } else if self.told.insert(what.to_owned()) {
            tracing::warn!(
                used,
                max,
                "more than {WARN_PERCENT} % of the {what} are used; beyond, new ones go to quarantine"
            );
        }
        Ok(())
    }
}

/// What the agent's own streams take, or all others.
fn shares(catalog: &Catalog, own: bool) -> Share {
    let schemas = catalog.schemas().iter();
    let schemas = schemas.filter(|schema| schema.name.starts_with(OWN_TABLE_PREFIX) == own);
    schemas.fold(Share::default(), |sum, schema| {
        let share = catalog.share(schema.id);
        Share {
            streams: sum.streams + share.streams,
            bytes: sum.bytes + share.bytes,
        }
    })
}
