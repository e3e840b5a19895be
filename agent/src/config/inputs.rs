//! What settings are built from.

use std::{path::Path, time::Duration};

use super::{
    overrides::Overrides,
    read::{Source, Tables, Values},
};

/// What everything here works on.
pub(super) struct Inputs<'a> {
    pub(super) values: &'a Values,
    pub(super) source: Option<&'a Source>,
    pub(super) tables: &'a Tables<'a>,
    pub(super) overrides: &'a Overrides,
    /// Directory of the file; empty for the working directory.
    pub(super) base: &'a Path,
    /// Whether the whole file is TOML.
    pub(super) syntax_is_sound: bool,
    /// Recipes that a program around the agent brings along.
    #[cfg(feature = "learning")]
    pub(super) own: Option<&'a crate::learn::recipes::OwnRecipes>,
}

/// The setting `path`, seconds.
pub(super) fn seconds(values: &Values, path: &str) -> Duration {
    Duration::from_secs(values.number(path))
}
