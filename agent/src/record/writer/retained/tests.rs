#![allow(clippy::unwrap_used)]

use bytes::Bytes;

use super::*;

fn publish(topic: &str, payload: &str, retain: bool) -> Incoming {
    Incoming {
        session_present: true,
        connection: 1,
        topic: Bytes::copy_from_slice(topic.as_bytes()),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        payload_bytes: payload.len(),
        packet_id: 1,
        dup: false,
        qos0: false,
        retain,
    }
}

#[test]
fn a_payload_is_known_from_the_last_retained_and_the_last_live_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut retained = Retained::read(path(dir.path()));
    let again = |retained: &Retained, payload| retained.knows(&publish("a", payload, true));
    assert!(!again(&retained, "1"));
    retained.stored(&publish("a", "1", true));
    assert!(again(&retained, "1") && !retained.knows(&publish("b", "1", true)));
    // Live ones on the same topic do not make it new.
    retained.stored(&publish("a", "2", false));
    assert!(again(&retained, "1") && again(&retained, "2") && !again(&retained, "3"));
    retained.stored(&publish("a", "3", true));
    assert!(!again(&retained, "1"), "it is another value by now");
    retained.committed();
    let retained = Retained::read(path(dir.path()));
    assert!(again(&retained, "2") && again(&retained, "3") && !again(&retained, "1"));
}

#[test]
fn live_publishes_alone_write_no_file_before_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut retained = Retained::read(path(dir.path()));
    retained.stored(&publish("a", "1", false));
    retained.committed();
    assert!(!path(dir.path()).exists());
    retained.close();
    assert!(Retained::read(path(dir.path())).knows(&publish("a", "1", true)));
}

#[test]
fn only_so_many_topics_are_remembered_and_the_newest_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut retained = Retained::read(path(dir.path()));
    retained.half_max = 100;
    for n in 0..1_000 {
        retained.stored(&publish(&format!("made/up/{n}"), "1", true));
        retained.stored(&publish("in/use", "1", true));
        assert!(retained.newer.len() + retained.older.len() <= 200);
    }
    assert!(retained.knows(&publish("in/use", "1", true)));
    assert!(retained.knows(&publish("made/up/999", "1", true)));
    assert!(!retained.knows(&publish("made/up/0", "1", true)));
    // A file full of them is no larger than said.
    retained.half_max = TOPICS_MAX / 2;
    for n in 0..TOPICS_MAX {
        retained.stored(&publish(&n.to_string(), "1", true));
    }
    retained.committed();
    let bytes = std::fs::metadata(path(dir.path())).unwrap().len();
    assert!(bytes < 1 << 20, "{bytes}");
}

#[test]
fn a_damaged_file_or_one_of_another_format_is_as_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = path(dir.path());
    let rows: Vec<Row> = vec![(1, 2, 3)];
    state_file::write(&path, &(FORMAT + 1, rows)).unwrap();
    assert!(Retained::read(path.clone()).older.is_empty());
    std::fs::write(&path, b"rubbish").unwrap();
    assert!(Retained::read(path).older.is_empty());
}
