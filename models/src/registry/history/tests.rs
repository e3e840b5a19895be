use proptest::prelude::*;

use super::*;

fn history(versions: u64) -> ModelHistory {
    let mut history = ModelHistory::new(ModelKey::new("r", "s"));
    for number in 1..=versions {
        history.add(number, "candidate");
    }
    history
}

fn status(history: &ModelHistory, number: u64) -> &str {
    &history.entries[&number].status
}

#[test]
fn promotion_and_rollback_move_the_pointer_and_both_statuses() {
    let mut history = history(3);
    history.promote(1, "ok", "old");
    history.promote(2, "ok", "old");
    history.promote(3, "ok", "old");
    assert_eq!(
        (history.current, &history.served_before[..]),
        (Some(3), &[1, 2][..])
    );
    assert_eq!([1, 2, 3].map(|n| status(&history, n)), ["old", "old", "ok"]);
    assert_eq!(history.roll_back("bad"), Some(2));
    assert_eq!([1, 2, 3].map(|n| status(&history, n)), ["old", "ok", "bad"]);
    // What was rolled back is not where the next rollback goes.
    history.add(4, "candidate");
    history.promote(4, "ok", "old");
    assert_eq!(history.roll_back("bad"), Some(2));
    assert_eq!(history.roll_back("bad"), Some(1));
    let before = history.clone();
    assert_eq!(history.roll_back("bad"), None);
    assert_eq!(history, before);
}

#[test]
fn the_status_set_last_decides_among_several() {
    let mut history = history(3);
    let ok = ["ok".to_owned()];
    assert_eq!(history.among(&ok), None);
    history.promote(3, "ok", "ok");
    history.promote(1, "ok", "ok");
    assert_eq!(history.among(&ok), Some(1), "not the highest number");
    history.add(4, "shadow");
    assert_eq!(history.among(&["ok".into(), "shadow".into()]), Some(4));
    assert_eq!(history.among(&[]), None);
}

#[test]
fn a_lost_version_hands_its_place_to_the_one_before() {
    let mut history = history(3);
    history.promote(1, "ok", "old");
    history.promote(3, "ok", "old");
    history.lose(3);
    assert_eq!((history.current, status(&history, 1)), (Some(1), "ok"));
    assert_eq!(history.next_number, 4, "its number is not used again");
    history.lose(1);
    assert_eq!(
        history.current, None,
        "a mere candidate never serves by itself"
    );
}

#[test]
fn pruning_spares_what_serves_and_where_a_rollback_goes() {
    let mut history = history(6);
    assert_eq!(history.surplus(4), [1, 2]);
    history.promote(1, "ok", "old");
    history.promote(3, "ok", "old");
    assert_eq!(history.surplus(4), [2, 4]);
    assert_eq!(history.surplus(0), [2, 4, 5, 6]);
    assert!(history.surplus(6).is_empty());
}

proptest! {
    #[test]
    fn whatever_is_done_it_stays_sound(
        changes in proptest::collection::vec((0u8..5, 1u64..8), 0..60)
    ) {
        let mut history = ModelHistory::new(ModelKey::new("r", "s"));
        for (change, number) in changes {
            let is_there = history.entries.contains_key(&number);
            match change {
                0 => history.add(history.next_number, "candidate"),
                1 if is_there => history.promote(number, "ok", "old"),
                2 => drop(history.roll_back("bad")),
                3 if is_there => history.lose(number),
                4 => for number in history.surplus(2) {
                    history.lose(number);
                },
                _ => {}
            }
            prop_assert!(history.is_sound(), "{history:?}");
        }
    }
}
