//! What a build with parts left out says to a configuration that asks for them.

#![allow(clippy::unwrap_used)]

use crate::config::{Overrides, check};

const FILE: &str = r#"device = "d"
[mqtt]
url = "mqtt://h"
[upstream]
url = "tdengine://h:6041/plant"
[[stream]]
name = "s"
topic = "t/#"
"#;

/// Every mistake in `text`, as it is printed.
fn mistakes(text: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dunlin.toml");
    std::fs::write(&path, text).unwrap();
    let found = check(Some(&path), &Overrides::default()).settings;
    let found = found.err().unwrap_or_default();
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    found.join("\n")
}

#[test]
fn nothing_is_missed_where_nothing_is_asked_for() {
    assert_eq!(mistakes(FILE), "");
}

#[cfg(not(feature = "learning"))]
#[test]
fn a_recipe_is_refused_with_its_place_and_the_feature() {
    let recipe = "[[recipe]]\nname = \"r\"\nstreams = \"s/*\"\nalgorithm = \"pca\"\n";
    let found = mistakes(&format!("{FILE}{recipe}"));
    assert!(found.contains("dunlin.toml:9:1: recipe: "), "{found}");
    assert!(found.contains("feature `learning`"), "{found}");
    assert_eq!(mistakes(&format!("{FILE}[learn]\nworkers = 1\n")), "");
}

#[cfg(not(feature = "sqlite"))]
#[test]
fn sqlite_is_refused_with_its_place_and_the_feature() {
    let found = mistakes(&FILE.replace("tdengine://h:6041/plant", "sqlite:a.db"));
    assert!(found.contains("dunlin.toml:5:7: upstream.url: "), "{found}");
    assert!(found.contains("feature `sqlite`"), "{found}");
    let found = mistakes(&FILE.replace("[upstream]\nurl = \"tdengine://h:6041/plant\"\n", ""));
    assert!(found.contains("upstream.url: is missing"), "{found}");
}

#[cfg(not(feature = "sqlite"))]
#[test]
fn the_file_that_init_writes_is_valid_without_sqlite_too() {
    assert_eq!(mistakes(&crate::config::schema::init::render()), "");
}

#[cfg(not(feature = "postgres"))]
#[test]
fn postgres_is_refused_with_its_place_and_the_feature() {
    for url in ["postgres://u:hunter2@h/d", "postgresql://u:hunter2@h/d"] {
        let found = mistakes(&FILE.replace("tdengine://h:6041/plant", url));
        assert!(found.contains("dunlin.toml:5:7: upstream.url: "), "{found}");
        assert!(found.contains("feature `postgres`"), "{found}");
        assert!(!found.contains("hunter2"), "{found}");
    }
}
