//! What came from a broker: samples of payloads by topic, bounded in number and bytes.

use std::collections::BTreeMap;

/// Most topics kept; those that come later are counted.
const TOPICS_MAX: usize = 5_000;
/// Longest topic, bytes.
const TOPIC_BYTES_MAX: usize = 1024;
/// Most different payloads kept of a topic.
const SAMPLES_MAX: usize = 16;
/// Most bytes kept of a topic's payloads, unless it is one.
const TOPIC_SAMPLES_BYTES_MAX: usize = 128 << 10;
/// Most bytes of all payloads together.
const BYTES_MAX: usize = 64 << 20;

/// Samples by topic, in the order of their names.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    topics: BTreeMap<String, SeenTopic>,
    bytes: usize,
    /// Publishes of topics that are not kept.
    pub(crate) passed_over: u64,
}

/// What came on one topic.
#[derive(Debug, Default)]
pub(crate) struct SeenTopic {
    /// Publishes.
    pub(crate) publishes: u64,
    /// Those among them that the broker had retained.
    pub(crate) retained: u64,
    /// Those without a byte.
    pub(crate) empty: u64,
    /// Those larger than an agent takes.
    pub(crate) too_large: u64,
    /// Those that were not kept as all payloads together are too many bytes.
    pub(crate) without_room: u64,
    /// Different payloads, the first ones.
    pub(crate) samples: Vec<Vec<u8>>,
}

impl Seen {
    /// Keeps a publish, or counts it. Of a payload that is too large not all need be there.
    pub(crate) fn add(&mut self, topic: &[u8], payload: &[u8], bytes: usize, is_retained: bool) {
        let name = std::str::from_utf8(topic).ok();
        let Some(name) = name.filter(|name| !name.is_empty() && name.len() <= TOPIC_BYTES_MAX)
        else {
            self.passed_over += 1;
            return;
        };
        if !self.topics.contains_key(name) {
            if self.topics.len() >= TOPICS_MAX {
                self.passed_over += 1;
                return;
            }
            self.topics.insert(name.to_owned(), SeenTopic::default());
        }
        let Some(seen) = self.topics.get_mut(name) else {
            return;
        };
        seen.publishes += 1;
        seen.retained += u64::from(is_retained);
        if bytes == 0 {
            seen.empty += 1;
            return;
        }
        if payload.len() < bytes {
            seen.too_large += 1;
            return;
        }
        let kept: usize = seen.samples.iter().map(Vec::len).sum();
        let has_room = seen.samples.is_empty()
            || seen.samples.len() < SAMPLES_MAX && kept + bytes <= TOPIC_SAMPLES_BYTES_MAX;
        if !has_room || seen.samples.iter().any(|sample| sample == payload) {
            return;
        }
        if self.bytes + bytes > BYTES_MAX {
            seen.without_room += 1;
            return;
        }
        self.bytes += bytes;
        seen.samples.push(payload.to_vec());
    }

    /// All of it, by topic.
    pub(crate) fn topics(&self) -> impl Iterator<Item = (&str, &SeenTopic)> {
        self.topics.iter().map(|(topic, seen)| (&**topic, seen))
    }

    /// Publishes of the topics that are kept.
    pub(crate) fn publishes(&self) -> u64 {
        self.topics.values().map(|seen| seen.publishes).sum()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn samples_are_bounded_and_everything_is_counted() {
        let mut seen = Seen::default();
        for number in 0..100 {
            let payload = format!("{number}");
            seen.add(b"a", payload.as_bytes(), payload.len(), number == 0);
            seen.add(b"a", b"7", 1, false);
        }
        seen.add(b"a", b"", 0, true);
        seen.add(b"a", b"cut short", 1 << 20, false);
        seen.add(b"\xff", b"1", 1, false);
        let (topic, a) = seen.topics().next().unwrap();
        assert_eq!((topic, a.publishes, a.retained), ("a", 202, 2));
        assert_eq!((a.samples.len(), a.empty, a.too_large), (SAMPLES_MAX, 1, 1));
        assert_eq!(seen.passed_over, 1);
        for number in 0..TOPICS_MAX {
            seen.add(format!("t/{number}").as_bytes(), b"1", 1, false);
        }
        assert_eq!(seen.topics().count(), TOPICS_MAX);
        assert_eq!(seen.passed_over, 2);
        let large = vec![0; TOPIC_SAMPLES_BYTES_MAX];
        for number in 0..1000_u32 {
            let mut payload = large.clone();
            payload[..4].copy_from_slice(&number.to_le_bytes());
            seen.add(b"large", &payload, payload.len(), false);
        }
        assert!(seen.bytes <= BYTES_MAX, "{}", seen.bytes);
    }

    #[test]
    fn what_there_was_no_room_for_is_not_called_empty() {
        let mut seen = Seen::default();
        for number in 0..BYTES_MAX / TOPIC_SAMPLES_BYTES_MAX {
            let payload = vec![b'x'; TOPIC_SAMPLES_BYTES_MAX];
            seen.add(
                format!("{number}").as_bytes(),
                &payload,
                payload.len(),
                false,
            );
        }
        seen.add(b"late", b"1", 1, false);
        let late = &seen.topics["late"];
        assert_eq!(
            (late.samples.len(), late.without_room, late.empty),
            (0, 1, 0)
        );
        let proposal = crate::discover::propose(&seen, 0);
        assert!(proposal.left["late"].contains("narrow it with --topic"));
    }
}
