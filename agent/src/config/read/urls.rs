//! URLs of the broker and the central database.
//!
//! A URL may hold a password, so nothing of a bad URL is ever repeated in a message.

use std::{net::IpAddr, path::Path};

use percent_encoding::percent_decode_str;
use url::Url;

use crate::config::diagnostic::{Diagnostic, suggest};

const ENCODE: &str = "special characters in user and password are written %40 for @, %2F for /, \
                      %3A for :, %23 for #; or use password_file";

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
        matches!(self.url.scheme(), "mqtts" | "tdengines")
    }

    /// The port, or the usual one of the scheme.
    pub(in crate::config) fn port(&self) -> u16 {
        self.url.port().unwrap_or(match self.url.scheme() {
            "mqtt" => 1883,
            "mqtts" => 8883,
            _ => 6041,
        })
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
    let examples: Vec<&str> = schemes.iter().map(|scheme| example(scheme)).collect();
    let Some((scheme, _)) = text.split_once(':') else {
        return Err(Diagnostic::new(
            "is not a URL",
            format!("write {}", examples.join(" or ")),
        ));
    };
    if !schemes.contains(&scheme) {
        // What stands before a colon may be a user name in front of a password: say nothing of it.
        let near = suggest::nearest(scheme, schemes.iter().copied());
        let hint = match near {
            Some(near) => format!("did you mean {}?", example(near)),
            None => format!("write {}", examples.join(" or ")),
        };
        return Err(Diagnostic::new(
            format!("does not start with {}", schemes.join(": or ") + ":"),
            hint,
        ));
    }
    match scheme {
        "sqlite" => sqlite_path(text).map(drop),
        _ => server(text).map(drop),
    }
}

fn example(scheme: &str) -> &'static str {
    match scheme {
        "mqtt" => "mqtt://HOST:1883",
        "mqtts" => "mqtts://HOST:8883",
        "tdengine" => "tdengine://USER:PASSWORD@HOST:6041/DATABASE",
        "tdengines" => "tdengines://USER:PASSWORD@HOST:6041/DATABASE",
        _ => "sqlite:FILE",
    }
}

/// Takes apart `mqtt://`, `mqtts://`, `tdengine://` and `tdengines://`.
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
    if url.query().is_some() || url.fragment().is_some() {
        return Err(Diagnostic::new("goes on after a ? or #", form()));
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
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_good_url_is_taken_apart() {
        let url = server("mqtts://me:p%40ss%2F@[::1]").ok().unwrap();
        assert_eq!((url.host.as_str(), url.port()), ("::1", 8883));
        assert!(url.is_tls() && url.is_local());
        assert_eq!(url.user.as_deref(), Some("me"));
        assert_eq!(url.password.as_deref(), Some("p@ss/"));
        let url = server("mqtt://broker.example:1884/").ok().unwrap();
        assert_eq!((url.host.as_str(), url.port()), ("broker.example", 1884));
        assert!(!url.is_tls() && !url.is_local() && url.user.is_none());
        let url = server("tdengine://root:old@td:6041/plant").ok().unwrap();
        assert_eq!(
            url.with_password(Some("n@w")),
            "tdengine://root:n%40w@td:6041/plant"
        );
    }

    #[test]
    fn a_bad_url_is_refused_without_repeating_it() {
        let mqtt: &[&str] = &["mqtt", "mqtts"];
        let upstream: &[&str] = &["tdengine", "tdengines", "sqlite"];
        for (schemes, text) in [
            (mqtt, "hunter2"),
            (mqtt, "hunter2:hunter2@host"),
            (mqtt, "hunter2://host"),
            (mqtt, "mqtt://me:hunter2"),
            (mqtt, "mqtt://me:hunter2#@host"),
            (mqtt, "mqtt://me:hunter2/@host"),
            (mqtt, "mqtt://me:hunter2@"),
            (mqtt, "mqtt:me:hunter2@host"),
            (mqtt, "mqtt://me:hunter2@host:99999"),
            (mqtt, "mqtt://me:hunter2@host:0"),
            (mqtt, "mqtt://me:hunter2@host/topic"),
            (mqtt, "mqtt://me:hunter2@host?x=hunter2"),
            (mqtt, "mqtt://me:hunter2@ho st"),
            (mqtt, "mqtt://me:hunter2%00@host"),
            (mqtt, "mqtt://me:hunter2%ff@host"),
            (upstream, "tdengine://root:hunter2@host:6041"),
            (upstream, "tdengine://root:hunter2@host:6041/a b"),
            (upstream, "tdengine://root:hunter2@host:6041/1;drop"),
            (upstream, "tdengine://root:hunter2@host:6041/db?x"),
            (upstream, "sqlite:"),
            (upstream, "sqlite:///hunter2"),
            (upstream, "sqlite:a\nhunter2"),
            (upstream, "influx://hunter2"),
        ] {
            let diagnostic = check(text, schemes).unwrap_err();
            let shown = format!("{} {}", diagnostic.message, diagnostic.hint);
            assert!(!shown.contains("hunter2"), "{text}: {shown}");
        }
        let diagnostic = check("mqqt://host", mqtt).unwrap_err();
        assert!(
            diagnostic.hint.contains("did you mean mqtt://"),
            "{diagnostic:?}"
        );
    }

    #[test]
    fn sqlite_files_are_relative_to_the_file() {
        let under = |text| sqlite_under(text, Path::new("/etc/dunlin")).ok().unwrap();
        assert_eq!(under("sqlite:a.db"), "sqlite:/etc/dunlin/a.db");
        assert_eq!(under("sqlite:/b.db"), "sqlite:/b.db");
        let here = sqlite_under("sqlite:a.db", Path::new("")).ok().unwrap();
        assert_eq!(here, "sqlite:a.db");
    }

    #[test]
    fn passwords_are_seen() {
        assert!(holds_password("mqtt://a:b@h"));
        assert!(holds_password("mqtt://a:b#@h"));
        assert!(!holds_password("mqtt://a@h"));
        assert!(!holds_password("sqlite:central.db"));
    }
}
