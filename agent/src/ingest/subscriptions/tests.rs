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
    assert_eq!(changes[0], (0, SubscriptionChange::Granted));
    assert_eq!(
        changes[1],
        (1, SubscriptionChange::Refused("NotAuthorized".into()))
    );
    assert_eq!(changes[2], (2, SubscriptionChange::WithoutAcks));
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
    assert_eq!(changes, [(1, SubscriptionChange::GrantedAtLast)]);
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
