//! `[http]`: who may ask for metrics and health.

use std::net::SocketAddr;

use crate::config::{diagnostic::Diagnostics, read::values::Values, schema::keys::http};

pub(super) fn listen(values: &Values, found: &mut Diagnostics) -> Option<SocketAddr> {
    let listen = values.get(&http::LISTEN)?;
    if !listen.ip().is_loopback() {
        found.warning(
            &values.origin(&http::LISTEN),
            format!("http.listen: everybody who reaches {listen} may read the metrics"),
            "use 127.0.0.1:9464 unless the network is trusted",
        );
    }
    Some(listen)
}

pub(super) fn hosts(values: &Values, found: &mut Diagnostics) -> Vec<String> {
    let names = values.get(&http::HOSTS);
    let names: Vec<String> = names
        .split(',')
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .collect();
    let is_name = |name: &&String| {
        name.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    if let Some(other) = names.iter().find(|name| !is_name(name)) {
        found.error(
            &values.origin(&http::HOSTS),
            format!("http.hosts: `{other}` is no name of a host"),
            "write names without a port, with commas: \"gateway.plant, press-7.plant\"",
        );
    }
    names
}
