//! Under which names the metrics are given out.
//!
//! A web page may have its own name resolve to this device (DNS rebinding) and would then read here
//! what its visitor can reach. The browser says in `Host` which name it called: addresses and names
//! that nobody else can own are answered, any other is not.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::http::{HeaderMap, HeaderValue, header::HOST, uri::Authority};

/// Names that are answered, in lower case, besides addresses and `localhost`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hosts(Vec<String>);

impl Hosts {
    /// The device's name, as it is and in `.local`, and those configured.
    pub fn new(device: &str, configured: &[String]) -> Self {
        let device = device.to_ascii_lowercase();
        let own = [format!("{device}.local"), device];
        let configured = configured.iter().map(|name| name.to_ascii_lowercase());
        Self(own.into_iter().chain(configured).collect())
    }

    /// Whether a request with `headers` is answered; who names no host is no browser.
    ///
    /// # Errors
    /// What to do, for people.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), String> {
        if headers.get_all(HOST).iter().all(|host| self.has(host)) {
            return Ok(());
        }
        Err(format!(
            "metrics are given out under this device's addresses, localhost and {}; add another \
             name to http.hosts\n",
            self.0.join(", ")
        ))
    }

    fn has(&self, host: &HeaderValue) -> bool {
        let Some(authority) = host
            .to_str()
            .ok()
            .and_then(|text| text.parse::<Authority>().ok())
        else {
            return false;
        };
        let host = authority.host().to_ascii_lowercase();
        let host = host.strip_suffix('.').unwrap_or(&host);
        let in_brackets = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        in_brackets.is_some_and(|inside| inside.parse::<Ipv6Addr>().is_ok())
            || host.parse::<Ipv4Addr>().is_ok()
            || host == "localhost"
            || self.0.iter().any(|name| name == host)
    }
}

#[cfg(test)]
mod tests;
