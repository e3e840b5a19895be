//! `[http]`: metrics and health.

use std::net::SocketAddr;

use crate::config::schema::{
    key::Key,
    kind::{listen, text},
};

pub(in crate::config) const LISTEN: Key<Option<SocketAddr>> = Key::new(
    "http.listen",
    listen(),
    "127.0.0.1:9464",
    "Address of /metrics and /healthz; empty for off",
);

pub(in crate::config) const HOSTS: Key<String> = Key::new(
    "http.hosts",
    text(0, 1024),
    "",
    "Names that /metrics answers to besides addresses, localhost and the device's; with commas",
);
