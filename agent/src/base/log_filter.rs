//! Which lines are logged: `info`, or `info,dunlin_sync=debug`.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

/// Dependencies that talk too much below a warning, unless the filter names them.
const QUIET: [&str; 15] = [
    "axum",
    "h2",
    "hyper",
    "hyper_util",
    "mio",
    "rumqttc",
    "rumqttd",
    "rustls",
    "sled",
    "taos",
    "taos_optin",
    "taos_query",
    "taos_ws",
    "tokio_tungstenite",
    "tungstenite",
];

/// Why logging cannot start, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}; {hint}")]
pub struct LogError {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// Whether `filter` can be read.
///
/// # Errors
/// [`LogError`] saying what cannot.
pub(crate) fn check_filter(filter: &str) -> Result<(), LogError> {
    env_filter(filter).map(drop)
}

/// The filter, as the subscriber takes it.
///
/// # Errors
/// [`LogError`] saying what cannot be read.
pub(crate) fn env_filter(filter: &str) -> Result<EnvFilter, LogError> {
    let error = |message: String| LogError {
        message,
        hint: "write error, warn, info, debug, trace or off, or a list such as \
               info,dunlin_sync=debug"
            .into(),
    };
    let mut directives: Vec<String> = QUIET.iter().map(|name| format!("{name}=warn")).collect();
    for directive in filter.split(',').map(str::trim) {
        // A bare word that is no level would count as the name of a module, and log everything of it.
        let is_bare = !directive.contains(['=', '[', ':']);
        if directive.is_empty() || is_bare && directive.parse::<LevelFilter>().is_err() {
            return Err(error(format!("`{directive}` is no level")));
        }
        directives.push(directive.to_owned());
    }
    EnvFilter::try_new(directives.join(","))
        .map_err(|reason| error(format!("`{filter}` cannot be read: {reason}")))
}

#[cfg(test)]
mod tests;
