//! What settings are built from.

use std::{path::Path, time::Duration};

use crate::config::read::{
    overrides::Overrides,
    values::{Source, Tables, Values},
};

/// What everything here works on.
pub(in crate::config) struct Inputs<'a> {
    pub(in crate::config) values: &'a Values,
    pub(in crate::config) source: Option<&'a Source>,
    pub(in crate::config) tables: &'a Tables<'a>,
    pub(in crate::config) overrides: &'a Overrides,
    /// Directory of the file; empty for the working directory.
    pub(in crate::config) base: &'a Path,
    /// Whether the whole file is TOML.
    pub(in crate::config) syntax_is_sound: bool,
    /// Recipes that a program around the agent brings along.
    #[cfg(feature = "learning")]
    pub(in crate::config) own: Option<&'a crate::learn::recipes::OwnRecipes>,
}

/// The setting `path`, seconds.
pub(in crate::config) fn seconds(values: &Values, path: &str) -> Duration {
    Duration::from_secs(values.number(path))
}
