//! The way to a centre: a database that devices and builders share.

use std::{path::PathBuf, sync::Arc, time::Duration};

use dunlin_sync::{
    centre::{self, Centre, CentreError},
    upstream::UpstreamOptions,
};

/// Bound on every call.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

/// Where a centre is, and how to get in.
#[derive(Clone, Debug, Default)]
pub(crate) struct CentreOptions {
    /// `sqlite:central.db`, `postgres://user@host/database`.
    pub(crate) url: String,
    /// Holds the password.
    pub(crate) password_file: Option<PathBuf>,
    /// Holds the certificates of those whom to believe.
    pub(crate) ca_file: Option<PathBuf>,
}

/// The centre that `options` name; connects at the first call.
///
/// # Errors
/// [`CentreError::Refused`] if that cannot be one.
pub(crate) fn connect(options: &CentreOptions) -> Result<Arc<dyn Centre>, CentreError> {
    let options = UpstreamOptions {
        password_file: options.password_file.clone(),
        ca_file: options.ca_file.clone(),
        ..UpstreamOptions::new(&options.url, TIMEOUT)
    };
    centre::connect(&options).map(Arc::from)
}
