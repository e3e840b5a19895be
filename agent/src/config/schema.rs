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

pub(in crate::config) fn find(path: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.path == path)
}

#[cfg(test)]
mod tests;
