use super::*;

#[test]
fn what_is_kept_back_is_named_first() {
    let mut found = Findings::default();
    found.ok("clock", "synchronised");
    KeptBack::default().tell(&mut found);
    assert_eq!(found.0.len(), 1);
    let held = Quarantined {
        items: 2,
        records: 9,
    };
    KeptBack {
        quarantine: [("wrong_type".to_owned(), held)].into(),
        streams_held: 3,
        rows_held: 70,
        example: Some("s/1: no such table".into()),
        times_replaced: 1,
        dropped: 4,
    }
    .tell(&mut found);
    let about: Vec<&str> = found.0.iter().map(|finding| finding.about).collect();
    assert_eq!(
        about,
        ["dropped", "quarantine", "held", "replaced", "clock"]
    );
    assert!(found.0[1].what.contains("9 records: wrong_type"));
    assert!(found.0[2].what.contains("s/1: no such table; 70 rows"));
    assert!(
        found.0[..3]
            .iter()
            .all(|finding| !finding.advice.is_empty())
    );
}
