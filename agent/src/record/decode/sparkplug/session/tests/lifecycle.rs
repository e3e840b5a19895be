//! Births, deaths and the numbers between them.

use super::{
    DBIRTH, DDATA, DDEATH, Event, NBIRTH, NDATA, NDEATH, Payload, Rebirth, Resolution, Sequence,
    Session, bd_seq, born, by_alias, edge, named, pairs, payload, seen, take,
};

#[test]
fn a_birth_of_the_node_forgets_its_devices() {
    let mut session = born();
    take(
        &mut session,
        DBIRTH,
        payload(1, vec![named("speed", Some(5))]),
        |_| (),
    )
    .unwrap();
    let again = || Payload {
        timestamp_ms: Some(9_999),
        ..payload(0, vec![bd_seq(3), named("level", Some(2))])
    };
    let (event, ..) = take(&mut session, NBIRTH, again(), seen).unwrap();
    assert_eq!(event, Event::Birth);
    let (_, _, rebirth, metrics) =
        take(&mut session, DDATA, payload(1, vec![by_alias(5)]), seen).unwrap();
    assert_eq!((rebirth, metrics), (Some(Rebirth::NoBirth), vec![]));
    take(
        &mut session,
        DBIRTH,
        payload(2, vec![named("speed", Some(6))]),
        |_| (),
    )
    .unwrap();
    let (_, _, rebirth, metrics) =
        take(&mut session, DDATA, payload(3, vec![by_alias(6)]), seen).unwrap();
    assert_eq!((rebirth, metrics), (None, pairs(&[("speed", "-2")])));
}

#[test]
fn a_birth_that_comes_twice_changes_nothing() {
    let mut session = born();
    take(
        &mut session,
        DBIRTH,
        payload(1, vec![named("speed", Some(5))]),
        |_| (),
    )
    .unwrap();
    let before = session.clone();
    let (event, ..) = take(
        &mut session,
        NBIRTH,
        payload(0, vec![bd_seq(3), named("level", Some(2))]),
        seen,
    )
    .unwrap();
    assert_eq!(event, Event::RepeatedBirth);
    assert_eq!(session, before);
    let (event, sequence, rebirth, _) = take(
        &mut session,
        DBIRTH,
        payload(1, vec![named("speed", Some(5))]),
        seen,
    )
    .unwrap();
    assert_eq!(
        (event, sequence, rebirth),
        (Event::Birth, Sequence::Repeated, None)
    );
    assert_eq!(session, before);
}

#[test]
fn sequence_numbers_go_round() {
    let mut session = born();
    let sequence = |resolution: &Resolution<'_>| resolution.sequence;
    for seq in 1..600_u64 {
        let came = take(
            &mut session,
            NDATA,
            payload(seq % 256, vec![by_alias(2)]),
            sequence,
        );
        assert_eq!(came, Ok(Sequence::InOrder), "{seq}");
    }
    // The last one was 87.
    for (seq, expected) in [
        (87, Sequence::Repeated),
        (
            90,
            Sequence::Gap {
                expected: 88,
                came: 90,
            },
        ),
        (91, Sequence::InOrder),
    ] {
        let came = take(
            &mut session,
            NDATA,
            payload(seq, vec![by_alias(2)]),
            sequence,
        );
        assert_eq!(came, Ok(expected));
    }
    let unnumbered = Payload {
        seq: None,
        ..payload(0, vec![by_alias(2)])
    };
    assert_eq!(
        take(&mut session, NDATA, unnumbered, sequence),
        Ok(Sequence::Unknown)
    );
    assert_eq!(session.counters(edge(NDATA)).unwrap().sequence_gaps, 1);
}

#[test]
fn a_death_makes_stale_until_the_next_birth() {
    let mut session = born();
    take(
        &mut session,
        DBIRTH,
        payload(1, vec![named("speed", Some(5))]),
        |_| (),
    )
    .unwrap();
    assert!(!session.is_stale(edge(DDATA)));
    take(&mut session, DDEATH, payload(2, vec![]), |_| ()).unwrap();
    assert!(session.is_stale(edge(DDATA)) && !session.is_stale(edge(NDATA)));
    // Alive after all: taken by what was announced, but it should announce itself.
    let (_, sequence, rebirth, metrics) =
        take(&mut session, DDATA, payload(3, vec![by_alias(5)]), seen).unwrap();
    assert_eq!(
        (sequence, rebirth),
        (Sequence::InOrder, Some(Rebirth::NoBirth))
    );
    assert_eq!(metrics, pairs(&[("speed", "-2")]));
    // What is missing before this one may have been its birth.
    let (_, _, rebirth, metrics) =
        take(&mut session, DDATA, payload(7, vec![by_alias(5)]), seen).unwrap();
    assert_eq!((rebirth, metrics), (Some(Rebirth::NoBirth), vec![]));
    take(
        &mut session,
        DBIRTH,
        payload(8, vec![named("speed", Some(5))]),
        |_| (),
    )
    .unwrap();
    assert!(!session.is_stale(edge(DDATA)));

    let death = || Payload {
        seq: None,
        ..payload(0, vec![bd_seq(3)])
    };
    assert_eq!(
        take(&mut session, NDEATH, death(), seen).unwrap().0,
        Event::Death
    );
    assert!(session.is_stale(edge(DDATA)) && session.is_stale(edge(NDATA)));
    take(
        &mut session,
        NBIRTH,
        payload(0, vec![bd_seq(4), named("level", Some(2))]),
        |_| (),
    )
    .unwrap();
    assert!(session.is_stale(edge(DDATA)) && !session.is_stale(edge(NDATA)));
    // The broker notices late that the connection before is gone.
    assert_eq!(
        take(&mut session, NDEATH, death(), seen).unwrap().0,
        Event::OldDeath
    );
    assert!(!session.is_stale(edge(NDATA)));
    let unnumbered = Payload::default();
    assert_eq!(
        take(&mut session, NDEATH, unnumbered, seen).unwrap().0,
        Event::Death
    );
    assert!(session.is_stale(edge(NDATA)));
}

#[test]
fn after_its_death_aliases_of_an_edge_node_stand_for_nothing_until_its_birth() {
    let mut session = born();
    take(
        &mut session,
        DBIRTH,
        payload(1, vec![named("speed", Some(5))]),
        |_| (),
    )
    .unwrap();
    let death = Payload {
        seq: None,
        ..payload(0, vec![bd_seq(3)])
    };
    take(&mut session, NDEATH, death, |_| ()).unwrap();
    // It lives, so a birth has been missed; what is called by its name is what it is called.
    for (topic, alias) in [(NDATA, 2), (DDATA, 5)] {
        let both = || payload(1, vec![by_alias(alias), named("level", None)]);
        let unknown = |resolution: &Resolution<'_>| {
            let (.., rebirth, metrics) = seen(resolution);
            (resolution.unknown_aliases.len(), rebirth, metrics)
        };
        let came = take(&mut session, topic, both(), unknown).unwrap();
        let metrics = pairs(&[("level", "-2")]);
        assert_eq!(came, (1, Some(Rebirth::NoBirth), metrics), "{topic}");
    }
    let birth = Payload {
        timestamp_ms: Some(9_999),
        ..payload(0, vec![bd_seq(4), named("load", Some(2))])
    };
    take(&mut session, NBIRTH, birth, |_| ()).unwrap();
    let (.., metrics) = take(&mut session, NDATA, payload(1, vec![by_alias(2)]), seen).unwrap();
    assert_eq!(metrics, pairs(&[("load", "-2")]));
}

#[test]
fn data_in_order_say_that_no_birth_is_needed_and_births_and_deaths_say_nothing() {
    let mut session = born();
    let mut needs = |topic, payload| {
        let before = session.clone();
        let (_, change) = before.resolve(edge(topic), payload).unwrap();
        let needs = change.needs_rebirth();
        session.apply(change);
        needs
    };
    let names = || vec![named("speed", Some(5))];
    assert_eq!(needs(DBIRTH, payload(1, names())), None);
    assert_eq!(needs(DDATA, payload(2, vec![by_alias(5)])), Some(false));
    assert_eq!(needs(DDATA, payload(9, vec![by_alias(5)])), Some(true));
    assert_eq!(needs(DDEATH, payload(10, vec![])), None);
    assert_eq!(needs(NDEATH, payload(0, vec![])), None);
    assert_eq!(needs(NBIRTH, payload(0, names())), None);
}

#[test]
fn commands_are_not_for_us() {
    let mut session = born();
    let before = session.clone();
    for topic in ["spBv1.0/g/NCMD/n", "spBv1.0/g/DCMD/n/d"] {
        let (event, _, rebirth, metrics) = take(
            &mut session,
            topic,
            payload(9, vec![named("Node Control/Rebirth", None)]),
            seen,
        )
        .unwrap();
        assert_eq!((event, rebirth, metrics), (Event::Command, None, vec![]));
    }
    assert_eq!(session, before);
}

#[test]
fn what_a_device_has_announced_holds_though_the_birth_of_its_node_was_missed() {
    let mut session = Session::default();
    let birth = || payload(1, vec![named("speed", Some(5))]);
    take(&mut session, DBIRTH, birth(), |_| ()).unwrap();
    let data = || payload(2, vec![by_alias(5)]);
    let (_, _, rebirth, metrics) = take(&mut session, DDATA, data(), seen).unwrap();
    assert_eq!(
        (rebirth, metrics),
        (Some(Rebirth::NoBirth), pairs(&[("speed", "-2")]))
    );
    // A death is the end of it, until the device is born again.
    take(&mut session, NDEATH, payload(0, vec![bd_seq(3)]), |_| ()).unwrap();
    let (.., metrics) = take(&mut session, DDATA, data(), seen).unwrap();
    assert_eq!(metrics, vec![]);
    take(&mut session, DBIRTH, birth(), |_| ()).unwrap();
    let (.., metrics) = take(&mut session, DDATA, data(), seen).unwrap();
    assert_eq!(metrics, pairs(&[("speed", "-2")]));
}
