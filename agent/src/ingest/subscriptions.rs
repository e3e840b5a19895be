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
pub(super) enum Change {
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
    ) -> Vec<(usize, Change)> {
        let asked = std::mem::take(&mut self.open);
        let mut changes = Vec::new();
        for (place, outcome) in asked.into_iter().zip(outcomes) {
            let was_refused = self.refused.remove(&place).is_some();
            let change = match outcome {
                Ok(0) => Change::WithoutAcks,
                Ok(_) if was_refused => Change::GrantedAtLast,
                Ok(_) => Change::Granted,
                Err(reason) => {
                    self.refused.insert(place, reason.clone());
                    Change::Refused(reason.clone())
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
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_refused_is_asked_for_again_alone_and_ever_later() {
        let (min, max) = (Duration::from_secs(1), Duration::from_mins(1));
        let mut subscriptions = Subscriptions::new(3, Backoff::new(min, max, 1));
        let mut now = Instant::now();
        assert_eq!(subscriptions.ask(now), [0, 1, 2]);
        let refusal = || Err("NotAuthorized".to_owned());
        let changes = subscriptions.answered(&[Ok(1), refusal(), Ok(0)], now);
        assert_eq!(changes[0], (0, Change::Granted));
        assert_eq!(changes[1], (1, Change::Refused("NotAuthorized".into())));
        assert_eq!(changes[2], (2, Change::WithoutAcks));
        let mut waits = Vec::new();
        for _ in 0..10 {
            let at = subscriptions.ask_at.unwrap();
            waits.push(at - now);
            now = at;
            assert_eq!(subscriptions.ask(now), [1]);
            subscriptions.answered(&[refusal()], now);
            let refused: Vec<_> = subscriptions.refused().collect();
            assert_eq!(refused, [(1, "NotAuthorized")]);
        }
        assert!(waits[0] <= min, "{waits:?}");
        assert!(waits[9] >= max / 2 && waits[9] <= max, "{waits:?}");
        subscriptions.ask(now);
        let changes = subscriptions.answered(&[Ok(1)], now);
        assert_eq!(changes, [(1, Change::GrantedAtLast)]);
        assert_eq!(subscriptions.refused().count(), 0);
        assert!(subscriptions.ask_at.is_none());
    }

    #[test]
    fn what_is_not_answered_is_asked_for_again() {
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_mins(1), 1);
        let mut subscriptions = Subscriptions::new(1, backoff);
        let now = Instant::now();
        subscriptions.ask(now);
        assert_eq!(subscriptions.ask_at, Some(now + ANSWER_MAX));
        assert_eq!(subscriptions.ask(now + ANSWER_MAX), [0]);
    }
}
