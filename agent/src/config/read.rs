//! What was given: the file, the flags and the variables, each value with its origin.

pub(in crate::config) mod overrides;
pub(in crate::config) mod parse;
pub(in crate::config) mod source;
pub(in crate::config) mod urls;
pub(in crate::config) mod values;
