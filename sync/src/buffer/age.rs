//! Age: where little arrives, the newest generation is sealed before it is full, so that what is too old to
//! be kept in it can go.

use super::{
    Buffer, Inner, parts,
    space::{NEW_GENERATION_BYTES, disk_free_bytes},
};
use crate::block::codec;

/// The first record of a generation that is sealed for its age is at least so old, nanoseconds. Sealing
/// costs some 1 MiB of writes; ages of more than this bound it by themselves to once in each.
const SEAL_AGE_NS_MIN: i64 = 30_000_000_000;

impl Buffer {
    /// Seals the newest generation if it is uploaded and it alone keeps a stream from being forgotten that
    /// has had no record since `before_ts` (see [`Self::forget_idle`]), or holds what the replay window is
    /// too short for; deletes what nobody needs any more. All times in nanoseconds UTC, `now_ts` is the
    /// present. What this cannot do now it does when it is called again.
    pub fn seal_old(&self, now_ts: i64, before_ts: i64) {
        let mut inner = self.change();
        if !self.is_old(&inner, now_ts, before_ts) || !self.has_room_to_seal(&inner) {
            return;
        }
        match self.rotate(&mut inner) {
            Ok(()) => self.trim(&mut inner),
            Err(error) => tracing::warn!(%error, "cannot begin another part of the buffer"),
        }
    }

    fn is_old(&self, inner: &Inner, now_ts: i64, before_ts: i64) -> bool {
        let extent = &inner.active.extent;
        if extent.is_empty() || inner.uploaded_to < extent.next_seq {
            return false;
        }
        let age_ns_max = self.limits().replay_age_ns_max;
        let keeps_idle = self.keeps_idle(inner, before_ts);
        if age_ns_max.is_none() && !keeps_idle {
            return false;
        }
        let Some(first_ts) = first_ts(inner) else {
            return false;
        };
        if now_ts.saturating_sub(first_ts) < SEAL_AGE_NS_MIN {
            return false;
        }
        let newest_ts = inner.last_ts(extent).unwrap_or(first_ts);
        let is_over = |max: i64| newest_ts.saturating_sub(first_ts) > max;
        keeps_idle || age_ns_max.is_some_and(is_over)
    }

    /// Whether the newest generation could go if it were sealed, and an idle stream with it.
    fn keeps_idle(&self, inner: &Inner, before_ts: i64) -> bool {
        let active = &inner.active;
        let is_in_window = active.generation.disk_bytes() <= self.limits().replay_bytes_max;
        if is_in_window || self.is_wanted_before(active.extent.next_seq) {
            return false;
        }
        let catalog = self.catalog();
        let mut streams = catalog.streams();
        streams.any(|stream| active.census.has(stream.id) && inner.is_idle(stream, before_ts))
    }

    fn has_room_to_seal(&self, inner: &Inner) -> bool {
        let limits = self.limits();
        let free = disk_free_bytes(&self.options.dir);
        inner.used_bytes() + NEW_GENERATION_BYTES <= limits.bytes_max
            && free
                >= limits
                    .disk_free_bytes_min
                    .saturating_add(NEW_GENERATION_BYTES)
    }
}

/// First timestamp in the newest generation, corrected.
fn first_ts(inner: &Inner) -> Option<i64> {
    let (generation, extent) = (&inner.active.generation, &inner.active.extent);
    let mut all = extent.first_seq..extent.next_seq;
    all.find_map(|seq| {
        let stored = parts::read(generation, seq).ok().flatten()?;
        let first_ts = codec::decode_header(&stored).ok()?.first_ts;
        Some(first_ts.saturating_add(inner.shift_ns(seq)))
    })
}

#[cfg(test)]
mod tests;
