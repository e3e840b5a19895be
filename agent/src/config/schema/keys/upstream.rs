//! `[upstream]`: the central database.

use std::{path::PathBuf, time::Duration};

use crate::{
    config::{
        schema::{
            key::{ConnectionKeys, Key, OptionalKey},
            kind::{choice, count_of_millis, integer, millis, path, secret, url},
            setting::DefaultValue::{Is, Required, Unset},
        },
        settings::{Secret, UploadOrder},
    },
    features,
    own::UPSTREAM_SCHEME,
};

pub(in crate::config) const URL: OptionalKey<String> = OptionalKey::new(
    "upstream.url",
    url(&[
        "tdengine",
        "tdengines",
        "postgres",
        "postgresql",
        "sqlite",
        UPSTREAM_SCHEME,
    ]),
    if features::SQLITE.is_in {
        Is("sqlite:central.db")
    } else {
        Required("tdengine://root:taosdata@localhost:6041/plant")
    },
    "The central database: tdengine://USER:PASSWORD@HOST:6041/DATABASE, tdengines:// for TLS, \
         postgres://USER:PASSWORD@HOST:5432/DATABASE, or sqlite:FILE",
);

pub(in crate::config) const PASSWORD: OptionalKey<Secret> = OptionalKey::new(
    "upstream.password",
    secret(),
    Unset("secret"),
    "Password for the URL's user; better in a file of its own, or in the variable",
);

pub(in crate::config) const PASSWORD_FILE: OptionalKey<PathBuf> = OptionalKey::new(
    "upstream.password_file",
    path(),
    Unset("/etc/dunlin/upstream.password"),
    "File that holds the password and nothing else",
);

pub(in crate::config) const CA_FILE: OptionalKey<PathBuf> = OptionalKey::new(
    "upstream.ca_file",
    path(),
    Unset("/etc/dunlin/ca.pem"),
    "Private CA in PEM; the system's certificates otherwise",
);

pub(in crate::config) const CERT_FILE: OptionalKey<PathBuf> = OptionalKey::new(
    "upstream.cert_file",
    path(),
    Unset("/etc/dunlin/client.pem"),
    "Client certificate chain in PEM, for mutual TLS; needs key_file",
);

pub(in crate::config) const KEY_FILE: OptionalKey<PathBuf> = OptionalKey::new(
    "upstream.key_file",
    path(),
    Unset("/etc/dunlin/client.key"),
    "Client private key in PEM; needs cert_file",
);

pub(in crate::config) const TIMEOUT_MS: Key<Duration> = Key::new(
    "upstream.timeout_ms",
    millis(100, 600_000),
    "10000",
    "Longest wait for one answer",
);

pub(in crate::config) const BATCH_ROWS_MAX: Key<usize> = Key::new(
    "upstream.batch_rows_max",
    integer(1, 100_000),
    "5000",
    "Most rows in one write",
);

pub(in crate::config) const IN_FLIGHT_MAX: Key<usize> = Key::new(
    "upstream.in_flight_max",
    integer(1, 64),
    "4",
    "Writes under way at once",
);

pub(in crate::config) const ORDER: Key<UploadOrder> = Key::new(
    "upstream.order",
    choice(),
    "oldest_first",
    "live_first: what happens now is seen now, the backlog follows",
);

pub(in crate::config) const BACKOFF_MS_MIN: Key<u64> = Key::new(
    "upstream.backoff_ms_min",
    count_of_millis(10, 600_000),
    "500",
    "First wait after a failed write; doubles up to the longest, with jitter",
);

pub(in crate::config) const BACKOFF_MS_MAX: Key<u64> = Key::new(
    "upstream.backoff_ms_max",
    count_of_millis(10, 3_600_000),
    "60000",
    "Longest wait between two attempts to write",
);

/// The keys that the other connection has too.
pub(in crate::config) const CONNECTION: ConnectionKeys = ConnectionKeys {
    tls_form: "tdengines://, or postgres:// with sslmode=verify-full",
    url: URL,
    password: PASSWORD,
    password_file: PASSWORD_FILE,
    ca_file: CA_FILE,
    cert_file: CERT_FILE,
    key_file: KEY_FILE,
    backoff_ms_min: BACKOFF_MS_MIN,
    backoff_ms_max: BACKOFF_MS_MAX,
};
