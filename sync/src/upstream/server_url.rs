//! What the URLs of servers have in common, checked. No error repeats a URL: it may hold a password.

use std::sync::{Mutex, MutexGuard};

use percent_encoding::percent_decode_str;
use url::{Host, Url};

use super::{UpstreamError, UpstreamOptions};
use crate::{files::secret_file::FollowedPassword, lock::unpoisoned, tls::TlsFiles};

pub(super) fn wrong(reason: String) -> UpstreamError {
    UpstreamError::Rejected(reason)
}

/// The URL that the user wrote; `example` tells how it is written.
pub(super) fn parsed(options: &UpstreamOptions, example: &str) -> Result<Url, UpstreamError> {
    Url::parse(&options.url).map_err(|e| {
        wrong(format!(
            "the URL cannot be read: {e}; write {example} (percent-encode special characters of the password)"
        ))
    })
}

/// Name or address of the server.
pub(super) fn host_of(url: &Url) -> Result<String, UpstreamError> {
    match url.host() {
        Some(Host::Domain(name)) if !name.is_empty() && !name.contains('%') => Ok(name.to_owned()),
        Some(Host::Ipv4(ip)) => Ok(ip.to_string()),
        Some(Host::Ipv6(ip)) => Ok(ip.to_string()),
        _ => Err(wrong("the URL names no usable host".into())),
    }
}

/// Name of the database: ASCII letters, digits and `_`.
pub(super) fn database_of(url: &Url, bytes_max: usize) -> Result<String, UpstreamError> {
    let database = url.path().trim_start_matches('/');
    if is_word(database) && database.len() <= bytes_max {
        return Ok(database.to_owned());
    }
    Err(wrong(format!(
        "the URL must end in a database name of 1 to {bytes_max} letters, digits and \"_\", not starting \
         with a digit"
    )))
}

/// User or password as it was before it was percent-encoded.
pub(super) fn decoded(part: &str) -> Result<String, UpstreamError> {
    let text = percent_decode_str(part)
        .decode_utf8()
        .map_err(|_| wrong("user and password of the URL must be UTF-8".into()))?;
    Ok(text.into_owned())
}

pub(super) fn is_word(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

pub(super) fn tls_files(options: &UpstreamOptions) -> TlsFiles {
    TlsFiles {
        ca_file: options.ca_file.clone(),
        cert_file: options.cert_file.clone(),
        key_file: options.key_file.clone(),
    }
}

/// The password, which follows its file. Not `Debug`.
pub(super) struct Password(Mutex<FollowedPassword>);

impl Password {
    /// `password`, until the file that the options name, if any, says otherwise.
    pub(super) fn new(password: String, options: &UpstreamOptions) -> Self {
        let file = options.password_file.clone();
        Self(Mutex::new(FollowedPassword::new(password, file)))
    }

    /// For a new connection.
    pub(super) fn current(&self) -> String {
        self.lock().current().to_owned()
    }

    /// `text` without it, should a server repeat it.
    pub(super) fn hidden_in(&self, text: &str) -> String {
        let password = self.lock();
        if password.last().len() < 4 {
            text.to_owned()
        } else {
            text.replace(password.last(), "***")
        }
    }

    // Each change of it is whole.
    fn lock(&self) -> MutexGuard<'_, FollowedPassword> {
        unpoisoned(self.0.lock())
    }
}
