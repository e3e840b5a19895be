//! One scalar setting: its path, kind, default and help.

/// What every variable of ours starts with.
pub const VARIABLE_PREFIX: &str = "DUNLIN_";

/// What a value may look like. Ranges include both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole number.
    Integer {
        /// Smallest value.
        min: u64,
        /// Largest value.
        max: u64,
    },
    /// A number of bytes, or a text such as `"512 MiB"`.
    Bytes {
        /// Fewest bytes.
        min: u64,
        /// Most bytes.
        max: u64,
    },
    /// A time in the unit that the setting's name ends in, or a text such as `"2 h"`.
    Duration {
        /// The unit of a bare number, of `min` and of `max`.
        unit: Unit,
        /// Shortest.
        min: u64,
        /// Longest.
        max: u64,
    },
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Text without control characters.
    Text {
        /// Fewest bytes.
        bytes_min: usize,
        /// Most bytes.
        bytes_max: usize,
    },
    /// `host:port` to listen on; empty for off.
    Listen,
    /// A file or directory.
    Path,
    /// A URL with one of these schemes; may hold user and password.
    Url(&'static [&'static str]),
    /// A password: no flag, because a command line is visible to everybody on the machine.
    Secret,
}

/// Unit of a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Milliseconds.
    Millis,
    /// Seconds.
    Seconds,
}

impl Unit {
    /// Nanoseconds in one.
    pub(in crate::config) const fn ns(self) -> u64 {
        match self {
            Self::Millis => 1_000_000,
            Self::Seconds => 1_000_000_000,
        }
    }

    pub(in crate::config) const fn symbol(self) -> &'static str {
        match self {
            Self::Millis => "ms",
            Self::Seconds => "s",
        }
    }
}

/// What holds when nothing is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultValue {
    /// This value, as it would be written in a variable.
    Is(&'static str),
    /// Worked out when the agent starts, as described; `example` is one value it may take.
    Derived {
        /// In words.
        how: &'static str,
        /// A value.
        example: &'static str,
    },
    /// Nothing; with an example of a value.
    Unset(&'static str),
    /// Must be set; with an example of a value.
    Required(&'static str),
}

/// One setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Dotted path in the file.
    pub path: &'static str,
    /// What it may be.
    pub kind: Kind,
    /// What it is unless set.
    pub default: DefaultValue,
    /// One line for people.
    pub help: &'static str,
}

impl Setting {
    /// The flag without dashes: `mqtt-keep-alive-s`.
    pub fn flag(&self) -> String {
        self.path.replace(['.', '_'], "-")
    }

    /// The environment variable: `DUNLIN_MQTT_KEEP_ALIVE_S`.
    pub fn variable(&self) -> String {
        format!(
            "{VARIABLE_PREFIX}{}",
            self.path.replace('.', "_").to_uppercase()
        )
    }

    /// Table in the file, and key within it; the table is empty for a key at the top.
    pub fn table_and_key(&self) -> (&'static str, &'static str) {
        self.path.rsplit_once('.').unwrap_or(("", self.path))
    }

    /// `value` as it is written in the file.
    pub fn written(&self, value: &str) -> String {
        let bare = match self.kind {
            Kind::Integer { .. } | Kind::Duration { .. } | Kind::Bytes { .. } => {
                value.bytes().all(|b| b.is_ascii_digit())
            }
            _ => false,
        };
        if bare {
            value.to_owned()
        } else {
            format!("\"{value}\"")
        }
    }

    /// The default in words.
    pub fn default_in_words(&self) -> String {
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
            Kind::Choice(words) => words.join("|"),
            Kind::Text { .. } | Kind::Secret => "TEXT".into(),
            Kind::Listen => "ADDRESS:PORT".into(),
            Kind::Path => "PATH".into(),
            Kind::Url(_) => "URL".into(),
        }
    }
}
