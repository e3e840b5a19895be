//! What the broker has granted on one connection, and when to ask again for the rest.
//!
//! An access list is mended at the broker while nobody restarts the agent, so what is refused is asked
//! for again with back-off; so is what is not answered at all.

use std::{collections::BTreeMap, time::Duration};

use dunlin_sync::backoff::Backoff;
use tokio::time::{Instant, sleep_until};

/// Bound on the answer to a SUBSCRIBE.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// One filter's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SubscriptionChange {
    /// Granted, as was hoped for.
    Granted,
    /// Granted after it had been refused.
    GrantedAtLast,
    /// Granted with `QoS` 0 only.
    WithoutAcks,
    /// Refused, with the broker's reason.
    Refused(String),
}

#[derive(Debug)]
pub(super) struct Subscriptions {
    /// Places of the filters to ask for, or asked for and not answered.
    open: Vec<usize>,
    /// Places of filters refused, with the reasons.
    refused: BTreeMap<usize, String>,
    ask_at: Option<Instant>,
    backoff: Backoff,
}

impl Subscriptions {
    /// Of `count` filters; nothing is asked yet.
    pub(super) fn new(count: usize, backoff: Backoff) -> Self {
        Self {
            open: (0..count).collect(),
            refused: BTreeMap::new(),
            ask_at: None,
            backoff,
        }
    }

    /// The places to ask for at `now`.
    pub(super) fn ask(&mut self, now: Instant) -> &[usize] {
        self.ask_at = (!self.open.is_empty()).then(|| now + ANSWER_MAX);
        &self.open
    }

    /// Resolves when it is time to ask again. Cancel-safe.
    pub(super) async fn due(&self) {
        match self.ask_at {
            Some(at) => sleep_until(at).await,
            None => std::future::pending().await,
        }
    }

    /// Takes the outcomes (granted `QoS`, or the reason of the refusal) in the order asked for; by
    /// place, what they change.
    pub(super) fn answered(
        &mut self,
        outcomes: &[Result<u8, String>],
        now: Instant,
    ) -> Vec<(usize, SubscriptionChange)> {
        let asked = std::mem::take(&mut self.open);
        let mut changes = Vec::new();
        for (place, outcome) in asked.into_iter().zip(outcomes) {
            let was_refused = self.refused.remove(&place).is_some();
            let change = match outcome {
                Ok(0) => SubscriptionChange::WithoutAcks,
                Ok(_) if was_refused => SubscriptionChange::GrantedAtLast,
                Ok(_) => SubscriptionChange::Granted,
                Err(reason) => {
                    self.refused.insert(place, reason.clone());
                    SubscriptionChange::Refused(reason.clone())
                }
            };
            changes.push((place, change));
        }
        self.open = self.refused.keys().copied().collect();
        self.ask_at = (!self.open.is_empty()).then(|| now + self.backoff.after_failure());
        changes
    }

    /// Places of the filters that are refused, with the reasons.
    pub(super) fn refused(&self) -> impl Iterator<Item = (usize, &str)> {
        self.refused.iter().map(|(place, why)| (*place, &**why))
    }
}

#[cfg(test)]
mod tests;
