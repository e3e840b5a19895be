#![allow(clippy::unwrap_used)]

use super::*;
use crate::config::{Overrides, check, schema::keys::names, tests::file_with};

#[test]
fn it_is_valid_as_written_and_names_every_setting() {
    let text = render();
    let (_dir, path) = file_with(&text);
    let checked = check(Some(&path), &Overrides::default());
    let settings = checked.settings.unwrap();
    assert_eq!(settings.streams.len(), 1);
    assert_eq!(settings.mqtt.port, 1883);
    let document = uncomment(&text, |_| true);
    let parsed = toml::de::DeTable::parse(&document).unwrap();
    for setting in SETTINGS {
        let mut table = parsed.get_ref();
        let (of, key) = setting.table_and_key();
        if !of.is_empty() {
            table = table[of].get_ref().as_table().unwrap();
        }
        assert!(table.contains_key(key), "{}", setting.path);
    }
    let entry = |name: &str| {
        let entries = parsed.get_ref()[name].get_ref().as_array().unwrap();
        let keys = entries[0].get_ref().as_table().unwrap().keys();
        keys.map(|key| key.get_ref().to_string())
            .collect::<Vec<_>>()
    };
    let sorted = |mut names: Vec<&'static str>| {
        names.sort_unstable();
        names
    };
    assert_eq!(entry("stream"), sorted(names(STREAM)));
    #[cfg(feature = "learning")]
    {
        let built_in = BUILT_IN.iter().map(|key| key.name);
        let known = names(RECIPE).into_iter().chain(built_in).collect();
        assert_eq!(entry("recipe"), sorted(known));
    }
}

#[test]
fn its_commented_defaults_are_the_defaults() {
    let as_written = render();
    // These two mean something only beside others.
    let is_alone = |key: &str| !["header", "time_max_ahead"].contains(&key);
    let plain = |key: &str| {
        let mut settings = SETTINGS.iter().chain(STREAM);
        is_alone(key)
            && settings.any(|setting| {
                setting.key() == key && matches!(setting.default, DefaultValue::Is(_))
            })
    };
    let explicit = uncomment(&as_written, plain);
    assert!(
        explicit.lines().filter(|l| l.starts_with('#')).count()
            < as_written.lines().filter(|l| l.starts_with('#')).count()
    );
    let (dir, path) = file_with(&as_written);
    let overrides = Overrides::default().set("device", "d");
    let mut implicit = check(Some(&path), &overrides).settings.unwrap();
    std::fs::write(dir.path().join("dunlin.toml"), explicit).unwrap();
    let mut explicit = check(Some(&path), &overrides).settings.unwrap();
    // Of two files.
    (implicit.file_sha256, explicit.file_sha256) = (None, None);
    assert_eq!(implicit, explicit);
}

/// Removes the # before every setting whose key is `wanted`.
fn uncomment(text: &str, wanted: impl Fn(&str) -> bool) -> String {
    let line = |line: &str| match line.strip_prefix('#') {
        Some("[[recipe]]") if wanted("name") => "[[recipe]]\n".to_owned(),
        Some(rest)
            if rest
                .split_once(" = ")
                .is_some_and(|(key, _)| !key.contains(' ') && wanted(key)) =>
        {
            format!("{rest}\n")
        }
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}
