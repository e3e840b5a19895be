//! Broker addresses: `mqtt://[user[:password]@]host[:port]`, `mqtts://` for TLS.

use url::Url;

use crate::config::settings::Secret;

/// A checked broker address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerUrl {
    /// Host name or address, without brackets.
    pub host: String,
    /// TCP port; 1883 or 8883 unless given.
    pub port: u16,
    /// `mqtts://`.
    pub tls: bool,
    /// User name, percent-decoded.
    pub user: Option<String>,
    /// Password, percent-decoded.
    pub password: Option<Secret>,
}

/// Why a broker address cannot be used. Never repeats the address: it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokerUrlError {
    /// Not an address at all.
    #[error("not a broker address ({0}); write mqtt://host:1883, or mqtts://host:8883 for TLS")]
    Syntax(String),
    /// Another protocol.
    #[error("{0}:// is not MQTT over TCP; write mqtt://host:1883, or mqtts://host:8883 for TLS")]
    Scheme(String),
    /// Something after the port.
    #[error("a broker address ends after the port; topics are configured elsewhere")]
    Path,
    /// User or password is not UTF-8 once percent-decoded.
    #[error("user and password must be UTF-8 (percent-encode special characters)")]
    Login,
}

impl BrokerUrl {
    /// Reads an address.
    ///
    /// # Errors
    /// [`BrokerUrlError`] with what to write instead.
    pub fn parse(text: &str) -> Result<Self, BrokerUrlError> {
        let url = Url::parse(text).map_err(|e| BrokerUrlError::Syntax(e.to_string()))?;
        let tls = match url.scheme() {
            "mqtt" | "tcp" => false,
            "mqtts" | "ssl" => true,
            other => return Err(BrokerUrlError::Scheme(other.to_owned())),
        };
        let host = url
            .host_str()
            .filter(|host| !host.is_empty())
            .ok_or_else(|| BrokerUrlError::Syntax("no host".into()))?;
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(BrokerUrlError::Path);
        }
        let user = Some(url.username()).filter(|user| !user.is_empty());
        Ok(Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: url.port().unwrap_or(if tls { 8883 } else { 1883 }),
            tls,
            user: user.map(decode).transpose()?,
            password: url.password().map(decode).transpose()?.map(Secret::new),
        })
    }
}

fn decode(text: &str) -> Result<String, BrokerUrlError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = (first == b'%')
            .then(|| tail.get(..2))
            .flatten()
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(escaped.unwrap_or(first));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8(bytes).map_err(|_| BrokerUrlError::Login)
}

#[cfg(test)]
mod tests;
