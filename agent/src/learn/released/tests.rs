#![allow(clippy::unwrap_used)]

use super::*;

fn key(stream: &str) -> ModelKey {
    ModelKey::new("pca", stream)
}

fn candidate(serial: u64) -> Candidate {
    Candidate {
        serial,
        sha256: format!("{serial:064}"),
        file: format!("/release/{serial}").into(),
    }
}

fn tried(outcome: Outcome, version: u64) -> Tried {
    Tried {
        outcome,
        version: Some(version),
        reason: "so".into(),
    }
}

#[test]
fn what_became_of_a_release_on_each_stream_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let released = Released::open(dir.path());
    released.offer("pca", candidate(1));
    assert_eq!(released.due(&key("a")), Some(candidate(1)));
    assert_eq!(released.due(&ModelKey::new("other", "a")), None);
    let seed = candidate(1).seed(&key("a"));
    assert_eq!(released.of_task(&key("a"), seed), Some(candidate(1)));
    assert_eq!(released.of_task(&key("b"), seed), None);
    released.ended(&key("a"), seed, tried(Outcome::Serves, 4));
    let again = Released::open(dir.path());
    assert_eq!(again.due(&key("a")), None);
    assert_eq!(again.due(&key("b")), Some(candidate(1)));
    let (_, found) = again.tried("pca").unwrap();
    assert_eq!(found, [("a".into(), tried(Outcome::Serves, 4))].into());
}

#[test]
fn another_release_takes_the_place_of_the_one_before_and_late_news_of_that_is_no_news() {
    let dir = tempfile::tempdir().unwrap();
    let released = Released::open(dir.path());
    released.offer("pca", candidate(1));
    let notes = released.notes();
    released.offer("pca", candidate(2));
    assert_ne!(released.notes(), notes);
    let seed = candidate(1).seed(&key("a"));
    assert_eq!(released.of_task(&key("a"), seed), None);
    released.ended(&key("a"), seed, tried(Outcome::Serves, 4));
    assert_eq!(released.due(&key("a")), Some(candidate(2)));
    assert_eq!(released.files(), [candidate(2).file]);
}

#[test]
fn a_version_taken_back_is_told_if_it_is_the_released_one_that_served() {
    let dir = tempfile::tempdir().unwrap();
    let released = Released::open(dir.path());
    released.taken_back(&key("a"), 4, "nothing was released");
    released.offer("pca", candidate(1));
    for (stream, outcome) in [("a", Outcome::Serves), ("b", Outcome::Refused)] {
        let seed = candidate(1).seed(&key(stream));
        released.ended(&key(stream), seed, tried(outcome, 4));
    }
    released.taken_back(&key("a"), 5, "a later one");
    released.taken_back(&key("b"), 4, "it never served");
    let outcomes = || {
        let (_, tried) = released.tried("pca").unwrap();
        (tried["a"].outcome, tried["b"].outcome)
    };
    assert_eq!(outcomes(), (Outcome::Serves, Outcome::Refused));
    released.taken_back(&key("a"), 4, "worse");
    assert_eq!(outcomes(), (Outcome::RolledBack, Outcome::Refused));
}

#[test]
fn what_is_withdrawn_is_due_again_once_it_is_offered_again() {
    let dir = tempfile::tempdir().unwrap();
    let released = Released::open(dir.path());
    released.offer("pca", candidate(1));
    released.withdraw("pca");
    assert_eq!(released.due(&key("a")), None);
    released.offer("pca", candidate(1));
    assert_eq!(released.due(&key("a")), Some(candidate(1)));
}

#[test]
fn what_is_followed_no_more_is_on_offer_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let released = Released::open(dir.path());
    released.offer("pca", candidate(1));
    released.keep_lines(&["pca".to_owned()]);
    assert_eq!(released.due(&key("a")), Some(candidate(1)));
    released.keep_lines(&[]);
    assert_eq!(Released::open(dir.path()).due(&key("a")), None);
}

#[test]
fn a_device_with_very_many_streams_tries_it_on_some() {
    let dir = tempfile::tempdir().unwrap();
    let released = Released::open(dir.path());
    released.offer("pca", candidate(1));
    for stream in (0..STREAMS_MAX).map(|number| number.to_string()) {
        let key = key(&stream);
        assert!(released.due(&key).is_some());
        released.ended(&key, candidate(1).seed(&key), tried(Outcome::Serves, 1));
    }
    assert_eq!(released.due(&key("one more")), None);
}
