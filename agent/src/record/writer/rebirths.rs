//! Tells edge nodes of Sparkplug B to announce themselves again.
//!
//! Promises: nothing is waited for; an edge node is told once in [`AGAIN_AFTER`] at most, and where that does
//! not help less and less often, down to once in [`AGAIN_AFTER_MAX`]; all together are told
//! [`TOLD_A_SECOND_MAX`] times a second: births are large, and come all at once from those that are told at
//! once. Whoever is not told now, also for want of a connection, is told by what it sends next.
//!
//! It has helped once data have come in order for [`AGAIN_AFTER`], and nothing else: some are in order whatever
//! is wrong with an edge node.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use crate::{
    mqtt::outgoing::{Outgoing, Publisher},
    record::decode::{quoted, rebirth_request},
};

/// Between two requests to one edge node.
const AGAIN_AFTER: Duration = Duration::from_mins(1);
/// The same once many have not helped.
const AGAIN_AFTER_MAX: Duration = Duration::from_hours(1);
/// Requests that have not helped until somebody is told; one alone may have got lost.
const TOLD_AFTER: u32 = 2;
/// Requests to all of them.
const TOLD_A_SECOND_MAX: u32 = 10;
/// Edge nodes remembered as told: more than can be within [`AGAIN_AFTER`], the others may be forgotten.
const NODES_MAX: usize = 1_024;
/// Longest group and name together, bytes.
const NAME_BYTES_MAX: usize = 1_024;

/// What a publish tells of its edge node.
pub(super) struct Heard {
    /// Group and name.
    pub(super) node: (String, String),
    /// Whether it should announce itself again; otherwise its data came in order.
    pub(super) needs_rebirth: bool,
}

/// Who has been told.
pub(super) struct Rebirths {
    publisher: Publisher,
    /// By group and name.
    told: HashMap<(String, String), Told>,
    /// Since when so many were told.
    second: Option<(Instant, u32)>,
}

struct Told {
    last: Instant,
    /// How often without help.
    times: u32,
    /// When the first and the last data came that have been in order since.
    in_order: Option<(Instant, Instant)>,
}

impl Told {
    /// Until it may be told again.
    fn gap(&self) -> Duration {
        let doubled = 2_u32.saturating_pow(self.times.saturating_sub(1));
        AGAIN_AFTER.saturating_mul(doubled).min(AGAIN_AFTER_MAX)
    }

    fn is_helped(&self) -> bool {
        let lasted = |(first, last): (Instant, Instant)| last.saturating_duration_since(first);
        self.in_order.map(lasted) >= Some(AGAIN_AFTER)
    }

    fn is_within(&self, gap: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.last) < gap
    }
}

impl Rebirths {
    /// What is published is counted apart from what others publish.
    pub(super) fn new(publisher: &Publisher) -> Self {
        Self {
            publisher: publisher.apart(),
            told: HashMap::new(),
            second: None,
        }
    }

    /// Tells an edge node that needs it, unless it is too early; whether it was handed over.
    /// `now_ms`: milliseconds since 1970 UTC.
    pub(super) fn hear(&mut self, heard: Heard, now: Instant, now_ms: u64) -> bool {
        let told = self.told.get_mut(&heard.node);
        if heard.needs_rebirth {
            if let Some(told) = told {
                if told.is_helped() {
                    told.times = 0;
                }
                told.in_order = None;
            }
            return self.ask(heard.node, now, now_ms);
        }
        if let Some(told) = told {
            let (first, _) = told.in_order.unwrap_or((now, now));
            told.in_order = Some((first, now));
        }
        false
    }

    fn ask(&mut self, node: (String, String), now: Instant, now_ms: u64) -> bool {
        let told = self.told.get(&node);
        if told.is_some_and(|told| told.is_within(told.gap(), now)) {
            return false;
        }
        let times = told.map_or(0, |told| told.times);
        if node.0.len() + node.1.len() > NAME_BYTES_MAX {
            return false;
        }
        let (since, count) = match self.second {
            Some((since, count))
                if now.saturating_duration_since(since) < Duration::from_secs(1) =>
            {
                (since, count)
            }
            _ => (now, 0),
        };
        if count >= TOLD_A_SECOND_MAX {
            return false;
        }
        if self.told.len() >= NODES_MAX {
            self.told.retain(|_, told| told.is_within(AGAIN_AFTER, now));
        }
        let (topic, payload) = rebirth_request(&node.0, &node.1, now_ms);
        if !self.publisher.publish(Outgoing { topic, payload }) {
            return false;
        }
        self.second = Some((since, count + 1));
        if times == TOLD_AFTER {
            tracing::warn!(
                group = quoted(&node.0),
                edge_node = quoted(&node.1),
                "an edge node has been told to announce itself again, and its messages are not in order for it: \
                 it is told less and less often, down to once an hour"
            );
        }
        let told = Told {
            last: now,
            times: times.saturating_add(1),
            in_order: None,
        };
        self.told.insert(node, told);
        true
    }
}

#[cfg(test)]
mod tests;
