//! URLs of the broker and the central database.
//!
//! A URL may hold a password, so nothing of a bad URL is ever repeated in a message.

use std::{net::IpAddr, path::Path};

use percent_encoding::percent_decode_str;
use url::Url;

use crate::{
    config::diagnostic::{Diagnostic, suggest},
    own::UPSTREAM_SCHEME,
};

const ENCODE: &str = "special characters in user and password are written %40 for @, %2F for /, \
                      %3A for :, %23 for #; or use password_file";

/// How a `PostgreSQL` URL says that TLS is spoken, and that it is not.
const VERIFIED: &str = "sslmode=verify-full";
const PLAIN: &str = "sslmode=disable";

/// A URL of a server, taken apart.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::config) struct ServerUrl {
    url: Url,
    /// Host name or address, an IPv6 address without its brackets.
    pub(in crate::config) host: String,
    pub(in crate::config) user: Option<String>,
    pub(in crate::config) password: Option<String>,
}

impl ServerUrl {
    /// Whether the scheme stands for TLS.
    pub(in crate::config) fn is_tls(&self) -> bool {
        match self.url.scheme() {
            "mqtts" | "tdengines" => true,
            // As it is when the connection is made: plain within this machine, unless it says otherwise.
            "postgres" | "postgresql" => match self.url.query() {
                Some(mode) => mode == VERIFIED,
                None => !self.is_local(),
            },
            _ => false,
        }
    }

    /// The port, or the usual one of the scheme.
    pub(in crate::config) fn port(&self) -> u16 {
        self.url.port().unwrap_or(match self.url.scheme() {
            "mqtt" => 1883,
            "mqtts" => 8883,
            "postgres" | "postgresql" => 5432,
            _ => 6041,
        })
    }

    /// Whether it is a `TDengine`, which takes options for its databases.
    pub(in crate::config) fn is_tdengine(&self) -> bool {
        self.url.scheme().starts_with("tdengine")
    }

    /// Whether nothing leaves this machine.
    pub(in crate::config) fn is_local(&self) -> bool {
        let address = self.host.parse::<IpAddr>();
        self.host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }

    /// The whole URL, with this password instead of its own.
    pub(in crate::config) fn with_password(mut self, password: Option<&str>) -> String {
        // Only a URL without a host refuses a password, and such a one is not made.
        let _never = self.url.set_password(password);
        self.url.into()
    }
}

/// Whether `text` is a usable URL with one of `schemes`.
pub(in crate::config) fn check(text: &str, schemes: &[&str]) -> Result<(), Diagnostic> {
    // What a program has of its own is known to those who use it, and no hint for others.
    let told = schemes
        .iter()
        .copied()
        .filter(|scheme| *scheme != UPSTREAM_SCHEME);
    let mut examples: Vec<&str> = told.clone().map(example).collect();
    examples.dedup();
    let Some((scheme, _)) = text.split_once(':') else {
        return Err(Diagnostic::new(
            "is not a URL",
            format!("write {}", examples.join(" or ")),
        ));
    };
    if !schemes.contains(&scheme) {
        // What stands before a colon may be a user name in front of a password: say nothing of it.
        let near = suggest::nearest(scheme, told.clone());
        let hint = match near {
            Some(near) => format!("did you mean {}?", example(near)),
            None => format!("write {}", examples.join(" or ")),
        };
        return Err(Diagnostic::new(
            format!(
                "does not start with {}",
                told.collect::<Vec<_>>().join(": or ") + ":"
            ),
            hint,
        ));
    }
    match scheme {
        "sqlite" => sqlite_path(text).map(drop),
        UPSTREAM_SCHEME => own_name(text).map(drop),
        _ => server(text).map(drop),
    }
}

fn example(scheme: &str) -> &'static str {
    match scheme {
        "mqtt" => "mqtt://HOST:1883",
        "mqtts" => "mqtts://HOST:8883",
        "tdengine" => "tdengine://USER:PASSWORD@HOST:6041/DATABASE",
        "tdengines" => "tdengines://USER:PASSWORD@HOST:6041/DATABASE",
        "postgres" | "postgresql" => "postgres://USER:PASSWORD@HOST:5432/DATABASE",
        _ => "sqlite:FILE",
    }
}

/// Takes apart `mqtt://`, `mqtts://`, `tdengine://`, `tdengines://` and `postgres://`.
pub(in crate::config) fn server(text: &str) -> Result<ServerUrl, Diagnostic> {
    let scheme = text.split(':').next().unwrap_or_default();
    let form = || format!("write {}; {ENCODE}", example(scheme));
    let url = Url::parse(text)
        .map_err(|error| Diagnostic::new(format!("is a bad URL: {error}"), form()))?;
    let Some(host) = url.host_str().filter(|host| !host.is_empty()) else {
        return Err(Diagnostic::new("names no host", form()));
    };
    if url.port() == Some(0) {
        return Err(Diagnostic::new("has port 0", form()));
    }
    let is_postgres = scheme.starts_with("postgres");
    match url.query() {
        None => {}
        Some(VERIFIED | PLAIN) if is_postgres => {}
        Some(mode) if is_postgres && mode.starts_with("sslmode=") => {
            return Err(Diagnostic::new(
                "has another sslmode than verify-full or disable",
                format!(
                    "write ?{VERIFIED} (with ca_file for an authority of your own), or ?{PLAIN}: all \
                     others take any server for the right one"
                ),
            ));
        }
        Some(_) => return Err(Diagnostic::new("goes on after a ? or #", form())),
    }
    if url.fragment().is_some() {
        return Err(Diagnostic::new("goes on after a ? or #", form()));
    }
    if is_postgres && url.username().is_empty() {
        return Err(Diagnostic::new("names no user", form()));
    }
    let database = url.path().trim_start_matches('/');
    if scheme.starts_with("mqtt") {
        if !database.is_empty() {
            return Err(Diagnostic::new("goes on after host and port", form()));
        }
    } else if !is_identifier(database) {
        return Err(Diagnostic::new(
            "names no database after the host, or one with other characters than letters, digits \
             and _",
            form(),
        ));
    }
    let decoded = |text: &str| match percent_decode_str(text).decode_utf8() {
        Ok(text) if !text.chars().any(char::is_control) => Ok(text.into_owned()),
        _ => Err(Diagnostic::new(
            "has a user or password that is no text",
            form(),
        )),
    };
    Ok(ServerUrl {
        host: host.trim_matches(['[', ']']).to_owned(),
        user: match url.username() {
            "" => None,
            user => Some(decoded(user)?),
        },
        password: url.password().map(decoded).transpose()?,
        url,
    })
}

fn is_identifier(text: &str) -> bool {
    text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Whether a URL of either kind holds a password, as far as one can tell.
pub(in crate::config) fn holds_password(text: &str) -> bool {
    server(text).map_or(text.contains('@'), |server| server.password.is_some())
}

/// The name in `custom:NAME`; whether there is one of that name is seen where it is looked for.
fn own_name(text: &str) -> Result<&str, Diagnostic> {
    let name = text.split_once(':').map_or("", |(_, name)| name);
    let is_sound = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
    if name.is_empty() || !name.bytes().all(is_sound) {
        return Err(Diagnostic::new(
            "names no upstream of a program's own",
            "write custom:NAME, of letters, digits, _, - and .",
        ));
    }
    Ok(name)
}

fn sqlite_path(text: &str) -> Result<&str, Diagnostic> {
    let path = text.strip_prefix("sqlite:").unwrap_or_default();
    if path.is_empty() || path.starts_with("//") {
        return Err(Diagnostic::new(
            "names no file",
            "write sqlite:central.db, or sqlite:/var/lib/dunlin/central.db",
        ));
    }
    if path.chars().any(char::is_control) {
        return Err(Diagnostic::new(
            "holds a control character",
            "use printable characters",
        ));
    }
    Ok(path)
}

/// `sqlite:FILE` with FILE under `base` unless it is absolute.
pub(in crate::config) fn sqlite_under(text: &str, base: &Path) -> Result<String, Diagnostic> {
    let path = sqlite_path(text)?;
    Ok(format!("sqlite:{}", base.join(path).display()))
}

#[cfg(test)]
mod tests;
