//! A command-line flag for every setting.

use clap::{Arg, Command, builder::StyledStr};

use super::{
    DATABASE_FLAG, DATABASE_VARIABLE_PREFIX, SETTINGS, TOPIC_FLAG, TOPIC_VARIABLE,
    keys::{device, http, log, mqtt, upstream},
    kind::Kind,
};

/// Settings that the quick start gives a shorter flag.
const SHORT_FLAGS: [(&str, &str); 2] = [
    (mqtt::URL.setting.path, "mqtt"),
    (upstream::URL.setting.path, "upstream"),
];

/// Settings whose flags are in the short help (`-h`); `--help` shows all.
const EVERYDAY: [&str; 6] = [
    device::DEVICE.setting.path,
    device::DATA_DIR.setting.path,
    mqtt::URL.setting.path,
    upstream::URL.setting.path,
    http::LISTEN.setting.path,
    log::LEVEL.setting.path,
];

/// Adds a flag for every setting except passwords, `--topic` and `--upstream-database`.
#[must_use]
pub(in crate::config) fn flags(command: Command) -> Command {
    let settings = SETTINGS.iter().filter(|s| !matches!(s.kind, Kind::Secret));
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

#[cfg(test)]
mod tests;
