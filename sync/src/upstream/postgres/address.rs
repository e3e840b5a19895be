//! What the user wrote, checked: the URL, and what belongs to it.

use std::{net::IpAddr, sync::Arc};

use tokio_postgres::{Config, config::SslMode};
use url::Url;

use super::super::{
    UpstreamError, UpstreamOptions,
    relay::Target,
    server_url::{Password, database_of, decoded, host_of, parsed, tls_files, wrong},
};
use crate::tls::{FollowedTls, TlsFiles};

const PORT: u16 = 5432;
const DATABASE_BYTES_MAX: usize = 63;
/// What the server calls us in its list of sessions.
const APPLICATION: &str = "dunlin";

/// A checked `postgres://` URL. Not `Debug`: it holds the password.
pub(crate) struct Address {
    pub(crate) target: Target,
    user: String,
    password: Password,
    /// ASCII letters, digits and `_`.
    pub(super) database: String,
}

impl Address {
    /// Checks URL, options and TLS files. No error repeats the URL: it may hold a password.
    pub(crate) fn new(options: &UpstreamOptions) -> Result<Self, UpstreamError> {
        let url = parsed(options, "postgres://user:password@host:5432/database")?;
        // Of an unknown scheme, an address is a name like any other.
        let host = host_of(&url)?;
        if url.fragment().is_some() {
            return Err(wrong(
                "the URL takes no \"#\"; percent-encode it in the password".into(),
            ));
        }
        let database = database_of(&url, DATABASE_BYTES_MAX)?;
        let user = without_nul(decoded(url.username())?)?;
        if user.is_empty() {
            return Err(wrong(
                "the URL names no user; write postgres://user@host:5432/database".into(),
            ));
        }
        let password = without_nul(decoded(url.password().unwrap_or_default())?)?;
        let files = tls_files(options);
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
            password: Password::new(password, options),
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
        let password = self.password.current();
        if !password.is_empty() {
            config.password(password);
        }
        config
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
        self.password.hidden_in(text)
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

/// The server ends texts at a NUL.
fn without_nul(text: String) -> Result<String, UpstreamError> {
    if text.contains('\0') {
        return Err(wrong(
            "user and password of the URL must hold no NUL".into(),
        ));
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
