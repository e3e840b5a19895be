//! Tells edge nodes of Sparkplug B to announce themselves again.
//!
//! Promises: nothing is waited for; an edge node is told once in [`AGAIN_AFTER`] at most, and all together
//! [`TOLD_A_SECOND_MAX`] times a second: births are large, and come all at once from those that are told at
//! once. Whoever is not told now, also for want of a connection, is told by what it sends next.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use crate::{
    mqtt::outgoing::{Outgoing, Publisher},
    record::decode::rebirth_request,
};

/// Between two requests to one edge node.
const AGAIN_AFTER: Duration = Duration::from_mins(1);
/// Requests to all of them.
const TOLD_A_SECOND_MAX: u32 = 10;
/// Edge nodes remembered as told, which is what can be told within [`AGAIN_AFTER`].
const NODES_MAX: usize = 600;

/// Who has been told.
pub(super) struct Rebirths {
    publisher: Publisher,
    /// By group and name, when last.
    told: HashMap<(String, String), Instant>,
    /// Since when so many were told.
    second: Option<(Instant, u32)>,
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

    /// Tells an edge node (group and name) unless it is too early; whether it was handed over.
    /// `now_ms`: milliseconds since 1970 UTC.
    pub(super) fn ask(&mut self, node: (String, String), now: Instant, now_ms: u64) -> bool {
        let is_recent = |at: &Instant| now.saturating_duration_since(*at) < AGAIN_AFTER;
        if self.told.get(&node).is_some_and(is_recent) {
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
            self.told.retain(|_, at| is_recent(at));
        }
        if self.told.len() >= NODES_MAX {
            return false;
        }
        let (topic, payload) = rebirth_request(&node.0, &node.1, now_ms);
        if !self.publisher.publish(Outgoing { topic, payload }) {
            return false;
        }
        self.second = Some((since, count + 1));
        self.told.insert(node, now);
        true
    }
}

#[cfg(test)]
mod tests;
