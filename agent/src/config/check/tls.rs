//! Certificates and keys: whether their files can be used.

use std::fs::File;

use dunlin_sync::tls::{TlsError, TlsFiles, client_config};

use super::secrets::warn_if_readable_by_others;
use crate::config::{
    diagnostic::Diagnostics,
    read::values::Values,
    schema::{Setting, key::ConnectionKeys},
};

/// Certificates and keys of one side, which are read once to see whether they can be used.
/// `is_tls` is `None` if the URL does not say.
pub(super) fn files(
    keys: &ConnectionKeys,
    is_tls: Option<bool>,
    values: &Values,
    found: &mut Diagnostics,
) -> TlsFiles {
    let files = TlsFiles {
        ca_file: values.maybe(&keys.ca_file),
        cert_file: values.maybe(&keys.cert_file),
        key_file: values.maybe(&keys.key_file),
    };
    let errors_before = found.errors.len();
    check_readable(keys, is_tls, values, found);
    check_pair(keys, values, found);
    if let Some(file) = &files.key_file {
        let origin = values.origin(&keys.key_file);
        warn_if_readable_by_others(keys.key_file.path, file, &origin, found);
    }
    if is_tls == Some(true) && found.errors.len() == errors_before {
        check_usable(keys, &files, values, found);
    }
    files
}

fn check_readable(
    keys: &ConnectionKeys,
    is_tls: Option<bool>,
    values: &Values,
    found: &mut Diagnostics,
) {
    for key in [&keys.ca_file, &keys.cert_file, &keys.key_file] {
        let Some(file) = values.maybe(key) else {
            continue;
        };
        let (path, origin) = (key.path, values.origin(key));
        if is_tls == Some(false) {
            found.error(
                &origin,
                format!("{path}: the connection is not encrypted"),
                format!(
                    "write {} with {}, or remove it",
                    keys.url.path, keys.tls_form
                ),
            );
        } else if let Err(error) = File::open(&file).and_then(|file| file.metadata()) {
            let message = format!("{path}: {} cannot be read: {error}", file.display());
            found.error(&origin, message, "name a PEM file that this user may read");
        }
    }
}

/// A certificate and its key go together.
fn check_pair(keys: &ConnectionKeys, values: &Values, found: &mut Diagnostics) {
    let (cert, key) = (&keys.cert_file, &keys.key_file);
    for (one, other) in [(cert, key), (key, cert)] {
        if values.is_set(one) && !values.is_set(other) && !values.is_bad(other) {
            let message = format!("{}: is set without {}", one.path, other.path);
            let hint = format!("set {} too, or neither", other.path);
            found.error(&values.origin(one), message, hint);
        }
    }
}

fn check_usable(keys: &ConnectionKeys, files: &TlsFiles, values: &Values, found: &mut Diagnostics) {
    let Err(error) = client_config(files) else {
        return;
    };
    let culprit: &Setting = match &error {
        TlsError::File { path, .. } => {
            let mut keys_of_files = [&keys.ca_file, &keys.cert_file, &keys.key_file].into_iter();
            let culprit = keys_of_files.find(|key| values.maybe(key).as_ref() == Some(path));
            culprit.map_or(&keys.url.setting, |key| &key.setting)
        }
        TlsError::Setup(_) => &keys.url,
    };
    found.error(
        &values.origin(culprit),
        format!("{}: TLS cannot be set up: {error}", culprit.path),
        "certificates and keys are PEM files: -----BEGIN CERTIFICATE-----, ... PRIVATE KEY-----",
    );
}
