//! What the user wrote, checked: the URL and the options of CREATE DATABASE.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard},
};

use percent_encoding::percent_decode_str;
use url::{Host, Url};

use super::super::{UpstreamError, UpstreamOptions, relay::Target};
use crate::{
    files::secret_file::FollowedPassword,
    lock::unpoisoned,
    tls::{FollowedTls, TlsFiles},
};

const PORT: u16 = 6041;
const DATABASE_BYTES_MAX: usize = 64;

/// A checked `tdengine://` or `tdengines://` URL. Not `Debug`: it holds the password.
pub(super) struct Address {
    pub(super) target: Target,
    pub(super) user: String,
    password: Mutex<FollowedPassword>,
    /// ASCII letters, digits and `_`.
    pub(super) database: String,
    /// Everything after PRECISION in CREATE DATABASE.
    pub(super) create_options: String,
}

impl Address {
    /// Checks URL, options and TLS files. No error repeats the URL: it may hold a password.
    pub(super) fn new(options: &UpstreamOptions) -> Result<Self, UpstreamError> {
        let url = Url::parse(&options.url).map_err(|e| {
            wrong(format!(
                "the URL cannot be read: {e}; write tdengine://user:password@host:6041/database \
                 (percent-encode special characters of the password)"
            ))
        })?;
        let host = match url.host() {
            Some(Host::Domain(name)) if !name.is_empty() && !name.contains('%') => name.to_owned(),
            Some(Host::Ipv4(ip)) => ip.to_string(),
            Some(Host::Ipv6(ip)) => ip.to_string(),
            _ => return Err(wrong("the URL names no usable host".into())),
        };
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong(
                "the URL takes no \"?\" or \"#\"; percent-encode them in the password".into(),
            ));
        }
        let database = url.path().trim_start_matches('/').to_owned();
        if !is_word(&database) || database.len() > DATABASE_BYTES_MAX {
            return Err(wrong(format!(
                "the URL must end in a database name of 1 to {DATABASE_BYTES_MAX} letters, digits \
                 and \"_\", not starting with a digit"
            )));
        }
        let user = decoded(url.username(), "root")?;
        let password = decoded(url.password().unwrap_or_default(), "taosdata")?;

        let files = TlsFiles {
            ca_file: options.ca_file.clone(),
            cert_file: options.cert_file.clone(),
            key_file: options.key_file.clone(),
        };
        let tls = match url.scheme() {
            "tdengines" => {
                let tls = FollowedTls::new(files).map_err(|e| wrong(e.to_string()))?;
                Some(Arc::new(tls))
            }
            _ if files != TlsFiles::default() => {
                return Err(wrong(
                    "ca_file, cert_file and key_file need a tdengines:// URL; tdengine:// is not \
                     encrypted"
                        .into(),
                ));
            }
            _ => None,
        };
        Ok(Self {
            target: Target {
                host,
                port: url.port().unwrap_or(PORT),
                tls,
            },
            user,
            password: Mutex::new(FollowedPassword::new(
                password,
                options.password_file.clone(),
            )),
            database,
            create_options: create_options(&options.database_options)?,
        })
    }

    /// The password for a new connection.
    pub(super) fn password(&self) -> String {
        self.lock_password().current().to_owned()
    }

    // Each change of it is whole.
    fn lock_password(&self) -> MutexGuard<'_, FollowedPassword> {
        unpoisoned(self.password.lock())
    }

    /// Scheme, host, port and database.
    pub(super) fn location(&self) -> String {
        let scheme = if self.target.tls.is_some() {
            "tdengines"
        } else {
            "tdengine"
        };
        format!("{scheme}://{}/{}", self.target.authority(), self.database)
    }

    /// `text` without the password, should a server repeat it.
    pub(super) fn without_password(&self, text: &str) -> String {
        let password = self.lock_password();
        if password.last().len() < 4 {
            text.to_owned()
        } else {
            text.replace(password.last(), "***")
        }
    }
}

fn wrong(reason: String) -> UpstreamError {
    UpstreamError::Rejected(reason)
}

fn decoded(part: &str, default: &str) -> Result<String, UpstreamError> {
    if part.is_empty() {
        return Ok(default.to_owned());
    }
    let text = percent_decode_str(part)
        .decode_utf8()
        .map_err(|_| wrong("user and password of the URL must be UTF-8".into()))?;
    Ok(text.into_owned())
}

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// ` NAME VALUE ...`: names are words, values numbers with units or words, so nothing else gets in.
fn create_options(options: &BTreeMap<String, String>) -> Result<String, UpstreamError> {
    let mut sql = String::new();
    for (name, value) in options {
        let name_ok = is_word(name) && !name.contains(|c: char| c.is_ascii_digit());
        // S3_CHUNKSIZE and its like.
        let name_ok = name_ok || name.to_ascii_uppercase().starts_with("S3_") && is_word(name);
        if !name_ok || name.eq_ignore_ascii_case("precision") {
            return Err(wrong(format!(
                "database option \"{}\": {}",
                name.escape_debug(),
                if name_ok {
                    "the precision is always ns"
                } else {
                    "a name is made of letters and \"_\""
                }
            )));
        }
        let value_ok = (1..=64).contains(&value.len())
            && value
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_.,-".contains(&b))
            && !value.contains("--");
        if !value_ok {
            return Err(wrong(format!(
                "database option {name}: the value is made of letters, digits and \"_\", \".\", \
                 \",\", \"-\", at most 64"
            )));
        }
        let bare = value.starts_with(|c: char| c.is_ascii_digit() || c == '-');
        let quote = if bare { "" } else { "'" };
        let _infallible = write!(sql, " {} {quote}{value}{quote}", name.to_ascii_uppercase());
    }
    Ok(sql)
}

#[cfg(test)]
mod tests;
