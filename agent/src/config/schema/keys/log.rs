//! `[log]`: the log.

use crate::config::{
    schema::{
        key::Key,
        kind::{choice, text},
    },
    settings::LogFormat,
};

pub(in crate::config) const LEVEL: Key<String> = Key::new(
    "log.level",
    text(1, 1024),
    "info",
    "error, warn, info, debug, trace, or a filter such as info,dunlin_sync=debug",
);

pub(in crate::config) const FORMAT: Key<LogFormat> = Key::new(
    "log.format",
    choice(),
    "text",
    "Log lines on standard error as text or JSON",
);
