//! One setting: its path, kind, default and help.

use super::kind::Kind;

/// What every variable of ours starts with.
pub(in crate::config) const VARIABLE_PREFIX: &str = "DUNLIN_";

/// What holds when nothing is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum DefaultValue {
    /// This value, as it would be written in a variable.
    Is(&'static str),
    /// Worked out when the agent starts, as described; `example` is one value it may take.
    Derived {
        how: &'static str,
        example: &'static str,
    },
    /// Nothing; with an example of a value.
    Unset(&'static str),
    /// Must be set; with an example of a value.
    Required(&'static str),
}

/// What is known of a setting whatever the type of its value: what flags, variables, the file that
/// `init` writes and messages are made of.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct Setting {
    /// Dotted path in the file.
    pub(in crate::config) path: &'static str,
    /// What it may be.
    pub(in crate::config) kind: Kind,
    pub(in crate::config) default: DefaultValue,
    /// One line for people.
    pub(in crate::config) help: &'static str,
}

impl Setting {
    pub(in crate::config) const fn new(
        path: &'static str,
        kind: Kind,
        default: DefaultValue,
        help: &'static str,
    ) -> Self {
        Self {
            path,
            kind,
            default,
            help,
        }
    }

    /// The flag without dashes: `mqtt-keep-alive-s`.
    pub(in crate::config) fn flag(&self) -> String {
        self.path.replace(['.', '_'], "-")
    }

    /// The environment variable: `DUNLIN_MQTT_KEEP_ALIVE_S`.
    pub(in crate::config) fn variable(&self) -> String {
        format!(
            "{VARIABLE_PREFIX}{}",
            self.path.replace('.', "_").to_uppercase()
        )
    }

    /// Its name within its table.
    pub(in crate::config) fn key(&self) -> &'static str {
        self.table_and_key().1
    }

    /// Table in the file, and key within it; the table is empty for a key at the top.
    pub(in crate::config) fn table_and_key(&self) -> (&'static str, &'static str) {
        self.path.rsplit_once('.').unwrap_or(("", self.path))
    }

    /// `value` as it is written in the file.
    pub(in crate::config) fn written(&self, value: &str) -> String {
        let bare = match self.kind {
            Kind::Integer { .. } | Kind::Duration { .. } | Kind::Bytes { .. } => {
                value.bytes().all(|b| b.is_ascii_digit())
            }
            Kind::Flag | Kind::Real { .. } | Kind::Other => true,
            Kind::Texts { .. } => true,
            _ => false,
        };
        if bare {
            value.to_owned()
        } else {
            format!("\"{value}\"")
        }
    }

    pub(in crate::config) fn default_in_words(&self) -> String {
        match self.default {
            DefaultValue::Is("") => "empty".into(),
            DefaultValue::Is(value) => value.into(),
            DefaultValue::Derived { how, .. } => how.into(),
            DefaultValue::Unset(_) => "none".into(),
            DefaultValue::Required(_) => "must be set".into(),
        }
    }

    pub(in crate::config) fn value_name(&self) -> String {
        match self.kind {
            Kind::Integer { .. } => "NUMBER".into(),
            Kind::Bytes { .. } => "BYTES".into(),
            Kind::Duration { unit, .. } => unit.symbol().to_uppercase(),
            Kind::Choice(words) => words().join("|"),
            Kind::Text { .. } | Kind::Secret => "TEXT".into(),
            Kind::Listen => "ADDRESS:PORT".into(),
            Kind::Path => "PATH".into(),
            Kind::Url(_) => "URL".into(),
            Kind::Flag => "true|false".into(),
            Kind::Real { .. } => "NUMBER".into(),
            Kind::Texts { .. } => "LIST".into(),
            Kind::Other => "VALUE".into(),
        }
    }
}
