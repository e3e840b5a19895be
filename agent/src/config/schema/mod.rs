//! One table of every scalar setting: path, kind, default, help.
//!
//! The table drives everything that knows settings by name: reading the file, flags, environment
//! variables, the file `init` writes, and the documentation. A setting exists once, in [`SETTINGS`].

pub mod init;
mod keys;
mod setting;

use clap::{Arg, Command, builder::StyledStr};

pub use self::{
    keys::SETTINGS,
    setting::{DefaultValue, Kind, Setting, Unit, VARIABLE_PREFIX},
};

/// Variable with topic filters, one a line.
pub const TOPIC_VARIABLE: &str = "DUNLIN_TOPIC";
/// What a variable with an option of the central database starts with.
pub const DATABASE_VARIABLE_PREFIX: &str = "DUNLIN_UPSTREAM_DATABASE_";
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

/// Settings that the quick start gives a shorter flag.
const SHORT_FLAGS: [(&str, &str); 2] = [("mqtt.url", "mqtt"), ("upstream.url", "upstream")];

/// The setting at `path`.
pub fn find(path: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.path == path)
}

/// Settings whose flags are in the short help (`-h`); `--help` shows all.
const EVERYDAY: [&str; 6] = [
    "device",
    "data_dir",
    "mqtt.url",
    "upstream.url",
    "http.listen",
    "log.level",
];

/// Adds a flag for every setting except passwords, `--topic` and `--upstream-database`.
#[must_use]
pub fn flags(command: Command) -> Command {
    let settings = SETTINGS.iter().filter(|s| s.kind != Kind::Secret);
    let command = settings.fold(command, |command, setting| {
        let mut arg = Arg::new(setting.path)
            .long(setting.flag())
            .value_name(setting.value_name())
            .hide_short_help(!EVERYDAY.contains(&setting.path))
            .help_heading("Settings (each overrides its line in the file)")
            .help(StyledStr::from(format!(
                "{} [default: {}] [env: {}]",
                setting.help,
                setting.default_in_words(),
                setting.variable()
            )));
        for (path, short) in SHORT_FLAGS {
            if path == setting.path {
                arg = arg.visible_alias(short);
            }
        }
        command.arg(arg)
    });
    command
        .arg(
            Arg::new(TOPIC_FLAG)
                .long(TOPIC_FLAG)
                .value_name("[NAME=]FILTER")
                .action(clap::ArgAction::Append)
                .help_heading("Settings (each overrides its line in the file)")
                .help(format!(
                    "A stream by its topic filter, JSON payloads; repeatable; replaces the file's \
                     [[stream]] entries [env: {TOPIC_VARIABLE}, one a line]"
                )),
        )
        .arg(
            Arg::new(DATABASE_FLAG)
                .long(DATABASE_FLAG)
                .value_name("KEY=VALUE")
                .hide_short_help(true)
                .action(clap::ArgAction::Append)
                .help_heading("Settings (each overrides its line in the file)")
                .help(format!(
                    "An option for creating the central database, such as keep=3650; repeatable \
                     [env: {DATABASE_VARIABLE_PREFIX}KEY]"
                )),
        )
}

/// Every setting as a Markdown table.
pub fn markdown() -> String {
    let mut text = String::from("| setting | default | what |\n|---|---|---|\n");
    for setting in SETTINGS {
        let row = format!(
            "| `{}` | {} | {} |\n",
            setting.path,
            setting.default_in_words().replace('|', "\\|"),
            setting.help.replace('|', "\\|")
        );
        text.push_str(&row);
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use super::*;
    use crate::config::read::parse::{self as value, Value};

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
            let value: Value = value::from_text(&setting.kind, text)
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

    #[test]
    fn flags_are_sound_and_passwords_have_none() {
        let command = flags(Command::new("run"));
        command.clone().debug_assert();
        let names: Vec<_> = command.get_arguments().filter_map(Arg::get_long).collect();
        assert!(names.contains(&"mqtt-url") && names.contains(&"topic"));
        assert!(!names.contains(&"mqtt-password"));
        assert!(names.contains(&"mqtt-password-file"));
        let short = command.clone().render_help().to_string();
        for path in EVERYDAY {
            let flag = find(path).unwrap().flag();
            assert!(short.contains(&format!("--{flag} ")), "{short}");
        }
        assert!(!short.contains("--mqtt-keep-alive-s"), "{short}");
        let long = command.clone().render_long_help().to_string();
        for setting in SETTINGS
            .iter()
            .filter(|setting| setting.kind != Kind::Secret)
        {
            assert!(long.contains(&setting.variable()), "{}", setting.path);
        }
    }

    #[test]
    fn the_documentation_names_every_setting() {
        let text = markdown();
        assert_eq!(text.lines().count(), SETTINGS.len() + 2);
        for setting in SETTINGS {
            assert!(text.contains(&format!("`{}`", setting.path)));
        }
    }
}
