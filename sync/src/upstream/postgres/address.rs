//! What the user wrote, checked: the URL, and what belongs to it.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard},
};

use percent_encoding::percent_decode_str;
use tokio_postgres::{Config, config::SslMode};
use url::{Host, Url};

use super::super::{UpstreamError, UpstreamOptions, relay::Target};
use crate::{
    files::secret_file::FollowedPassword,
    lock::unpoisoned,
    tls::{FollowedTls, TlsFiles},
};

const PORT: u16 = 5432;
const DATABASE_BYTES_MAX: usize = 63;
/// What the server calls us in its list of sessions.
const APPLICATION: &str = "dunlin";

/// A checked `postgres://` URL. Not `Debug`: it holds the password.
pub(crate) struct Address {
    pub(crate) target: Target,
    user: String,
    password: Mutex<FollowedPassword>,
    /// ASCII letters, digits and `_`.
    pub(super) database: String,
}

impl Address {
    /// Checks URL, options and TLS files. No error repeats the URL: it may hold a password.
    pub(crate) fn new(options: &UpstreamOptions) -> Result<Self, UpstreamError> {
        let url = Url::parse(&options.url).map_err(|e| {
            wrong(format!(
                "the URL cannot be read: {e}; write postgres://user:password@host:5432/database \
                 (percent-encode special characters of the password)"
            ))
        })?;
        // Of an unknown scheme, an address is a name like any other.
        let host = match url.host() {
            Some(Host::Domain(name)) if !name.is_empty() && !name.contains('%') => name.to_owned(),
            Some(Host::Ipv4(ip)) => ip.to_string(),
            Some(Host::Ipv6(ip)) => ip.to_string(),
            _ => return Err(wrong("the URL names no usable host".into())),
        };
        if url.fragment().is_some() {
            return Err(wrong(
                "the URL takes no \"#\"; percent-encode it in the password".into(),
            ));
        }
        let database = url.path().trim_start_matches('/').to_owned();
        if !is_word(&database) || database.len() > DATABASE_BYTES_MAX {
            return Err(wrong(format!(
                "the URL must end in a database name of 1 to {DATABASE_BYTES_MAX} letters, digits \
                 and \"_\", not starting with a digit"
            )));
        }
        let user = decoded(url.username())?;
        if user.is_empty() {
            return Err(wrong(
                "the URL names no user; write postgres://user@host:5432/database".into(),
            ));
        }
        let password = decoded(url.password().unwrap_or_default())?;
        let files = TlsFiles {
            ca_file: options.ca_file.clone(),
            cert_file: options.cert_file.clone(),
            key_file: options.key_file.clone(),
        };
        let tls = if is_encrypted(&url, &host)? || files != TlsFiles::default() {
            if asked_for(&url)?.is_some_and(|is_encrypted| !is_encrypted) {
                return Err(wrong(
                    "ca_file, cert_file and key_file need TLS; sslmode=disable is not encrypted"
                        .into(),
                ));
            }
            let tls = FollowedTls::new(files).map_err(|e| wrong(e.to_string()))?;
            Some(Arc::new(tls))
        } else {
            None
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
        })
    }

    /// What a new connection begins with, over a socket that is there and encrypted already.
    pub(super) fn config(&self) -> Config {
        let mut config = Config::new();
        config
            .user(&self.user)
            .dbname(&self.database)
            .application_name(APPLICATION)
            .ssl_mode(SslMode::Disable);
        let mut password = self.lock_password();
        let password = password.current();
        if !password.is_empty() {
            config.password(password);
        }
        config
    }

    // Each change of it is whole.
    fn lock_password(&self) -> MutexGuard<'_, FollowedPassword> {
        unpoisoned(self.password.lock())
    }

    /// Scheme, host, port, database, and whether it is encrypted.
    pub(crate) fn location(&self) -> String {
        let mode = match self.target.tls {
            Some(_) => "verify-full",
            None => "disable",
        };
        format!(
            "postgres://{}/{}?sslmode={mode}",
            self.target.authority(),
            self.database
        )
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

/// What the URL says of TLS, if it does: verified or none at all.
fn asked_for(url: &Url) -> Result<Option<bool>, UpstreamError> {
    let mut asked = None;
    for (name, value) in url.query_pairs() {
        asked = match (&*name, &*value) {
            ("sslmode", "verify-full") => Some(true),
            ("sslmode", "disable") => Some(false),
            ("sslmode", "allow" | "prefer" | "require" | "verify-ca") => {
                return Err(wrong(
                    "this sslmode takes any server for the right one; say sslmode=verify-full (with \
                     ca_file for an authority of your own), or sslmode=disable"
                        .into(),
                ));
            }
            ("sslmode", _) => {
                return Err(wrong("sslmode is verify-full or disable".into()));
            }
            _ => {
                return Err(wrong(
                    "behind \"?\" the URL takes sslmode alone; percent-encode \"?\" in the password"
                        .into(),
                ));
            }
        };
    }
    Ok(asked)
}

/// Whether TLS is spoken: unless the URL says it is not, or, saying nothing, names this device.
fn is_encrypted(url: &Url, host: &str) -> Result<bool, UpstreamError> {
    let address = host.parse::<IpAddr>();
    let is_here = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    Ok(asked_for(url)?.unwrap_or(!is_here))
}

fn wrong(reason: String) -> UpstreamError {
    UpstreamError::Rejected(reason)
}

fn decoded(part: &str) -> Result<String, UpstreamError> {
    let text = percent_decode_str(part)
        .decode_utf8()
        .map_err(|_| wrong("user and password of the URL must be UTF-8".into()))?;
    if text.contains('\0') {
        return Err(wrong(
            "user and password of the URL must hold no NUL".into(),
        ));
    }
    Ok(text.into_owned())
}

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests;
