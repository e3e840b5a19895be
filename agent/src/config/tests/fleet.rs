//! Releases that are followed.

use std::time::Duration;

use super::*;
use crate::release::signing::SigningKey;

const RECIPE: &str = "[[recipe]]\nname = \"health\"\nstreams = \"*\"\nalgorithm = \"pca\"\n";

fn with_fleet(lines: &str) -> String {
    format!("{MINIMAL}{RECIPE}[fleet]\n{lines}\n")
}

#[test]
fn what_is_followed_by_whose_key_and_where() {
    let dir = tempfile::tempdir().unwrap();
    let key = SigningKey::make(&dir.path().join("key")).unwrap().public();
    let text = with_fleet(&format!(
        "centre = \"sqlite:/c.db\"\nfollow = \"health, health\"\nkeys = \"{key}\"\ncheck_s = 5"
    ));
    let fleet = valid(&text).fleet;
    assert!(fleet.follows());
    assert_eq!(fleet.centre.unwrap().reveal(), "sqlite:/c.db");
    assert_eq!((fleet.follow.len(), fleet.keys.len()), (1, 1));
    assert_eq!(warnings(&text), "");
    assert!(!valid(MINIMAL).fleet.follows());
}

#[test]
fn without_keys_nothing_is_followed_and_the_check_says_so() {
    let text = with_fleet("centre = \"sqlite:/c.db\"\nfollow = \"health\"");
    assert!(!valid(&text).fleet.follows());
    let warnings = warnings(&text);
    assert!(warnings.contains("no fleet.keys"), "{warnings}");
    assert_one(
        &with_fleet("follow = \"health\""),
        &["no fleet.centre", "nothing is followed"],
    );
}

#[test]
fn a_line_without_its_recipe_or_a_key_that_is_none_is_a_mistake() {
    let centre = "centre = \"sqlite:/c.db\"\n";
    assert_one(
        &with_fleet(&format!("{centre}follow = \"helth\"\nkeys = \"\"")),
        &["no recipe is called \"helth\"", "use: health"],
    );
    let found = mistakes(&with_fleet(&format!(
        "{centre}follow = \"health\"\nkeys = \"not-a-key\""
    )));
    assert!(
        found[0].2.contains("number 1 is no public key"),
        "{found:?}"
    );
    assert!(!found[0].2.contains("not-a-key"), "{found:?}");
}

#[test]
fn who_has_a_centre_says_how_it_is_and_others_where_they_are_told_to() {
    let heartbeat = |text: &str| valid(&format!("{MINIMAL}[fleet]\n{text}\n")).heartbeat;
    assert_eq!(valid(MINIMAL).heartbeat, None);
    let minute = Some(Duration::from_mins(1));
    assert_eq!(heartbeat("centre = \"sqlite:/c.db\""), minute);
    assert_eq!(
        heartbeat("centre = \"sqlite:/c.db\"\nheartbeat_s = 0"),
        None
    );
    let alone = "heartbeat_s = 5";
    assert_eq!(heartbeat(alone), Some(Duration::from_secs(5)));
    assert_eq!(warnings(&format!("{MINIMAL}[fleet]\n{alone}\n")), "");
}
