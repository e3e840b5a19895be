//! What is kept, how much of it, and for how long.

use proptest::prelude::*;

use super::{
    DBIRTH, DBIRTH_2, DDATA, DDEATH, Event, Message, NBIRTH, NDATA, NDEATH, Payload, Sequence,
    Session, born, by_alias, edge, named, pairs, payload, seen, take,
};
use crate::record::decode::{
    Reason,
    sparkplug::{
        payload::{
            METRICS_MAX,
            tests::{mutated, valid},
        },
        session::{NAMES_MAX, NODE_NAMES_MAX, NODES_MAX},
    },
};

#[test]
fn what_is_remembered_is_bounded() {
    let mut session = Session::default();
    let names: Vec<String> = (0..METRICS_MAX)
        .map(|number| format!("metric {number}"))
        .collect();
    let metrics = || {
        names
            .iter()
            .map(|name| named(name, None))
            .collect::<Vec<_>>()
    };
    let topics: Vec<String> = (0..5)
        .map(|number| format!("spBv1.0/g/NBIRTH/n{number}"))
        .collect();
    assert_eq!(METRICS_MAX, NODE_NAMES_MAX);
    let fit = NAMES_MAX / (METRICS_MAX + 1);
    for topic in &topics[..fit] {
        take(&mut session, topic, payload(0, metrics()), |_| ()).unwrap();
    }
    let refused = take(&mut session, &topics[fit], payload(0, metrics()), |_| ()).unwrap_err();
    assert_eq!(refused.reason, Reason::TooManyNames);
    // A device more would be too much for its node.
    let device = topics[0].replace("NBIRTH", "DBIRTH") + "/d";
    let refused = take(&mut session, &device, payload(1, vec![]), |_| ()).unwrap_err();
    assert_eq!(refused.reason, Reason::TooManyNames);
    // One that is known may come again.
    let again = Payload {
        timestamp_ms: None,
        ..payload(0, metrics())
    };
    take(&mut session, &topics[0], again, |_| ()).unwrap();
    // One that has died gives its names to another; one whose device lives on has not.
    let death = topics[1].replace("NBIRTH", "NDEATH");
    take(&mut session, &death, payload(0, vec![]), |_| ()).unwrap();
    take(&mut session, &topics[fit], payload(0, metrics()), |_| ()).unwrap();
    assert!(session.counters(edge(&topics[1])).is_none());
    for topic in &topics {
        session.forget(edge(topic));
    }
    assert_eq!(session, Session::default());

    let long = "x".repeat(500);
    let names: Vec<String> = (0..8_000).map(|number| format!("{number}{long}")).collect();
    let metrics = || {
        names
            .iter()
            .map(|name| named(name, None))
            .collect::<Vec<_>>()
    };
    take(&mut session, &topics[0], payload(0, metrics()), |_| ()).unwrap();
    let refused = take(&mut session, &topics[1], payload(0, metrics()), |_| ()).unwrap_err();
    assert_eq!(refused.reason, Reason::TooManyNames);
}

#[test]
fn edge_nodes_are_bounded() {
    let mut session = Session::default();
    let topic = |number: usize| format!("spBv1.0/g{}/NBIRTH/n{number}", number % 7);
    let birth =
        |session: &mut Session, number| take(session, &topic(number), payload(0, vec![]), |_| ());
    for number in 0..NODES_MAX {
        birth(&mut session, number).unwrap();
    }
    assert_eq!(
        birth(&mut session, NODES_MAX).unwrap_err().reason,
        Reason::TooManyNames
    );
    birth(&mut session, 5).unwrap();
    // One that has died gives way.
    let death = topic(5).replace("NBIRTH", "NDEATH");
    take(&mut session, &death, payload(0, vec![]), |_| ()).unwrap();
    birth(&mut session, NODES_MAX).unwrap();
    assert!(session.counters(edge(&topic(5))).is_none());
    assert_eq!(
        birth(&mut session, NODES_MAX + 1).unwrap_err().reason,
        Reason::TooManyNames
    );
}

#[test]
fn a_session_survives_a_restart() {
    let mut session = born();
    take(
        &mut session,
        DBIRTH,
        payload(1, vec![named("speed", Some(5))]),
        |_| (),
    )
    .unwrap();
    let stored = serde_json::to_vec(&session).unwrap();
    let mut restored: Session = serde_json::from_slice(&stored).unwrap();
    assert_eq!(restored, session);
    let seen = take(&mut restored, DDATA, payload(2, vec![by_alias(5)]), seen).unwrap();
    assert_eq!(
        seen,
        (
            Event::Data,
            Sequence::InOrder,
            None,
            pairs(&[("speed", "-2")])
        )
    );
}

#[test]
fn only_births_and_deaths_change_names() {
    let session = born();
    for (topic, is_structural) in [
        (NBIRTH, true),
        (DBIRTH, true),
        (NDEATH, true),
        (NDATA, false),
        (DDATA, false),
    ] {
        let (_, change) = session.resolve(edge(topic), payload(1, vec![])).unwrap();
        assert_eq!(change.is_structural(), is_structural, "{topic}");
    }
}

proptest! {
    #[test]
    fn any_messages_keep_the_sizes_right(messages in proptest::collection::vec((0..8_usize, mutated()), 1..20)) {
        let topics = [NBIRTH, NDATA, NDEATH, DBIRTH, DDATA, DDEATH, DBIRTH_2, "spBv1.0/h/DBIRTH/n/d"];
        let mut session = Session::default();
        for (topic, payload) in &messages {
            let Ok(message) = Message::decode(payload.clone().into()) else {
                continue;
            };
            let Ok(payload) = message.payload() else {
                continue;
            };
            let _ = take(&mut session, topics[*topic], payload, |_| ());
        }
        for topic in topics {
            session.forget(edge(topic));
        }
        prop_assert_eq!(session, Session::default());
    }
}

#[test]
fn every_valid_payload_is_a_birth() {
    for bytes in valid() {
        let message = Message::decode(bytes.into()).unwrap();
        let mut session = Session::default();
        take(&mut session, NBIRTH, message.payload().unwrap(), |_| ()).unwrap();
        assert!(!session.is_stale(edge(NDATA)));
    }
}
