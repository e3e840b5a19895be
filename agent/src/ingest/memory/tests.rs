#![allow(clippy::unwrap_used)]

use super::*;
use crate::ingest::tests::link_to;

#[test]
fn what_was_found_is_kept_for_the_same_broker_and_client_id_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = path(dir.path());
    let mut link = link_to("broker", "ann");
    let mut memory = Memory::read(path.clone(), &link);
    (link.version, link.retains) = (MqttVersion::V311, false);
    memory.let_in(&link);
    memory.set_session(Some(MqttVersion::V311));
    memory.set_presence(Presence::Said);

    let mut again = link_to("broker", "ann");
    let memory = Memory::read(path.clone(), &again);
    memory.apply(&mut again);
    assert_eq!((again.version, again.retains), (MqttVersion::V311, false));
    assert_eq!(memory.session(), Some(MqttVersion::V311));
    assert_eq!(memory.presence(), Presence::Said);

    for (broker, client_id) in [("other", "ann"), ("broker", "bob")] {
        let mut other = link_to(broker, client_id);
        let memory = Memory::read(path.clone(), &other);
        memory.apply(&mut other);
        assert_eq!((other.version, other.retains), (MqttVersion::V5, true));
        assert_eq!(memory.session(), None);
    }
    std::fs::write(&path, b"rubbish").unwrap();
    assert_eq!(Memory::read(path, &link).session(), None);
}

#[test]
fn the_newer_version_is_tried_anew_once_a_day_and_when_the_clock_was_set_back() {
    const DAY_NS: i64 = V5_ANEW_S * 1_000_000_000;
    let mut link = link_to("broker", "ann");
    let mut memory = Memory::none(&link);
    memory.wall_ns = || 10 * DAY_NS;
    assert!(!memory.v5_is_due(), "nothing else was found");
    link.version = MqttVersion::V311;
    memory.let_in(&link);
    assert!(!memory.v5_is_due(), "found a moment ago");
    memory.wall_ns = || 11 * DAY_NS;
    assert!(memory.v5_is_due());
    assert!(!memory.v5_is_due());
    memory.wall_ns = || 0;
    assert!(memory.v5_is_due());
}
