//! What is asked of both connections, to the broker and to the central database.

use crate::config::{
    diagnostic::Diagnostics,
    read::{urls::ServerUrl, values::Values},
    schema::key::ConnectionKeys,
};

pub(super) fn check_backoff(keys: &ConnectionKeys, values: &Values, found: &mut Diagnostics) {
    let (min, max) = (&keys.backoff_ms_min, &keys.backoff_ms_max);
    let (min_ms, max_ms) = (values.get(min), values.get(max));
    if values.is_bad(min) || values.is_bad(max) || min_ms <= max_ms {
        return;
    }
    let culprit = if values.is_set(min) { min } else { max };
    found.error(
        &values.origin(culprit),
        format!("{} ({min_ms}) is above {} ({max_ms})", min.path, max.path),
        "the first wait is the shortest",
    );
}

pub(super) fn warn_if_plain(
    keys: &ConnectionKeys,
    url: Option<&ServerUrl>,
    has_password: bool,
    values: &Values,
    found: &mut Diagnostics,
) {
    if let Some(url) = url
        && has_password
        && !url.is_tls()
        && !url.is_local()
    {
        found.warning(
            &values.origin(&keys.url),
            format!(
                "{}: the password goes over the network unencrypted",
                keys.url.path
            ),
            format!("use {}", keys.tls_form),
        );
    }
}
