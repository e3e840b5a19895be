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
    let text_of = |setting: &Setting| {
        let (DefaultValue::Is(text)
        | DefaultValue::Unset(text)
        | DefaultValue::Required(text)
        | DefaultValue::Derived { example: text, .. }) = setting.default;
        text
    };
    for setting in SETTINGS {
        let text = text_of(setting);
        let value: Value = parse::from_text(&setting.kind, text)
            .unwrap_or_else(|diagnostic| panic!("{}: {diagnostic:?}", setting.path));
        assert!(!matches!(value, Value::Text(ref t) if t != text));
    }
    let entries = keys::stream::STREAM.iter();
    #[cfg(feature = "learning")]
    let entries = entries.chain(keys::recipe::RECIPE);
    for setting in entries {
        let line = format!("{} = {}", setting.key(), setting.written(text_of(setting)));
        let table = toml::de::DeTable::parse(&line).unwrap();
        let (_, value) = table.get_ref().iter().next().unwrap();
        let read = parse::from_toml(&setting.kind, value.get_ref());
        assert!(
            read.is_ok() || matches!(setting.kind, Kind::Other),
            "{line}: {read:?}"
        );
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
            Kind::Bytes { .. } => {
                let stem = stem.trim_end_matches("_per_s");
                assert!(stem.ends_with("bytes"), "{stem}");
            }
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
