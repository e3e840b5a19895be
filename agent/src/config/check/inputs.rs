//! What settings are made of.

use crate::{
    config::read::{
        overrides::Overrides,
        source::Source,
        values::{Tables, Values},
    },
    own::Own,
};

/// Everything that was given.
pub(in crate::config) struct Inputs<'a> {
    pub(in crate::config) values: &'a Values,
    pub(in crate::config) source: Option<&'a Source>,
    pub(in crate::config) tables: &'a Tables<'a>,
    pub(in crate::config) overrides: &'a Overrides,
    /// Whether the whole file is TOML.
    pub(in crate::config) syntax_is_sound: bool,
    /// What a program around the agent brings along.
    pub(in crate::config) own: Option<&'a Own>,
}
