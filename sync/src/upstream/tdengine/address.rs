//! What the user wrote, checked: the URL and the options of CREATE DATABASE.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use super::super::{
    UpstreamError, UpstreamOptions,
    relay::Target,
    server_url::{Password, database_of, decoded, host_of, is_word, parsed, tls_files, wrong},
};
use crate::tls::{FollowedTls, TlsFiles};

const PORT: u16 = 6041;
const DATABASE_BYTES_MAX: usize = 64;

/// A checked `tdengine://` or `tdengines://` URL. Not `Debug`: it holds the password.
pub(super) struct Address {
    pub(super) target: Target,
    pub(super) user: String,
    password: Password,
    /// ASCII letters, digits and `_`.
    pub(super) database: String,
    /// Everything after PRECISION in CREATE DATABASE.
    pub(super) create_options: String,
}

impl Address {
    /// Checks URL, options and TLS files. No error repeats the URL: it may hold a password.
    pub(super) fn new(options: &UpstreamOptions) -> Result<Self, UpstreamError> {
        let url = parsed(options, "tdengine://user:password@host:6041/database")?;
        let host = host_of(&url)?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong(
                "the URL takes no \"?\" or \"#\"; percent-encode them in the password".into(),
            ));
        }
        let database = database_of(&url, DATABASE_BYTES_MAX)?;
        let user = decoded_or(url.username(), "root")?;
        let password = decoded_or(url.password().unwrap_or_default(), "taosdata")?;

        let files = tls_files(options);
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
            password: Password::new(password, options),
            database,
            create_options: create_options(&options.database_options)?,
        })
    }

    /// The password for a new connection.
    pub(super) fn password(&self) -> String {
        self.password.current()
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
        self.password.hidden_in(text)
    }
}

/// What the URL says, or else what a new server takes.
fn decoded_or(part: &str, default: &str) -> Result<String, UpstreamError> {
    if part.is_empty() {
        return Ok(default.to_owned());
    }
    decoded(part)
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
