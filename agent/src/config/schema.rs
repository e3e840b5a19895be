//! What settings there are: each is defined once, with its path, kind, default and help.
//!
//! The definitions drive everything that knows settings by name: reading the file, flags, variables,
//! the file that `init` writes. Who wants a value asks by its [`Key`](key::Key), which knows the type.

mod flags;
pub(crate) mod init;
pub(in crate::config) mod key;
pub(in crate::config) mod keys;
pub(in crate::config) mod kind;
pub(in crate::config) mod setting;

pub(in crate::config) use self::{
    flags::flags,
    keys::SETTINGS,
    setting::{DefaultValue, Setting, VARIABLE_PREFIX},
};

/// Variable with topic filters, one a line.
pub(in crate::config) const TOPIC_VARIABLE: &str = "DUNLIN_TOPIC";
/// What a variable with an option of the central database starts with.
pub(in crate::config) const DATABASE_VARIABLE_PREFIX: &str = "DUNLIN_UPSTREAM_DATABASE_";
/// Table of the central database's options.
pub(in crate::config) const DATABASE_TABLE: &str = "upstream.database";
/// Array of the stream rules.
pub(in crate::config) const STREAM_TABLE: &str = "stream";
/// What is learnt.
pub(in crate::config) const RECIPE_TABLE: &str = "recipe";
/// Id and long name of the flag with a topic filter.
pub(in crate::config) const TOPIC_FLAG: &str = "topic";
/// Id and long name of the flag with an option of the central database.
pub(in crate::config) const DATABASE_FLAG: &str = "upstream-database";

/// The setting at `path`.
pub(in crate::config) fn find(path: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.path == path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use super::*;
    use crate::config::{
        read::parse,
        schema::kind::{Kind, Value},
    };

    #[test]
    fn every_setting_exists_once_under_every_name() {
        let unique = |name: fn(&Setting) -> String| {
            let names: BTreeSet<String> = SETTINGS.iter().map(name).collect();
            assert_eq!(names.len(), SETTINGS.len());
        };
        unique(|s| s.path.into());
        unique(Setting::flag);
        unique(Setting::variable);
        for setting in SETTINGS {
            assert!(setting.help.len() > 8 && !setting.help.contains('\n'));
            assert!(
                !setting.variable().starts_with(DATABASE_VARIABLE_PREFIX),
                "{} is hidden by the database's options",
                setting.path
            );
        }
    }

    #[test]
    fn every_default_and_example_is_valid() {
        for setting in SETTINGS {
            let (DefaultValue::Is(text)
            | DefaultValue::Unset(text)
            | DefaultValue::Required(text)
            | DefaultValue::Derived { example: text, .. }) = setting.default;
            let value: Value = parse::from_text(&setting.kind, text)
                .unwrap_or_else(|diagnostic| panic!("{}: {diagnostic:?}", setting.path));
            assert!(!matches!(value, Value::Text(ref t) if t != text));
        }
    }

    #[test]
    fn units_stand_in_the_names() {
        for setting in SETTINGS {
            let stem = setting
                .path
                .trim_end_matches("_min")
                .trim_end_matches("_max");
            match setting.kind {
                Kind::Duration { unit, .. } => {
                    assert!(stem.ends_with(&format!("_{}", unit.symbol())), "{stem}");
                }
                Kind::Bytes { .. } => assert!(stem.ends_with("bytes"), "{stem}"),
                _ => {}
            }
        }
    }

    #[test]
    fn names_are_derived_from_the_path() {
        let setting = find("mqtt.keep_alive_s").unwrap();
        assert_eq!(setting.flag(), "mqtt-keep-alive-s");
        assert_eq!(setting.variable(), "DUNLIN_MQTT_KEEP_ALIVE_S");
        assert_eq!(setting.table_and_key(), ("mqtt", "keep_alive_s"));
        assert_eq!(find("device").unwrap().table_and_key(), ("", "device"));
    }
}
