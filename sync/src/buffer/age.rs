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
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use super::super::{
        BufferOptions,
        tests::{Device, small},
    };

    const SECOND_NS: i64 = 1_000_000_000;

    fn options(dir: &Path) -> BufferOptions {
        BufferOptions {
            replay_bytes_max: 0,
            ..small(dir)
        }
    }

    fn commit(device: &mut Device, name: &str, second: i64) {
        device.ts = second * SECOND_NS;
        device.push(name, 1);
        device.commit().unwrap();
    }

    fn upload(device: &Device) {
        device.buffer.uploaded_to(device.buffer.next_seq());
    }

    /// As the writer does, at `second`, for streams that are idle after `idle_s`.
    fn look(device: &Device, second: i64, idle_s: i64) -> Vec<String> {
        let now_ts = second * SECOND_NS;
        let before_ts = now_ts - idle_s * SECOND_NS;
        device.buffer.seal_old(now_ts, before_ts);
        let forgotten = device.buffer.forget_idle(before_ts);
        forgotten.iter().map(|stream| stream.name.clone()).collect()
    }

    #[test]
    fn idle_streams_are_forgotten_however_little_arrives() {
        let dir = tempfile::tempdir().unwrap();
        let (mut device, _) = Device::open(options(dir.path()));
        for name in ["a", "b", "c"] {
            commit(&mut device, name, 1_000);
        }
        commit(&mut device, "a", 1_095);
        assert!(look(&device, 1_100, 50).is_empty(), "not uploaded");
        upload(&device);
        assert!(look(&device, 1_100, 200).is_empty(), "not idle");
        device.buffer.wanted_from(0);
        assert!(look(&device, 1_100, 50).is_empty(), "still read");
        device.buffer.wanted_from(u64::MAX);
        let window = |bytes| {
            let mut options = options(dir.path());
            options.replay_bytes_max = bytes;
            device.buffer.set_limits(&options);
        };
        window(4 << 20);
        assert!(look(&device, 1_100, 50).is_empty(), "kept for training");
        window(0);
        let kept = ["b".to_owned(), "c".to_owned()];
        device.buffer.keep_streams(kept.into());
        assert!(look(&device, 1_100, 50).is_empty(), "with open tasks");
        assert_eq!(device.buffer.shape().rows, 4);
        device.buffer.keep_streams(["c".to_owned()].into());
        assert_eq!(look(&device, 1_100, 50), ["b"]);
        let shape = device.buffer.shape();
        assert_eq!((shape.generations, shape.rows), (1, 0));
        device.buffer.keep_streams([].into());
        assert_eq!(look(&device, 1_100, 50), ["c"]);
        commit(&mut device, "b", 1_101);
        assert_eq!(device.all_ts().len(), 1);
        assert_eq!(device.stream("b").id, 3);
    }

    #[test]
    fn idle_streams_are_forgotten_however_often_the_device_starts() {
        let dir = tempfile::tempdir().unwrap();
        let (mut device, _) = Device::open(options(dir.path()));
        for name in ["a", "b"] {
            commit(&mut device, name, 1_000);
        }
        for second in [1_040, 1_080, 1_120] {
            drop(device);
            device = Device::open(options(dir.path())).0;
            commit(&mut device, "a", second);
            upload(&device);
            let forgotten = look(&device, second, 100);
            let expected: &[&str] = if second == 1_120 { &["b"] } else { &[] };
            assert_eq!(forgotten, expected, "{second}");
        }
    }

    #[test]
    fn records_too_old_for_the_replay_window_go_however_little_arrives() {
        let dir = tempfile::tempdir().unwrap();
        let mut options = options(dir.path());
        options.replay_bytes_max = 4 << 20;
        options.replay_age_ns_max = Some(100 * SECOND_NS);
        let (mut device, _) = Device::open(options);
        let mut oldest = Vec::new();
        for second in (1_000..2_000).step_by(10) {
            commit(&mut device, "a", second);
            upload(&device);
            assert!(look(&device, second + 5, 86_400).is_empty());
            oldest.push(second - device.all_ts()[0] / SECOND_NS);
        }
        // A generation holds up to one age, and goes one age after its last record.
        assert!(oldest.iter().all(|age| *age <= 240), "{oldest:?}");
        assert!(oldest[20..].iter().all(|age| *age >= 100), "{oldest:?}");
        assert!(device.buffer.lock().next_id <= 12);
    }

    #[test]
    fn generations_are_sealed_for_their_age_once_in_an_age_at_most() {
        for (idle_s, replay_age_s, at_most) in
            [(5, None, 120), (86_400, Some(5), 120), (600, Some(900), 6)]
        {
            let dir = tempfile::tempdir().unwrap();
            let mut options = options(dir.path());
            options.replay_age_ns_max = replay_age_s.map(|age| age * SECOND_NS);
            let (mut device, _) = Device::open(options);
            // Each machine is seen once, and one always.
            for second in (10_000..13_600).step_by(20) {
                commit(&mut device, &format!("s/{second}"), second);
                commit(&mut device, "s", second);
                upload(&device);
                let _forgotten = look(&device, second + 10, idle_s);
                let _forgotten = look(&device, second + 19, idle_s);
            }
            let sealed = device.buffer.lock().active.id;
            assert!(
                (at_most / 4..=at_most + 1).contains(&sealed),
                "{sealed} for {idle_s}, {replay_age_s:?}"
            );
            let streams = device.buffer.catalog().streams().len() as i64;
            assert!(
                streams <= 2 + idle_s.max(60) * 2 / 20 + 2 || idle_s > 3_600,
                "{streams} after {idle_s} s"
            );
        }
    }
}
